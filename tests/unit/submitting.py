"""A group's submit task as a worker runs it, without Airflow's supervisor."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


class FakeInstance:
    """The little of a task instance that submit touches; Airflow's own needs a supervisor."""

    map_index = -1
    max_tries = 0

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


class FakeRun:
    start_date = datetime(2026, 1, 1, tzinfo=UTC)


def submit(dag: Any, run_id: str = "run-1", *, max_tries: int = 0) -> str:
    """Submit the DAG's group ``g`` as a worker does, and return the job's name.

    :param max_tries: Airflow raises it when the task is cleared.
    """
    operator = dag.get_task("g.submit_pipeline")
    instance = FakeInstance(run_id)
    instance.max_tries = max_tries
    return str(operator.execute({"ti": instance, "dag_run": FakeRun()}))
