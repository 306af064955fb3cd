"""The compiler: a graph of tasks and their settings in, a PipelineSpec as plain data and its text out.

The spec has the form that kfp's own compiler writes, and no other: Vertex AI documents none. Values travel as
STRINGs, texts of :mod:`airflow_vertex_provider.runtime.protocol`, but those of KFP's own components. Nothing
of a run stands in it, so one group with the same settings compiles to the same bytes for every run and in
every process.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from airflow_vertex_provider.bundle import Bundle
from airflow_vertex_provider.compiler import component, custom_job, executor
from airflow_vertex_provider.compiler.code import NO_BUNDLES, missing_bundles
from airflow_vertex_provider.compiler.limits import spec_bytes
from airflow_vertex_provider.compiler.placement import Placed, Placement
from airflow_vertex_provider.compiler.wiring import Const, ItemField, Out, Ref, component_ports
from airflow_vertex_provider.exceptions import Problem, VertexGroupError
from airflow_vertex_provider.graph.model import (
    RETURN_OUTPUT,
    FromConstant,
    FromItem,
    FromOutput,
    FromParameter,
    Graph,
    Source,
    Task,
    TaskKind,
)
from airflow_vertex_provider.runtime.protocol import DEFAULT_INLINE_LIMIT, gate_config, mark_config
from airflow_vertex_provider.settings import PipelineSettings, TaskSettings

#: Version of the PipelineSpec's form, as kfp 2 writes it.
SCHEMA_VERSION = "2.1.0"

#: L02, without dashes that kfp would drop, and with the letter that the SDK's default job id begins with.
_PIPELINE_NAME = re.compile(r"(?=.{1,112}$)[a-z][a-z0-9]*(-[a-z0-9]+)*")
#: What kfp leaves as it is when it makes a name of a task (kfp.dsl.utils.maybe_rename_for_k8s).
_TASK_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
#: Characters that JSON may hold as they are, but that YAML refuses or takes for a line's end.
_NOT_FOR_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def compile_graph(
    graph: Graph,
    settings: Mapping[str, TaskSettings],
    pipeline: PipelineSettings,
    bundles: Mapping[str, Bundle] = NO_BUNDLES,
) -> dict[str, Any]:
    """Compile a task group to a PipelineSpec of plain JSON types.

    Runs at submit, in the worker. A group with custom jobs loads GCPC and with it kfp, once per process;
    one without loads neither.

    :param graph: the group.
    :param settings: Airflow task id to merged settings, templates rendered; one for every task.
    :param pipeline: settings of the job; project and location stand in every custom job.
    :param bundles: Airflow task id to what it takes along; one for every task with ``code="bundle"``.
    :raises VertexGroupError: something of the group cannot be written into a spec; names all of it.
    :raises VertexSettingsError: the installed GCPC cannot carry a setting.
    """
    return compile_with_limit(graph, settings, pipeline, bundles)[0]


def compile_with_limit(
    graph: Graph,
    settings: Mapping[str, TaskSettings],
    pipeline: PipelineSettings,
    bundles: Mapping[str, Bundle] = NO_BUNDLES,
) -> tuple[dict[str, Any], int]:
    """Compile as :func:`compile_graph` does, and return the spec with its :func:`inline_limit`.

    Runs at submit, which needs both; either alone would check the group and make its containers again.

    :raises VertexGroupError: as :func:`compile_graph`.
    :raises VertexSettingsError: as :func:`compile_graph`.
    """
    placement, containers, limit = _build(graph, settings, pipeline, bundles)
    wiring = placement.wiring
    dags = wiring.components()
    parts = _components(placement, settings, containers, set(dags))
    root: dict[str, Any] = {"dag": wiring.dag(wiring.root)}
    if graph.parameters:
        root["inputDefinitions"] = {
            "parameters": {
                parameter.name: {
                    "parameterType": parameter.type,
                    **({"description": parameter.description} if parameter.description else {}),
                }
                for parameter in sorted(graph.parameters, key=lambda parameter: parameter.name)
            }
        }
    spec = {
        "components": dict(sorted({**dags, **parts.components}.items())),
        "deploymentSpec": {"executors": dict(sorted(parts.executors.items()))},
        "pipelineInfo": {
            "name": graph.name,
            **({"description": graph.description} if graph.description else {}),
        },
        "root": root,
        "schemaVersion": SCHEMA_VERSION,
        "sdkVersion": f"kfp-{importlib.metadata.version('kfp')}",
    }
    return spec, limit


def inline_limit(
    graph: Graph,
    settings: Mapping[str, TaskSettings],
    pipeline: PipelineSettings,
    bundles: Mapping[str, Bundle] = NO_BUNDLES,
) -> int:
    """Return how many bytes of ``argument_cost`` one value may have before it travels by file.

    Runs at submit. It is what each input of the busiest task can have when all its inputs are that large,
    and at most :data:`~airflow_vertex_provider.runtime.protocol.DEFAULT_INLINE_LIMIT`. The compiled tasks
    keep it for the values they write; the submitter keeps it for run parameters.

    :raises VertexGroupError: as :func:`compile_graph`.
    """
    return _build(graph, settings, pipeline, bundles)[2]


def dump_spec(spec: Mapping[str, Any]) -> str:
    """Write a PipelineSpec as text that is both JSON and YAML, the same bytes for equal specs.

    The text may be kept in a ``.json`` or a ``.yaml`` file; kfp and Google's ``PipelineJob`` load either.
    """
    text = json.dumps(spec, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return _NOT_FOR_YAML.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"


def spec_size(spec: Mapping[str, Any]) -> str:
    """Say in one line how large a spec is as the request holds it, and which tasks take most of it.

    What the service takes as a whole is not documented; this is what to look at if it refuses a spec.
    """
    executors = spec["deploymentSpec"]["executors"]
    sizes = {name.removeprefix("exec-"): spec_bytes(executor) for name, executor in executors.items()}
    largest = sorted(sizes, key=lambda name: (-sizes[name], name))[:3]
    named = ", ".join(f"{name} {sizes[name]}" for name in largest)
    return f"The pipeline spec has {spec_bytes(spec)} bytes and {len(sizes)} executors; largest: {named}"


def _build(
    graph: Graph,
    settings: Mapping[str, TaskSettings],
    pipeline: PipelineSettings,
    bundles: Mapping[str, Bundle],
) -> tuple[Placement, dict[str, dict[str, Any]], int]:
    """Check the group, place its tasks and make their containers, with one limit for the values between."""
    problems = [*_problems(graph, settings), *missing_bundles(graph, settings, bundles)]
    if problems:
        raise VertexGroupError(graph.dag_id, graph.group_id, problems)
    placement = Placement(graph, settings)
    tasks = {key: _as_run(placement, placed) for key, placed in placement.placed.items()}
    least = executor.least_value_limit(pipeline)
    serializers = {name for task in graph.tasks for name in settings[task.id].serializers}

    def build(limit: int) -> dict[str, dict[str, Any]]:
        return {
            key: executor.build_executor(
                task,
                _settings_of(placed, settings),
                pipeline,
                # What a loop collects is one list of many values: each may take what a reference would.
                inline_limit=min(limit, least) if task.loop else limit,
                bundle=bundles.get(task.id) if placed.role == "member" else None,
                serializers=serializers,
            )
            for key, placed in placement.placed.items()
            if (task := tasks[key]).kind is not TaskKind.COMPONENT
        }

    containers = build(DEFAULT_INLINE_LIMIT)
    limit = DEFAULT_INLINE_LIMIT
    for key, container in containers.items():
        task = tasks[key]
        size = executor.fixed_size(container)
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
        whole = executor.command_size(container)
        if whole > executor.MAX_COMMAND:
            problems.append(
                Problem(
                    task.id,
                    "arguments",
                    f"{whole} bytes in all arguments and variables of its container",
                    f"at most {executor.MAX_COMMAND} bytes: Linux starts no program with more",
                )
            )
            continue
        room = executor.value_limit(task, container, pipeline)
        if room is not None and room < least:
            problems.append(
                Problem(
                    task.id,
                    "inputs",
                    f"{len(task.inputs)} values beside {size} bytes of code and constants",
                    f"fewer or shorter: all of it is one argument of {executor.MAX_ARGUMENT} bytes, "
                    f"and a value takes {least} even when it lies in a file",
                )
            )
        elif room is not None:
            limit = min(limit, room)
    if problems:
        raise VertexGroupError(graph.dag_id, graph.group_id, problems)
    return placement, (containers if limit == DEFAULT_INLINE_LIMIT else build(limit)), limit


def _as_run(placement: Placement, placed: Placed) -> Task:
    """Return the task as its container sees it: with the inputs and the configuration its place gives it."""
    leaf, task = placed.leaf, placed.task
    inputs = {name: _source(name, ref) for name, ref in leaf.inputs.items()}
    inputs.update({name: FromOutput(name, RETURN_OUTPUT) for name in placed.extra.get("from_handoff", {})})
    payload: dict[str, Any]
    if placed.role == "mark":
        payload = mark_config(task=task.id, outputs=placed.extra["outputs"])
    elif placed.role == "gate":
        payload = gate_config(task=task.id, **placed.extra)
    else:
        payload = {**task.payload, **placed.extra}
        if placement.hands_over(task):
            payload |= {"handoff": True, "name": task.name}
    return replace(
        task,
        kind=task.kind if placed.role == "member" else TaskKind.GATE,
        name=leaf.title,
        payload=payload,
        inputs=inputs,
        outputs=(*leaf.outputs, *leaf.artifacts),
        retry=leaf.retry,
        timeout=task.timeout if placed.role == "member" else None,
    )


def _source(name: str, ref: Ref) -> Source:
    """Return what a container has to know of where its input comes from."""
    if isinstance(ref, Const):
        return FromConstant(str(ref.value))
    if isinstance(ref, Out):
        return FromOutput(ref.leaf, ref.output)
    return FromItem(ref.field) if isinstance(ref, ItemField) else FromParameter(name)


def _settings_of(placed: Placed, settings: Mapping[str, TaskSettings]) -> TaskSettings:
    """Return what a task runs on; what decides or marks runs on any machine that has Python."""
    own = settings[placed.task.id]
    if placed.role == "member" and placed.task.kind is not TaskKind.GATE:
        return own
    has_python = placed.task.kind in (TaskKind.PYTHON, TaskKind.BASH, TaskKind.GATE)
    return TaskSettings(image=own.image) if has_python else TaskSettings()


@dataclass
class _Parts:
    components: dict[str, Any]
    executors: dict[str, Any]


def _components(
    placement: Placement,
    settings: Mapping[str, TaskSettings],
    containers: Mapping[str, dict[str, Any]],
    dag_names: set[str],
) -> _Parts:
    parts = _Parts({}, {})
    taken = dag_names | {f"{kind}-{key}" for key in placement.placed for kind in ("comp", "exec")}
    for key, placed in placement.placed.items():
        leaf = placed.leaf
        if placed.role == "member" and placed.task.kind is TaskKind.COMPONENT:
            others = {name: FromParameter(name) for name in leaf.inputs if name not in placed.task.inputs}
            task = replace(placed.task, inputs={**placed.task.inputs, **others})
            embedded = component.embed_component(task, settings[placed.task.id], taken)
            parts.components |= {f"comp-{key}": embedded.component, **embedded.components}
            parts.executors |= embedded.executors
            taken |= {*embedded.components, *embedded.executors}
            continue
        if _settings_of(placed, settings).custom_job is not None:
            leaf.outputs[custom_job.GCP_RESOURCES] = "STRING"
        parts.components[f"comp-{key}"] = {"executorLabel": f"exec-{key}", **component_ports(leaf)}
        parts.executors[f"exec-{key}"] = {"container": containers[key]}
    return parts


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
        if task.kind is TaskKind.EMPTY:
            continue
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
            if task.kind is TaskKind.COMPONENT:
                yield from component.problems_of(task, settings[task.id])
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
