"""DAGs with which the harness itself is tested; nothing of the package is in them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.sdk import DAG, Param, task


@task
def produce(day: str) -> dict[str, Any]:
    return {"day": day, "rows": [1, 2.5, None], "text": "1"}


@task
def consume(value: dict[str, Any]) -> str:
    print(f"consumed {sorted(value)}")
    return str(value["text"])


@task
def boom() -> None:
    raise ValueError("boom: it's meant to fail")


with DAG("harness_simple", schedule=None, params={"day": Param("none")}):
    consume(produce("{{ params.day }}"))

with DAG("harness_deferred", schedule=None):
    TimeDeltaSensor(task_id="wait", delta=timedelta(seconds=1), deferrable=True)

with DAG("harness_failing", schedule=None):
    boom() >> consume.override(task_id="after")({"text": "unused"})
