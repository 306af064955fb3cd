"""Parts of a parameter: the text of a ``parameterExpressionSelector`` and a value in, the part out.

kfp writes one kind, for loops over the fields of items: ``parseJson(string_value)["field"]``. Steps may
follow each other, and a number in place of a field takes an entry of a list.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

_START = "parseJson(string_value)"
_STEP = re.compile(r"""\[(?:"((?:[^"\\]|\\.)*)"|([0-9]+))\]""")


class SelectorError(Exception):
    """A selector is not one that kfp writes, or the value has no such part."""


@dataclass(frozen=True)
class Selector:
    """A chain of fields and positions, from the whole value inwards."""

    text: str
    steps: tuple[str | int, ...]

    def select(self, value: Any) -> Any:
        """Return the part of a value; a text is read as JSON first.

        :raises SelectorError: the value has no such part.
        """
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                raise SelectorError(f"{self.text}: the value is not JSON: {value[:60]!r}") from None
        for step in self.steps:
            value = self._part(value, step)
        return value

    def _part(self, value: Any, step: str | int) -> Any:
        if isinstance(step, str) and isinstance(value, dict) and step in value:
            return value[step]
        if isinstance(step, int) and isinstance(value, list) and step < len(value):
            return value[step]
        found = json.dumps(value, ensure_ascii=False)[:60]
        raise SelectorError(f"{self.text}: there is no {step!r} in {found}")


def parse(text: str) -> Selector:
    """Read a selector.

    :raises SelectorError: it is not one that kfp writes.
    """
    steps: list[str | int] = []
    position = len(_START)
    while text.startswith(_START) and position < len(text):
        step = _STEP.match(text, position)
        if step is None:
            break
        try:
            steps.append(int(step[2]) if step[1] is None else str(json.loads(f'"{step[1]}"')))
        except ValueError:
            break
        position = step.end()
    if not text.startswith(_START) or position < len(text):
        raise SelectorError(f'found {text!r}; allowed: {_START}, then any number of ["field"] or [0]')
    return Selector(text, tuple(steps))
