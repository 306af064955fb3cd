"""VertexComponentOperator: a component of KFP and its arguments in, a COMPONENT task out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions._internal.mixins import ResolveMixin

from airflow_vertex_provider.graph.component_spec import (
    SINGLE_OUTPUT,
    Component,
    ComponentError,
    is_artifact,
    read_component,
)
from airflow_vertex_provider.graph.component_values import CLASS, source_of
from airflow_vertex_provider.graph.converters.base import Conversion
from airflow_vertex_provider.graph.converters.settings import said
from airflow_vertex_provider.graph.model import FromItem, Source, TaskKind
from airflow_vertex_provider.settings import INSTALLATION_KEYS

if TYPE_CHECKING:
    from airflow_vertex_provider.graph.values import Values

CLASSES = (CLASS,)
LEAVES_VALUE = True

#: Settings that a component has of its own, and what to do in their place.
_OWN: Mapping[str, str] = {
    "custom_job": (
        "none: a component brings its own container; make a component of it that starts a custom job, with "
        "create_custom_training_job_from_component of google_cloud_pipeline_components"
    ),
    "image": "none: a component has its own image",
    **dict.fromkeys(
        INSTALLATION_KEYS, "none: a component says itself what it installs (packages_to_install)"
    ),
}
#: Settings of a single container, which a pipeline is not.
_OF_A_CONTAINER: Mapping[str, str] = {
    "resources": "none for a pipeline: each task in it has its own (task.set_cpu_limit and others)",
    "env": "none for a pipeline: each task in it has its own (task.set_env_variable)",
}


def convert(operator: Any, values: Values) -> Conversion:
    """See :mod:`airflow_vertex_provider.graph.converters.base`."""
    try:
        component = read_component(operator.component, operator.dag.folder)
    except ComponentError as error:
        values.refuse("component", error.found, error.allowed)
        return Conversion(TaskKind.COMPONENT)
    _refuse_settings(operator, component, values)
    inputs = _inputs(operator.arguments, component, values)
    # Whatever reading the arguments has left; the iteration of a loop stays, under its own name.
    kept = {name: source for name, source in values.inputs.items() if isinstance(source, FromItem)}
    values.inputs.clear()
    values.inputs.update({name: source for name, source in kept.items() if name not in inputs} | inputs)
    # What Airflow asks the mirror: each output of several has an XCom of its own beside the dict.
    operator.multiple_outputs = bool(component.outputs) and set(component.outputs) != {SINGLE_OUTPUT}
    return Conversion(
        TaskKind.COMPONENT,
        component.payload(),
        input_types={
            name: component.inputs[name].type for name in inputs if component.inputs[name].type != "STRING"
        },
        output_types=dict(component.outputs),
    )


def _inputs(arguments: Any, component: Component, values: Values) -> dict[str, Source]:
    known = ", ".join(f"{name} ({port.type})" for name, port in component.inputs.items())
    if not isinstance(arguments, Mapping):
        values.refuse(
            "arguments",
            "a value that only a run knows" if isinstance(arguments, ResolveMixin) else arguments,
            "a dict of input to value, written out: to run a component for each of several values, put it "
            "into a mapped task group and give the group's argument to an input",
        )
        return {}
    found: dict[str, Source] = {}
    for name, value in arguments.items():
        if name not in component.inputs:
            values.refuse(
                "arguments", repr(name), f"inputs of component {component.name!r}: {known or 'it has none'}"
            )
            continue
        source = source_of(values, f"arguments[{name!r}]", component.inputs[name], value)
        if source is not None:
            found[name] = source
    for name, port in component.inputs.items():
        if name not in arguments and not port.optional:
            what = (
                "an output of another component" if is_artifact(port.type) else f"a value of type {port.type}"
            )
            values.refuse("arguments", f"no {name!r}", f"{what}, which component {component.name!r} needs")
    return found


def _refuse_settings(operator: Any, component: Component, values: Values) -> None:
    """Refuse settings of this task that its component has no place for."""
    refused = {**_OWN, **_OF_A_CONTAINER} if component.is_pipeline else _OWN
    for name, allowed in refused.items():
        found = said(operator, name)
        if found:
            values.refuse(f'executor_config["vertex"][{name!r}]', repr(found), allowed)
    if component.is_pipeline and operator.retries:
        values.refuse(
            "retries",
            operator.retries,
            "0 for a pipeline: each task in it has its own retries (task.set_retry)",
        )
