"""An order of tasks: ids and what stands above each in, the ids so that each follows those above it out."""

from __future__ import annotations

from collections.abc import Callable, Iterable


def ordered(ids: Iterable[str], above: Callable[[str], Iterable[str]]) -> list[str]:
    """Return ids in an order in which each stands behind those above it; no recursion, so any depth will do.

    :param above: returns the ids right above one. A circle is walked once, see :func:`circle`.
    """
    done: dict[str, None] = {}
    entered: set[str] = set()
    for start in ids:
        stack = [start]
        while stack:
            current = stack[-1]
            if current in done:
                stack.pop()
                continue
            entered.add(current)
            waiting = [other for other in above(current) if other not in done and other not in entered]
            if waiting:
                stack.extend(reversed(waiting))
            else:
                done[current] = None
                stack.pop()
    return list(done)


def circle(ids: Iterable[str], above: Callable[[str], Iterable[str]]) -> list[str]:
    """Return the ids that stand above themselves, or above or below such, so that they can never begin."""
    left = dict.fromkeys(ids)
    while True:
        free = [each for each in left if not any(other in left for other in above(each))]
        if not free:
            return list(left)
        for each in free:
            del left[each]
