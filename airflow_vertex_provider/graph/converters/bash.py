"""BashOperator and ``@task.bash``: a command in, a BASH task out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_vertex_provider.graph.converters.base import Conversion
from airflow_vertex_provider.graph.converters.functions import function_call
from airflow_vertex_provider.graph.converters.settings import refuse_outputs, skip_codes
from airflow_vertex_provider.graph.model import TaskKind
from airflow_vertex_provider.graph.template_files import with_files
from airflow_vertex_provider.runtime import protocol

if TYPE_CHECKING:
    from airflow_vertex_provider.graph.values import Values

OPERATOR = "airflow.providers.standard.operators.bash.BashOperator"
DECORATED = "airflow.providers.standard.decorators.bash._BashDecoratedOperator"
CLASSES = (OPERATOR, DECORATED)
LEAVES_VALUE = True
TITLE = "@task.bash, BashOperator"


def convert(operator: Any, values: Values) -> Conversion:
    """See :mod:`airflow_vertex_provider.graph.converters.base`."""
    refuse_outputs(operator, ("append_env",), values)
    codes = skip_codes(operator.skip_on_exit_code, values)
    if operator.output_encoding != "utf-8":
        values.refuse("output_encoding", operator.output_encoding, "utf-8")
    if getattr(operator.output_processor, "__module__", None) != OPERATOR.rpartition(".")[0]:
        values.refuse(
            "output_processor", operator.output_processor, "none; process the output in the next task"
        )
    what: dict[str, Any] = {"command": ""}
    may_skip = bool(codes)
    if type(operator).__qualname__ == DECORATED.rpartition(".")[2]:
        call = function_call(operator, values)
        if call is not None:
            what = dict(call.config)
            may_skip = may_skip or call.may_skip
    else:
        command = with_files(operator, "bash_command", operator.bash_command, values, twice=True)
        if command is None:
            values.refuse("bash_command", command, "a text, a template or an output of a task")
        else:
            # No node is what a refused value leaves.
            what = {"command": values.node("bash_command", command) or ""}
    config = protocol.bash_config(
        task=operator.task_id,
        env=_node(operator, "env", values),
        append_env=bool(operator.append_env),
        cwd=_node(operator, "cwd", values),
        skip_exit_codes=codes,
        **what,
    )
    return Conversion(TaskKind.BASH, config, may_skip=may_skip)


def _node(operator: Any, name: str, values: Values) -> Any:
    value = getattr(operator, name)
    return None if value is None else values.node(name, with_files(operator, name, value, values))
