# ruff: noqa: TID252
"""A module of the author's own, without Airflow."""

from .rates import RATE


def price(x: int) -> float:
    return x * RATE


def outer():  # type: ignore[no-untyped-def]
    def inner(x: int) -> float:
        return price(x)

    return inner
