"""What stands in a container's command for something that only the run knows: objects in, nothing spliced.

An author writes these into ``command``, ``arguments`` and ``env`` of a
:class:`~airflow_vertex_provider.operators.container.VertexContainerOperator`. Each becomes one of the
service's own placeholders, so no value is ever pasted into a text while the DAG is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from airflow.sdk import XComArg
from airflow.sdk.definitions._internal.mixins import ResolveMixin

#: Python's types and KFP's names of the types that an output of a container can have.
OUTPUT_TYPES: Mapping[Any, str] = {
    str: "STRING",
    int: "NUMBER_INTEGER",
    float: "NUMBER_DOUBLE",
    bool: "BOOLEAN",
    list: "LIST",
    dict: "STRUCT",
}
#: How a placeholder looks that was made part of a text; see :func:`spliced`.
_AS_TEXT = re.compile(r"<(?:OutputFile|Joined)\(.*?\)>", re.DOTALL)


class OutputFile:
    """The path of the file that a container writes an output to.

    The container is told a path below the mounted bucket. Its folder may not exist yet. What is in the file
    when the container ends is the output: for a ``str`` the text as it is, for all other types JSON.

    :param name: of the output, as ``outputs`` of the operator has it.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"OutputFile({self.name!r})"

    def __str__(self) -> str:
        return f"<{self!r}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OutputFile) and other.name == self.name

    def __hash__(self) -> int:
        return hash(("OutputFile", self.name))


class Joined(ResolveMixin):
    """Several parts that make one argument: ``Joined("--rows=", rows)``.

    :param parts: texts, templates, outputs of tasks, arguments of a mapped task group, :class:`OutputFile`.
        What is not text becomes JSON, as it does in an argument of its own.
    """

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def __repr__(self) -> str:
        return f"Joined({', '.join(map(repr, self.parts))})"

    def __str__(self) -> str:
        return f"<{self!r}>"

    def iter_references(self) -> Iterable[tuple[Any, str]]:
        """Name the tasks whose outputs stand in the parts; Airflow draws its edges by them. Runs at parse."""
        for part in self.parts:
            yield from XComArg.iter_xcom_references(part)

    def resolve(self, context: Mapping[str, Any]) -> NoReturn:
        """Refuse: the service joins the parts, never Airflow.

        :raises TypeError: always.
        """
        raise TypeError(f"{self!r} has a value in a container of a Vertex task group alone")


def spliced(text: str) -> str | None:
    """Return the placeholder that an author has made part of a text, as an f-string does. Runs at parse."""
    found = _AS_TEXT.search(text)
    return found[0][1:-1] if found else None
