"""An operator as an author writes it in; what its converter makes of it, and what that returns, out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, TaskGroup
from airflow.sdk.definitions.xcom_arg import PlainXComArg

from airflow_vertex_provider.graph.context import context_value
from airflow_vertex_provider.graph.converters import converter_for
from airflow_vertex_provider.graph.converters.base import Conversion
from airflow_vertex_provider.graph.model import FromParameter
from airflow_vertex_provider.graph.values import ParameterTable, Values
from airflow_vertex_provider.runtime import entrypoint, protocol


@dataclass
class Converted:
    """One converted operator.

    :param operator: as the author made it. :param conversion: what it becomes.
    :param values: its inputs and problems. :param table: the run parameters it asks for.
    """

    operator: Any
    conversion: Conversion
    values: Values
    table: ParameterTable

    @property
    def payload(self) -> Mapping[str, Any]:
        return self.conversion.payload

    @property
    def problems(self) -> list[tuple[str, str]]:
        """Field and what was found, of each problem."""
        return [(problem.field, problem.found) for problem in self.values.problems]

    @property
    def fields(self) -> list[str]:
        return [problem.field for problem in self.values.problems]

    @property
    def allowed(self) -> list[str]:
        return [problem.allowed for problem in self.values.problems]

    def inputs(self, context: Mapping[str, Any]) -> dict[str, str]:
        """Return the texts that the container is given in a run with this context."""
        texts = {}
        for name, source in self.values.inputs.items():
            assert isinstance(source, FromParameter), "only values of the run are known here"
            if source.parameter in self.table.context:
                value = context_value(self.table.context[source.parameter], context)
            else:
                value = (
                    self.operator.dag.get_template_env()
                    .from_string(self.table.values[source.parameter])
                    .render(context)
                )
            texts[name] = protocol.encode(value)
        return texts

    def run(self, context: Mapping[str, Any] | None = None) -> Any:
        """Call the author's function as the container does, in a run with this context."""
        assert not self.values.problems, self.values.problems
        return entrypoint.use_function(dict(self.payload), self.inputs(context or {}))

    def node(self, name: str, context: Mapping[str, Any] | None = None) -> Any:
        """Return the value of one node of the payload."""
        return entrypoint.resolve(self.payload[name], self.inputs(context or {}))


def convert(build: Callable[[], Any], *, folder: Path | None = None, **dag_options: Any) -> Converted:
    """Make an operator in a group of a DAG and convert it.

    :param build: makes the operator, or calls a decorated function.
    :param folder: the DAG's template search path.
    """
    if folder is not None:
        dag_options["template_searchpath"] = [str(folder)]
    with DAG("d", **dag_options) as dag, TaskGroup("g"):
        made = build()
    operator = made.operator if isinstance(made, PlainXComArg) else made
    table = ParameterTable()
    members = {task.task_id: task for task in dag.tasks if task.task_id.startswith("g.")}
    values = Values(operator, members, set(), table)
    converter = converter_for(operator)
    assert converter is not None, type(operator)
    return Converted(operator, converter.convert(operator, values), values, table)
