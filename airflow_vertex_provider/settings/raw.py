"""Dicts of the API's own fields: one laid over another, and what it overrides, found by path.

Names are those of the API's messages (``snake_case``); JSON's ``camelCase`` is read as the same field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_vertex_provider.settings.records import snake

#: Says that there is nothing at a path; ``None`` is a value.
MISSING: Any = object()


def spelled(data: Any, opaque: frozenset[str] = frozenset()) -> Any:
    """Return ``data`` with the names of all fields as the API's messages spell them.

    :param opaque: names of fields whose keys are the author's own, such as labels.
    """
    if isinstance(data, Mapping):
        return {
            (name := snake(key)): value if name in opaque else spelled(value, opaque)
            for key, value in data.items()
        }
    if isinstance(data, list | tuple):
        return [spelled(item, opaque) for item in data]
    return data


def merged(over: Any, base: Any) -> Any:
    """Lay ``over`` over ``base``: dicts key by key, lists of dicts item by item, all else as a whole."""
    if isinstance(over, Mapping) and isinstance(base, Mapping):
        return {
            **base,
            **{key: merged(value, base[key]) if key in base else value for key, value in over.items()},
        }
    if _is_list_of_dicts(over) and _is_list_of_dicts(base):
        both = [merged(near, wide) for near, wide in zip(over, base, strict=False)]
        return [*both, *over[len(both) :], *base[len(both) :]]
    return over


def lookup(data: Any, path: Sequence[str]) -> Any:
    """Return what ``data`` has at ``path`` (numbers count list items), or :data:`MISSING`."""
    for part in path:
        if isinstance(data, Mapping) and part in data:
            data = data[part]
        elif isinstance(data, list) and part.isdigit() and int(part) < len(data):
            data = data[int(part)]
        else:
            return MISSING
    return data


def _is_list_of_dicts(data: Any) -> bool:
    return isinstance(data, list) and bool(data) and all(isinstance(item, Mapping) for item in data)
