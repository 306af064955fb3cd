"""A task as Airflow runs it, without its supervisor: an operator in, its value, XComs and deferrals out."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from airflow.sdk.exceptions import TaskDeferred


class Instance:
    """What operators use of a task instance; XComs stay from one step of a task to the next."""

    def __init__(
        self,
        task_id: str,
        run_id: str = "run-1",
        *,
        try_number: int = 1,
        max_tries: int = 2,
        map_index: int = -1,
    ) -> None:
        self.task_id, self.run_id, self.map_index = task_id, run_id, map_index
        self.try_number, self.max_tries = try_number, max_tries
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value

    def xcom_pull(self, task_ids: str, key: str, map_indexes: int) -> Any:
        return self.pushed.get(key)


class Run:
    start_date = datetime(2026, 1, 1, tzinfo=UTC)


def context(instance: Instance) -> Any:
    """Return what operators use of Airflow's context."""
    return {"ti": instance, "dag_run": Run()}


async def _fired(trigger: Any) -> Any:
    events = [event async for event in trigger.run()]
    assert len(events) == 1
    return events[0].payload


def remade(trigger: Any) -> Any:
    """Return a trigger as the triggerer has it: made again from what it serialises to."""
    path, kwargs = trigger.serialize()
    assert path == f"{type(trigger).__module__}.{type(trigger).__qualname__}"
    return type(trigger)(**kwargs)


def drive(operator: Any, instance: Instance | None = None, again: Any = None) -> tuple[Any, Instance]:
    """Run a task to its end, in the triggerer's way whenever it defers.

    :param again: makes the operator that a worker has when the task goes on; the same one by default.
    :return: the value it returns, and the instance with all XComs.
    """
    instance = instance or Instance(operator.task_id)
    given = context(instance)

    def step(function: Any) -> Any:
        try:
            return function()
        except TaskDeferred as deferred:
            payload = asyncio.run(_fired(remade(deferred.trigger)))
            kwargs = {**(deferred.kwargs or {}), "event": payload}
            resumed = again() if again else operator
            method = deferred.method_name
            return step(lambda: resumed.resume_execution(method, kwargs, given))

    return step(lambda: operator.execute(given)), instance
