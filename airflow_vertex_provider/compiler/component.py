"""Components: a COMPONENT task of the graph and its settings in, what stands for it in a PipelineSpec out.

The component stays what kfp compiled; only the names under which it is known change, in the way that kfp
changes them when it puts one pipeline into another: a name that is taken gets a number. A single container
also gets the task's resources and variables, as kfp's own ``set_cpu_limit`` and ``set_env_variable`` do it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_vertex_provider import checks
from airflow_vertex_provider.compiler import executor
from airflow_vertex_provider.exceptions import Problem
from airflow_vertex_provider.graph.component_spec import is_artifact
from airflow_vertex_provider.graph.model import FromConstant, Task
from airflow_vertex_provider.settings import TaskSettings


@dataclass(frozen=True)
class Embedded:
    """A component's parts of a PipelineSpec; all of it may be changed.

    :param component: the ComponentSpec of the task itself, to be named ``comp-<name>``.
    :param components: name to ComponentSpec of those it refers to, if it is a pipeline.
    :param executors: label to executor; a single component's label is ``exec-<name>``.
    """

    component: dict[str, Any]
    components: dict[str, Any]
    executors: dict[str, Any]


def embed_component(task: Task, settings: TaskSettings, taken: Collection[str]) -> Embedded:
    """Return the parts of a PipelineSpec that run a component. Runs at submit.

    :param task: a COMPONENT task.
    :param settings: the task's merged settings; those that a component has of its own are left aside: the
        reader has refused them on the task, and the group's do not reach it.
    :param taken: names of components and labels of executors that the spec has already, and those of
        ``comp-<name>`` and ``exec-<name>`` that its other tasks will have.
    """
    parts = copy.deepcopy(dict(task.payload))
    component, components, executors = parts["component"], parts["components"], parts["executors"]
    if "dag" not in component:
        (container,) = executors.values()
        label = f"exec-{task.name}"
        component["executorLabel"] = label
        components, executors = {}, {label: container}
        if "container" in container:
            _apply(container["container"], settings)
    else:
        used = {*taken, f"comp-{task.name}"}
        names = _unique(components, used)
        labels = _unique(executors, used)
        for item in (component, *components.values()):
            for inner in item.get("dag", {}).get("tasks", {}).values():
                inner["componentRef"]["name"] = names[inner["componentRef"]["name"]]
            if "executorLabel" in item:
                item["executorLabel"] = labels[item["executorLabel"]]
        components = {names[name]: item for name, item in components.items()}
        executors = {labels[label]: item for label, item in executors.items()}
    _declare_others(task, component)
    return Embedded(component, components, executors)


def constant_of(task: Task, name: str) -> Any:
    """Return the value of an input that is a constant of the author's, in the input's own type."""
    source = task.inputs[name]
    if not isinstance(source, FromConstant):
        raise TypeError(f"{task.id}: inputs.{name}: found {source!r}; allowed: a constant")
    return json.loads(source.text) if name in task.input_types else source.text


def artifact_inputs(task: Task) -> list[str]:
    """Return the names of the inputs that are artifacts, which a task takes as such."""
    return [name for name, kind in task.input_types.items() if is_artifact(kind)]


def problems_of(task: Task, settings: TaskSettings) -> Iterator[Problem]:
    """Find what keeps a component from being written into a spec with its settings.

    How a pipeline hands its inputs on, only its own tasks know; so this looks at single containers.
    """
    executors = task.payload["executors"].values()
    if "dag" in task.payload["component"]:
        return
    for container in (item["container"] for item in executors if "container" in item):
        size = max(_least_sizes(task, container), default=0)
        if size >= executor.MAX_ARGUMENT:
            yield Problem(
                task.id,
                "arguments",
                f"literals that make {size} bytes of one argument of the component's container",
                f"less than {executor.MAX_ARGUMENT} bytes; pass a file instead",
            )
        names = {item["name"] for item in container.get("env", ())} | set(settings.env)
        if len(names) > checks.MAX_ENV:
            yield Problem(
                task.id,
                "env",
                f"{len(names)} variables",
                f"at most {checks.MAX_ENV}, the component's and its settings' together (L14)",
            )


def _least_sizes(task: Task, container: Mapping[str, Any]) -> Iterator[int]:
    """Yield how many bytes each argument has at least: its own text and the literals that go into it."""
    constants = {
        f"{{{{$.inputs.parameters['{name}']}}}}": len(source.text.encode())
        for name, source in task.inputs.items()
        if isinstance(source, FromConstant)
    }
    for text in (*container.get("command", ()), *container.get("args", ())):
        size = len(text.encode()) + sum(text.count(mark) * length for mark, length in constants.items())
        yield size + text.count("{{$}}") * sum(constants.values())


def _apply(container: dict[str, Any], settings: TaskSettings) -> None:
    """Give a component's container what the task's settings say; its own is kept where they say nothing."""
    resources = executor.plain_resources(settings.resources)
    if resources:
        container["resources"] = {**container.get("resources", {}), **resources}
    if settings.env:
        own = {item["name"]: item["value"] for item in container.get("env", ())}
        variables = sorted({**own, **settings.env}.items())
        container["env"] = [{"name": name, "value": value} for name, value in variables]


def _unique(names: Mapping[str, Any], used: set[str]) -> dict[str, str]:
    """Map each name to one that is not in ``used``, and add that to it."""
    found: dict[str, str] = {}
    # A name that is free keeps its holder, whatever a renamed one before it would have liked.
    for name in sorted(names, key=lambda name: (name in used, name)):
        unique, number = name, 1
        while unique in used:
            number += 1
            unique = f"{name}-{number}"
        used.add(unique)
        found[name] = unique
    return found


def _declare_others(task: Task, component: dict[str, Any]) -> None:
    """Declare inputs that the component does not know: the iteration of a loop is one."""
    defined = component.get("inputDefinitions", {})
    known = {*defined.get("parameters", {}), *defined.get("artifacts", {})}
    others = [name for name in task.inputs if name not in known]
    if others:
        parameters = component.setdefault("inputDefinitions", {}).setdefault("parameters", {})
        parameters.update({name: {"parameterType": "STRING"} for name in sorted(others)})
