"""The rest of a pipeline job's life: names or filters in, what the service says and does about the jobs out.

All run on a worker; only a cancel that is followed to its end waits in the triggerer. Transient errors of the
service are waited out by the hook.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_vertex_provider import checks
from airflow_vertex_provider.exceptions import VertexApiError, VertexSettingsError
from airflow_vertex_provider.job_names import JobName, job_names
from airflow_vertex_provider.links.pipeline_job import (
    VERTEX_LOGS_URL,
    VERTEX_URL,
    VertexLogsLink,
    VertexPipelineLink,
)
from airflow_vertex_provider.operators.waiting import RESUME
from airflow_vertex_provider.outputs import VERTEX_STATE, Outcome
from airflow_vertex_provider.settings.machine_table import location_problem
from airflow_vertex_provider.snapshot import JobSnapshot, label
from airflow_vertex_provider.triggers.identity import Identity
from airflow_vertex_provider.triggers.pipeline_jobs import VertexPipelineJobsTrigger
from airflow_vertex_provider.triggers.waiting import TIME_LIMIT_GRACE

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

    from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook


class _JobOperator(BaseOperator):
    """Base: as whom the service is asked.

    :param gcp_conn_id: Airflow connection of type ``vertex_ai``, or of Google's own. Templated.
    :param impersonation_chain: as in Google's provider. Templated.
    :param project_id: project of the jobs and for links; the connection's if ``None``. Templated.
    """

    ui_color = "#d2e3fc"

    def __init__(
        self,
        *,
        gcp_conn_id: str = "google_cloud_default",
        impersonation_chain: str | Sequence[str] | None = None,
        project_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self.project_id = project_id

    def _hook(self) -> VertexPipelineHook:
        return Identity.of(self.gcp_conn_id, self.impersonation_chain, self.project_id).hook()


class GetVertexPipelineJobOperator(_JobOperator):
    """Reads one pipeline job. Runs on a worker.

    XComs: ``vertex_url``, ``vertex_logs_url``, ``vertex_state`` and ``return_value``, a dict of ``job_name``,
    ``display_name``, ``state``, ``url``, ``create_time``, ``start_time``, ``end_time`` (ISO 8601 texts, or
    ``None``), ``error`` (empty if there is none) and ``tasks`` (Vertex task name to state; ``fit[2]`` for an
    iteration of a loop).

    :param job_name: resource name, ``projects/<p>/locations/<l>/pipelineJobs/<id>``. Templated.

    The other parameters are those of all operators here: ``gcp_conn_id``, ``impersonation_chain`` and
    ``project_id``.
    """

    template_fields: Sequence[str] = ("job_name", "gcp_conn_id", "impersonation_chain", "project_id")
    operator_extra_links = (VertexPipelineLink(), VertexLogsLink())

    def __init__(self, *, job_name: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job_name = job_name

    def execute(self, context: Context) -> dict[str, Any]:
        """Read the job.

        :raises VertexConfigurationError: ``job_name`` is no resource name of a job.
        :raises VertexApiError: there is no such job, or it may not be read.
        """
        JobName.parse(self.job_name)
        hook = self._hook()
        job = hook.get_job(self.job_name)
        url, logs_url = hook.job_urls(job.name)
        tasks = {label(entry): entry.state_text for entry in job.entries if not entry.scope}
        _push(context, {VERTEX_URL: url, VERTEX_LOGS_URL: logs_url, VERTEX_STATE: job.state_text})
        return {**_summary(job, url), "tasks": tasks}


class ListVertexPipelineJobsOperator(_JobOperator):
    """Reads the pipeline jobs of a location, all pages of them, without their tasks. Runs on a worker.

    XComs: ``return_value``, a list of dicts as :class:`GetVertexPipelineJobOperator` returns, without
    ``tasks``.

    :param location: region of the jobs; the connection's if not said. Templated.
    :param filter: as the API takes it, for example ``state="PIPELINE_STATE_RUNNING" AND
        labels.airflow_dag_id:"training"``; all jobs if empty. Templated.
    :param order_by: for example ``"create_time desc"``, which is the service's own order too. Templated.
    :param page_size: jobs for each call, 1 to 1000.
    :param max_results: no more than this many jobs; ``None``: all.

    The other parameters are those of all operators here: ``gcp_conn_id``, ``impersonation_chain`` and
    ``project_id``.
    """

    template_fields: Sequence[str] = (
        "location",
        "filter",
        "order_by",
        "page_size",
        "max_results",
        "gcp_conn_id",
        "impersonation_chain",
        "project_id",
    )

    def __init__(
        self,
        *,
        location: str | None = None,
        filter: str | None = None,
        order_by: str | None = None,
        page_size: int | str = 100,
        max_results: int | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.location = location
        self.filter = filter
        self.order_by = order_by
        self.page_size = page_size
        self.max_results = max_results

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Read the jobs.

        :raises VertexSettingsError: an argument is not allowed, or no location is known.
        :raises VertexApiError: the service refused the question, for example its filter.
        """
        most = self.max_results
        if most is not None:
            most = int(self._checked(checks.integer(1), "max_results", most))
        size = int(self._checked(checks.integer(1, 1000), "page_size", self.page_size))
        hook = self._hook()
        location = str(
            self._checked(_location, "location", self.location or hook.defaults.pipeline.get("location"))
        )
        jobs = hook.list_jobs(
            location,
            filter=self.filter or "",
            order_by=self.order_by or "",
            page_size=size,
            max_results=most,
        )
        self.log.info("Found %d pipeline jobs in %s", len(jobs), location)
        return [_summary(job, hook.job_urls(job.name)[0]) for job in jobs]

    def _checked(self, check: checks.Check, name: str, value: Any) -> Any:
        try:
            return check(name, value)
        except VertexSettingsError as error:
            raise error.at(self.task_id) from None


class CancelVertexPipelineJobOperator(_JobOperator):
    """Cancels one pipeline job or several; one that has ended is left alone. Runs on a worker.

    The service takes a cancel at once and carries it out later: until then the job is CANCELLING. A job may
    also come to another end before the cancel reaches it; that is no error.

    XComs: ``vertex_url`` and ``vertex_logs_url`` of the first job, and ``return_value``, a dict of
    ``job_name``, ``state``, ``url`` and ``asked`` (whether there was something to cancel), or a list of such.

    :param job_name: resource name, or a list of them; then the return value is a list too. Templated.
    :param wait_for_completion: wait until every job has ended; by default leave once the service has the
        requests.
    :param timeout: seconds to wait for that.
    :param deferrable: wait in the triggerer (default) or on a worker.
    :param poll_interval: seconds between two looks at a job.

    The other parameters are those of all operators here: ``gcp_conn_id``, ``impersonation_chain`` and
    ``project_id``.
    """

    template_fields: Sequence[str] = ("job_name", "gcp_conn_id", "impersonation_chain", "project_id")
    operator_extra_links = (VertexPipelineLink(), VertexLogsLink())

    def __init__(
        self,
        *,
        job_name: str | Sequence[str],
        wait_for_completion: bool = False,
        timeout: float = 900.0,
        deferrable: bool = True,
        poll_interval: float = 10.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_name = job_name
        self.wait_for_completion = wait_for_completion
        self.timeout = timeout
        self.deferrable = deferrable
        self.poll_interval = poll_interval

    def execute(self, context: Context) -> Any:
        """Ask for the cancels, and wait if that is wanted.

        :raises VertexConfigurationError: something is no resource name of a job.
        :raises VertexApiError: there is no such job, it may not be cancelled, or it did not end in time.
        """
        names = job_names(self.job_name)
        hook = self._hook()
        urls = [hook.job_urls(name) for name in names]
        _push(context, {VERTEX_URL: urls[0][0], VERTEX_LOGS_URL: urls[0][1]})
        asked = []
        for name in names:
            asked.append(hook.cancel_job(name))
            self.log.info(
                "Asked Vertex AI to cancel %s" if asked[-1] else "Pipeline job %s had ended already", name
            )
        jobs = [hook.get_job(name) for name in names]
        if self.wait_for_completion and not all(job.done for job in jobs):
            deadline = time.time() + self.timeout
            if self.deferrable:
                self._defer(names, [url for url, _ in urls], asked, deadline)
            jobs = self._follow(hook, names, deadline)
        states = [job.state_text for job in jobs]
        return self._ended(names, [url for url, _ in urls], states, asked)

    def _defer(self, names: list[str], urls: list[str], asked: list[bool], deadline: float) -> None:
        self.defer(
            trigger=VertexPipelineJobsTrigger(
                job_names=names,
                vertex_urls=urls,
                gcp_conn_id=self.gcp_conn_id,
                impersonation_chain=self.impersonation_chain,
                project_id=self.project_id,
                poll_interval=self.poll_interval,
                deadline=deadline,
                until_failure=False,
            ),
            method_name=RESUME,
            kwargs={"names": names, "urls": urls, "asked": asked},
            timeout=timedelta(seconds=self.timeout + TIME_LIMIT_GRACE),
        )

    def resume(
        self,
        context: Context,
        event: Mapping[str, Any],
        names: list[str],
        urls: list[str],
        asked: list[bool],
    ) -> Any:
        """End the task after the trigger has seen the ends. On a worker."""
        outcomes = [Outcome.from_dict(job["outcome"]) for job in event["jobs"]]
        if not all(outcome.state for outcome in outcomes):
            hook = self._hook()
            _refuse_unended([hook.get_job(name) for name in names], self.timeout)
            outcomes = [Outcome(True, "", state=hook.get_job(name).state_text) for name in names]
        return self._ended(names, urls, [outcome.state for outcome in outcomes], asked)

    def _follow(self, hook: VertexPipelineHook, names: list[str], deadline: float) -> list[JobSnapshot]:
        """Wait on the worker until all jobs have ended."""
        jobs: dict[str, JobSnapshot] = {}
        while True:
            for name in names:
                if name not in jobs or not jobs[name].done:
                    jobs[name] = hook.get_job(name)
            found = [jobs[name] for name in names]
            if all(job.done for job in found):
                return found
            if time.time() >= deadline:
                _refuse_unended(found, self.timeout)
            time.sleep(max(0.0, min(self.poll_interval, deadline - time.time())))

    def _ended(self, names: list[str], urls: list[str], states: list[str], asked: list[bool]) -> Any:
        result = [
            {"job_name": name, "state": state, "url": url, "asked": was_asked}
            for name, state, url, was_asked in zip(names, states, urls, asked, strict=True)
        ]
        for job in result:
            self.log.info("Pipeline job %s: %s", job["job_name"], job["state"])
        return result[0] if isinstance(self.job_name, str) else result


class DeleteVertexPipelineJobOperator(_JobOperator):
    """Deletes one pipeline job and waits until the service has. Runs on a worker.

    A job that still runs may be refused by the service: cancel it first. XComs: ``return_value``, whether
    there was a job to delete.

    :param job_name: resource name, ``projects/<p>/locations/<l>/pipelineJobs/<id>``. Templated.
    :param missing_ok: a job that is not there is no error.

    The other parameters are those of all operators here: ``gcp_conn_id``, ``impersonation_chain`` and
    ``project_id``.
    """

    template_fields: Sequence[str] = ("job_name", "gcp_conn_id", "impersonation_chain", "project_id")

    def __init__(self, *, job_name: str, missing_ok: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job_name = job_name
        self.missing_ok = missing_ok

    def execute(self, context: Context) -> bool:
        """Delete the job.

        :raises VertexConfigurationError: ``job_name`` is no resource name of a job.
        :raises VertexApiError: the service refused, or there is no such job and that is not allowed.
        """
        JobName.parse(self.job_name)
        deleted = self._hook().delete_job(self.job_name, missing_ok=self.missing_ok)
        self.log.info("Deleted %s" if deleted else "There is no %s", self.job_name)
        return deleted


def _location(field: str, value: Any) -> str:
    if value is None:
        raise VertexSettingsError(
            field, None, 'a region such as "europe-west4", of the task or of the connection'
        )
    location = str(checks.location(field, value))
    allowed = location_problem(location)
    if allowed:
        raise VertexSettingsError(field, location, allowed)
    return location


def _refuse_unended(jobs: list[JobSnapshot], seconds: float) -> None:
    unended = [f"{job.name} is {job.state_text}" for job in jobs if not job.done]
    if unended:
        raise VertexApiError(
            f"After {seconds:.0f} seconds not all jobs have ended: {'; '.join(unended)}. "
            "The service goes on with the cancel; run this task again to wait on",
            transient=True,
        )


def _summary(job: JobSnapshot, url: str) -> dict[str, Any]:
    return {
        "job_name": job.name,
        "display_name": job.display_name,
        "state": job.state_text,
        "url": url,
        "create_time": _text(job.create_time),
        "start_time": _text(job.start_time),
        "end_time": _text(job.end_time),
        "error": job.error,
    }


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _push(context: Context, xcoms: Mapping[str, Any]) -> None:
    for key, value in xcoms.items():
        context["ti"].xcom_push(key=key, value=value)
