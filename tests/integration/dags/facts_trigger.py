"""A toy trigger and operator that show what Airflow does for tasks that live in the triggerer alone.

The tests of tests/integration/test_airflow_facts.py hold Airflow to what the package builds on. Nothing of
the package is in here, so a test that fails after an upgrade of Airflow tells which fact has changed.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook, BaseOperator, BaseOperatorLink, Context
from airflow.sdk.execution_time.xcom import XCom
from airflow.triggers.base import (
    BaseTrigger,
    StartTriggerArgs,
    TaskFailedEvent,
    TaskSuccessEvent,
    TriggerEvent,
)

if TYPE_CHECKING:
    from airflow.sdk.types import TaskInstanceKey

#: The value a trigger pushes: every JSON type, and texts that look like JSON.
PUSHED: dict[str, Any] = {
    "a": [1, "x"],
    "none": None,
    "float": 0.1,
    "big": 2**60,
    "text": "1",
    "braces": '{"not": "parsed"}',
}
URL = "https://console.example/run/{job}?project=p"

thread_log = logging.getLogger(__name__)


class FactsTrigger(BaseTrigger):
    """Push XComs from a worker thread, wait until a file appears, then end the task.

    :param job_name: rendered in the triggerer when it is a template.
    :param outcome: ``success``, ``failed``, ``event`` or ``raise``.
    :param gate: path of the file that the trigger waits for after its first pushes.
    """

    def __init__(self, *, job_name: str, outcome: str, gate: str) -> None:
        super().__init__()
        self.job_name = job_name
        self.outcome = outcome
        self.gate = gate

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what a triggerer needs to make this trigger again."""
        return (
            "facts_trigger.FactsTrigger",
            {"job_name": self.job_name, "outcome": self.outcome, "gate": self.gate},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Do what the class says, then end the task in the way ``outcome`` names."""
        connection = await asyncio.to_thread(self._connection)
        await asyncio.to_thread(self._push, "vertex_url", URL.format(job=self.job_name))
        await asyncio.to_thread(self._push, "connection", connection)
        self.log.error("error from the event loop about %s", self.job_name)
        await asyncio.to_thread(self._log_from_thread)
        while not Path(self.gate).exists():
            await asyncio.sleep(0.1)
        await asyncio.to_thread(self._push, "return_value", PUSHED)
        if self.outcome == "raise":
            raise ValueError(f"raised in the trigger about {self.job_name}")
        if self.outcome == "failed":
            yield TaskFailedEvent()
        elif self.outcome == "event":
            yield TriggerEvent({"job_name": self.job_name})
        else:
            yield TaskSuccessEvent()

    def _push(self, key: str, value: Any) -> None:
        """Store one XCom of this task; runs in a worker thread."""
        instance = self.task_instance
        if instance is None:
            raise RuntimeError("the triggerer gave the trigger no task instance")
        XCom.set(
            key,
            value,
            dag_id=instance.dag_id,
            task_id=instance.task_id,
            run_id=instance.run_id,
            map_index=instance.map_index if instance.map_index is not None else -1,
        )

    def _connection(self) -> dict[str, Any]:
        """Read a connection; runs in a worker thread."""
        connection = BaseHook.get_connection("facts")
        return {"host": connection.host, "extra": connection.extra_dejson}

    def _log_from_thread(self) -> None:
        name = threading.current_thread().name
        self.log.error("error from a thread about %s", self.job_name)
        thread_log.error("error from a module's logger in thread %s", name)


class FactsLink(BaseOperatorLink):
    """A button whose address is the XCom ``vertex_url``."""

    name = "Facts"

    @property
    def xcom_key(self) -> str:
        """The XCom that Airflow's API server reads the address from."""
        return "vertex_url"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address; used where the XCom is not read directly."""
        return str(XCom.get_value(key=self.xcom_key, ti_key=ti_key) or "")


class FactsOperator(BaseOperator):
    """A task that starts in the triggerer and, but for ``outcome="event"``, ends there."""

    template_fields = ("job_name", "outcome", "gate")
    operator_extra_links = (FactsLink(),)
    start_from_trigger = True

    def __init__(self, *, job_name: str, outcome: str, gate: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job_name = job_name
        self.outcome = outcome
        self.gate = gate
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls="facts_trigger.FactsTrigger",
            next_method="resume",
            trigger_kwargs={"job_name": job_name, "outcome": outcome, "gate": gate},
        )

    def execute(self, context: Context) -> None:
        """Fail: with ``start_from_trigger`` a scheduler never sends this task to a worker first."""
        raise RuntimeError("execute() was called")

    def resume(self, context: Context, event: dict[str, Any]) -> None:
        """Push what the trigger's event carried."""
        context["ti"].xcom_push("resumed", event)
