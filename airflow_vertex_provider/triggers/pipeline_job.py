"""Triggers: a pipeline job to wait for in, the end of the waiting task out, with no worker held.

Two ways to end, chosen by ``end_in_trigger``:

- ``True`` (Airflow 3.3 and newer): the trigger pushes the task's XComs and ends the task itself, so a
  mirrored member needs no worker at any time. The XComs go through Airflow's own XCom class, in a thread;
  the ``xcoms`` argument of ``TaskSuccessEvent`` would store them JSON-encoded twice.
- ``False``: the trigger fires an event and the operator's ``resume`` ends the task on a worker.

In the first way, the trigger's arguments may be templates; Airflow renders them in the triggerer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from airflow.triggers.base import (
    BaseTrigger,
    TaskFailedEvent,
    TaskSkippedEvent,
    TaskSuccessEvent,
    TriggerEvent,
)

from airflow_vertex_provider.exceptions import VertexProviderError, VertexValueError
from airflow_vertex_provider.links.pipeline_job import VERTEX_LOGS_URL, VERTEX_URL
from airflow_vertex_provider.outputs import (
    RETURN_VALUE,
    Outcome,
    artifact_values,
    job_outcome,
    job_xcoms,
    no_job_outcome,
    read_value,
    task_outcome,
)
from airflow_vertex_provider.snapshot import JobSnapshot
from airflow_vertex_provider.triggers.identity import Identity, in_thread
from airflow_vertex_provider.triggers.submitted import is_job_name, submit_state
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

#: Seconds that a trigger lives at least before it sends its task to a worker: one poll interval, within these
#: bounds. A scheduler that hears of the first step's end only after the second was queued takes the task for
#: killed and fails it (apache/airflow#67287, #72716); to a scheduler under load that happens within seconds.
SETTLING = (5.0, 10.0)


def waiting_fields(holder: object) -> dict[str, Any]:
    """Return the fields that waiting operators and their triggers share, from either of them."""
    return {name: getattr(holder, name) for name in WAITING_FIELDS}


class _WaitTrigger(BaseTrigger):
    """What both triggers share: following the job, telling of changes, ending the task."""

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

    def _kwargs(self) -> dict[str, Any]:
        return {**waiting_fields(self), "end_in_trigger": self.end_in_trigger}

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
                follow = Watcher.follow(self.identity, self.job_name, poll_interval=self.poll_interval)
                async with aclosing(follow) as snapshots:  # type: ignore[type-var]
                    async for job in snapshots:
                        await self._tell(job)
                        outcome = self._outcome(job)
                        if outcome is not None:
                            break
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
        yield await self._end(outcome, job)

    async def _end(self, outcome: Outcome, job: JobSnapshot | None) -> TriggerEvent:
        if not self.end_in_trigger:
            return TriggerEvent({"outcome": outcome.to_dict(), "xcoms": self._xcoms(outcome, job)})
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

    async def _forget_earlier_attempt(self) -> None:
        """Delete an earlier attempt's values; Airflow does so only where a worker starts the task."""
        from airflow.sdk.execution_time.xcom import XCom

        ti = self.task_instance
        if ti is None or (ti.try_number or 1) < 2:
            return
        place = {
            "dag_id": ti.dag_id,
            "task_id": ti.task_id,
            "run_id": ti.run_id,
            "map_index": ti.map_index if ti.map_index is not None else -1,
        }

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

        ti = self.task_instance
        if ti is None:
            raise VertexProviderError("The trigger ends its task itself, but belongs to none")

        def push() -> None:
            for key, value in xcoms.items():
                XCom.set(
                    key=key,
                    value=value,
                    dag_id=ti.dag_id,
                    task_id=ti.task_id,
                    run_id=ti.run_id,
                    map_index=ti.map_index if ti.map_index is not None else -1,
                )

        await in_thread(push)

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


class VertexPipelineJobTrigger(_WaitTrigger):
    """Waits for a whole pipeline job.

    :param job_name: resource name of the job.
    :param vertex_url: address of the job's page, for the XCom of that name.
    :param vertex_logs_url: address of the job's logs.
    :param airflow_ids: Vertex task name to Airflow task id, to name failed tasks as the author does.
    :param output_tasks: Airflow task id to Vertex task name, of the tasks whose values are the job's outputs.
    :param output_types: Airflow task id to the types of its outputs, for each component of KFP.
    :param rules: what tells whether the failures of a failed job were taken care of, see
        :func:`~airflow_vertex_provider.verdict.leaf_rules`.
    :param gcp_conn_id: Airflow connection.
    :param impersonation_chain: as in Google's provider.
    :param project_id: project of the job; the connection's if ``None``.
    :param poll_interval: seconds between two looks.
    :param cancel_on_kill: cancel the job when a user ends the waiting task (Airflow 3.3 and newer).
    :param end_in_trigger: end the task here rather than on a worker.
    """

    def __init__(
        self,
        *,
        job_name: str,
        airflow_ids: Mapping[str, str] | None = None,
        output_tasks: Mapping[str, str] | None = None,
        output_types: Mapping[str, Mapping[str, str]] | None = None,
        rules: Mapping[str, Any] | None = None,
        cancel_on_kill: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(job_name=job_name, **kwargs)
        self.airflow_ids = dict(airflow_ids or {})
        self.output_tasks = dict(output_tasks or {})
        self.output_types = dict(output_types or {})
        self.rules = dict(rules or {})
        self.cancel_on_kill = cancel_on_kill
        self._last = ""

    def _kwargs(self) -> dict[str, Any]:
        return {
            **super()._kwargs(),
            "airflow_ids": self.airflow_ids,
            "output_tasks": self.output_tasks,
            "output_types": self.output_types,
            "rules": self.rules,
            "cancel_on_kill": self.cancel_on_kill,
        }

    async def on_kill(self) -> None:
        """Cancel the job. Airflow calls this when a user ends the task, never when a process restarts."""
        if not self.cancel_on_kill:
            self.log.info("Left pipeline job %s running: cancel_on_kill is False", self.job_name)
            return
        cancelled = await self.identity.call(lambda hook: hook.cancel_job(self.job_name))
        self.log.info(
            "Asked Vertex AI to cancel %s" if cancelled else "Pipeline job %s had ended already",
            self.job_name,
        )

    async def _tell(self, job: JobSnapshot) -> None:
        line = f"{job.state_text}: {job.progress()}"
        if line != self._last:
            self._last = line
            self.log.info("Pipeline job %s %s", self.job_name.rpartition("/")[2], line)

    def _outcome(self, job: JobSnapshot) -> Outcome | None:
        return job_outcome(job, self.airflow_ids, self.rules)

    def _xcoms(self, outcome: Outcome, job: JobSnapshot | None) -> dict[str, Any]:
        return job_xcoms(self.job_name, self.vertex_url, outcome, job, self.output_tasks, self.output_types)

    def _value_xcoms(self, outcome: Outcome) -> dict[str, Any]:
        return {}


class VertexMemberTrigger(_WaitTrigger):
    """Waits for one task of a pipeline job.

    :param job_name: resource name of the job.
    :param task_name: the task's name in Vertex.
    :param multiple_outputs: push every item of a dict value under its own key too.
    :param push_value: push the task's value; ``False`` if the member has ``do_xcom_push=False``.
    :param index: number of the iteration, for a member in a loop.
    :param output_types: types of the outputs of a component of KFP; ``None`` for any other task.
    :param artifacts: names of the artifacts that a function leaves; each is an XCom.
    :param submit_task_id: id of the task that makes the job; asked for its state if there may be no job.
    :param may_lack_job: the member's trigger rule may start it though there is no job.

    The other parameters are those of :class:`VertexPipelineJobTrigger`.
    """

    def __init__(
        self,
        *,
        job_name: str,
        task_name: str,
        multiple_outputs: bool = False,
        push_value: bool = True,
        index: int | None = None,
        output_types: Mapping[str, str] | None = None,
        artifacts: Sequence[str] = (),
        submit_task_id: str = "",
        may_lack_job: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(job_name=job_name, **kwargs)
        self.task_name = task_name
        self.multiple_outputs = multiple_outputs
        self.push_value = push_value
        self.index = index
        self.output_types = output_types
        self.artifacts = list(artifacts)
        self.submit_task_id = submit_task_id
        self.may_lack_job = may_lack_job
        self._last = ""
        self._logs_url = ""

    def _kwargs(self) -> dict[str, Any]:
        return {
            **super()._kwargs(),
            "task_name": self.task_name,
            "multiple_outputs": self.multiple_outputs,
            "push_value": self.push_value,
            "index": self.index,
            "output_types": self.output_types,
            "artifacts": self.artifacts,
            "submit_task_id": self.submit_task_id,
            "may_lack_job": self.may_lack_job,
        }

    async def _without_job(self) -> Outcome | None:
        ti = self.task_instance
        if ti is None or not self.submit_task_id:
            return None
        if is_job_name(self.job_name) and not self.may_lack_job:
            return None
        state = await in_thread(lambda: submit_state(ti.dag_id, ti.run_id, self.submit_task_id))
        if is_job_name(self.job_name) and state == "success":
            return None
        return no_job_outcome(self.submit_task_id, state)

    async def _tell(self, job: JobSnapshot) -> None:
        task = job.task(self.task_name, self.index)
        state = task.state_text if task else "not created yet"
        if state != self._last:
            self._last = state
            self.log.info("Vertex task %s: %s", self.task_name, state)
        if task and task.logs_url and task.logs_url != self._logs_url:
            self._logs_url = task.logs_url
            self.log.info("Logs of Vertex task %s: %s", self.task_name, task.logs_url)
            if self.end_in_trigger:
                await self._push({VERTEX_LOGS_URL: task.logs_url})

    def _outcome(self, job: JobSnapshot) -> Outcome | None:
        return task_outcome(job, self.task_name, self.index, self.output_types)

    def _xcoms(self, outcome: Outcome, job: JobSnapshot | None) -> dict[str, Any]:
        return {VERTEX_LOGS_URL: outcome.logs_url} if outcome.logs_url else {}

    def _value_xcoms(self, outcome: Outcome) -> dict[str, Any]:
        if not self.push_value:
            return {}

        def read(uri: str) -> bytes:
            return self.identity.hook().read_gcs(uri)

        xcoms = artifact_values(outcome, read)
        value = read_value(outcome.value_text, read)
        if value is None:  # Airflow pushes nothing then, with multiple_outputs either.
            return xcoms
        xcoms[RETURN_VALUE] = value
        if self.multiple_outputs:
            if not isinstance(value, dict):
                # Airflow's own rule for such a task.
                raise VertexValueError(f"multiple_outputs: found a {type(value).__name__}; allowed: a dict")
            xcoms = {**{str(key): item for key, item in value.items()}, **xcoms}
        return xcoms

    def _unrolls(self) -> bool:
        return self.multiple_outputs

    def _keys(self) -> Sequence[str]:
        return self.artifacts
