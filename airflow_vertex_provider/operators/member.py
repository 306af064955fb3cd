"""A member of a Vertex task group as Airflow runs it: the author's operator in, its mirror out.

The author's operator object keeps its identity, task id, trigger rule and edges and changes its class on
leaving the group. From then on it never runs the author's code in Airflow: it follows its task in the
pipeline job and takes that task's state and value. A mapped operator stays one (see
:mod:`airflow_vertex_provider.operators.mapped_member`); each of its instances follows its own iteration.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions.mappedoperator import MappedOperator

from airflow_vertex_provider.exceptions import VertexApiError, VertexTaskFailedError
from airflow_vertex_provider.graph.skips import rule_of
from airflow_vertex_provider.links.pipeline_job import VERTEX_LOGS_URL
from airflow_vertex_provider.operators.waiting import (
    LOST_WORKER_DELAY,
    LOST_WORKER_RETRIES,
    AirflowSkipException,
    VertexWaitingOperator,
    needs_worker,
    triggers_can_end_tasks,
    xcom_template,
)
from airflow_vertex_provider.outputs import (
    RETURN_VALUE,
    Outcome,
    artifact_values,
    no_job_outcome,
    read_value,
    task_outcome,
)
from airflow_vertex_provider.triggers.next_attempts import WHAT_TO_CLEAR, awaited_attempt, tell_awaited
from airflow_vertex_provider.triggers.pipeline_job import VertexMemberTrigger
from airflow_vertex_provider.triggers.submitted import ENDED, is_job_name, task_state

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

    from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
    from airflow_vertex_provider.snapshot import JobSnapshot


class VertexMemberOperator(VertexWaitingOperator):
    """Mirrors one task of the pipeline job. Made by :func:`adopt`, never by an author.

    XComs: ``return_value`` (what the author's code returned), each artifact of a function under its name,
    ``vertex_url``, ``vertex_logs_url``. A skipped one leaves neither value nor artifacts.

    :param vertex_member: the mirror's fields, by name, see :func:`adopt`. Only Airflow calls this, to make
        one instance of a mapped member; the author's own arguments are not among what it hands over.
    :param python_callable: not used, nor are ``op_args`` and ``op_kwargs``: Airflow gives all three to
        every instance of a mapped ``@task``.
    """

    ui_color = "#e8f0fe"

    task_name: str
    submit_task_id: str
    looped: bool
    #: The task that waits for the whole job and makes the attempts after the first.
    wait_task_id: str = ""
    #: Types of the outputs of a component of KFP; ``None`` for any other task.
    output_types: Mapping[str, str] | None = None
    #: Names of the artifacts that a function leaves.
    artifacts: Sequence[str] = ()
    #: Number of the iteration, once a worker has begun with a member in a loop.
    index: int | None = None

    def __init__(
        self,
        *,
        vertex_member: Mapping[str, Any],
        python_callable: Any = None,
        op_args: Any = None,
        op_kwargs: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value in vertex_member.items():
            setattr(self, name, value)

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

    @property
    def retries(self) -> int:
        """How often the mirror itself is tried again: where it runs on workers, which may be lost.

        What a trigger ends as failed Airflow would retry, though it cannot end otherwise.
        """
        return 0 if self.start_from_trigger else LOST_WORKER_RETRIES

    @retries.setter
    def retries(self, value: int) -> None:
        """Take what Airflow sets; it counts for nothing."""

    @property
    def may_lack_job(self) -> bool:
        """Whether the trigger rule may start this task though ``submit_pipeline`` made no job."""
        return rule_of(self) != "all_success"

    def make_trigger(self, deadline: float | None = None) -> VertexMemberTrigger:
        """See :meth:`VertexWaitingOperator.make_trigger`."""
        return VertexMemberTrigger(**self.trigger_kwargs(), deadline=deadline)

    def trigger_kwargs(self) -> dict[str, Any]:
        """See :meth:`VertexWaitingOperator.trigger_kwargs`."""
        return {
            **super().trigger_kwargs(),
            "task_name": self.task_name,
            "multiple_outputs": self.multiple_outputs,
            "push_value": self.do_xcom_push,
            "index": self.index,
            "output_types": self.output_types,
            "artifacts": list(self.artifacts),
            "submit_task_id": self.submit_task_id,
            "may_lack_job": self.may_lack_job,
            "wait_task_id": self.wait_task_id,
        }

    def next_job(
        self, context: Context, hook: VertexPipelineHook, job: JobSnapshot, outcome: Outcome
    ) -> str | None:
        """Wait for the next attempt while the task that makes it has not ended. On a worker."""
        ti = context["ti"]
        name = awaited_attempt(job, self.wait_task_id, ti.try_number)
        if not name:
            return None
        tell_awaited(outcome, self.log)
        while True:
            try:
                return hook.look(name, once=False).name
            except VertexApiError as error:
                if not error.transient and error.code != 404:
                    raise
            state = task_state(ti.dag_id, ti.run_id, self.wait_task_id)
            if state in ENDED:
                self.log.info(WHAT_TO_CLEAR, self.wait_task_id, state, self.submit_task_id)
                return None
            time.sleep(self.poll_interval)

    def execute(self, context: Context) -> Any:
        """See :meth:`VertexWaitingOperator.execute`; a member without a job ends at once."""
        ti = context["ti"]
        if self.looped:
            self.index = ti.map_index
        if self.may_lack_job or not is_job_name(self.job_name):
            state = task_state(ti.dag_id, ti.run_id, self.submit_task_id)
            if state != "success" or not is_job_name(self.job_name):
                return self.finish(context, no_job_outcome(self.submit_task_id, state), {})
        return super().execute(context)

    def outcome_of(self, job: JobSnapshot) -> Outcome | None:
        """See :meth:`VertexWaitingOperator.outcome_of`."""
        return task_outcome(job, self.task_name, self.index, self.output_types)

    def xcoms_of(self, outcome: Outcome, job: JobSnapshot | None) -> Mapping[str, Any]:
        """See :meth:`VertexWaitingOperator.xcoms_of`."""
        return {VERTEX_LOGS_URL: outcome.logs_url} if outcome.logs_url else {}

    def finish(self, context: Context, outcome: Outcome, xcoms: Mapping[str, Any]) -> Any:
        """End the mirror as the Vertex task ended.

        :raises AirflowSkipException: the task was skipped.
        :raises VertexTaskFailedError: the task failed, was cancelled or was not run; never retried, since
            the pipeline has done the task's retries.
        """
        for key, value in xcoms.items():
            context["ti"].xcom_push(key=key, value=value)
        if outcome.skipped:
            raise AirflowSkipException(outcome.message)
        if not outcome.succeeded:
            raise VertexTaskFailedError(outcome.message)
        self.log.info("%s", outcome.message)
        if self.do_xcom_push:
            for key, value in artifact_values(outcome, self._read).items():
                context["ti"].xcom_push(key=key, value=value)
        return self.conclude(context, read_value(outcome.value_text, self._read))

    def _read(self, uri: str) -> bytes:
        return self.identity().hook().read_gcs(uri)

    def conclude(self, context: Context, value: Any) -> Any:
        """Do with the value what the author's class does with it, and return it. On a worker."""
        return value


def adopt(
    operator: Any,
    *,
    task_name: str,
    submit_task_id: str,
    gcp_conn_id: str,
    impersonation_chain: str | Sequence[str] | None,
    project_id: str | None,
    poll_interval: float,
    deferrable: bool,
    looped: bool = False,
    skipper: str | None = None,
    output_types: Mapping[str, str] | None = None,
    artifacts: Sequence[str] = (),
    wait_task_id: str = "",
) -> Any:
    """Turn the author's operator into the mirror of its Vertex task, in place. Runs at parse.

    The object stays the same one, so every XComArg and edge that points at it goes on pointing there.
    The author's retries and execution timeout now belong to the Vertex task; the mirror's own retries are for
    lost workers.

    :param operator: an operator, or a mapped one.
    :param task_name: the task's name in Vertex.
    :param submit_task_id: full id of the group's submit task, whose XComs name the job.
    :param looped: the task stands in a loop: it is mapped, or in a mapped task group.
    :param skipper: what the task decides about those below it, as
        :class:`~airflow_vertex_provider.graph.converters.base.Conversion` names it.
    :param output_types: types of the task's outputs if it is a component of KFP.
    :param artifacts: names of the artifacts it leaves if it is a function.
    :param wait_task_id: full id of the group's wait task.
    """
    fields = {
        "job_name": xcom_template(submit_task_id, RETURN_VALUE),
        "vertex_url": xcom_template(submit_task_id, "vertex_url"),
        "vertex_logs_url": xcom_template(submit_task_id, VERTEX_LOGS_URL),
        "task_name": task_name,
        "submit_task_id": submit_task_id,
        "wait_task_id": wait_task_id,
        "looped": looped,
        "output_types": output_types,
        "artifacts": list(artifacts),
        "gcp_conn_id": gcp_conn_id,
        "impersonation_chain": impersonation_chain,
        "project_id": project_id,
        "poll_interval": poll_interval,
        "deferrable": deferrable,
    }
    mirror_class = VertexMemberOperator
    if skipper is not None:
        from airflow_vertex_provider.operators.skipping_member import skipping_class

        mirror_class = skipping_class(skipper)
    executor_config = {
        key: value for key, value in (operator.executor_config or {}).items() if key != "vertex"
    }
    if isinstance(operator, MappedOperator):
        from airflow_vertex_provider.operators.mapped_member import adopt_mapped

        return adopt_mapped(operator, mirror_class, fields, executor_config)

    starts_on_worker = needs_worker(operator) or looped or skipper is not None
    name = operator.operator_name
    operator.__class__ = mirror_class
    operator.custom_operator_name = f"Vertex: {name}"
    for field, value in fields.items():
        setattr(operator, field, value)
    operator.retry_delay = LOST_WORKER_DELAY
    operator.retry_exponential_backoff = type(operator.retry_exponential_backoff)(0)
    operator.max_retry_delay = None
    operator.execution_timeout = None
    operator.executor_config = executor_config
    if deferrable and triggers_can_end_tasks() and not starts_on_worker:
        operator.start_in_trigger(VertexMemberTrigger)
    return operator
