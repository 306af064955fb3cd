"""Reading a PipelineSpec: the JSON that kfp's compiler writes in, a :class:`Plan` the engine can run out.

Everything that cannot be run is found here, when the job is created, and named: a spec is either run as
it is meant or refused. Problems are collected, not raised one by one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_vertex_provider.emulator.errors import FieldErrors
from airflow_vertex_provider.emulator.machines import machine_spec
from airflow_vertex_provider.emulator.parameters import PARAMETER_TYPES, check_type

Json = dict[str, Any]

#: Deepest nesting of pipelines within pipelines; a component that contains itself would never end.
MAX_DEPTH = 32

#: Most bytes of a part of a file's path on the usual file systems.
NAME_MAX = 255
#: Most bytes of a task's name: with ``_`` and the task's id, a sign and 19 digits, it names a folder.
MAX_TASK_NAME = NAME_MAX - 21

_PATH = "pipeline_job.pipeline_spec"


class _Missing:
    """Stands for "no default", which is not the same as a default of null."""


MISSING = _Missing()


@dataclass(frozen=True)
class ParameterInput:
    """One declared input parameter."""

    kind: str
    default: Any
    optional: bool


@dataclass(frozen=True)
class Retry:
    """A task's retry policy; durations in seconds, with the documented defaults."""

    count: int = 0
    backoff: float = 0.0
    factor: float = 2.0
    longest: float = 3600.0

    def delay(self, failures: int) -> float:
        """Return the seconds to wait after that many failed attempts."""
        return float(min(self.longest, self.backoff * self.factor ** (failures - 1)))


@dataclass
class Component:
    """A component: what goes in, what comes out, and either a container or a DAG of tasks."""

    name: str
    parameters: dict[str, ParameterInput] = field(default_factory=dict)
    artifacts: dict[str, Json] = field(default_factory=dict)
    output_parameters: dict[str, str] = field(default_factory=dict)
    output_artifacts: dict[str, Json] = field(default_factory=dict)
    container: Json | None = None
    dag: Dag | None = None


@dataclass
class TaskSpec:
    """One task of a DAG.

    :param key: key in the DAG. :param name: ``taskInfo.name``.
    :param upstream: keys of the tasks that must have ended, from edges and from inputs.
    """

    key: str
    name: str
    component: Component
    parameters: Json
    artifacts: Json
    upstream: tuple[str, ...]
    enable_cache: bool
    retry: Retry


@dataclass
class Dag:
    """Tasks in an order in which each stands after those it needs, and where the outputs come from."""

    tasks: dict[str, TaskSpec] = field(default_factory=dict)
    output_parameters: dict[str, tuple[str, str]] = field(default_factory=dict)
    output_artifacts: dict[str, tuple[str, str]] = field(default_factory=dict)


@dataclass
class Plan:
    """A whole pipeline."""

    name: str
    root: Component


def seconds(text: str | float | None, default: float) -> float:
    """Read a protobuf duration such as ``60s``."""
    if text is None or text == "":
        return default
    return float(text.removesuffix("s")) if isinstance(text, str) else float(text)


def read_spec(spec: Mapping[str, Any], errors: FieldErrors) -> Plan:
    """Read a PipelineSpec; whatever cannot be run is added to ``errors``."""
    reader = _Reader(spec, errors)
    name = spec.get("pipelineInfo", {}).get("name", "")
    if not name:
        errors.add(f"{_PATH}.pipeline_info.name", "name is empty.")
    version = spec.get("schemaVersion", "")
    if not version.startswith("2.1"):
        errors.add(f"{_PATH}.schema_version", f"found {version!r}; this emulator runs 2.1.0.")
    root = spec.get("root")
    if not isinstance(root, Mapping) or "dag" not in root:
        errors.add(f"{_PATH}.root", "root.dag is missing.")
        return Plan(name, Component("root", dag=Dag()))
    return Plan(name, reader.component("root", root, f"{_PATH}.root", 0))


class _Reader:
    def __init__(self, spec: Mapping[str, Any], errors: FieldErrors) -> None:
        self.components: Mapping[str, Json] = spec.get("components", {})
        deployment = spec.get("deploymentSpec") or spec.get("deploymentConfig") or {}
        self.executors: Mapping[str, Json] = deployment.get("executors", {})
        self.errors = errors

    def unsupported(self, path: str, what: str) -> None:
        self.errors.add(
            path, f"this emulator does not run {what} yet; it refuses rather than run something else."
        )

    def component(self, name: str, data: Mapping[str, Any], path: str, depth: int) -> Component:
        inputs = data.get("inputDefinitions", {})
        outputs = data.get("outputDefinitions", {})
        component = Component(
            name,
            parameters={
                key: self.parameter(item, f"{path}.input_definitions.parameters[{key}]")
                for key, item in inputs.get("parameters", {}).items()
            },
            artifacts=dict(inputs.get("artifacts", {})),
            output_parameters={
                key: item.get("parameterType", "STRING")
                for key, item in outputs.get("parameters", {}).items()
            },
            output_artifacts=dict(outputs.get("artifacts", {})),
        )
        for key, item in {**component.artifacts, **component.output_artifacts}.items():
            if item.get("isArtifactList"):
                self.unsupported(f"{path}[{key}]", "lists of artifacts")
        for key in {**component.output_parameters, **component.output_artifacts}:
            if _bytes(key) > NAME_MAX or "\0" in key:
                self.errors.add(
                    f"{path}.output_definitions[{key[:40]}]",
                    f"found a name of {_bytes(key)} bytes; allowed: a file's name of at most {NAME_MAX}.",
                )
        if depth > MAX_DEPTH:
            self.errors.add(
                path, f"pipelines are nested more than {MAX_DEPTH} deep; does one contain itself?"
            )
        elif "dag" in data:
            component.dag = self.dag(data["dag"], component, f"{path}.dag", depth)
        else:
            component.container = self.executor(data.get("executorLabel", ""), path)
        return component

    def parameter(self, data: Mapping[str, Any], path: str) -> ParameterInput:
        kind = data.get("parameterType", "")
        if kind == "TASK_FINAL_STATUS":
            self.unsupported(path, "exit handlers (an input of type TASK_FINAL_STATUS)")
        elif kind not in PARAMETER_TYPES:
            self.errors.add(path, f"parameter_type {kind!r}; allowed: {', '.join(sorted(PARAMETER_TYPES))}.")
        default = data.get("defaultValue", MISSING)
        if default is not MISSING and default is not None and kind in PARAMETER_TYPES:
            try:
                default = check_type(kind, default)
            except ValueError as error:
                self.errors.add(f"{path}.default_value", str(error))
        return ParameterInput(kind, default, bool(data.get("isOptional")) or default is not MISSING)

    def executor(self, label: str, path: str) -> Json | None:
        executor = self.executors.get(label)
        if executor is None:
            self.errors.add(f"{path}.executor_label", f"no executor {label!r} in deployment_spec.")
            return None
        where = f"{_PATH}.deployment_spec.executors[{label}]"
        container = executor.get("container")
        if container is None:
            what = {
                "importer": "importers (dsl.importer)",
                "resolver": "resolvers",
                "customJob": "native custom-job executors",
            }
            kind = next(iter(executor), "")
            self.unsupported(where, what.get(kind, f"executors of kind {kind!r}"))
            return None
        if container.get("lifecycle"):
            self.unsupported(f"{where}.container.lifecycle", "lifecycle hooks (pre-caching checks)")
        resources = container.get("resources", {})
        if "{{$" not in json.dumps(resources):  # else the limits are known when the task runs
            try:
                machine_spec(resources, smallest_machine=True)
            except ValueError as error:
                self.errors.add(f"{where}.container.resources", f"{error}.")
        return dict(container)

    def dag(self, data: Mapping[str, Any], owner: Component, path: str, depth: int) -> Dag:
        raw: Mapping[str, Json] = data.get("tasks", {})
        tasks = {
            key: self.task(key, item, raw, owner, f"{path}.tasks[{key}]", depth)
            for key, item in sorted(raw.items())  # a protobuf map has no order of its own
        }
        dag = Dag(self.ordered(tasks, path))
        outputs = data.get("outputs", {})
        for key, item in outputs.get("parameters", {}).items():
            where = f"{path}.outputs.parameters[{key}]"
            source = item.get("valueFromParameter")
            if source is None:
                self.unsupported(where, "one-of outputs (dsl.OneOf)")
            elif self.known(source.get("producerSubtask", ""), tasks, where):
                dag.output_parameters[key] = (source["producerSubtask"], source.get("outputParameterKey", ""))
        for key, item in outputs.get("artifacts", {}).items():
            where = f"{path}.outputs.artifacts[{key}]"
            selectors = item.get("artifactSelectors", [])
            if len(selectors) != 1:
                self.unsupported(where, "one-of and collected outputs (dsl.OneOf, dsl.Collected)")
            elif self.known(selectors[0].get("producerSubtask", ""), tasks, where):
                dag.output_artifacts[key] = (
                    selectors[0]["producerSubtask"],
                    selectors[0].get("outputArtifactKey", ""),
                )
        return dag

    def known(self, task: str, tasks: Mapping[str, Any], path: str) -> bool:
        if task not in tasks:
            self.errors.add(path, f"refers to task {task!r}, which is not in this DAG.")
        return task in tasks

    def task(
        self,
        key: str,
        data: Mapping[str, Any],
        siblings: Mapping[str, Json],
        owner: Component,
        path: str,
        depth: int,
    ) -> TaskSpec:
        trigger = data.get("triggerPolicy", {})
        if trigger.get("condition"):
            self.unsupported(f"{path}.trigger_policy.condition", "conditions (dsl.If, dsl.Elif, dsl.Else)")
        if trigger.get("strategy", "ALL_UPSTREAM_TASKS_SUCCEEDED") not in (
            "ALL_UPSTREAM_TASKS_SUCCEEDED",
            "TRIGGER_STRATEGY_UNSPECIFIED",
        ):
            self.unsupported(
                f"{path}.trigger_policy.strategy",
                f"trigger strategy {trigger['strategy']} (dsl.ExitHandler, ignore_upstream_failure)",
            )
        for name in ("parameterIterator", "artifactIterator", "iteratorPolicy"):
            if data.get(name):
                self.unsupported(f"{path}.{name}", f"loops (dsl.ParallelFor: {name})")
        upstream = [task for task in data.get("dependentTasks", []) if self.known(task, siblings, path)]
        inputs = data.get("inputs", {})
        name = data.get("componentRef", {}).get("name", "")
        if name not in self.components:
            self.errors.add(f"{path}.component_ref", f"no component {name!r} in components.")
            component = Component(name, container={})
        else:
            component = self.component(name, self.components[name], f"{_PATH}.components[{name}]", depth + 1)
        for group in ("parameters", "artifacts"):
            for item, source in inputs.get(group, {}).items():
                where = f"{path}.inputs.{group}[{item}]"
                producer = self.source(source, group, siblings, owner, where)
                if producer:
                    upstream.append(producer)
        for item, declared in component.parameters.items():
            if not declared.optional and item not in inputs.get("parameters", {}):
                self.errors.add(f"{path}.inputs.parameters[{item}]", "the component requires this input.")
        title = data.get("taskInfo", {}).get("name") or key
        if max(_bytes(title), _bytes(key)) > MAX_TASK_NAME:
            self.errors.add(
                f"{path}.task_info.name",
                f"found a name of {max(_bytes(title), _bytes(key))} bytes; allowed: at most {MAX_TASK_NAME}, "
                "since it names the task's output folder.",
            )
        policy = data.get("retryPolicy", {})
        return TaskSpec(
            key=key,
            name=title,
            component=component,
            parameters=dict(inputs.get("parameters", {})),
            artifacts=dict(inputs.get("artifacts", {})),
            upstream=tuple(dict.fromkeys(upstream)),
            enable_cache=bool(data.get("cachingOptions", {}).get("enableCache")),
            retry=Retry(
                int(policy.get("maxRetryCount", 0)),
                seconds(policy.get("backoffDuration"), 0.0),
                float(policy.get("backoffFactor") or 2.0),
                min(seconds(policy.get("backoffMaxDuration"), 3600.0), 3600.0),
            ),
        )

    def source(
        self,
        source: Mapping[str, Any],
        group: str,
        siblings: Mapping[str, Json],
        owner: Component,
        path: str,
    ) -> str | None:
        """Check where one input comes from; return the task that makes it, if one does."""
        declared: Mapping[str, Any]
        if group == "parameters":
            output, outer, declared = "taskOutputParameter", "componentInputParameter", owner.parameters
        else:
            output, outer, declared = "taskOutputArtifact", "componentInputArtifact", owner.artifacts
        if source.get("parameterExpressionSelector"):
            self.unsupported(path, "parameter expressions (loops over fields of items)")
        if output in source:
            producer = str(source[output].get("producerTask", ""))
            return producer if self.known(producer, siblings, path) else None
        if outer in source:
            if source[outer] not in declared:
                self.errors.add(
                    path, f"refers to input {source[outer]!r}, which the surrounding pipeline lacks."
                )
        elif "taskFinalStatus" in source:
            self.unsupported(path, "exit handlers (taskFinalStatus)")
        elif group == "artifacts" or not (
            {"constant", "constantValue"} & set(source.get("runtimeValue", {}))
        ):
            self.unsupported(path, f"an input from {', '.join(sorted(source)) or 'nowhere'}")
        return None

    def ordered(self, tasks: dict[str, TaskSpec], path: str) -> dict[str, TaskSpec]:
        """Put the tasks in an order in which each follows those it needs; a circle is an error."""
        order: dict[str, TaskSpec] = {}
        waiting = dict(tasks)
        while waiting:
            ready = [key for key, task in waiting.items() if all(name in order for name in task.upstream)]
            if not ready:
                self.errors.add(path, f"tasks wait for each other in a circle: {', '.join(sorted(waiting))}.")
                return tasks
            for key in ready:
                order[key] = waiting.pop(key)
        return order


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def constant(source: Mapping[str, Any]) -> Any:
    """Return the constant of an input whose source is ``runtimeValue``."""
    value = source["runtimeValue"]
    if "constant" in value:
        return value["constant"]
    for read in _OLD_CONSTANTS:
        found = read(value["constantValue"])
        if found is not None:
            return found
    return ""


_OLD_CONSTANTS: tuple[Callable[[Mapping[str, Any]], Any], ...] = (
    lambda value: value.get("stringValue"),
    lambda value: int(value["intValue"]) if "intValue" in value else None,
    lambda value: value.get("doubleValue"),
)
