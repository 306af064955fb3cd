"""Google's messages about a job in, plain data about it out: what waiting needs, and no more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_vertex_provider.snapshot import (
    JobSnapshot,
    ListedJob,
    TaskSnapshot,
    is_scope,
    tells_iteration,
    with_indexes,
)
from airflow_vertex_provider.states import TERMINAL_PIPELINE_STATES, pipeline_state, task_state

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1.types import PipelineJob


def snapshot_of(job: PipelineJob, logs_url: Callable[[str], str]) -> JobSnapshot:
    """Take from Google's message what waiting needs, as plain data.

    :param logs_url: address of the logs of the custom job with the resource name it is given.
    """
    message = type(job).pb(job)
    job_id = message.name.rpartition("/")[2]
    # The root entry is named after the job and only restates its children (vertex-observed 1).
    details = [detail for detail in message.job_detail.task_details if detail.task_name != job_id]
    state = pipeline_state(message.state)
    return JobSnapshot(
        name=message.name,
        state=state,
        state_text=_enum_text(message, "state"),
        error=message.error.message,
        entries=with_indexes(
            (_task_snapshot(detail, logs_url) for detail in details), final=state in TERMINAL_PIPELINE_STATES
        ),
        labels=dict(message.labels),
        create_time=_time(message, "create_time"),
        update_time=_time(message, "update_time"),
        end_time=_time(message, "end_time"),
    )


def listed_job(job: PipelineJob) -> ListedJob:
    """Take from one line of a list what tells whether the job changed."""
    message = type(job).pb(job)
    return ListedJob(message.name, pipeline_state(message.state), _time(message, "update_time"))


def _task_snapshot(detail: Any, logs_url: Callable[[str], str]) -> TaskSnapshot:
    containers = detail.executor_detail
    custom_job = containers.container_detail.main_job or containers.custom_job_detail.job
    metadata = detail.execution.metadata
    outputs, inputs = (
        {
            key.removeprefix(prefix): _plain(metadata[key])
            for key in metadata
            if key.startswith(prefix) and wanted(key.removeprefix(prefix))
        }
        for prefix, wanted in (("output:", lambda _: True), ("input:", tells_iteration))
    )
    return TaskSnapshot(
        name=detail.task_name,
        state=task_state(detail.state),
        state_text=_enum_text(detail, "state"),
        error=detail.error.message,
        outputs={**_artifacts(detail.outputs), **outputs},
        custom_job=custom_job,
        logs_url=logs_url(custom_job) if custom_job else "",
        id=str(detail.task_id),
        parent=str(detail.parent_task_id or ""),
        scope=is_scope(detail.task_name, detail.execution.schema_title, has_container=bool(custom_job)),
        inputs=inputs,
        create_time=_time(detail, "create_time"),
        start_time=_time(detail, "start_time"),
    )


def _artifacts(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return output artifacts as Airflow has them: a dict of uri, type and metadata, or a list of such."""
    from google.protobuf import json_format

    found: dict[str, Any] = {}
    for name, items in outputs.items():
        described = [
            {
                "uri": item.uri,
                "type": item.schema_title,
                "metadata": json_format.MessageToDict(item.metadata),
            }
            for item in items.artifacts
        ]
        found[name] = described[0] if len(described) == 1 else described
    return found


def _plain(value: Any) -> Any:
    """Turn what protobuf gives for a list or a struct into a list or a dict."""
    from google.protobuf import json_format, struct_pb2

    if isinstance(value, struct_pb2.Struct | struct_pb2.ListValue):
        return json_format.MessageToDict(value)
    return value


def _enum_text(message: Any, name: str) -> str:
    number = getattr(message, name)
    known = message.DESCRIPTOR.fields_by_name[name].enum_type.values_by_number.get(number)
    return known.name if known else str(number)


def _time(message: Any, name: str) -> Any:
    from datetime import UTC

    return getattr(message, name).ToDatetime(tzinfo=UTC) if message.HasField(name) else None
