"""Pipelines of components alone: COMPONENT tasks in, a PipelineSpec out, without the rest of the compiler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_vertex_provider.compiler.component import artifact_inputs, constant_of, embed_component
from airflow_vertex_provider.graph.component_spec import read_component
from airflow_vertex_provider.graph.model import FromOutput, FromParameter, Source, Task, TaskKind
from airflow_vertex_provider.settings import TaskSettings

Json = dict[str, Any]


def component_task(name: str, component: Any, inputs: Mapping[str, Source] | None = None) -> Task:
    read = read_component(component, "")
    inputs = inputs or {}
    return Task(
        id=f"g.{name}",
        name=name,
        kind=TaskKind.COMPONENT,
        payload=read.payload(),
        inputs=inputs,
        outputs=tuple(read.outputs),
        input_types={key: read.inputs[key].type for key in inputs if read.inputs[key].type != "STRING"},
        output_types=read.outputs,
    )


def settings(**options: Any) -> TaskSettings:
    return TaskSettings(**options)


def assembled(*tasks: Task, parameters: Mapping[str, str] | None = None) -> Json:
    """Return a spec of a pipeline that runs the tasks, each with default settings."""
    spec: Json = {
        "components": {},
        "deploymentSpec": {"executors": {}},
        "pipelineInfo": {"name": "dag-g"},
        "root": {"dag": {"tasks": {}}},
        "schemaVersion": "2.1.0",
        "sdkVersion": "kfp-2.16.1",
    }
    if parameters:
        spec["root"]["inputDefinitions"] = {
            "parameters": {name: {"parameterType": kind} for name, kind in parameters.items()}
        }
    own = {f"{prefix}-{task.name}" for task in tasks for prefix in ("comp", "exec")}
    for task in tasks:
        executors = spec["deploymentSpec"]["executors"]
        made = embed_component(task, settings(), {*own, *spec["components"], *executors})
        assert not {*made.components, f"comp-{task.name}"} & set(spec["components"])
        assert not set(made.executors) & set(executors)
        spec["components"] |= {**made.components, f"comp-{task.name}": made.component}
        executors |= made.executors
        spec["root"]["dag"]["tasks"][task.name] = task_spec(task)
    return spec


def task_spec(task: Task) -> Json:
    inputs: Json = {}
    after = []
    for name, source in task.inputs.items():
        group = "artifacts" if name in artifact_inputs(task) else "parameters"
        inputs.setdefault(group, {})[name] = written(task, name, source)
        if isinstance(source, FromOutput):
            after.append(source.task.removeprefix("g."))
    return {
        "cachingOptions": {"enableCache": True},
        "componentRef": {"name": f"comp-{task.name}"},
        "taskInfo": {"name": task.name},
        **({"inputs": inputs} if inputs else {}),
        **({"dependentTasks": sorted(set(after))} if after else {}),
    }


def written(task: Task, name: str, source: Source) -> Json:
    if isinstance(source, FromParameter):
        return {"componentInputParameter": source.parameter}
    if isinstance(source, FromOutput):
        producer = source.task.removeprefix("g.")
        if name in artifact_inputs(task):
            return {"taskOutputArtifact": {"producerTask": producer, "outputArtifactKey": source.output}}
        return {"taskOutputParameter": {"producerTask": producer, "outputParameterKey": source.output}}
    return {"runtimeValue": {"constant": constant_of(task, name)}}
