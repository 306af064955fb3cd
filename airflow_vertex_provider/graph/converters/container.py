"""VertexContainerOperator: image, command and arguments in, a CONTAINER task out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_vertex_provider import checks
from airflow_vertex_provider.exceptions import VertexSettingsError
from airflow_vertex_provider.graph.converters.base import Conversion
from airflow_vertex_provider.graph.model import TaskKind

if TYPE_CHECKING:
    from airflow_vertex_provider.graph.values import Values

CLASSES = ("airflow_vertex_provider.operators.container.VertexContainerOperator",)
LEAVES_VALUE = False


def convert(operator: Any, values: Values) -> Conversion:
    """See :mod:`airflow_vertex_provider.graph.converters.base`."""
    payload = {
        "command": _parts("command", operator.command, values),
        "arguments": _parts("arguments", operator.arguments, values),
        "env": _environment(operator.env, values),
    }
    settings = {"image": operator.image} if operator.image is not None else {}
    return Conversion(TaskKind.CONTAINER, payload, settings)


def _parts(field: str, items: Any, values: Values) -> list[list[Any]]:
    if not isinstance(items, list | tuple):
        values.refuse(field, items, "a list of arguments, each of which may be a template or an output")
        return []
    return [values.part(f"{field}[{index}]", item) for index, item in enumerate(items)]


def _environment(env: Any, values: Values) -> dict[str, list[Any]]:
    if not isinstance(env, Mapping) or len(env) > checks.MAX_ENV:
        values.refuse(
            "env", env, f"a dict of at most {checks.MAX_ENV} variables, each a text, a template or an output"
        )
        return {}
    parts = {}
    for name, item in env.items():
        field = f"env[{name!r}]"
        try:
            checks.variable_name("env", name)
        except VertexSettingsError as error:
            values.refuse(field, repr(name), error.allowed)
            continue
        if item == "":
            values.refuse(field, repr(item), "a text that is not empty (L14)")
        parts[name] = values.part(field, item)
    return parts
