"""DAGs with which the harness itself is tested; nothing of the package is in them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import DAG, BaseOperator, Context, Param, task


class Deferring(BaseOperator):
    """A task that always goes to the triggerer, however late it starts: a sensor would be done by then."""

    def execute(self, context: Context) -> None:
        self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=1)), method_name="resume")

    def resume(self, context: Context, event: object) -> str:
        return "resumed"


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
    Deferring(task_id="wait")

with DAG("harness_failing", schedule=None):
    boom() >> consume.override(task_id="after")({"text": "unused"})
