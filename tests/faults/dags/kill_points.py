"""Points at which a worker may be killed: imported by the DAG file, so it is there in every task process.

A file named after the point, in a folder named after the DAG run, asks for it; it is gone once the process
is. Nothing else changes.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ.get("FAULTS_FOLDER", "/nonexistent"))

#: Name of each point of the tasks of a group that waits in the triggerer.
SUBMIT_POINTS = (
    "submit begins",
    "hook made",
    "job compiled",
    "before create",
    "while creating",
    "job created",
    "job remembered",
    "address pushed",
    "names pushed",
    "submit ends",
)
MEMBER_POINTS = ("member begins", "member defers", "member resumes", "value pushed", "member ends")
#: And of one that waits on workers.
WAIT_POINTS = ("waiting", "wait ends")


def reach(point: str) -> None:
    """Kill this process if this run asks for it here."""
    token = FOLDER / os.environ.get("AIRFLOW_CTX_DAG_RUN_ID", "none") / point
    try:
        token.unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def _around(owner: Any, name: str, *, before: str = "", after: str = "") -> None:
    real = getattr(owner, name)

    @functools.wraps(real)
    def method(*args: Any, **kwargs: Any) -> Any:
        if before:
            reach(before)
        result = real(*args, **kwargs)
        if after:
            reach(after)
        return result

    setattr(owner, name, method)


def _soon(point: str) -> None:
    """Kill this process in the midst of what comes next."""
    token = FOLDER / os.environ.get("AIRFLOW_CTX_DAG_RUN_ID", "none") / point
    if token.exists():
        threading.Timer(0.03, reach, (point,)).start()


def install() -> None:
    """Put the points into the classes of this process."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
    from airflow_vertex_provider.operators.member import VertexMemberOperator
    from airflow_vertex_provider.operators.pipeline_job import (
        SubmitVertexPipelineOperator,
        WaitVertexPipelineOperator,
    )

    if hasattr(VertexPipelineHook, "kill_points"):
        return
    VertexPipelineHook.kill_points = True  # type: ignore[attr-defined]
    _around(SubmitVertexPipelineOperator, "execute", before="submit begins", after="submit ends")
    _around(SubmitVertexPipelineOperator, "_request", after="job compiled")
    _around(SubmitVertexPipelineOperator, "_remember", before="job created", after="job remembered")
    _around(VertexPipelineHook, "__init__", after="hook made")
    real_create = VertexPipelineHook.create_job

    @functools.wraps(real_create)
    def create_job(self: Any, **kwargs: Any) -> Any:
        reach("before create")
        _soon("while creating")
        return real_create(self, **kwargs)

    VertexPipelineHook.create_job = create_job  # type: ignore[method-assign]
    _around(VertexMemberOperator, "execute", before="member begins")
    _around(VertexMemberOperator, "defer", before="member defers")
    _around(VertexMemberOperator, "resume", before="member resumes", after="member ends")
    _around(WaitVertexPipelineOperator, "finish", after="wait ends")
    _around(VertexPipelineHook, "look", after="waiting")
    real_push = RuntimeTaskInstance.xcom_push

    @functools.wraps(real_push)
    def xcom_push(self: Any, key: str, value: Any) -> None:
        real_push(self, key, value)
        names = {"vertex_url": "address pushed", "vertex_task_names": "names pushed"}
        if key in names:
            reach(names[key])
        if key == "vertex_logs_url" and not self.task_id.endswith("submit_pipeline"):
            reach("value pushed")

    RuntimeTaskInstance.xcom_push = xcom_push  # type: ignore[method-assign]
