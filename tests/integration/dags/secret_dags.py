"""A group whose connection and whose DAG hold secrets that must stay where they are."""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG, Variable, task

from airflow_vertex_provider import VertexTaskGroup


@task
def reads_the_variable() -> int:
    """Has the secret, and returns what says nothing about it."""
    return len(Variable.get("canary_variable"))


@task
def member(length: int, control: str) -> list[object]:
    return [length, control]


with DAG(
    "vertex_secrets",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    params={"control": "none"},
    catchup=False,
):
    length = reads_the_variable()
    with VertexTaskGroup("g", gcp_conn_id="vertex_secret", poll_interval=0.5):
        member(length, "{{ params.control }}")
