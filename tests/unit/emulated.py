"""A pipeline job on an emulator in this process: what the tests of hook, triggers and operators share."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, task

from airflow_vertex_provider import VertexTaskGroup, compile_group
from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
from airflow_vertex_provider.runtime import protocol

LOCATION = "europe-west4"
ROOT = "gs://bucket/root"


@task
def give() -> Any: ...


@task
def first(value):  # type: ignore[no-untyped-def]
    from pathlib import Path

    if isinstance(value, dict) and "gate" in value:
        import time

        while not Path(value["gate"]).exists():
            time.sleep(0.02)
    if value == "fail":
        raise KeyError("no such thing")
    return value


@task
def second(value):  # type: ignore[no-untyped-def]
    return {"got": value}


def spec(*, custom_job: bool = False) -> dict[str, Any]:
    """Compile a chain of two members fed by one run parameter, ``give``."""
    with DAG("d") as dag:
        given = give()
        with VertexTaskGroup(
            "g",
            location=LOCATION,
            pipeline_root=ROOT,
            custom_job={"machine_type": "n1-standard-4"} if custom_job else None,
        ):
            second(first(given))
    return compile_group(dag.task_group.children["g"])


def request(value: Any, *, custom_job: bool = False) -> dict[str, Any]:
    """Return the job to create."""
    return {
        "display_name": "d.g",
        "pipeline_spec": spec(custom_job=custom_job),
        "runtime_config": {
            "gcs_output_directory": ROOT,
            "parameter_values": {"give": protocol.encode(value)},
        },
    }


def create(hook: VertexPipelineHook, value: Any, job_id: str = "job-1", **options: Any) -> str:
    """Create the job and return its resource name."""
    name, _ = hook.create_job(location=LOCATION, job_id=job_id, job=request(value, **options))
    return name
