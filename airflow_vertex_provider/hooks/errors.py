"""Why tasks failed: an ended job in, the errors that its entries only point at out.

The error of a task with a custom job speaks of the launcher, not of the job that ran the author's code
(vertex-observed section 9); that job is named in the file ``gcp_resources`` of the task's folder. A
container's own words stand in ``executor_error.json`` beside it (section 2). Whatever of this cannot be read
is left out: an error without them is still one.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_vertex_provider.exceptions import VertexApiError
from airflow_vertex_provider.hooks.snapshots import RESOURCES_OUTPUT, launched_job
from airflow_vertex_provider.states import TaskState

if TYPE_CHECKING:
    from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
    from airflow_vertex_provider.snapshot import JobSnapshot, TaskSnapshot

log = logging.getLogger(__name__)

#: Failed tasks of a job that are looked into: each costs two or three calls.
MOST = 10
#: What the service says of a container that ended badly, whatever the container itself said.
_REPLICA = re.compile(r"The replica \S+ exited with a non-zero status|internal error|^$")


def with_errors(job: JobSnapshot, hook: VertexPipelineHook, name: str = "") -> JobSnapshot:
    """Return the job with what is known of why its tasks failed. A few calls for each, none repeated.

    :param name: only tasks of this Vertex name; all if empty.
    """
    left = MOST
    entries = []
    for task in job.entries:
        if left and not task.scope and task.state is TaskState.FAILED and name in ("", task.name):
            left -= 1
            entries.append(_explained(job, task, hook))
        else:
            entries.append(task)
    return replace(job, entries=tuple(entries))


def _explained(job: JobSnapshot, task: TaskSnapshot, hook: VertexPipelineHook) -> TaskSnapshot:
    folder = _folder(job, task)
    said = _said(folder, hook) if folder and _REPLICA.search(task.error) else ""
    launched = launched_job(task.outputs.get(RESOURCES_OUTPUT) or _read(f"{folder}/gcp_resources", hook))
    if launched:
        error = _error_of(launched, hook)
        if error and error not in task.error:
            said = f"{said}\n{error}" if said else error
        task = replace(
            task,
            custom_job=launched,
            logs_url=hook.urls.logs(launched),
            custom_job_url=hook.urls.custom_job(launched),
        )
    if not said:
        return task
    first, then = (said, task.error) if _REPLICA.search(task.error) else (task.error, said)
    return replace(task, error=f"{first}\n{then}".strip())


def _folder(job: JobSnapshot, task: TaskSnapshot) -> str:
    """Return the folder of a task's outputs (vertex-observed section 5)."""
    number, job_id = job.name.split("/")[1], job.name.rpartition("/")[2]
    if not job.output_directory or not task.id:
        return ""
    return f"{job.output_directory.rstrip('/')}/{number}/{job_id}/{task.name}_{task.id}"


def _said(folder: str, hook: VertexPipelineHook) -> str:
    try:
        data = json.loads(_read(f"{folder}/executor_error.json", hook) or "{}")
    except ValueError:
        return ""
    text = data.get("errorMessage") if isinstance(data, dict) else None
    return text.strip() if isinstance(text, str) else ""


def _read(uri: str, hook: VertexPipelineHook) -> str:
    if not uri.startswith("gs://"):
        return ""
    try:
        return hook.read_gcs(uri, once=True).decode(errors="replace")
    except VertexApiError as error:
        log.debug("Nothing to be read for an error: %s", error)
        return ""


def _error_of(custom_job: str, hook: VertexPipelineHook) -> str:
    try:
        return hook.get_custom_job_error(custom_job)
    except VertexApiError as error:
        log.warning("The error of the custom job is not known: %s", error)
        return ""
