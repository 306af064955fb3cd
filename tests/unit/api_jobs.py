"""Jobs as the API gives them, entry by entry in, what the hook makes of them out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from google.cloud.aiplatform_v1.types import PipelineJob
from google.protobuf import json_format

from airflow_vertex_provider.hooks.snapshots import snapshot_of
from airflow_vertex_provider.links.console import ConsoleUrls
from airflow_vertex_provider.snapshot import JobSnapshot

NAME = "projects/1/locations/europe-west4/pipelineJobs/job-1"
START = datetime(2026, 1, 1, tzinfo=UTC)


def entry(
    number: int,
    name: str,
    parent: int = 0,
    state: str = "SUCCEEDED",
    *,
    title: str = "system.ContainerExecution",
    made: int | None = None,
    **metadata: Any,
) -> dict[str, Any]:
    """Return one of ``taskDetails`` as the API gives it; ``__`` in a name of ``metadata`` is a colon."""
    return {
        "taskId": str(number),
        "parentTaskId": str(parent),
        "taskName": name,
        "state": state,
        "createTime": (START + timedelta(seconds=number if made is None else made)).isoformat(),
        "execution": {
            "schemaTitle": title,
            "metadata": {key.replace("__", ":"): value for key, value in metadata.items()},
        },
    }


def job(*entries: dict[str, Any], state: str = "PIPELINE_STATE_SUCCEEDED") -> JobSnapshot:
    """Read a job as the hook does."""
    message = PipelineJob()
    json_format.ParseDict(
        {"name": NAME, "state": state, "jobDetail": {"taskDetails": list(entries)}}, PipelineJob.pb(message)
    )
    return snapshot_of(message, ConsoleUrls("1"))


def loop(number: int = 1, name: str = "for-loop-1", parent: int = 0) -> dict[str, Any]:
    return entry(number, name, parent, title="system.DagExecution")
