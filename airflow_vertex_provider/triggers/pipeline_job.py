"""Triggers: a pipeline job to wait for in, the end of the waiting task out, with no worker held.

:mod:`airflow_vertex_provider.triggers.waiting` tells how they end their tasks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger

from airflow_vertex_provider import metrics
from airflow_vertex_provider.exceptions import VertexApiError, VertexValueError
from airflow_vertex_provider.links.pipeline_job import VERTEX_LOGS_URL
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
from airflow_vertex_provider.triggers.cancelling import begin_cancel, cancel_within
from airflow_vertex_provider.triggers.identity import in_thread
from airflow_vertex_provider.triggers.next_attempts import (
    REPORTED,
    WHAT_TO_CLEAR,
    awaited_attempt,
    next_step,
    tell_awaited,
    tell_made,
    tell_retry,
)
from airflow_vertex_provider.triggers.submitted import ENDED, ended_by_user, is_job_name, task_state
from airflow_vertex_provider.triggers.waiting import KILL_BOUND, TIME_LIMIT_GRACE, WaitTrigger
from airflow_vertex_provider.triggers.watcher import Watcher

if TYPE_CHECKING:
    from airflow_vertex_provider.hooks.next_attempt import NextAttempt


class VertexPipelineJobTrigger(WaitTrigger):
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
    :param cancel_on_kill: cancel the job when a user ends the waiting task, or when its time is over.
    :param end_in_trigger: end the task here rather than on a worker.
    :param deadline: when the job's time is over, in seconds since 1970; never if ``None``, or what Airflow's
        own time limit of the trigger leaves.
    :param retry_delay: seconds before a group is tried again by itself, see ``VertexTaskGroup(retries=)``.
    :param needs: Vertex task name to those of its setup tasks, for what is run again.
    :param reported: the job whose failure an earlier try of the waiting task reported, if that is known.
    :param reruns: make the next attempt of a group whose job failed, where one is to follow.
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
        retry_delay: float = 0.0,
        needs: Mapping[str, Sequence[str]] | None = None,
        reported: str = "",
        reruns: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(job_name=job_name, **kwargs)
        self.retry_delay = retry_delay
        self.needs = dict(needs or {})
        self.reported = reported
        self.reruns = reruns
        self._making = ""
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
            "retry_delay": self.retry_delay,
            "needs": self.needs,
            "reported": self.reported,
            "reruns": self.reruns,
        }

    async def _forget_earlier_attempt(self) -> None:
        self.reported = await self._reported()
        await super()._forget_earlier_attempt()

    async def _reported(self) -> str:
        """Return the job whose failure an earlier try of this task has reported."""
        from airflow.sdk.execution_time.xcom import XCom

        if self.task_instance is None or self.try_number < 2:
            return ""
        place = self._place()
        mark = await in_thread(lambda: XCom.get_one(key=REPORTED, **place))
        # The same try may have got that far in another triggerer: that is no user's act.
        if not isinstance(mark, dict) or mark.get("try_number", 0) >= self.try_number:
            return ""
        return str(mark.get("job_name"))

    async def _next_job(self, job: JobSnapshot, outcome: Outcome) -> str | None:
        """Make the next attempt: the group has retries left, or this task was cleared after it failed."""
        step = next_step(job, self.reported) if self.reruns else None
        if step is None or step.there:
            return step.name if step else None
        if step.retry:
            tell_retry(job, outcome, self.retry_delay, self.log)
            await asyncio.sleep(self.retry_delay)
        self._making = step.name
        made = await self._made(job.name, retry=step.retry)
        tell_made(made, self.airflow_ids, self.log)
        return made.name

    def _count(self, job: JobSnapshot) -> None:
        metrics.job_ended(job)

    async def _made(self, name: str, *, retry: bool) -> NextAttempt:
        from airflow_vertex_provider.hooks.next_attempt import next_attempt

        pause = 1.0
        while True:
            try:
                return await self.identity.call(
                    lambda hook: next_attempt(hook, name, needs=self.needs, retry=retry)
                )
            except VertexApiError as error:
                if not error.transient:
                    raise
                self.log.warning("The next attempt cannot be made yet: %s", error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 60.0)

    async def on_kill(self) -> None:
        """Cancel the job. Airflow calls this when a user ends the task, never when a process restarts."""
        if not is_job_name(self.job_name):
            return
        if not self.cancel_on_kill:
            self.log.info("Left pipeline job %s running: cancel_on_kill is False", self.job_name)
            return
        await self._cancel(KILL_BOUND)

    async def cleanup(self) -> None:
        """Cancel the job if a user ended the task, where Airflow itself does not tell (before 3.3)."""
        if self._ended or hasattr(BaseTrigger, "on_kill"):
            return
        if await in_thread(lambda: ended_by_user(self.task_instance)):
            await self.on_kill()

    async def _cancel(self, seconds: float) -> bool:
        """Cancel the job, and the one that may just be coming into being."""
        if self._making and self._making != self.job_name:
            begin_cancel(self.identity, self._making, self.log, expected=True)
        return await cancel_within(self.identity, self.job_name, self.log, seconds=seconds)

    async def _out_of_time(self) -> Outcome:
        message = f"The job {self.job_name} had not ended within its time limit"
        if not self.cancel_on_kill:
            message = f"{message}; it was left running: cancel_on_kill is False"
            return Outcome(succeeded=False, message=message)
        ended = await self._cancel(TIME_LIMIT_GRACE - KILL_BOUND)
        then = "was cancelled" if ended else "is being cancelled"
        return Outcome(succeeded=False, message=f"{message} and {then}")

    async def _tell(self, job: JobSnapshot) -> None:
        line = f"{job.state_text}: {job.progress(self.airflow_ids)}"
        if line != self._last:
            self._last = line
            name = self.job_name.rpartition("/")[2]
            shown = job.progress(self.airflow_ids, now=datetime.now(UTC), total=self._tasks(job))
            self.log.info("Pipeline job %s %s", name, f"{job.state_text}: {shown}")

    def _tasks(self, job: JobSnapshot) -> int:
        """Return how many tasks there are at least: those of loops count as often as they are listed."""
        listed = sum(not task.scope and task.name in self.airflow_ids for task in job.entries)
        return listed + len(self.airflow_ids.keys() - {task.name for task in job.entries})

    def _outcome(self, job: JobSnapshot) -> Outcome | None:
        return job_outcome(job, self.airflow_ids, self.rules)

    def _xcoms(self, outcome: Outcome, job: JobSnapshot | None) -> dict[str, Any]:
        xcoms = job_xcoms(self.job_name, self.vertex_url, outcome, job, self.output_tasks, self.output_types)
        if job is not None and not outcome.succeeded and not outcome.skipped:
            xcoms[REPORTED] = {"job_name": job.name, "try_number": self.try_number}
        return xcoms

    def _value_xcoms(self, outcome: Outcome) -> dict[str, Any]:
        return {}


class VertexMemberTrigger(WaitTrigger):
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
    :param wait_task_id: id of the task that waits for the whole job; asked for its state if the member failed
        and a later attempt may come.

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
        wait_task_id: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(job_name=job_name, **kwargs)
        self.wait_task_id = wait_task_id
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
            "wait_task_id": self.wait_task_id,
        }

    async def _next_job(self, job: JobSnapshot, outcome: Outcome) -> str | None:
        """Wait for the next attempt while the task that makes it has not ended."""
        ti = self.task_instance
        name = awaited_attempt(job, self.wait_task_id, self.try_number)
        if not name:
            return None
        tell_awaited(outcome, self.log)
        follow = Watcher.follow(self.identity, name, poll_interval=self.poll_interval, expected=True)
        async with aclosing(follow) as snapshots:  # type: ignore[type-var]
            first = asyncio.ensure_future(anext(snapshots))
            try:
                while True:
                    done, _ = await asyncio.wait({first}, timeout=self.poll_interval)
                    if done:
                        return first.result().name
                    if ti is None:
                        continue
                    state = await in_thread(lambda: task_state(ti.dag_id, ti.run_id, self.wait_task_id))
                    if state in ENDED:
                        self.log.info(WHAT_TO_CLEAR, self.wait_task_id, state, self.submit_task_id)
                        return None
            finally:
                # The generator is closed next, which must not find it at work.
                first.cancel()
                await asyncio.wait({first})

    async def _without_job(self) -> Outcome | None:
        ti = self.task_instance
        if ti is None or not self.submit_task_id:
            return None
        if is_job_name(self.job_name) and not self.may_lack_job:
            return None
        state = await in_thread(lambda: task_state(ti.dag_id, ti.run_id, self.submit_task_id))
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

    def _explained_task(self) -> str:
        return self.task_name

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
