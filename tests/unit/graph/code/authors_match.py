# ruff: noqa
# fmt: off
# mypy: ignore-errors
"""Functions of an author who writes for Python 3.10 and later."""

import dataclasses

ORIGIN = "origin"


@dataclasses.dataclass
class Point:
    x: int
    y: int


def described(point):
    match point:
        case Point(x=0, y=0):
            return ORIGIN
        case Point(x=x, y=0):
            return f"on x at {x}"
        case [first, *rest]:
            return described(first)
        case {"x": x, **others}:
            return described(Point(x, 0))
        case int() | float() as number:
            return number + len(ORIGIN)
        case _:
            return None


def matched():
    return [described(item) for item in (Point(0, 0), Point(1, 0), [Point(0, 0)], {"x": 2}, 3, "x")]
