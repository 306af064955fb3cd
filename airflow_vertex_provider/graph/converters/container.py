"""VertexContainerOperator: image, command and arguments in, a CONTAINER task out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_vertex_provider import checks
from airflow_vertex_provider.exceptions import VertexSettingsError
from airflow_vertex_provider.graph.component_spec import SINGLE_OUTPUT
from airflow_vertex_provider.graph.component_values import container_outputs
from airflow_vertex_provider.graph.converters.base import Conversion
from airflow_vertex_provider.graph.model import TaskKind
from airflow_vertex_provider.placeholders import OUTPUT_TYPES

if TYPE_CHECKING:
    from airflow_vertex_provider.graph.values import Values

CLASSES = ("airflow_vertex_provider.operators.container.VertexContainerOperator",)
LEAVES_VALUE = True

#: XComs of a member that are not its outputs; the launcher of a custom job has an output of its own.
_TAKEN = ("return_value", "vertex_url", "vertex_logs_url", "gcp_resources")


def convert(operator: Any, values: Values) -> Conversion:
    """See :mod:`airflow_vertex_provider.graph.converters.base`."""
    payload = container_payload(
        values,
        command=("command", operator.command),
        arguments=("arguments", operator.arguments),
        env=("env", operator.env),
    )
    outputs = _outputs(operator, payload, values)
    # What Airflow asks the mirror: each output of several has an XCom of its own beside the dict.
    operator.multiple_outputs = bool(outputs) and set(outputs) != {SINGLE_OUTPUT}
    settings = {"image": operator.image} if operator.image is not None else {}
    return Conversion(TaskKind.CONTAINER, payload, settings, output_types=outputs)


def _outputs(operator: Any, payload: Mapping[str, Any], values: Values) -> dict[str, str]:
    """Return the outputs that the operator declares with their types, each of which has a file."""
    types = ", ".join(kind.__name__ for kind in OUTPUT_TYPES)
    if not isinstance(operator.outputs, Mapping):
        values.refuse("outputs", operator.outputs, f"a dict of output name to type: {types}")
        return {}
    found = container_outputs(operator.outputs)
    parts = [*payload["command"], *payload["arguments"], *payload["env"].values()]
    written = {
        piece["$out"] for part in parts for piece in part if isinstance(piece, Mapping) and "$out" in piece
    }
    for name, kind in operator.outputs.items():
        field = f"outputs[{name!r}]"
        if not isinstance(name, str) or not (name.isascii() and name.isidentifier()) or name in _TAKEN:
            values.refuse(
                "outputs", repr(name), f"a name of letters, digits and _, but none of {', '.join(_TAKEN)}"
            )
        elif name not in found:
            values.refuse(field, repr(kind), f"one of the types {types}")
        elif name not in written:
            values.refuse(
                field,
                "no place that names its file",
                f"OutputFile({name!r}) in command, arguments or env: the path to write to",
            )
    return found


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
        before = len(values.problems)
        parts[variable] = values.part(field, item)
        if item is None or (not any(parts[variable]) and len(values.problems) == before):
            values.refuse(field, repr(item), "a text that is not empty (L14)")
    return parts
