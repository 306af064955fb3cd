# ruff: noqa
# fmt: off
# mypy: ignore-errors
"""Functions of an author who postpones annotations, with types that no container has."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    Frame = pd.DataFrame

DEFAULT: int | None = None


@dataclasses.dataclass
class Row:
    name: str | None
    values: list[int] = dataclasses.field(default_factory=list)
    frame: Frame | None = None

    def first(self) -> Sequence[int]:
        return self.values[:1]


def decorate(function):
    return function


@decorate
def typed_helper(rows: Sequence[Row]) -> list[str | None]:
    return [row.name for row in rows]


def postponed(frame: Frame | None = DEFAULT) -> list[str | None]:
    rows: Sequence[Row] = [Row("a", [1, 2])]
    return [typed_helper(rows), rows[0].first(), frame]
