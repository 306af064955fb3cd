"""The compiler: a graph of tasks and their settings in, a PipelineSpec as plain data and its text out.

The spec has the form that kfp's own compiler writes for a pipeline of container components, and no other:
Vertex AI documents none. Every input, output and run parameter is a STRING, because every value travels as
text of :mod:`airflow_vertex_provider.runtime.protocol`. Nothing of a run stands in it, so one group with
the same settings compiles to the same bytes for every run and in every process.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from airflow_vertex_provider.compiler import custom_job, executor
from airflow_vertex_provider.exceptions import Problem, VertexGroupError
from airflow_vertex_provider.graph.model import (
    FromOutput,
    FromParameter,
    Graph,
    Retry,
    Source,
    Task,
    TaskKind,
)
from airflow_vertex_provider.runtime.protocol import DEFAULT_INLINE_LIMIT
from airflow_vertex_provider.settings import PipelineSettings, TaskSettings

#: Version of the PipelineSpec's form, as kfp 2 writes it.
SCHEMA_VERSION = "2.1.0"
#: Longest back-off between two attempts, in seconds (L16).
MAX_BACKOFF = 3600

#: L02, without dashes that kfp would drop, and with the letter that the SDK's default job id begins with.
_PIPELINE_NAME = re.compile(r"(?=.{1,112}$)[a-z][a-z0-9]*(-[a-z0-9]+)*")
#: What kfp leaves as it is when it makes a name of a task (kfp.dsl.utils.maybe_rename_for_k8s).
_TASK_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
#: Characters that JSON may hold as they are, but that YAML refuses or takes for a line's end.
_NOT_FOR_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def compile_graph(
    graph: Graph, settings: Mapping[str, TaskSettings], pipeline: PipelineSettings
) -> dict[str, Any]:
    """Compile a task group to a PipelineSpec of plain JSON types.

    Runs at submit, in the worker. A group with custom jobs loads GCPC and with it kfp, once per process;
    one without loads neither.

    :param graph: the group.
    :param settings: Airflow task id to merged settings, templates rendered; one for every task.
    :param pipeline: settings of the job; project and location stand in every custom job.
    :raises VertexGroupError: something of the group cannot be written into a spec; names all of it.
    :raises VertexSettingsError: the installed GCPC cannot carry a setting.
    """
    return compile_with_limit(graph, settings, pipeline)[0]


def compile_with_limit(
    graph: Graph, settings: Mapping[str, TaskSettings], pipeline: PipelineSettings
) -> tuple[dict[str, Any], int]:
    """Compile as :func:`compile_graph` does, and return the spec with its :func:`inline_limit`.

    Runs at submit, which needs both; either alone would check the group and make its containers again.

    :raises VertexGroupError: as :func:`compile_graph`.
    :raises VertexSettingsError: as :func:`compile_graph`.
    """
    containers, limit = _build(graph, settings, pipeline)
    tasks = sorted(graph.tasks, key=lambda task: task.name)
    names = graph.vertex_names()
    root: dict[str, Any] = {
        "dag": {"tasks": {task.name: _task_spec(names, task, settings[task.id]) for task in tasks}}
    }
    if graph.parameters:
        root["inputDefinitions"] = {
            "parameters": {
                parameter.name: {
                    "parameterType": "STRING",
                    **({"description": parameter.description} if parameter.description else {}),
                }
                for parameter in sorted(graph.parameters, key=lambda parameter: parameter.name)
            }
        }
    spec = {
        "components": {f"comp-{task.name}": _component(task, settings[task.id]) for task in tasks},
        "deploymentSpec": {
            "executors": {f"exec-{task.name}": {"container": containers[task.id]} for task in tasks}
        },
        "pipelineInfo": {"name": graph.name},
        "root": root,
        "schemaVersion": SCHEMA_VERSION,
        "sdkVersion": f"kfp-{importlib.metadata.version('kfp')}",
    }
    return spec, limit


def inline_limit(graph: Graph, settings: Mapping[str, TaskSettings], pipeline: PipelineSettings) -> int:
    """Return how many bytes of ``argument_cost`` one value may have before it travels by file.

    Runs at submit. It is what each input of the busiest task can have when all its inputs are that large,
    and at most :data:`~airflow_vertex_provider.runtime.protocol.DEFAULT_INLINE_LIMIT`. The compiled tasks
    keep it for the values they write; the submitter keeps it for run parameters.

    :raises VertexGroupError: as :func:`compile_graph`.
    """
    return _build(graph, settings, pipeline)[1]


def dump_spec(spec: Mapping[str, Any]) -> str:
    """Write a PipelineSpec as text that is both JSON and YAML, the same bytes for equal specs.

    The text may be kept in a ``.json`` or a ``.yaml`` file; kfp and Google's ``PipelineJob`` load either.
    """
    text = json.dumps(spec, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return _NOT_FOR_YAML.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"


def _build(
    graph: Graph, settings: Mapping[str, TaskSettings], pipeline: PipelineSettings
) -> tuple[dict[str, dict[str, Any]], int]:
    """Check the group and make all its containers, with one limit for the values between them."""
    problems = list(_problems(graph, settings))
    if problems:
        raise VertexGroupError(graph.dag_id, graph.group_id, problems)

    def build(limit: int) -> dict[str, dict[str, Any]]:
        return {
            task.id: executor.build_executor(task, settings[task.id], pipeline, inline_limit=limit)
            for task in graph.tasks
        }

    containers = build(DEFAULT_INLINE_LIMIT)
    limit = DEFAULT_INLINE_LIMIT
    for task in graph.tasks:
        size = executor.fixed_size(containers[task.id])
        if size > executor.MAX_FIXED:
            field = "arguments" if task.kind is TaskKind.CONTAINER else "source"
            problems.append(
                Problem(
                    task.id,
                    field,
                    f"{size} bytes of code and constants in one argument of its container",
                    f"at most {executor.MAX_FIXED} bytes",
                )
            )
            continue
        room = executor.value_limit(task, containers[task.id], pipeline)
        if room is not None and room < executor.least_value_limit(pipeline):
            problems.append(
                Problem(
                    task.id,
                    "inputs",
                    f"{len(task.inputs)} values beside {size} bytes of code and constants",
                    f"fewer or shorter: all of it is one argument of {executor.MAX_ARGUMENT} bytes, "
                    f"and a value takes {executor.least_value_limit(pipeline)} even when it lies in a file",
                )
            )
        elif room is not None:
            limit = min(limit, room)
    if problems:
        raise VertexGroupError(graph.dag_id, graph.group_id, problems)
    return (containers if limit == DEFAULT_INLINE_LIMIT else build(limit)), limit


def _problems(graph: Graph, settings: Mapping[str, TaskSettings]) -> Iterator[Problem]:
    """Find all that keeps the group from being compiled."""
    if not graph.tasks:
        yield Problem(graph.group_id, "tasks", "none", "at least one task")
    if not _PIPELINE_NAME.fullmatch(graph.name):
        yield Problem(
            graph.group_id, "name", repr(graph.name), "a name that graph.naming.pipeline_name gives"
        )
    by_id = {task.id: task for task in graph.tasks}
    parameters = {parameter.name for parameter in graph.parameters}
    names: dict[str, str] = {}
    for task in graph.tasks:
        if not _TASK_NAME.fullmatch(task.name):
            yield Problem(task.id, "name", repr(task.name), "a name that graph.naming.vertex_names gives")
        if names.setdefault(task.name, task.id) != task.id:
            yield Problem(task.id, "name", repr(task.name), f"another name; {names[task.name]} has this one")
        for upstream in task.upstream:
            if upstream not in by_id:
                yield Problem(task.id, "upstream", repr(upstream), "ids of tasks of the group")
        for name, source in task.inputs.items():
            problem = _source_problem(by_id, parameters, source)
            if problem:
                yield Problem(task.id, f"inputs.{name}", repr(source), problem)
        if task.id in settings:
            yield from executor.problems_of(task, settings[task.id])
        else:
            yield Problem(task.id, "settings", "none", "merged settings for every task")


def _source_problem(by_id: Mapping[str, Task], parameters: set[str], source: Source) -> str:
    if isinstance(source, FromParameter) and source.parameter not in parameters:
        return "a run parameter of the graph"
    if isinstance(source, FromOutput) and (
        source.task not in by_id or source.output not in by_id[source.task].outputs
    ):
        return "an output that a task of the group declares"
    return ""


def _component(task: Task, settings: TaskSettings) -> dict[str, Any]:
    outputs = set(task.outputs)
    if settings.custom_job is not None:
        outputs.add(custom_job.GCP_RESOURCES)
    return {
        "executorLabel": f"exec-{task.name}",
        **({"inputDefinitions": _strings(task.inputs)} if task.inputs else {}),
        **({"outputDefinitions": _strings(outputs)} if outputs else {}),
    }


def _strings(names: Mapping[str, Source] | set[str]) -> dict[str, Any]:
    return {"parameters": {name: {"parameterType": "STRING"} for name in sorted(names)}}


def _task_spec(names: Mapping[str, str], task: Task, settings: TaskSettings) -> dict[str, Any]:
    # kfp names every task something is read from here as well, and sorts.
    upstream = {*task.upstream, *(s.task for s in task.inputs.values() if isinstance(s, FromOutput))}
    spec: dict[str, Any] = {
        "cachingOptions": {"enableCache": True} if settings.enable_caching else {},
        "componentRef": {"name": f"comp-{task.name}"},
        "taskInfo": {"name": task.name},
    }
    if upstream:
        spec["dependentTasks"] = sorted(names[task_id] for task_id in upstream)
    if task.inputs:
        spec["inputs"] = {
            "parameters": {name: _input(names, source) for name, source in sorted(task.inputs.items())}
        }
    if task.retry is not None and task.retry.max_retry_count > 0:
        spec["retryPolicy"] = _retry_policy(task.retry)
    return spec


def _input(names: Mapping[str, str], source: Source) -> dict[str, Any]:
    if isinstance(source, FromParameter):
        return {"componentInputParameter": source.parameter}
    if isinstance(source, FromOutput):
        return {
            "taskOutputParameter": {
                "producerTask": names[source.task],
                "outputParameterKey": source.output,
            }
        }
    return {"runtimeValue": {"constant": source.text}}


def _retry_policy(retry: Retry) -> dict[str, Any]:
    """Write a retry policy as kfp does: whole seconds, here rounded up, and no longer than L16 allows."""
    return {
        "maxRetryCount": retry.max_retry_count,
        "backoffDuration": f"{math.ceil(retry.backoff_duration)}s",
        "backoffFactor": float(retry.backoff_factor),
        "backoffMaxDuration": f"{min(math.ceil(retry.backoff_max_duration), MAX_BACKOFF)}s",
    }
