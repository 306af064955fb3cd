"""A task's output folder: its name in the bucket in, the folder on this machine, made, emptied or read, out.

Whatever a container did to its own folder, the next attempt finds one as it should be.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from airflow_vertex_provider.emulator.custom_jobs import FINAL_STATES
from airflow_vertex_provider.emulator.names import project_number
from airflow_vertex_provider.emulator.plan import TaskSpec
from airflow_vertex_provider.emulator.run_context import RunContext
from airflow_vertex_provider.emulator.store import Task

Json = dict[str, Any]

_CUSTOM_JOB_URI = re.compile(r"/projects/([^/\"]+)/locations/([^/\"]+)/customJobs/([0-9]+)")


def uri(context: RunContext, task: TaskSpec, record: Task) -> str:
    """Return the ``gs://`` URI of a task's output folder (vertex-observed section 5)."""
    name = task.name if context.services.switches.task_folder_name == "task_info" else task.key
    # A name may hold what a path may not.
    folder = re.sub(r"[/\0]", "_", name) + f"_{record.body['taskId']}"
    return "/".join([context.root_uri, context.place.number, context.job.id, folder])


def prepare(context: RunContext, folder: str, outputs: Mapping[str, Iterable[Json]]) -> None:
    """Make a task's folder, and those that its output artifacts are to lie in.

    :param folder: its URI. :param outputs: the registered output artifacts.
    """
    context.services.local(folder).mkdir(parents=True, exist_ok=True)
    for items in outputs.values():
        for item in items:
            context.services.local(item["uri"]).parent.mkdir(parents=True, exist_ok=True)


def empty(path: Path) -> None:
    """Remove a task's folder on this machine, or what its container has put in the folder's place."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def cancel_named(context: RunContext, folder: str) -> None:
    """Cancel the custom jobs that a cancelled container has named in its ``gcp_resources`` (rule 16)."""
    path = context.services.local(folder) / "gcp_resources"
    text = path.read_text(errors="replace") if path.is_file() else ""
    for project, location, identifier in _CUSTOM_JOB_URI.findall(text):
        job = context.services.store.find("customJobs", project_number(project), location, identifier)
        if job is not None and job.body["state"] not in FINAL_STATES:
            context.custom_jobs.cancel(job.key)
