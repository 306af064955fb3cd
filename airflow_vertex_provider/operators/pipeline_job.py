"""A group's job awaited, and the doors to all operators of pipeline jobs: a job's name in, its end out.

:class:`SubmitVertexPipelineOperator` renders, compiles and creates the job; it is the only task of a group
that needs a worker. :class:`WaitVertexPipelineOperator` follows it. A ``VertexTaskGroup`` makes both.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_vertex_provider import metrics
from airflow_vertex_provider.exceptions import VertexJobFailedError
from airflow_vertex_provider.links.pipeline_job import (
    VERTEX_LOGS_URL,
    VERTEX_URL,
)
from airflow_vertex_provider.operators.killing import Killing
from airflow_vertex_provider.operators.submit import (
    SubmitVertexPipelineOperator as SubmitVertexPipelineOperator,
)
from airflow_vertex_provider.operators.submit import task_store
from airflow_vertex_provider.operators.waiting import (
    AirflowSkipException,
    VertexJobWaitingOperator,
    needs_worker,
    triggers_can_end_tasks,
    xcom_template,
)
from airflow_vertex_provider.outputs import RETURN_VALUE, Outcome, job_outcome, job_xcoms
from airflow_vertex_provider.triggers.next_attempts import REPORTED, next_step, tell_made, tell_retry
from airflow_vertex_provider.triggers.pipeline_job import VertexPipelineJobTrigger
from airflow_vertex_provider.triggers.submitted import is_job_name

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

    from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
    from airflow_vertex_provider.snapshot import JobSnapshot

#: Operators that can be imported from here too; they stand in modules of their own, which import this one's
#: neighbours.
_ELSEWHERE = {
    "RunVertexPipelineOperator": "run_pipeline",
    "GetVertexPipelineJobOperator": "job_life",
    "ListVertexPipelineJobsOperator": "job_life",
    "CancelVertexPipelineJobOperator": "job_life",
    "DeleteVertexPipelineJobOperator": "job_life",
}


def __getattr__(name: str) -> Any:
    if name not in _ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"airflow_vertex_provider.operators.{_ELSEWHERE[name]}")
    return getattr(module, name)


class WaitVertexPipelineOperator(VertexJobWaitingOperator):
    """Waits for a pipeline job that another task submitted.

    XComs: ``vertex_url``, ``vertex_logs_url``, ``vertex_state`` and ``return_value``, a dict of
    ``job_name``, ``state``, ``url`` and ``outputs`` (task id to value, of the last tasks of the pipeline).
    A failed job fails this task with every failed task, its error and the links to its logs and custom job.

    :param submit_task_id: full id of the task whose XComs name the job.
    :param airflow_ids: Vertex task name to Airflow task id.
    :param output_tasks: Airflow task id to Vertex task name, of the tasks nothing in the group follows.
    :param output_types: Airflow task id to the types of its outputs, for each component of KFP.
    :param rules: what tells whether the failures of a failed job were taken care of, see
        :func:`~airflow_vertex_provider.verdict.leaf_rules`; then this task succeeds.
    :param cancel_on_kill: cancel the job when a user ends this task.
    :param deferrable: wait in the triggerer (default) or on a worker.
    :param poll_interval: seconds between two looks at the job.
    :param time_limit: seconds that the job may take, from when this task starts to wait.
    :param retry_delay_of_group: seconds before a group with retries left is tried again.
    :param needs: Vertex task name to those of its setup tasks, for what is run again.
    """

    ui_color = "#d2e3fc"

    def __init__(
        self,
        *,
        submit_task_id: str,
        airflow_ids: Mapping[str, str] | None = None,
        output_tasks: Mapping[str, str] | None = None,
        output_types: Mapping[str, Mapping[str, str]] | None = None,
        rules: Mapping[str, Any] | None = None,
        gcp_conn_id: str = "google_cloud_default",
        impersonation_chain: str | Sequence[str] | None = None,
        project_id: str | None = None,
        poll_interval: float = 30.0,
        deferrable: bool = True,
        cancel_on_kill: bool = True,
        time_limit: float | None = None,
        retry_delay_of_group: float = 0.0,
        needs: Mapping[str, Sequence[str]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_name = xcom_template(submit_task_id, RETURN_VALUE)
        self.vertex_url = xcom_template(submit_task_id, VERTEX_URL)
        self.vertex_logs_url = xcom_template(submit_task_id, VERTEX_LOGS_URL)
        self.airflow_ids = dict(airflow_ids or {})
        self.output_tasks = dict(output_tasks or {})
        self.output_types = dict(output_types or {})
        self.rules = dict(rules or {})
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self.project_id = project_id
        self.poll_interval = poll_interval
        self.deferrable = deferrable
        self.cancel_on_kill = cancel_on_kill
        self.time_limit = time_limit
        self.retry_delay_of_group = retry_delay_of_group
        self.needs = dict(needs or {})
        self.reported = ""
        self._ti: Any = None
        if deferrable and triggers_can_end_tasks() and not needs_worker(self):
            self.start_in_trigger(VertexPipelineJobTrigger)

    def judge_by(self, output_tasks: Mapping[str, str], rules: Mapping[str, Any]) -> None:
        """Take the last tasks of the group anew: edges were drawn after it closed. Runs at parse."""
        self.output_tasks, self.rules = dict(output_tasks), dict(rules)
        if self.start_from_trigger:
            self.start_in_trigger(VertexPipelineJobTrigger)

    def make_trigger(self, deadline: float | None = None) -> VertexPipelineJobTrigger:
        """See :meth:`VertexWaitingOperator.make_trigger`."""
        return VertexPipelineJobTrigger(**self.trigger_kwargs(), deadline=deadline)

    def trigger_kwargs(self) -> dict[str, Any]:
        """See :meth:`VertexWaitingOperator.trigger_kwargs`."""
        return {
            **super().trigger_kwargs(),
            "airflow_ids": self.airflow_ids,
            "output_tasks": self.output_tasks,
            "output_types": self.output_types,
            "rules": self.rules,
            "cancel_on_kill": self.cancel_on_kill,
            "retry_delay": self.retry_delay_of_group,
            "needs": self.needs,
            "reported": self.reported,
            "reruns": True,
        }

    def outcome_of(self, job: JobSnapshot) -> Outcome | None:
        """See :meth:`VertexWaitingOperator.outcome_of`."""
        return job_outcome(job, self.airflow_ids, self.rules)

    def xcoms_of(self, outcome: Outcome, job: JobSnapshot | None) -> Mapping[str, Any]:
        """See :meth:`VertexWaitingOperator.xcoms_of`; the end of the job that was waited for here counts."""
        if job is not None and job.done:
            metrics.job_ended(job)
        return job_xcoms(self.job_name, self.vertex_url, outcome, job, self.output_tasks, self.output_types)

    def finish(self, context: Context, outcome: Outcome, xcoms: Mapping[str, Any]) -> Any:
        """End the task as the job ended.

        :raises VertexJobFailedError: the job ended in anything but success, and nothing took care of that.
        :raises AirflowSkipException: the last tasks of the group were skipped.
        """
        for key, value in xcoms.items():
            context["ti"].xcom_push(key=key, value=value)
        if outcome.skipped:
            raise AirflowSkipException(outcome.message)
        if not outcome.succeeded:
            store = task_store(context)
            if store is not None:
                mark = {"job_name": self.job_name, "max_tries": context["ti"].max_tries}
                store.set(REPORTED, mark)
            raise VertexJobFailedError(outcome.message)
        self.log.info("%s", outcome.message)
        return xcoms[RETURN_VALUE]

    def execute(self, context: Context) -> Any:
        """See :meth:`VertexWaitingOperator.execute`."""
        self._ti = context["ti"]
        store = task_store(context)
        mark = None if store is None else store.get(REPORTED)
        if isinstance(mark, dict) and mark.get("max_tries") != context["ti"].max_tries:
            # Not a retry of the same attempt: somebody has cleared the task since.
            self.reported = str(mark.get("job_name"))
        return super().execute(context)

    def next_job(
        self, context: Context, hook: VertexPipelineHook, job: JobSnapshot, outcome: Outcome
    ) -> str | None:
        """Make the next attempt as the trigger does. On a worker."""
        from airflow_vertex_provider.hooks.next_attempt import next_attempt

        step = next_step(job, self.reported)
        if step is None or step.there:
            return step.name if step else None
        if step.retry:
            tell_retry(job, outcome, self.retry_delay_of_group, self.log)
            time.sleep(self.retry_delay_of_group)
        made = next_attempt(hook, job.name, needs=self.needs, retry=step.retry)
        tell_made(made, self.airflow_ids, self.log)
        return made.name

    def on_kill(self) -> None:
        """Cancel the job when a user ends this task while it waits on a worker, or its time is over."""
        if self.cancel_on_kill and is_job_name(self.job_name):
            Killing(self.identity, self.log).begin(self._ti, self.job_name)
