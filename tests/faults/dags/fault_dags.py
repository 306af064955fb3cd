"""Groups for the tests of faults: small, many at a time, some of them held by a gate."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import kill_points  # type: ignore[import-not-found]
from airflow.sdk import Asset, dag, task

from airflow_vertex_provider import VertexTaskGroup

kill_points.install()

LOCATION = "europe-west4"
ROOT = "gs://faults-bucket/root"
OPTIONS: dict[str, Any] = {"location": LOCATION, "pipeline_root": ROOT, "poll_interval": 0.5}
MANY: dict[str, Any] = {"schedule": None, "max_active_runs": 500, "max_active_tasks": 500}


@task
def first(run):  # type: ignore[no-untyped-def]
    return {"run": run}


# An asset makes a worker end the mirror: one that is killed there too.
@task(outlets=[Asset("faults")])
def second(value):  # type: ignore[no-untyped-def]
    return [value["run"], "second"]


@task
def take(value):  # type: ignore[no-untyped-def]
    return value


@dag(dag_id="faults_triggers", **MANY)
def triggers() -> None:
    """Wait in the triggerer."""
    with VertexTaskGroup("g", **OPTIONS):
        found = second(first("{{ run_id }}"))
    take(found)


triggers()


@dag(dag_id="faults_workers", **MANY)
def workers() -> None:
    """Wait on workers."""
    with VertexTaskGroup("g", deferrable=False, **OPTIONS):
        found = second(first("{{ run_id }}"))
    take(found)


workers()


@task
def hold(gate):  # type: ignore[no-untyped-def]
    """Run until a file is there."""
    import time
    from pathlib import Path

    Path(gate + ".began").touch()
    while not Path(gate).exists():
        time.sleep(0.1)
    return "done"


@task
def after(value, fail):  # type: ignore[no-untyped-def]
    """Fail while a file says so."""
    from pathlib import Path

    with Path(fail + ".runs").open("a") as file:
        file.write("x")
    if Path(fail).exists():
        raise RuntimeError("told to fail")
    return [value, "after"]


def gated(**settings: Any) -> None:
    with VertexTaskGroup("g", **{**OPTIONS, **settings}):
        after(hold("{{ params.gate }}"), "{{ params.gate }}.fail")


@dag(dag_id="faults_gate", params={"gate": ""}, **MANY)
def gate() -> None:
    """Wait in the triggerer while a gate is closed."""
    gated()


gate()


@dag(dag_id="faults_gate_workers", params={"gate": ""}, **MANY)
def gate_workers() -> None:
    """Wait on workers while a gate is closed."""
    gated(deferrable=False)


gate_workers()


@dag(dag_id="faults_time_limit", params={"gate": ""}, **MANY)
def time_limit() -> None:
    """Have no time."""
    gated(execution_timeout=timedelta(seconds=3))


time_limit()


@dag(dag_id="faults_time_limit_workers", params={"gate": ""}, **MANY)
def time_limit_workers() -> None:
    """Have no time, on workers."""
    gated(execution_timeout=timedelta(seconds=3), deferrable=False)


time_limit_workers()


@dag(dag_id="faults_dagrun_timeout", params={"gate": ""}, dagrun_timeout=timedelta(seconds=15), **MANY)
def dagrun_timeout() -> None:
    """Have a DAG run that has no time."""
    gated()


dagrun_timeout()


@dag(dag_id="faults_left_running", params={"gate": ""}, **MANY)
def left_running() -> None:
    """Leave the job running whatever happens."""
    gated(cancel_on_kill=False)


left_running()


@dag(dag_id="faults_retries", params={"gate": ""}, **MANY)
def retries() -> None:
    """Be tried again."""
    gated(retries=1, retry_delay=timedelta(seconds=5))


retries()
