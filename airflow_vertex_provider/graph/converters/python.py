"""``@task``, ``@task.vertex`` and PythonOperator: a function and its arguments in, a PYTHON task out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_vertex_provider.graph.converters.base import Conversion
from airflow_vertex_provider.graph.converters.functions import FunctionCall, function_call
from airflow_vertex_provider.graph.model import TaskKind
from airflow_vertex_provider.graph.template_files import with_files
from airflow_vertex_provider.runtime import protocol

if TYPE_CHECKING:
    from airflow_vertex_provider.graph.values import Values

CLASSES = (
    "airflow.providers.standard.operators.python.PythonOperator",
    "airflow.providers.standard.decorators.python._PythonDecoratedOperator",
    "airflow_vertex_provider.decorators.vertex.VertexDecoratedOperator",
)
LEAVES_VALUE = True
TITLE = "@task, @task.vertex, PythonOperator"


def convert(operator: Any, values: Values) -> Conversion:
    """See :mod:`airflow_vertex_provider.graph.converters.base`."""
    call = function_call(operator, values, own=own_arguments(operator, values), leaves_artifacts=True)
    return Conversion(
        TaskKind.PYTHON,
        payload(operator, call),
        may_skip=bool(call and call.may_skip),
        output_types=call.outputs if call else {},
    )


def own_arguments(operator: Any, values: Values) -> dict[str, Any]:
    """Return what a PythonOperator adds to its function's arguments: the templates, and ``None`` for none."""
    return {
        "templates_dict": with_files(operator, "templates_dict", operator.templates_dict, values),
    }


def payload(operator: Any, call: FunctionCall | None) -> dict[str, Any]:
    """Return the payload of a PYTHON task; an empty one for a function that cannot be carried."""
    return protocol.python_config(task=operator.task_id, **call.config) if call is not None else {}
