"""Counts of jobs and reads: a name in, a line for Airflow's own metrics out (StatsD or OpenTelemetry).

The names, all below ``vertex_pipelines.``, stand in docs/running.md. Where Airflow sends no metrics, nothing
is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


def _stats() -> Any:
    try:
        from airflow.sdk.observability import stats
    except ImportError:  # Airflow 3.1 has it elsewhere; delete when 3.2 is the lowest supported.
        from airflow.stats import Stats as stats  # type: ignore[no-redef]
    return stats
