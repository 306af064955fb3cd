"""Google's message about a job in, the request that made it out: plain JSON that makes such a job again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1.types import PipelineJob

#: What the service says about a job, and nobody asks for.
OUTPUT_ONLY = frozenset(
    {
        "name",
        "create_time",
        "start_time",
        "end_time",
        "update_time",
        "state",
        "job_detail",
        "error",
        "template_metadata",
        "schedule_name",
    }
)
#: The service's own label: the number of the job it is on.
BILLING_LABEL = "vertex-ai-pipelines-run-billing-id"


def request_of(job: PipelineJob) -> dict[str, Any]:
    """Return what a job was asked for.

    Numbers without a fraction are integers again: the API keeps those of a spec as doubles, and kfp reads
    no ``3.0`` where a count is meant. The run parameters are there even if there are none.
    """
    from google.protobuf import json_format

    message = type(job).pb(job)
    known = json_format.MessageToDict(message, preserving_proto_field_name=True)
    asked = {name: _whole(value) for name, value in known.items() if name not in OUTPUT_ONLY}
    asked.setdefault("runtime_config", {}).setdefault("parameter_values", {})
    labels = {name: value for name, value in asked.pop("labels", {}).items() if name != BILLING_LABEL}
    return {**asked, "labels": labels} if labels else asked


def _whole(data: Any) -> Any:
    if isinstance(data, float) and data.is_integer() and abs(data) < 2**63:
        return int(data)
    if isinstance(data, dict):
        return {name: _whole(value) for name, value in data.items()}
    return [_whole(item) for item in data] if isinstance(data, list) else data
