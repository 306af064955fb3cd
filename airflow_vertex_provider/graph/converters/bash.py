"""BashOperator and ``@task.bash``: a command in, a BASH task out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_vertex_provider.graph.converters.base import Conversion
from airflow_vertex_provider.graph.converters.python import function_call
from airflow_vertex_provider.graph.model import TaskKind
from airflow_vertex_provider.runtime import protocol

if TYPE_CHECKING:
    from airflow_vertex_provider.graph.values import Values

OPERATOR = "airflow.providers.standard.operators.bash.BashOperator"
DECORATED = "airflow.providers.standard.decorators.bash._BashDecoratedOperator"
CLASSES = (OPERATOR, DECORATED)
LEAVES_VALUE = True

#: What Airflow takes for "skip me" if the author says nothing else.
DEFAULT_SKIP_CODES = [99]


def convert(operator: Any, values: Values) -> Conversion:
    """See :mod:`airflow_vertex_provider.graph.converters.base`."""
    if list(operator.skip_on_exit_code) != DEFAULT_SKIP_CODES:
        values.refuse(
            "skip_on_exit_code",
            operator.skip_on_exit_code,
            "the default; skips inside a Vertex pipeline are not carried yet",
        )
    if operator.output_encoding != "utf-8":
        values.refuse("output_encoding", operator.output_encoding, "utf-8")
    if getattr(operator.output_processor, "__module__", None) != OPERATOR.rpartition(".")[0]:
        values.refuse(
            "output_processor", operator.output_processor, "none; process the output in the next task"
        )
    what: dict[str, Any] | None
    if type(operator).__qualname__ == DECORATED.rpartition(".")[2]:
        what = function_call(operator, values)
    else:
        command = operator.bash_command
        if isinstance(command, str) and command.endswith(tuple(operator.template_ext)):
            values.refuse(
                "bash_command",
                command,
                "the command itself; command files are not read yet (a trailing space marks a command "
                "that only ends like a file name)",
            )
        what = {"command": values.node("bash_command", command)}
    payload = protocol.bash_config(
        task=operator.task_id,
        env=None if operator.env is None else values.node("env", operator.env),
        append_env=bool(operator.append_env),
        cwd=None if operator.cwd is None else values.node("cwd", operator.cwd),
        **(what or {"command": ""}),
    )
    return Conversion(TaskKind.BASH, payload)
