"""Errors of the platform itself: a scripted fault in, the error the service gives for it out.

The texts are those of vertex-observed section 2; see rules 11 and 12 of its last section.
"""

from __future__ import annotations

from typing import Any

from airflow_vertex_provider.emulator.errors import CODES, rpc_code
from airflow_vertex_provider.emulator.run_context import RunContext
from airflow_vertex_provider.emulator.store import Task

Json = dict[str, Any]


def permission_error(context: RunContext) -> Json | None:
    """Return the error of a job that was accepted and then may not start."""
    services, place = context.services, context.place
    bucket = context.root_uri.removeprefix("gs://").partition("/")[0]
    prefix = "Failed to create pipeline job. Error:"
    if services.faults.denied("metadata", ""):
        return {
            "code": rpc_code("PERMISSION_DENIED"),
            "message": f"{prefix} Permission 'aiplatform.metadataStores.get' denied on resource "
            f"'//aiplatform.googleapis.com/{place.parent}/metadataStores/default' (or it may not exist)..",
        }
    if services.faults.denied("bucket", bucket):
        return {
            "code": int(services.switches.bucket_permission_code),
            "message": f"{prefix} Service account `{context.service_account}` does not have "
            f'`[storage.objects.get, storage.objects.create]` IAM permission(s) to the bucket "{bucket}".',
        }
    return None


def capacity_error(context: RunContext, name: str, record: Task) -> Json | None:
    """Return the error of a task for which there is no quota or no machine.

    :param name: ``taskInfo.name`` of the task. :param record: its entry, with its execution.
    """
    fault = context.services.faults.for_task(name, kinds=("quota", "stockout"))
    if fault is None:
        return None
    place = context.place
    if fault.kind == "quota":
        code = rpc_code("RESOURCE_EXHAUSTED")
        text = f"The following quota metrics exceed quota limits: {fault.metric}"
    else:
        code = int(context.services.switches.stockout_code)
        text = (
            f"Resources are insufficient in region: {place.location}. Please try a different region or "
            "use a different accelerator."
        )
    status = next(status for status, (number, _) in CODES.items() if number == code)
    message = (
        f"com.google.cloud.ai.platform.common.errors.AiPlatformException: code={status}, message={text}, "
        f"cause=null; Failed to handle the pipeline task. Task: Project number: {place.number}, "
        f"Job id: {context.job.notes['numeric_id']}, Task id: {record.body['taskId']}, Task name: {name}, "
        f"Task state: DRIVER_SUCCEEDED, Execution name: {record.body['execution']['name']}"
    )
    return {"code": code, "message": message}
