"""Counts of jobs and reads: a name in, a line for Airflow's own metrics out (StatsD or OpenTelemetry).

The names, all below ``vertex_pipelines.``, stand in docs/running.md. Where Airflow sends no metrics, nothing
is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_vertex_provider.snapshot import JobSnapshot

PREFIX = "vertex_pipelines."


def count(name: str, value: int = 1, tags: Mapping[str, str] | None = None) -> None:
    """Add to a counter."""
    stats = _stats()
    stats.incr(PREFIX + name, value, tags=dict(tags or {}))


def duration(name: str, seconds: float, tags: Mapping[str, str] | None = None) -> None:
    """Note how long something took."""
    stats = _stats()
    # Airflow takes a number as milliseconds.
    stats.timing(PREFIX + name, seconds * 1000, tags=dict(tags or {}))


def job_ended(job: JobSnapshot) -> None:
    """Note the end of a job that somebody waited for."""
    short = {"PIPELINE_STATE_SUCCEEDED": "succeeded", "PIPELINE_STATE_CANCELLED": "cancelled"}
    count(short.get(job.state_text, "failed"))
    if job.create_time is not None and job.end_time is not None:
        duration("wait_seconds", (job.end_time - job.create_time).total_seconds())


def _stats() -> Any:
    try:
        from airflow.sdk.observability import stats
    except ImportError:  # Airflow 3.1 has it elsewhere; delete when 3.2 is the lowest supported.
        from airflow.stats import Stats as stats  # type: ignore[no-redef]
    return stats
