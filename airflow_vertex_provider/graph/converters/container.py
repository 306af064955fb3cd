"""VertexContainerOperator: image, command and arguments in, a CONTAINER task out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_vertex_provider.graph.converters.base import Conversion
from airflow_vertex_provider.graph.model import TaskKind

if TYPE_CHECKING:
    from airflow_vertex_provider.graph.values import Values

CLASSES = ("airflow_vertex_provider.operators.container.VertexContainerOperator",)
LEAVES_VALUE = False


def convert(operator: Any, values: Values) -> Conversion:
    """See :mod:`airflow_vertex_provider.graph.converters.base`."""
    payload = {
        "command": [values.part(f"command[{index}]", item) for index, item in enumerate(operator.command)],
        "arguments": [
            values.part(f"arguments[{index}]", item) for index, item in enumerate(operator.arguments)
        ],
        "env": {name: values.part(f"env[{name!r}]", item) for name, item in operator.env.items()},
    }
    settings = {"image": operator.image} if operator.image is not None else {}
    return Conversion(TaskKind.CONTAINER, payload, settings)
