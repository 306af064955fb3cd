"""A member of a Vertex task group as Airflow runs it: the author's operator in, its mirror out.

The author's operator object keeps its identity, task id and edges and changes its class on leaving the
group. From then on it never runs the author's code in Airflow: it follows its task in the pipeline job and
takes that task's state and value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_vertex_provider.exceptions import VertexTaskFailedError
from airflow_vertex_provider.links.pipeline_job import VERTEX_LOGS_URL
from airflow_vertex_provider.operators.waiting import (
    VertexWaitingOperator,
    needs_worker,
    triggers_can_end_tasks,
    xcom_template,
)
from airflow_vertex_provider.outputs import RETURN_VALUE, Outcome, read_value, task_outcome
from airflow_vertex_provider.triggers.pipeline_job import VertexMemberTrigger

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.definitions.context import Context

    from airflow_vertex_provider.snapshot import JobSnapshot


class VertexMemberOperator(VertexWaitingOperator):
    """Mirrors one task of the pipeline job. Made by :func:`adopt`, never by an author.

    XComs: ``return_value`` (what the author's code returned), ``vertex_url``, ``vertex_logs_url``.
    """

    ui_color = "#e8f0fe"

    task_name: str

    @property
    def start_from_trigger(self) -> bool:
        """Whether the task lives in the triggerer alone.

        Not while another task is mapped over its value: only a worker tells Airflow how many there will be.
        Asked when the DAG is serialised, since ``expand`` may come long after the group has closed.
        """
        return bool(self.__dict__.get("start_from_trigger")) and not any(self.iter_mapped_dependants())

    @start_from_trigger.setter
    def start_from_trigger(self, value: bool) -> None:
        self.__dict__["start_from_trigger"] = value

    def make_trigger(self) -> VertexMemberTrigger:
        """See :meth:`VertexWaitingOperator.make_trigger`."""
        return VertexMemberTrigger(**self.trigger_kwargs())

    def trigger_kwargs(self) -> dict[str, Any]:
        """See :meth:`VertexWaitingOperator.trigger_kwargs`."""
        return {
            **super().trigger_kwargs(),
            "task_name": self.task_name,
            "multiple_outputs": self.multiple_outputs,
            "push_value": self.do_xcom_push,
        }

    def outcome_of(self, job: JobSnapshot) -> Outcome | None:
        """See :meth:`VertexWaitingOperator.outcome_of`."""
        return task_outcome(job, self.task_name)

    def xcoms_of(self, outcome: Outcome, job: JobSnapshot) -> Mapping[str, Any]:
        """See :meth:`VertexWaitingOperator.xcoms_of`."""
        return {VERTEX_LOGS_URL: outcome.logs_url} if outcome.logs_url else {}

    def finish(self, context: Context, outcome: Outcome, xcoms: Mapping[str, Any]) -> Any:
        """End the mirror as the Vertex task ended.

        :raises VertexTaskFailedError: the task failed, was cancelled or was not run; never retried, since
            the pipeline has done the task's retries.
        """
        for key, value in xcoms.items():
            context["ti"].xcom_push(key=key, value=value)
        if not outcome.succeeded:
            raise VertexTaskFailedError(outcome.message)
        self.log.info("%s", outcome.message)
        return read_value(outcome.value_text, lambda uri: self.identity().hook().read_gcs(uri))


def adopt(
    operator: BaseOperator,
    *,
    task_name: str,
    submit_task_id: str,
    gcp_conn_id: str,
    impersonation_chain: str | Sequence[str] | None,
    project_id: str | None,
    poll_interval: float,
    deferrable: bool,
) -> VertexMemberOperator:
    """Turn the author's operator into the mirror of its Vertex task, in place. Runs at parse.

    The object stays the same one, so every XComArg and edge that points at it goes on pointing there.
    Retries and the execution timeout now belong to the Vertex task and are taken off the mirror.

    :param task_name: the task's name in Vertex.
    :param submit_task_id: full id of the group's submit task, whose XComs name the job.
    """
    starts_on_worker = needs_worker(operator)
    name = operator.operator_name
    operator.__class__ = VertexMemberOperator
    member: Any = operator
    member.custom_operator_name = f"Vertex: {name}"
    member.job_name = xcom_template(submit_task_id, RETURN_VALUE)
    member.vertex_url = xcom_template(submit_task_id, "vertex_url")
    member.vertex_logs_url = xcom_template(submit_task_id, VERTEX_LOGS_URL)
    member.task_name = task_name
    member.gcp_conn_id = gcp_conn_id
    member.impersonation_chain = impersonation_chain
    member.project_id = project_id
    member.poll_interval = poll_interval
    member.deferrable = deferrable
    member.retries = 0
    member.execution_timeout = None
    member.executor_config = {
        key: value for key, value in (operator.executor_config or {}).items() if key != "vertex"
    }
    if deferrable and triggers_can_end_tasks() and not starts_on_worker:
        member.start_in_trigger(VertexMemberTrigger)
    return operator  # type: ignore[return-value]
