"""What a converter is: one kind of Airflow operator in, what its Vertex task runs out.

A converter module has ``CLASSES``, the dotted names of the operator classes it takes (recognised by name,
so that nothing is imported to recognise them), ``LEAVES_VALUE``, whether other tasks can take such a task's
value, and ``convert(operator, values)``. It reads the author's
arguments through :class:`~airflow_vertex_provider.graph.values.Values`, which turns references into the
task's inputs and collects what cannot be carried. It never raises for bad author input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from airflow_vertex_provider.graph.model import TaskKind
    from airflow_vertex_provider.graph.values import Values


@dataclass(frozen=True)
class Conversion:
    """What one member becomes.

    :param kind: what runs in the container; ``None`` for a member that runs nothing: it stays an Airflow
        task, and its edges are drawn through it.
    :param payload: see :class:`airflow_vertex_provider.graph.model.Task`.
    :param settings: settings that stand in the operator's own arguments; they win over executor_config.
    :param may_skip: what runs may ask to be skipped.
    :param skipper: the task decides about those below it. ``branch``: its value names the tasks or groups
        directly below that are followed. ``all``: a falsy value skips everything below, whatever the trigger
        rules; ``direct``: a falsy value skips what is directly below.
    :param input_types: types of inputs that are no STRING; :param output_types: likewise of outputs, which a
        component names itself.
    """

    kind: TaskKind | None
    payload: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    may_skip: bool = False
    skipper: Literal["branch", "all", "direct"] | None = None
    input_types: Mapping[str, str] = field(default_factory=dict)
    output_types: Mapping[str, str] = field(default_factory=dict)


class Converter(Protocol):
    """A converter module."""

    CLASSES: tuple[str, ...]
    LEAVES_VALUE: bool

    def convert(self, operator: Any, values: Values) -> Conversion:
        """Turn one operator into what its Vertex task runs. Runs at parse."""
        ...
