"""Google's messages about a job in, plain data about it out: what waiting needs, and no more."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from airflow_vertex_provider.reuse import NOTE_PARAMETER, note_of
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


#: The output of GCPC's launcher that names what it launched.
RESOURCES_OUTPUT = "gcp_resources"
_CUSTOM_JOB = re.compile(r"projects/[^/]+/locations/[^/]+/customJobs/[^/]+$")


class Urls(Protocol):
    """Addresses of pages about a custom job with the resource name that they are given."""

    def logs(self, custom_job: str) -> str:
        """Return the address of its logs."""

    def custom_job(self, custom_job: str) -> str:
        """Return the address of its own page."""


def snapshot_of(job: PipelineJob, urls: Urls) -> JobSnapshot:
    """Take from Google's message what waiting needs, as plain data."""
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
            (_task_snapshot(detail, urls) for detail in details), final=state in TERMINAL_PIPELINE_STATES
        ),
        labels=dict(message.labels),
        create_time=_time(message, "create_time"),
        update_time=_time(message, "update_time"),
        end_time=_time(message, "end_time"),
        service_account=message.service_account,
        output_directory=message.runtime_config.gcs_output_directory,
        note=note_of(_texts(message.runtime_config.parameter_values)),
        display_name=message.display_name,
        outputs=_job_outputs(message, job_id),
        start_time=_time(message, "start_time"),
    )


def _job_outputs(message: Any, job_id: str) -> dict[str, Any]:
    """Return what the root entry has as the job's outputs; whole numbers where the pipeline declares such."""
    root = next((item for item in message.job_detail.task_details if item.task_name == job_id), None)
    if root is None:
        return {}
    found = {
        key.removeprefix("output:"): _plain(root.execution.metadata[key])
        for key in root.execution.metadata
        if key.startswith("output:")
    }
    return {
        **_artifacts(root.outputs),
        **{name: _declared(value, _kind_of(message.pipeline_spec, name)) for name, value in found.items()},
    }


def _kind_of(spec: Any, name: str) -> str:
    """Return the type of a pipeline's output; looked up in place, since a spec may be large."""
    for key in ("root", "outputDefinitions", "parameters", name, "parameterType"):
        if key not in spec:
            return ""
        spec = spec[key]
    return str(spec)


def _declared(value: Any, kind: str) -> Any:
    """Return a value of the API, where every number is a double, as its declared type has it."""
    if kind == "NUMBER_DOUBLE":
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**63 else value
    if isinstance(value, list):
        return [_declared(item, "") for item in value]
    if isinstance(value, dict):
        return {name: _declared(item, "") for name, item in value.items()}
    return value


def listed_job(job: PipelineJob) -> ListedJob:
    """Take from one line of a list what tells whether the job changed."""
    message = type(job).pb(job)
    return ListedJob(message.name, pipeline_state(message.state), _time(message, "update_time"))


def launched_job(resources: object) -> str:
    """Return the resource name of the custom job that a task of GCPC's launched; empty if it tells none.

    :param resources: what the task left as ``gcp_resources``: proto JSON as text (vertex-observed section 9).
    """
    if not isinstance(resources, str):
        return ""
    try:
        named = json.loads(resources)["resources"][0]
        match = _CUSTOM_JOB.search(named["resourceUri"]) if named["resourceType"] == "CustomJob" else None
    except (ValueError, LookupError, TypeError):
        return ""
    return match[0] if match else ""


def _task_snapshot(detail: Any, urls: Urls) -> TaskSnapshot:
    containers = detail.executor_detail
    own_job = containers.container_detail.main_job or containers.custom_job_detail.job
    metadata = detail.execution.metadata
    outputs, inputs = (
        {
            key.removeprefix(prefix): _plain(metadata[key])
            for key in metadata
            if key.startswith(prefix) and wanted(key.removeprefix(prefix))
        }
        for prefix, wanted in (("output:", lambda _: True), ("input:", tells_iteration))
    )
    custom_job = launched_job(outputs.get(RESOURCES_OUTPUT)) or own_job
    return TaskSnapshot(
        name=detail.task_name,
        state=task_state(detail.state),
        state_text=_enum_text(detail, "state"),
        error=detail.error.message,
        outputs={**_artifacts(detail.outputs), **outputs},
        custom_job=custom_job,
        logs_url=urls.logs(custom_job) if custom_job else "",
        custom_job_url=urls.custom_job(custom_job) if custom_job else "",
        begun=bool(detail.execution.name or own_job),
        id=str(detail.task_id),
        parent=str(detail.parent_task_id or ""),
        scope=is_scope(detail.task_name, detail.execution.schema_title, has_container=bool(own_job)),
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


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Return those run parameters that are texts and may be a note."""
    names = [name for name in values if name.startswith(NOTE_PARAMETER)]
    return {name: values[name].string_value for name in names}


def _enum_text(message: Any, name: str) -> str:
    number = getattr(message, name)
    known = message.DESCRIPTOR.fields_by_name[name].enum_type.values_by_number.get(number)
    return known.name if known else str(number)


def _time(message: Any, name: str) -> Any:
    from datetime import UTC

    return getattr(message, name).ToDatetime(tzinfo=UTC) if message.HasField(name) else None
