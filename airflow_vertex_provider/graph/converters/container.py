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
    payload = container_payload(
        values,
        command=("command", operator.command),
        arguments=("arguments", operator.arguments),
        env=("env", operator.env),
    )
    settings = {"image": operator.image} if operator.image is not None else {}
    return Conversion(TaskKind.CONTAINER, payload, settings)


def container_payload(
    values: Values, *, command: tuple[str, Any], arguments: tuple[str, Any], env: tuple[str, Any]
) -> dict[str, Any]:
    """Return the payload of a CONTAINER task; each argument is the operator's name for it and the value."""
    return {
        "command": _parts(*command, values),
        "arguments": _parts(*arguments, values),
        "env": _environment(*env, values),
    }


def _parts(field: str, items: Any, values: Values) -> list[list[Any]]:
    if not isinstance(items, list | tuple):
        values.refuse(field, items, "a list of arguments, each of which may be a template or an output")
        return []
    return [values.part(f"{field}[{index}]", item) for index, item in enumerate(items)]


def _environment(name: str, env: Any, values: Values) -> dict[str, list[Any]]:
    if not isinstance(env, Mapping) or len(env) > checks.MAX_ENV:
        values.refuse(
            name, env, f"a dict of at most {checks.MAX_ENV} variables, each a text, a template or an output"
        )
        return {}
    parts = {}
    for variable, item in env.items():
        field = f"{name}[{variable!r}]"
        try:
            checks.variable_name(name, variable)
        except VertexSettingsError as error:
            values.refuse(field, repr(variable), error.allowed)
            continue
        if item == "" or item is None:
            values.refuse(field, repr(item), "a text that is not empty (L14)")
        parts[variable] = values.part(field, item)
    return parts
