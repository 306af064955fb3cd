"""What the triggers share: following a job, telling of changes, ending the task, with no worker held.

Two ways to end, chosen by ``end_in_trigger``:

- ``True`` (Airflow 3.3 and newer): the trigger pushes the task's XComs and ends the task itself, so a
  mirrored member needs no worker at any time. The XComs go through Airflow's own XCom class, in a thread;
  the ``xcoms`` argument of ``TaskSuccessEvent`` would store them JSON-encoded twice.
- ``False``: the trigger fires an event and the operator's ``resume`` ends the task on a worker.

In the first way, the trigger's arguments may be templates; Airflow renders them in the triggerer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

from airflow.triggers.base import (
    BaseTrigger,
    TaskFailedEvent,
    TaskSkippedEvent,
    TaskSuccessEvent,
    TriggerEvent,
)

from airflow_vertex_provider.exceptions import VertexProviderError
from airflow_vertex_provider.job_names import JobName
from airflow_vertex_provider.links.pipeline_job import VERTEX_LOGS_URL, VERTEX_URL
from airflow_vertex_provider.outputs import RETURN_VALUE, Outcome
from airflow_vertex_provider.snapshot import JobSnapshot, unknown_states
from airflow_vertex_provider.triggers.identity import Identity, in_thread
from airflow_vertex_provider.triggers.watcher import Watcher

#: What a waiting operator hands to its trigger under the same name: which job, and how to look at it.
WAITING_FIELDS = (
    "job_name",
    "vertex_url",
    "vertex_logs_url",
    "gcp_conn_id",
    "impersonation_chain",
    "project_id",
    "poll_interval",
)

#: What changes when the next attempt of a group is followed.
JOB_FIELDS = ("job_name", "vertex_url", "vertex_logs_url")

#: Seconds that a trigger lives at least before it sends its task to a worker: one poll interval, within these
#: bounds. A scheduler that hears of the first step's end only after the second was queued takes the task for
#: killed and fails it (apache/airflow#67287, #72716); to a scheduler under load that happens within seconds.
SETTLING = (5.0, 10.0)


#: Seconds that Airflow gives a trigger beyond its own time limit: the job is cancelled in them.
TIME_LIMIT_GRACE = 120.0
#: Seconds of a user's act that a cancel may take before it goes on in the background; Airflow's own bound,
#: ``[triggerer] on_kill_timeout``, is 30 by default.
KILL_BOUND = 25.0


#: Seconds between tries to push XComs while Airflow's database does not answer.
PUSH_PAUSES = (1, 2, 5, 10, 20, 30)


def waiting_fields(holder: object) -> dict[str, Any]:
    """Return the fields that waiting operators and their triggers share, from either of them."""
    return {name: getattr(holder, name) for name in WAITING_FIELDS}


def tell_unknown(job: JobSnapshot, told: set[str], log: Any) -> None:
    """Say once of each state that this version does not know that it is waited out.

    :param told: the states that were told; those told now are added.
    """
    for state in sorted(unknown_states(job) - told):
        told.add(state)
        log.warning("Vertex AI reports the state %s, unknown here; waiting on", state)


class WaitTrigger(BaseTrigger):
    """Base of the triggers; see the module."""

    def __init__(
        self,
        *,
        job_name: str,
        vertex_url: str = "",
        vertex_logs_url: str = "",
        gcp_conn_id: str = "google_cloud_default",
        impersonation_chain: str | Sequence[str] | None = None,
        project_id: str | None = None,
        poll_interval: float = 30.0,
        end_in_trigger: bool = False,
        deadline: float | None = None,
    ) -> None:
        super().__init__()
        self.job_name = job_name
        self.vertex_url = vertex_url
        self.vertex_logs_url = vertex_logs_url
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self.project_id = project_id
        self.poll_interval = poll_interval
        self.end_in_trigger = end_in_trigger
        self.deadline = deadline
        self._ended = False

    def _kwargs(self) -> dict[str, Any]:
        return {
            **waiting_fields(self),
            "end_in_trigger": self.end_in_trigger,
            "deadline": self.deadline,
        }

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments, from which Airflow makes the trigger again."""
        return f"{type(self).__module__}.{type(self).__qualname__}", self._kwargs()

    @property
    def identity(self) -> Identity:
        """As whom the job is read and cancelled: the same as at submit."""
        return Identity.of(self.gcp_conn_id, self.impersonation_chain, self.project_id)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for the end, then yield the one event that ends or resumes the task."""
        outcome, job = None, None
        started = asyncio.get_running_loop().time()
        try:
            if self.end_in_trigger:
                await self._forget_earlier_attempt()
                outcome = await self._without_job()
            if outcome is None:
                if self.end_in_trigger:
                    await self._push({VERTEX_URL: self.vertex_url, VERTEX_LOGS_URL: self.vertex_logs_url})
                job, outcome = await self._wait_in_time()
        except VertexProviderError as error:
            outcome = Outcome(succeeded=False, message=f"{type(error).__name__}: {error}")
        except Exception as error:
            # Whatever it is (a connection that is not there, say): a trigger that raises would end its task
            # with "Trigger failure" and no reason.
            self.log.exception("Waiting for %s failed", self.job_name)
            outcome = Outcome(succeeded=False, message=f"{type(error).__name__}: {error}")
        if outcome is None:
            outcome = Outcome(succeeded=False, message=f"The job {self.job_name} could not be followed")
        # Only a triggerer numbers its triggers; where one runs in line (dag.test) no scheduler can be late.
        if not self.end_in_trigger and self.trigger_id is not None:
            lived = asyncio.get_running_loop().time() - started
            least, most = SETTLING
            await asyncio.sleep(min(max(self.poll_interval, least), most) - lived)
        if job is not None and job.done:
            self._count(job)
        event = await self._end(outcome, job)
        self._ended = True
        yield event

    def _count(self, job: JobSnapshot) -> None:
        """Note the end of the job among the metrics; for one of those who wait, not for all."""

    async def _wait_in_time(self) -> tuple[JobSnapshot | None, Outcome | None]:
        limit = asyncio.timeout(self._seconds_left())
        try:
            async with limit:
                return await self._wait()
        except TimeoutError:
            if not limit.expired():
                raise
            return None, await self._out_of_time()

    async def _wait(self) -> tuple[JobSnapshot, Outcome | None]:
        """Follow the job until what this trigger waits for has ended."""
        while True:
            job, outcome = await self._follow()
            if outcome is None or outcome.succeeded or outcome.skipped:
                return job, outcome
            job = await self._explained(job)
            outcome = self._outcome(job) or outcome
            following = await self._next_job(job, outcome)
            if following is None:
                return job, outcome
            await self._go_on_with(following)

    async def _follow(self) -> tuple[JobSnapshot, Outcome | None]:
        """Follow one job until what this trigger waits for has ended there."""
        unknown: set[str] = set()
        job: JobSnapshot | None = None
        follow = Watcher.follow(self.identity, self.job_name, poll_interval=self.poll_interval)
        async with aclosing(follow) as snapshots:  # type: ignore[type-var]
            async for job in snapshots:
                tell_unknown(job, unknown, self.log)
                await self._tell(job)
                outcome = self._outcome(job)
                if outcome is not None and (outcome.succeeded or outcome.skipped or self._is_final(job)):
                    return job, outcome
        assert job is not None
        return job, None

    def _is_final(self, job: JobSnapshot) -> bool:
        """Tell whether a failure that the job shows stays one: no later attempt may come."""
        return job.done or not job.retries_left

    async def _next_job(self, job: JobSnapshot, outcome: Outcome) -> str | None:
        """Return the attempt that follows a failed one, once it is there; ``None`` if none follows."""
        return None

    async def _go_on_with(self, job_name: str) -> None:
        """Follow the next attempt from now on."""
        self.job_name = job_name
        self.vertex_url, self.vertex_logs_url = await self.identity.call(lambda hook: hook.job_urls(job_name))
        self.log.info("Following the next attempt, %s", JobName.parse(job_name).id)
        if self.end_in_trigger:
            await self._push({VERTEX_URL: self.vertex_url, VERTEX_LOGS_URL: self.vertex_logs_url})

    @property
    def try_number(self) -> int:
        """Number of the waiting task's try; 1 where no task waits."""
        return getattr(self.task_instance, "try_number", None) or 1

    async def _explained(self, job: JobSnapshot) -> JobSnapshot:
        """Find out why tasks failed, as far as their entries only point at it."""
        try:
            return await self.identity.call(lambda hook: hook.explained(job, self._explained_task()))
        except Exception as error:  # noqa: BLE001 - the failure itself is known, and is worth more
            self.log.warning("No more is known of the failure: %s", error)
            return job

    def _explained_task(self) -> str:
        """Return the Vertex name of the task whose failure matters; all do if empty."""
        return ""

    def _seconds_left(self) -> float | None:
        """Return how long the trigger may wait still.

        Airflow keeps the moment at which it ends a trigger from the first start on, through restarts.
        """
        deadline = self.deadline
        ends: datetime | None = getattr(self, "timeout_after", None)
        if deadline is None and ends is not None:
            ends = ends if ends.tzinfo else ends.replace(tzinfo=UTC)
            deadline = ends.timestamp() - TIME_LIMIT_GRACE
        return None if deadline is None else max(0.0, deadline - time.time())

    async def _out_of_time(self) -> Outcome:
        """Tell how the task ends that has waited for as long as it may."""
        return Outcome(
            succeeded=False, message=f"The job {self.job_name} had not ended within the time limit"
        )

    async def _end(self, outcome: Outcome, job: JobSnapshot | None) -> TriggerEvent:
        if not self.end_in_trigger:
            return TriggerEvent(
                {
                    "outcome": outcome.to_dict(),
                    "xcoms": self._xcoms(outcome, job),
                    "job": {name: getattr(self, name) for name in JOB_FIELDS},
                }
            )
        await self._push(self._xcoms(outcome, job))
        if outcome.skipped:
            self.log.info("%s", outcome.message)
            return TaskSkippedEvent()
        if outcome.succeeded:
            try:
                await self._push(await in_thread(lambda: self._value_xcoms(outcome)))
            except (VertexProviderError, TypeError, ValueError, OverflowError) as error:
                # Unreadable, or nothing that Airflow can store (it takes no integer above 2**64 - 1).
                outcome = Outcome(
                    succeeded=False,
                    message=f"{outcome.message}, but its value could not be made an XCom: {error}",
                )
        if outcome.succeeded:
            self.log.info("%s", outcome.message)
            return TaskSuccessEvent()
        self.log.error("%s", outcome.message)
        return TaskFailedEvent()

    def _place(self) -> dict[str, Any]:
        """Return where the waiting task's XComs are.

        :raises VertexProviderError: the trigger belongs to no task.
        """
        ti = self.task_instance
        if ti is None:
            raise VertexProviderError("The trigger ends its task itself, but belongs to none")
        index = -1 if ti.map_index is None else ti.map_index
        return {"dag_id": ti.dag_id, "task_id": ti.task_id, "run_id": ti.run_id, "map_index": index}

    async def _forget_earlier_attempt(self) -> None:
        """Delete an earlier attempt's values; Airflow does so only where a worker starts the task."""
        from airflow.sdk.execution_time.xcom import XCom

        if self.task_instance is None or self.try_number < 2:
            return
        place = self._place()

        def forget() -> None:
            value = XCom.get_one(key=RETURN_VALUE, **place)
            unrolled = map(str, value) if isinstance(value, dict) and self._unrolls() else ()
            for key in (RETURN_VALUE, *unrolled, *self._keys()):
                XCom.delete(key=key, **place)

        await in_thread(forget)

    def _unrolls(self) -> bool:
        """Tell whether the items of a dict value are XComs of their own."""
        return False

    def _keys(self) -> Sequence[str]:
        """Return the keys of further XComs that the task may leave."""
        return ()

    async def _push(self, xcoms: Mapping[str, Any]) -> None:
        """Push XComs for the waiting task, from a thread: on the event loop Airflow's call would block."""
        from airflow.sdk.execution_time.xcom import XCom

        place = self._place()

        def push() -> None:
            for key, value in xcoms.items():
                XCom.set(key=key, value=value, **place)

        for pause in (*PUSH_PAUSES, None):
            try:
                await in_thread(push)
            except (TypeError, ValueError, OverflowError):  # nothing that Airflow can store
                raise
            except Exception as error:
                if pause is None:
                    raise
                self.log.warning("XComs could not be pushed, trying again in %d seconds: %s", pause, error)
                await asyncio.sleep(pause)
            else:
                return

    async def _without_job(self) -> Outcome | None:
        """Tell how the task ends if it was started though there is no job to wait for."""
        return None

    async def _tell(self, job: JobSnapshot) -> None:
        raise NotImplementedError

    def _outcome(self, job: JobSnapshot) -> Outcome | None:
        raise NotImplementedError

    def _xcoms(self, outcome: Outcome, job: JobSnapshot | None) -> dict[str, Any]:
        """Return the XComs known from the snapshot alone."""
        raise NotImplementedError

    def _value_xcoms(self, outcome: Outcome) -> dict[str, Any]:
        """Return the XComs that may have to be read from storage. Runs in a thread."""
        raise NotImplementedError
