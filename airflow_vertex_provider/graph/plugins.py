"""What other packages register by entry points: a group's name in, each object or what keeps it away out."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from typing import Any


def registered(group: str, kind: str) -> Iterator[tuple[str, Any, str]]:
    """Load the entry points of a group, in an order that does not change. Never raises for their faults.

    :param kind: what the objects are, for messages.
    :return: where each comes from, in words; the object; and the fault of one that cannot be loaded.
    """
    points = importlib.metadata.entry_points(group=group)
    for point in sorted(points, key=lambda item: (_owner(item), item.name)):
        where = f"{kind} {point.name!r} of package {_owner(point)!r}"
        try:
            found = point.load()
        except Exception as error:  # noqa: BLE001 - whatever another package's code raises is its fault alone
            yield where, None, f"{where} cannot be loaded ({type(error).__name__}: {error})"
            continue
        yield where, found, ""


def _owner(point: importlib.metadata.EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "(unknown)"
