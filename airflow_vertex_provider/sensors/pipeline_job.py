"""A sensor for pipeline jobs submitted anywhere: resource names in, success or failure out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator
from airflow.sdk.bases.sensor import PokeReturnValue

from airflow_vertex_provider.exceptions import VertexJobFailedError, VertexSettingsError
from airflow_vertex_provider.job_names import JobName, job_names
from airflow_vertex_provider.links.pipeline_job import (
    VERTEX_LOGS_URL,
    VERTEX_URL,
    VertexLogsLink,
    VertexPipelineLink,
)
from airflow_vertex_provider.outputs import RETURN_VALUE, VERTEX_STATE, Outcome, job_outcome, job_xcoms
from airflow_vertex_provider.triggers.identity import Identity
from airflow_vertex_provider.triggers.pipeline_job import VertexPipelineJobTrigger
from airflow_vertex_provider.triggers.pipeline_jobs import VertexPipelineJobsTrigger
from airflow_vertex_provider.triggers.waiting import TIME_LIMIT_GRACE

try:
    from airflow.sdk.exceptions import AirflowSensorTimeout
except ImportError:  # Airflow 3.1 has it elsewhere; delete when 3.2 is the lowest supported.
    from airflow.exceptions import AirflowSensorTimeout  # type: ignore[no-redef]

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

    from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook

#: How one job ended, and the XComs of that.
_End = tuple[Outcome, Mapping[str, Any]]


class VertexPipelineJobSensor(BaseSensorOperator):
    """Waits until a pipeline job has succeeded, or all of several; fails when one ends in any other way.

    XComs: ``vertex_url`` and ``vertex_logs_url`` (of the first job), ``vertex_state`` and ``return_value``, a
    dict of ``job_name``, ``state``, ``url`` and ``outputs`` (what the pipeline itself declares as outputs).
    For a list of jobs the last two are lists in the same order; a job that was not waited for, as another one
    had failed, has ``None`` for a state. The same, deferrable or not.

    :param job_name: resource name, ``projects/<p>/locations/<l>/pipelineJobs/<id>``, or a list of them.
        Templated.
    :param gcp_conn_id: Airflow connection of type ``vertex_ai``, or of Google's own. Templated.
    :param impersonation_chain: as in Google's provider. Templated.
    :param project_id: project for console links; the one in the job's name if ``None``. Templated.
    :param deferrable: wait in the triggerer (default) or poke from a worker.
    :param poll_interval: seconds between two looks; ``poke_interval`` says the same.

    Airflow's own arguments of sensors mean the same in both ways to wait: ``timeout`` (seconds, or a
    timedelta) fails the task, and with ``soft_fail`` a job that failed, or the timeout, skips it.
    """

    template_fields: Sequence[str] = ("job_name", "gcp_conn_id", "impersonation_chain", "project_id")
    operator_extra_links = (VertexPipelineLink(), VertexLogsLink())
    ui_color = "#d2e3fc"

    def __init__(
        self,
        *,
        job_name: str | Sequence[str],
        gcp_conn_id: str = "google_cloud_default",
        impersonation_chain: str | Sequence[str] | None = None,
        project_id: str | None = None,
        deferrable: bool = True,
        poll_interval: float = 30.0,
        **kwargs: Any,
    ) -> None:
        # Airflow's own name for it is taken too.
        kwargs.setdefault("poke_interval", poll_interval)
        super().__init__(**kwargs)
        self.job_name = job_name
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self.project_id = project_id
        self.deferrable = deferrable
        self.poll_interval = self.poke_interval
        self._ends: dict[str, _End] = {}

    @property
    def _names(self) -> list[str]:
        """The jobs, one or several.

        :raises VertexConfigurationError: there is none, or something is no resource name of a job.
        """
        try:
            return job_names(self.job_name)
        except VertexSettingsError as error:
            raise error.at(self.task_id) from None

    def identity(self) -> Identity:
        """As whom the jobs are read; links lead to the project that the first job's name tells."""
        project = self.project_id or JobName.parse(self._names[0]).project
        return Identity.of(self.gcp_conn_id, self.impersonation_chain, project)

    def execute(self, context: Context) -> Any:
        """Push the links, then wait.

        :raises VertexConfigurationError: ``job_name`` is not allowed.
        :raises VertexJobFailedError: a job ended in anything but success.
        :raises AirflowSensorTimeout: not all have ended within ``timeout``.
        :raises AirflowSkipException: in place of the two above, with ``soft_fail``.
        """
        names, hook = self._names, self.identity().hook()
        urls = [hook.job_urls(name) for name in names]
        context["ti"].xcom_push(key=VERTEX_URL, value=urls[0][0])
        context["ti"].xcom_push(key=VERTEX_LOGS_URL, value=urls[0][1])
        if self.deferrable:
            self._defer(names, urls)
        return super().execute(context)

    def _defer(self, names: list[str], urls: list[tuple[str, str]]) -> None:
        """Wait in the triggerer, which ends the wait itself before Airflow would."""
        shared: dict[str, Any] = {
            "gcp_conn_id": self.gcp_conn_id,
            "impersonation_chain": self.impersonation_chain,
            "project_id": self.project_id,
            "poll_interval": self.poll_interval,
            "deadline": time.time() + self.timeout,
        }
        trigger: VertexPipelineJobTrigger | VertexPipelineJobsTrigger
        if isinstance(self.job_name, str):
            trigger = VertexPipelineJobTrigger(
                job_name=self.job_name,
                vertex_url=urls[0][0],
                vertex_logs_url=urls[0][1],
                cancel_on_kill=False,
                **shared,
            )
        else:
            trigger = VertexPipelineJobsTrigger(
                job_names=names, vertex_urls=[url for url, _ in urls], **shared
            )
        self.defer(
            trigger=trigger,
            method_name="resume",
            kwargs={"deadline": shared["deadline"]},
            timeout=timedelta(seconds=self.timeout + TIME_LIMIT_GRACE),
        )

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Look once at every job that has not ended yet, on a worker."""
        names, hook = self._names, self.identity().hook()
        for name in names:
            if name not in self._ends:
                end = self._look(hook, name)
                if end is not None:
                    self._ends[name] = end
        ends = [self._ends.get(name) for name in names]
        if None in ends and all(end is None or end[0].succeeded for end in ends):
            return False
        return PokeReturnValue(is_done=True, xcom_value=self._finish(context, hook, ends))

    def _look(self, hook: VertexPipelineHook, name: str) -> _End | None:
        job = hook.get_job(name)
        outcome = job_outcome(job)
        if outcome is None:
            self.log.info("Pipeline job %s %s: %s", name, job.state_text, job.progress())
            return None
        if not outcome.succeeded:
            job = hook.explained(job)
            outcome = job_outcome(job) or outcome
        return outcome, job_xcoms(name, hook.job_urls(name)[0], outcome, job, {})

    def resume(self, context: Context, event: Mapping[str, Any], deadline: float | None = None) -> Any:
        """End the task after the trigger has seen the end. On a worker.

        :param deadline: when the time was over, in seconds since 1970.
        """
        payloads = event.get("jobs", [event])
        ends: list[_End | None] = [
            None if payload is None else (Outcome.from_dict(payload["outcome"]), payload["xcoms"])
            for payload in payloads
        ]
        told = [end for end in ends if end is not None]
        late = deadline is not None and time.time() >= deadline
        if late and all(outcome.succeeded or not outcome.state for outcome, _ in told):
            unended = [
                name
                for name, end in zip(self._names, ends, strict=True)
                if end is None or not end[0].succeeded
            ]
            if unended:
                raise AirflowSensorTimeout(
                    f"Not ended within {self.timeout:.0f} seconds (timeout): {', '.join(unended)}"
                )
        return self._finish(context, self.identity().hook(), ends)

    def _finish(self, context: Context, hook: VertexPipelineHook, ends: Sequence[_End | None]) -> Any:
        """Push what is known, and return the value or raise.

        :param ends: of each job, ``None`` for one that has not ended.
        """
        xcoms = [
            end[1]
            if end is not None
            else {
                VERTEX_STATE: None,
                RETURN_VALUE: {
                    "job_name": name,
                    "state": None,
                    "url": hook.job_urls(name)[0],
                    "outputs": {},
                },
            }
            for name, end in zip(self._names, ends, strict=True)
        ]
        pushed: dict[str, Any] = {key: [item[key] for item in xcoms] for key in (VERTEX_STATE, RETURN_VALUE)}
        if isinstance(self.job_name, str):
            pushed = {key: value[0] for key, value in pushed.items()}
        for key, value in pushed.items():
            context["ti"].xcom_push(key=key, value=value)
        outcomes = [end[0] for end in ends if end is not None]
        failed = [outcome.message for outcome in outcomes if not outcome.succeeded]
        if failed:
            raise VertexJobFailedError("\n".join(failed))
        for outcome in outcomes:
            self.log.info("%s", outcome.message)
        return pushed[RETURN_VALUE]
