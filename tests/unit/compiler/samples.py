"""Groups for the compiler's tests: small graphs with every kind of task, input and edge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_vertex_provider.graph.model import (
    RETURN_OUTPUT,
    FromConstant,
    FromOutput,
    FromParameter,
    Graph,
    Parameter,
    Retry,
    Source,
    Task,
    TaskKind,
)
from airflow_vertex_provider.graph.naming import vertex_names
from airflow_vertex_provider.runtime import protocol
from airflow_vertex_provider.settings import CustomJob, PipelineSettings, TaskSettings

PIPELINE = PipelineSettings(location="europe-west4", project_id="acme", pipeline_root="gs://bucket/root")
GPU = CustomJob(
    machine_type="a2-highgpu-1g",
    accelerator_type="NVIDIA_TESLA_A100",
    accelerator_count=1,
    boot_disk_size_gb=200,
)

ADD = "def add(a, b=1):\n    return {'sum': a + b}\n"


def python_task(
    task_id: str,
    inputs: Mapping[str, Source] | None = None,
    *,
    source: str = ADD,
    outputs: tuple[str, ...] = (RETURN_OUTPUT,),
    upstream: Sequence[str] = (),
    **fields: Any,
) -> Task:
    """Return a task that calls ``add`` with all its inputs."""
    inputs = inputs or {}
    return Task(
        id=task_id,
        name=vertex_names([task_id], prefix="g.")[task_id],
        kind=TaskKind.PYTHON,
        payload=protocol.python_config(
            task=task_id,
            function="add",
            source=source,
            file="dag.py",
            line=10,
            args=[protocol.from_input(name) for name in inputs],
        ),
        inputs=inputs,
        outputs=outputs,
        upstream=tuple(
            dict.fromkeys([*upstream, *(s.task for s in inputs.values() if isinstance(s, FromOutput))])
        ),
        **fields,
    )


def container_task(
    task_id: str,
    *,
    command: Sequence[object] = (),
    arguments: Sequence[object] = (),
    env: Mapping[str, object] | None = None,
    inputs: Mapping[str, Source] | None = None,
    **fields: Any,
) -> Task:
    """Return a task that runs a command of the author's."""
    return Task(
        id=task_id,
        name=vertex_names([task_id], prefix="g.")[task_id],
        kind=TaskKind.CONTAINER,
        payload={"command": list(command), "arguments": list(arguments), "env": dict(env or {})},
        inputs=inputs or {},
        **fields,
    )


def graph_of(*tasks: Task, parameters: Sequence[str] = ()) -> Graph:
    """Return a group of ``tasks``."""
    return Graph("dag", "g", "dag-g", tasks, tuple(Parameter(name) for name in parameters))


def chain(length: int = 3) -> Graph:
    """Return a group of tasks that pass one value on; the first takes it from a run parameter."""
    first = python_task("g.t0", {"a": FromParameter("start"), "b": FromConstant("1")})
    others = [
        python_task(
            f"g.t{number}",
            {"a": FromOutput(f"g.t{number - 1}"), "b": FromParameter("start")},
            retry=Retry(2, backoff_duration=30, backoff_factor=2),
        )
        for number in range(1, length)
    ]
    return graph_of(first, *others, parameters=["start"])


def same_settings(graph: Graph, settings: TaskSettings) -> dict[str, TaskSettings]:
    """Return ``settings`` for every task of ``graph``."""
    return {task.id: settings for task in graph.tasks}
