"""A sensor for a pipeline job submitted anywhere: its resource name in, success or failure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator
from airflow.sdk.bases.sensor import PokeReturnValue

from airflow_vertex_provider.exceptions import VertexJobFailedError
from airflow_vertex_provider.links.pipeline_job import (
    VERTEX_LOGS_URL,
    VERTEX_URL,
    VertexLogsLink,
    VertexPipelineLink,
)
from airflow_vertex_provider.outputs import RETURN_VALUE, Outcome, job_outcome, job_xcoms
from airflow_vertex_provider.triggers.identity import Identity
from airflow_vertex_provider.triggers.pipeline_job import VertexPipelineJobTrigger

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context


class VertexPipelineJobSensor(BaseSensorOperator):
    """Waits until a pipeline job has succeeded; fails when it ends in any other way.

    XComs: ``vertex_url``, ``vertex_logs_url``, ``vertex_state`` and ``return_value``, a dict of
    ``job_name``, ``state``, ``url`` and ``outputs`` (empty: which tasks matter is not known here).

    :param job_name: resource name of the job, ``projects/<p>/locations/<l>/pipelineJobs/<id>``. Templated.
    :param gcp_conn_id: Airflow connection of Google's own type. Templated.
    :param impersonation_chain: as in Google's provider. Templated.
    :param project_id: project for console links; the one in the job's name if ``None``. Templated.
    :param deferrable: wait in the triggerer (default) or poke from a worker.
    :param poll_interval: seconds between two looks; ``poke_interval`` says the same.
    """

    template_fields: Sequence[str] = ("job_name", "gcp_conn_id", "impersonation_chain", "project_id")
    operator_extra_links = (VertexPipelineLink(), VertexLogsLink())
    ui_color = "#d2e3fc"

    def __init__(
        self,
        *,
        job_name: str,
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

    def identity(self) -> Identity:
        """As whom the job is read; links lead to the project that the job's name tells."""
        project = self.project_id or self.job_name.split("/")[1] if "/" in self.job_name else self.project_id
        return Identity.of(self.gcp_conn_id, self.impersonation_chain, project)

    def execute(self, context: Context) -> Any:
        """Push the links, then wait."""
        url, logs_url = self.identity().hook().job_urls(self.job_name)
        context["ti"].xcom_push(key=VERTEX_URL, value=url)
        context["ti"].xcom_push(key=VERTEX_LOGS_URL, value=logs_url)
        if self.deferrable:
            self._defer(url, logs_url)
        return super().execute(context)

    def _defer(self, url: str, logs_url: str) -> None:
        self.defer(
            trigger=VertexPipelineJobTrigger(
                job_name=self.job_name,
                vertex_url=url,
                vertex_logs_url=logs_url,
                gcp_conn_id=self.gcp_conn_id,
                impersonation_chain=self.impersonation_chain,
                project_id=self.project_id,
                poll_interval=self.poll_interval,
                cancel_on_kill=False,
            ),
            method_name="resume",
            timeout=timedelta(seconds=self.timeout),
        )

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Look once, on a worker."""
        hook = self.identity().hook()
        job = hook.get_job(self.job_name)
        outcome = job_outcome(job)
        if outcome is None:
            self.log.info("Pipeline job %s %s: %s", self.job_name, job.state_text, job.progress())
            return False
        url, _ = hook.job_urls(self.job_name)
        return PokeReturnValue(
            is_done=True,
            xcom_value=self._finish(context, outcome, job_xcoms(self.job_name, url, outcome, job, {})),
        )

    def resume(self, context: Context, event: Mapping[str, Any]) -> Any:
        """End the task after the trigger has seen the end. On a worker."""
        return self._finish(context, Outcome.from_dict(event["outcome"]), event["xcoms"])

    def _finish(self, context: Context, outcome: Outcome, xcoms: Mapping[str, Any]) -> Any:
        for key, value in xcoms.items():
            context["ti"].xcom_push(key=key, value=value)
        if not outcome.succeeded:
            raise VertexJobFailedError(outcome.message)
        self.log.info("%s", outcome.message)
        return xcoms[RETURN_VALUE]
