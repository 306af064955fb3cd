"""What the waiting operators share: an Airflow task that follows a job in, its end and XComs out.

Three ways to wait, the same XComs from each:

- in the triggerer from start to end, with no worker (Airflow 3.3 and newer, ``end_in_trigger`` triggers);
- deferred: a worker starts the task, the triggerer waits, a worker ends it;
- ``deferrable=False``: on a worker, looking every ``poll_interval`` seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.triggers.base import BaseTrigger, StartTriggerArgs

from airflow_vertex_provider.exceptions import VertexApiError
from airflow_vertex_provider.job_names import JobName
from airflow_vertex_provider.links.pipeline_job import (
    VERTEX_LOGS_URL,
    VERTEX_URL,
    VertexLogsLink,
    VertexPipelineLink,
)
from airflow_vertex_provider.outputs import Outcome
from airflow_vertex_provider.triggers.identity import Identity
from airflow_vertex_provider.triggers.submitted import is_job_name
from airflow_vertex_provider.triggers.waiting import (
    JOB_FIELDS,
    TIME_LIMIT_GRACE,
    WaitTrigger,
    tell_unknown,
    waiting_fields,
)

try:
    from airflow.sdk.exceptions import AirflowSkipException as AirflowSkipException
except ImportError:  # Airflow 3.1 has it elsewhere; delete when 3.2 is the lowest supported.
    from airflow.exceptions import AirflowSkipException as AirflowSkipException  # type: ignore[no-redef]

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

    from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
    from airflow_vertex_provider.snapshot import JobSnapshot


#: How often a task on workers is tried again whose worker was lost: it finds its job again. What
#: failed in Vertex AI is never retried here.
LOST_WORKER_RETRIES = 3
LOST_WORKER_DELAY = timedelta(seconds=10)

#: The method that ends a deferred task on a worker.
RESUME = "resume"


def triggers_can_end_tasks() -> bool:
    """Tell whether this Airflow starts and ends a task in the triggerer, as 3.3 does and 3.1 does not.

    ``BaseTrigger.on_kill`` came together with templated arguments for such triggers, so it is the mark.
    """
    return hasattr(BaseTrigger, "on_kill")


def needs_worker(operator: BaseOperator) -> bool:
    """Tell whether ending the task is a worker's job: what Airflow does nowhere else would be lost.

    Assets and execute hooks live on workers; the event that ends a task in the triggerer reports failures
    to callbacks, but neither successes nor skips; e-mails are sent when a worker ends a task.
    """
    return bool(
        operator.outlets
        or operator.inlets
        or operator.on_execute_callback
        or operator.on_success_callback
        or operator.on_skipped_callback
        or getattr(operator, "email", None)
        or getattr(operator, "_post_execute_hook", None)
    )


def xcom_template(task_id: str, key: str) -> str:
    """Return the template for another task's XCom that also renders in the triggerer.

    There a pull without ``map_indexes`` would wait for ever: the triggerer refuses that message.
    """
    return f"{{{{ ti.xcom_pull(task_ids={task_id!r}, key={key!r}, map_indexes=-1) }}}}"


class VertexWaitingOperator(BaseOperator):
    """Base of the operators that follow a job. Their fields are plain data, set by the task group."""

    template_fields: Sequence[str] = (
        "job_name",
        "vertex_url",
        "vertex_logs_url",
        "gcp_conn_id",
        "impersonation_chain",
        "project_id",
    )
    operator_extra_links = (VertexPipelineLink(), VertexLogsLink())

    job_name: str
    vertex_url: str
    vertex_logs_url: str
    gcp_conn_id: str
    impersonation_chain: str | Sequence[str] | None
    project_id: str | None
    poll_interval: float
    deferrable: bool
    #: Seconds that the job may take, from when this task starts to wait; no limit if ``None``.
    time_limit: float | None = None

    def identity(self) -> Identity:
        """As whom the job is read: the same as at submit."""
        return Identity.of(self.gcp_conn_id, self.impersonation_chain, self.project_id)

    def trigger_kwargs(self) -> dict[str, Any]:
        """Return the arguments of the trigger, without ``end_in_trigger``."""
        return waiting_fields(self)

    def make_trigger(self, deadline: float | None = None) -> WaitTrigger:
        """Return the trigger to defer to from a worker.

        :param deadline: when the job's time is over, in seconds since 1970.
        """
        raise NotImplementedError

    def start_in_trigger(self, trigger_class: type[BaseTrigger]) -> None:
        """Let the task start and end in the triggerer, with no worker."""
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls=f"{trigger_class.__module__}.{trigger_class.__qualname__}",
            next_method=RESUME,
            trigger_kwargs={**self.trigger_kwargs(), "end_in_trigger": True},
            timeout=self._trigger_timeout(self.time_limit),
        )
        self.start_from_trigger = True

    @staticmethod
    def _trigger_timeout(seconds: float | None) -> timedelta | None:
        """Return when Airflow is to end the trigger if it has not ended by itself."""
        return None if seconds is None else timedelta(seconds=seconds + TIME_LIMIT_GRACE)

    def outcome_of(self, job: JobSnapshot) -> Outcome | None:
        """Tell how what this task waits for ended, or ``None``."""
        raise NotImplementedError

    def xcoms_of(self, outcome: Outcome, job: JobSnapshot | None) -> Mapping[str, Any]:
        """Return the XComs beside the return value."""
        raise NotImplementedError

    def finish(self, context: Context, outcome: Outcome, xcoms: Mapping[str, Any]) -> Any:
        """End the task on a worker: push, then return the value or raise."""
        raise NotImplementedError

    def out_of_time(self) -> Outcome:
        """Tell how a task ends whose job takes too long; its time is over. On a worker."""
        raise NotImplementedError

    def execute(self, context: Context) -> Any:
        """Start to wait. On a worker; not called where the task starts in the triggerer."""
        ti = context["ti"]
        ti.xcom_push(key=VERTEX_URL, value=self.vertex_url)
        ti.xcom_push(key=VERTEX_LOGS_URL, value=self.vertex_logs_url)
        deadline = None if self.time_limit is None else time.time() + self.time_limit
        if self.deferrable:
            self.defer(
                trigger=self.make_trigger(deadline),
                method_name=RESUME,
                timeout=self._trigger_timeout(self.time_limit),
            )
        hook = self.identity().hook()
        job: JobSnapshot | None = None
        while True:
            followed = follow(hook, self.job_name, self.outcome_of, self.poll_interval, self.log, deadline)
            if followed is None:
                outcome = self.out_of_time()
                break
            job, outcome = followed
            following = None
            if not outcome.succeeded and not outcome.skipped:
                following = self.next_job(context, hook, job, outcome)
            if following is None:
                break
            url, logs_url = hook.job_urls(following)
            self._go_on_with(context, {"job_name": following, "vertex_url": url, "vertex_logs_url": logs_url})
        return self.finish(context, outcome, self.xcoms_of(outcome, job))

    def next_job(
        self, context: Context, hook: VertexPipelineHook, job: JobSnapshot, outcome: Outcome
    ) -> str | None:
        """Return the attempt that follows a failed one, once it is there; ``None`` if none follows."""
        return None

    def _go_on_with(self, context: Context, job: Mapping[str, str]) -> None:
        """Follow, or show, another attempt than the one this task began with."""
        if job["job_name"] == self.job_name:
            return
        for name in JOB_FIELDS:
            setattr(self, name, job[name])
        self.log.info("Following the next attempt, %s", JobName.parse(self.job_name).id)
        context["ti"].xcom_push(key=VERTEX_URL, value=self.vertex_url)
        context["ti"].xcom_push(key=VERTEX_LOGS_URL, value=self.vertex_logs_url)

    def resume(self, context: Context, event: Mapping[str, Any]) -> Any:
        """End the task after the trigger has seen the end. On a worker."""
        self._go_on_with(context, event["job"])
        return self.finish(context, Outcome.from_dict(event["outcome"]), event["xcoms"])


class VertexJobWaitingOperator(VertexWaitingOperator):
    """Base of the operators whose job is their own to cancel: by a user's act, or when its time is over."""

    cancel_on_kill: bool
    #: What limits the time, as the author calls it.
    limited_by = "its time limit"

    def out_of_time(self) -> Outcome:
        """See :meth:`VertexWaitingOperator.out_of_time`; the job is cancelled, unless that is not wanted."""
        message = f"The job {self.job_name} had not ended within {self.limited_by}"
        if not self.cancel_on_kill:
            message = f"{message}; it was left running: cancel_on_kill is False"
            return Outcome(succeeded=False, message=message)
        self.identity().hook().cancel_job(self.job_name)
        return Outcome(succeeded=False, message=f"{message} and is being cancelled")

    def job_followed(self, context: Context) -> object:
        """Return the job that the trigger followed, when a worker goes on without having begun."""
        return self.job_name

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after the trigger; if Airflow ended that since the time was over, cancel what it followed."""
        late = next_method == "__fail__" and "timeout" in str((next_kwargs or {}).get("error", "")).lower()
        if late and self.cancel_on_kill and is_job_name(name := self.job_followed(context)):
            self.identity().hook().cancel_job(str(name))
        return super().resume_execution(next_method, next_kwargs, context)


def follow(
    hook: VertexPipelineHook,
    job_name: str,
    outcome_of: Callable[[JobSnapshot], Outcome | None],
    poll_interval: float,
    log: Any,
    deadline: float | None = None,
) -> tuple[JobSnapshot, Outcome] | None:
    """Wait on a worker until ``outcome_of`` answers; transient errors are waited out.

    :param deadline: when to stop waiting, in seconds since 1970.
    :return: the job as it was then, and the answer; ``None`` if the time was over before.
    :raises VertexApiError: the job cannot be read and waiting would not help.
    """
    last = ""
    unknown: set[str] = set()
    while True:
        try:
            job = hook.get_job(job_name)
        except VertexApiError as error:
            if not error.transient:
                raise
            log.warning("Cannot look at %s yet: %s", job_name, error)
        else:
            tell_unknown(job, unknown, log)
            outcome = outcome_of(job)
            failed = outcome is not None and not outcome.succeeded and not outcome.skipped
            # While the group has retries left, no failure is one before the job has ended.
            if outcome is not None and not (failed and job.retries_left and not job.done):
                if failed:
                    job = hook.explained(job)
                    outcome = outcome_of(job) or outcome
                return job, outcome
            line = f"{job.state_text}: {job.progress()}"
            if line != last:
                last = line
                shown = job.progress(now=datetime.now(UTC))
                log.info("Pipeline job %s %s: %s", job_name.rpartition("/")[2], job.state_text, shown)
        left = poll_interval if deadline is None else min(poll_interval, deadline - time.time())
        if left <= 0:
            return None
        time.sleep(left)
