"""Reading a PipelineSpec: the JSON that kfp's compiler writes in, a
:class:`~airflow_vertex_provider.emulator.plan.Plan` the engine can run out.

Everything that cannot be run is found here, when the job is created, and named: a spec is either run as
it is meant or refused. Problems are collected, not raised one by one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airflow_vertex_provider.emulator import conditions, loop_spec, selectors
from airflow_vertex_provider.emulator.errors import FieldErrors
from airflow_vertex_provider.emulator.machines import machine_spec
from airflow_vertex_provider.emulator.parameters import PARAMETER_TYPES, check_type
from airflow_vertex_provider.emulator.plan import (
    MISSING,
    Component,
    Dag,
    ParameterInput,
    Plan,
    Retry,
    TaskSpec,
)

Json = dict[str, Any]

#: Deepest nesting of pipelines within pipelines; a component that contains itself would never end.
MAX_DEPTH = 32

#: Most bytes of a part of a file's path on the usual file systems.
NAME_MAX = 255
#: Most bytes of a task's name: with ``_`` and the task's id, a sign and 19 digits, it names a folder.
MAX_TASK_NAME = NAME_MAX - 21

#: Key of the group that kfp makes of ``dsl.ExitHandler``; what waits for it to be completed is its exit task.
EXIT_HANDLER = "exit-handler-"

_COMPLETED = "ALL_UPSTREAM_TASKS_COMPLETED"
_STRATEGIES = ("ALL_UPSTREAM_TASKS_SUCCEEDED", "TRIGGER_STRATEGY_UNSPECIFIED", _COMPLETED)

_PATH = "pipeline_job.pipeline_spec"


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
            self.executor(data.get("executorLabel", ""), component, path)
            for key, item in component.output_artifacts.items():
                if item.get("isArtifactList"):  # kfp refuses it too: only loops collect artifacts
                    self.unsupported(
                        f"{path}.output_definitions.artifacts[{key}]",
                        "containers that make lists of artifacts",
                    )
        return component

    def parameter(self, data: Mapping[str, Any], path: str) -> ParameterInput:
        kind = data.get("parameterType", "")
        if kind == "TASK_FINAL_STATUS":
            kind = "STRUCT"  # which is what it travels as
        elif kind not in PARAMETER_TYPES:
            self.errors.add(path, f"parameter_type {kind!r}; allowed: {', '.join(sorted(PARAMETER_TYPES))}.")
        default = data.get("defaultValue", MISSING)
        if default is not MISSING and default is not None and kind in PARAMETER_TYPES:
            try:
                default = check_type(kind, default)
            except ValueError as error:
                self.errors.add(f"{path}.default_value", str(error))
        return ParameterInput(kind, default, bool(data.get("isOptional")) or default is not MISSING)

    def executor(self, label: str, component: Component, path: str) -> None:
        executor = self.executors.get(label)
        if executor is None:
            self.errors.add(f"{path}.executor_label", f"no executor {label!r} in deployment_spec.")
            return
        where = f"{_PATH}.deployment_spec.executors[{label}]"
        if "importer" in executor:
            component.importer = self.importer(executor["importer"], component, f"{where}.importer")
            return
        container = executor.get("container")
        if container is None:
            what = {"resolver": "resolvers", "customJob": "native custom-job executors"}
            kind = next(iter(executor), "")
            self.unsupported(where, what.get(kind, f"executors of kind {kind!r}"))
            return
        if container.get("lifecycle"):
            self.unsupported(f"{where}.container.lifecycle", "lifecycle hooks (pre-caching checks)")
        resources = container.get("resources", {})
        if "{{$" not in json.dumps(resources):  # else the limits are known when the task runs
            try:
                machine_spec(resources, smallest_machine=True)
            except ValueError as error:
                self.errors.add(f"{where}.container.resources", f"{error}.")
        component.container = dict(container)

    def importer(self, data: Mapping[str, Any], component: Component, path: str) -> Json:
        uri = data.get("artifactUri", {})
        if "runtimeParameter" in uri:
            if uri["runtimeParameter"] not in component.parameters:
                self.errors.add(
                    f"{path}.artifact_uri.runtime_parameter",
                    f"refers to input {uri['runtimeParameter']!r}, which the component lacks.",
                )
        elif not {"constant", "constantValue"} & set(uri):
            self.errors.add(f"{path}.artifact_uri", "artifact_uri is empty.")
        if len(component.output_artifacts) != 1:
            self.errors.add(
                path,
                f"found {len(component.output_artifacts)} output artifacts; allowed: an importer makes one.",
            )
        return dict(data)

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
            if "valueFromOneof" in item:
                found = item["valueFromOneof"].get("parameterSelectors", [])
            else:
                found = [item["valueFromParameter"]] if "valueFromParameter" in item else []
            dag.output_parameters[key] = self.selected(found, "outputParameterKey", tasks, where)
        for key, item in outputs.get("artifacts", {}).items():
            where = f"{path}.outputs.artifacts[{key}]"
            found = item.get("artifactSelectors", [])
            dag.output_artifacts[key] = self.selected(found, "outputArtifactKey", tasks, where)
        return dag

    def selected(
        self, found: list[Json], key: str, tasks: Mapping[str, TaskSpec], path: str
    ) -> tuple[tuple[str, str], ...]:
        """Return where an output comes from: tasks and their outputs, the first that ran to be taken."""
        if not found:
            self.errors.add(path, "names no task that the output comes from.")
        sources = []
        for item in found:
            task, name = item.get("producerSubtask", ""), item.get(key, "")
            if not self.known(task, tasks, path):
                continue
            component = tasks[task].component
            made = component.output_parameters if key == "outputParameterKey" else component.output_artifacts
            if name not in made:
                self.errors.add(
                    path, f"refers to output {name!r} of task {task!r}, which has no such output."
                )
            sources.append((task, name))
        return tuple(sources)

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
        upstream = [task for task in data.get("dependentTasks", []) if self.known(task, siblings, path)]
        inputs = data.get("inputs", {})
        name = data.get("componentRef", {}).get("name", "")
        if name not in self.components:
            self.errors.add(f"{path}.component_ref", f"no component {name!r} in components.")
            component = Component(name, container={})
        else:
            component = self.component(name, self.components[name], f"{_PATH}.components[{name}]", depth + 1)
        trigger = data.get("triggerPolicy", {})
        strategy = trigger.get("strategy", _STRATEGIES[0])
        if strategy not in _STRATEGIES:
            self.unsupported(f"{path}.trigger_policy.strategy", f"trigger strategy {strategy}")
        completed = strategy == _COMPLETED
        selected = {}
        for group in ("parameters", "artifacts"):
            for item, source in inputs.get(group, {}).items():
                where = f"{path}.inputs.{group}[{item}]"
                producer = self.source(source, group, siblings, owner, where)
                if producer:
                    upstream.append(producer)
                if source.get("parameterExpressionSelector"):
                    try:
                        selected[item] = selectors.parse(source["parameterExpressionSelector"])
                    except selectors.SelectorError as error:
                        self.errors.add(f"{where}.parameter_expression_selector", f"{error}.")
                if completed and "taskOutputParameter" in source:
                    self.check_default(component, item, key, where)
        loop = loop_spec.read(data, component, path, self.errors)
        item_input = loop.item if loop else ""
        for item, declared in component.parameters.items():
            if not declared.optional and item not in inputs.get("parameters", {}) and item != item_input:
                self.errors.add(f"{path}.inputs.parameters[{item}]", "the component requires this input.")
        condition = self.condition(trigger.get("condition", ""), component, item_input, path)
        title = data.get("taskInfo", {}).get("name") or key
        if max(_bytes(title), _bytes(key)) > MAX_TASK_NAME:
            self.errors.add(
                f"{path}.task_info.name",
                f"found a name of {max(_bytes(title), _bytes(key))} bytes; allowed: at most {MAX_TASK_NAME}, "
                "since it names the task's output folder.",
            )
        policy = data.get("retryPolicy", {})
        if policy.get("maxRetryCount") and component.dag:
            self.unsupported(f"{path}.retry_policy", "retries of a pipeline within a pipeline")
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
            selectors=selected,
            condition=condition,
            loop=loop,
            completed=completed,
            exits=completed and any(_is_exit_handler(task, siblings) for task in upstream),
        )

    def condition(self, text: str, component: Component, item: str, path: str) -> conditions.Condition | None:
        if not text:
            return None
        where = f"{path}.trigger_policy.condition"
        try:
            condition = conditions.parse(text)
        except conditions.ConditionError as error:
            self.errors.add(where, str(error))
            return None
        for name in sorted(condition.names):
            if name not in component.parameters or name == item:
                self.errors.add(where, f"asks about input {name!r}, which the task lacks.")
        return condition

    def check_default(self, component: Component, item: str, task: str, path: str) -> None:
        """Refuse an input that may come from a failed task and says nothing about that case, as kfp does."""
        declared = component.parameters.get(item)
        if declared is not None and not declared.optional:
            self.errors.add(
                path,
                f"task {task!r} starts even if the task that makes this input failed, so the component must "
                f"give its input {item!r} a default value or make it optional.",
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
        if output in source:
            producer = str(source[output].get("producerTask", ""))
            return producer if self.known(producer, siblings, path) else None
        if outer in source:
            if source[outer] not in declared:
                self.errors.add(
                    path, f"refers to input {source[outer]!r}, which the surrounding pipeline lacks."
                )
        elif "taskFinalStatus" in source:
            producer = str(source["taskFinalStatus"].get("producerTask", ""))
            return producer if self.known(producer, siblings, path) else None
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


def _is_exit_handler(task: str, siblings: Mapping[str, Json]) -> bool:
    return task.startswith(EXIT_HANDLER) and task in siblings


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
