"""Items of loops, and values as bare text.

Part of the text that runs in a container, see :mod:`airflow_vertex_provider.runtime.entrypoint`.
"""

from __future__ import annotations

import json

from airflow_vertex_provider.runtime.container.base import (
    UnmappableXComTypePushed,
    VertexRuntimeError,
    XComForMappingNotPushed,
)
from airflow_vertex_provider.runtime.container.values import encode, outside, tag, untag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any


#: Room that one bare-text argument may take, in bytes; Linux allows 131072 for the whole argument.
TEXT_LIMIT = 100000


def items_of(value: Any) -> Any:
    """Return the items that tasks are mapped over; of a dict its pairs, as in Airflow."""
    if value is None:
        raise XComForMappingNotPushed("did not push a value, though tasks are mapped over it")
    if not isinstance(value, (list, tuple, dict)):
        raise UnmappableXComTypePushed(
            "tasks are mapped over the value, so it must be a list, tuple or dict, not %s"
            % type(value).__name__
        )
    return value.items() if isinstance(value, dict) else value


def expand_items(
    form: str, fields: Sequence[tuple[str, Any]], text: Iterable[str], keep: Callable[[str, str], str]
) -> list[dict[str, str]]:
    """Return the items of a loop, one for each of the tasks that Airflow would expand into, in its order.

    :param form: ``product``: every combination of the fields' items, the last field changing fastest;
        ``kwargs``: one field, whose items are dicts of arguments.
    :param text: fields whose items are wanted as bare text too.
    :param keep: takes a protocol text and a hint for a file's name, returns the text or its reference.
    """
    result: list[dict[str, str]] = [{}]
    for name, value in fields:
        # In steps: a field's item is written once, however many combinations it stands in.
        column = []
        for number, item in enumerate(items_of(value)):
            if form == "kwargs" and not (isinstance(item, dict) and all(type(key) is str for key in item)):
                raise UnmappableXComTypePushed(
                    "expand_kwargs() expects a list of dicts whose keys are str, found %.60r" % (item,)
                )
            entry = {name: keep(encode(item), "%s_%d" % (name, number))}
            if name in text:
                entry[name + "__text"] = bare_text(item)
            column.append(entry)
        result = [dict(item, **entry) for item in result for entry in column]
    return [dict(item, index=str(number)) for number, item in enumerate(result)]


def as_rendered(value: Any) -> Any:
    """Return a value as Airflow's rendering leaves it, which loses a text's last line feed.

    Airflow renders the dicts of ``expand_kwargs`` even where they are an output.
    """
    if isinstance(value, str):
        if any(mark in value for mark in ("{" + "{", "{%", "{#")):
            raise VertexRuntimeError(
                "expand_kwargs: Airflow would render a text of the dicts, which is not done here: %.60r"
                % value
            )
        return value[:-1] if value[-1:] == "\n" else value
    if type(value) in (list, tuple, set):
        return type(value)(map(as_rendered, value))
    if isinstance(value, dict):
        return {key: as_rendered(item) for key, item in value.items()}
    return value


def closed(value: Any) -> Any:
    """Return a value as those see it who do not open what lies outside the text."""
    return untag(tag(value, "", []), outside)


def bare_text(value: Any) -> str:
    """Return a value as a container's argument: a ``str`` as it is, others as JSON."""
    bare = str.__str__(value) if isinstance(value, str) else encode(closed(value))
    if "{" + "{$" in bare:
        raise VertexRuntimeError("the text for a container's argument holds a Vertex placeholder")
    twice = json.dumps(json.dumps(bare, ensure_ascii=False), ensure_ascii=False)
    size = len(twice.encode("utf-8", "replace"))
    if size > TEXT_LIMIT:
        raise VertexRuntimeError(
            "the text is too long for a container's argument: %d bytes, allowed %d" % (size, TEXT_LIMIT)
        )
    return bare
