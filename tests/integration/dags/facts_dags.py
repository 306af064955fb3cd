"""The DAGs of tests/integration/test_airflow_facts.py: one task that lives in the triggerer, and a reader."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Param, task
from facts_trigger import FactsOperator


@task
def first() -> str:
    return "job-7"


@task
def read(value: Any) -> dict[str, Any]:
    return {"type": type(value).__name__, "value": value}


PARAMS = {"outcome": Param("success", type="string"), "gate": Param("/", type="string")}

with DAG("facts", schedule=None, params=PARAMS):
    waiting = FactsOperator(
        task_id="waiting",
        job_name='{{ ti.xcom_pull(task_ids="first", map_indexes=-1) }}',
        outcome="{{ params.outcome }}",
        gate="{{ params.gate }}",
    )
    first() >> waiting
    read(waiting.output)

with DAG("facts_many", schedule=None, params=PARAMS):
    start = first()
    for number in range(12):
        start >> FactsOperator(
            task_id=f"waiting_{number}", job_name=f"job-{number}", outcome="success", gate="{{ params.gate }}"
        )
