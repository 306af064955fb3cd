"""DAGs whose modules lie beside them and travel as a bundle of the whole folder."""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag, task
from bundled.words import fail, longest

from airflow_vertex_provider import CustomJob, VertexTaskGroup

OPTIONS: dict[str, Any] = {
    "location": "europe-west4",
    "pipeline_root": "gs://emulated-bucket/bundles",
    "poll_interval": 0.5,
    "code": "bundle",
}


@task
def plain() -> Any:
    from bundled.words import longest

    return longest()


@task.vertex(custom_job=CustomJob(machine_type="n1-standard-4"))
def machine() -> Any:
    from bundled import words

    return words.longest()


@dag(schedule=None)
def bundle_folder() -> None:
    with VertexTaskGroup("g", **OPTIONS):
        plain()
        machine()
        task(longest)()


@dag(schedule=None)
def bundle_failing() -> None:
    with VertexTaskGroup("g", **OPTIONS):
        task(fail)(["a", "b"])


bundle_folder()
bundle_failing()
