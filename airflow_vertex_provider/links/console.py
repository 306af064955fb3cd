"""Addresses of pages a person looks at: project, location and ids in, URLs out.

The patterns of the Google Cloud console stand here and nowhere else. A connection may name another
console (extra ``console_endpoint``), which is how a run on the emulator opens the emulator's own page.
"""

from __future__ import annotations

from urllib.parse import quote

from airflow_vertex_provider.job_names import JobName

CONSOLE = "https://console.cloud.google.com"


def job_url(project: str, location: str, job_id: str, *, console_endpoint: str | None = None) -> str:
    """Return the page of one pipeline job."""
    if console_endpoint:
        return f"{console_endpoint.rstrip('/')}/ui/runs/{quote(project)}/{quote(location)}/{quote(job_id)}"
    return (
        f"{CONSOLE}/vertex-ai/locations/{quote(location)}/pipelines/runs/{quote(job_id)}"
        f"?project={quote(project)}"
    )


def job_logs_url(project: str, job_id: str, *, console_endpoint: str | None = None) -> str:
    """Return the Logs Explorer query for the events of one pipeline job."""
    kind = "aiplatform.googleapis.com/PipelineJob"
    query = f'resource.type="{kind}" AND resource.labels.pipeline_job_id="{job_id}"'
    return _logs_url(project, query, console_endpoint)


def custom_job_logs_url(project: str, custom_job_id: str, *, console_endpoint: str | None = None) -> str:
    """Return the Logs Explorer query for the output of one task's container (vertex-observed section 5)."""
    query = f'resource.type="ml_job" AND resource.labels.job_id="{custom_job_id}"'
    return _logs_url(project, query, console_endpoint)


def custom_job_url(
    project: str, location: str, custom_job_id: str, *, console_endpoint: str | None = None
) -> str:
    """Return the page of one custom job; another console has none, so there it is that of its logs."""
    if console_endpoint:
        return custom_job_logs_url(project, custom_job_id, console_endpoint=console_endpoint)
    return (
        f"{CONSOLE}/vertex-ai/locations/{quote(location)}/training/{quote(custom_job_id)}"
        f"?project={quote(project)}"
    )


class ConsoleUrls:
    """Addresses of the pages of one project.

    :param project: id of the project.
    :param console_endpoint: another console than Google's.
    """

    def __init__(self, project: str, console_endpoint: str | None = None) -> None:
        self._project = project
        self._console = console_endpoint

    def job(self, name: str) -> tuple[str, str]:
        """Return the addresses of a pipeline job's page and of its logs."""
        job = JobName.parse(name)
        return (
            job_url(self._project, job.location, job.id, console_endpoint=self._console),
            job_logs_url(self._project, job.id, console_endpoint=self._console),
        )

    def logs(self, custom_job: str) -> str:
        """Return the address of the logs of a custom job, which is what runs one task's container."""
        return custom_job_logs_url(
            self._project, custom_job.rpartition("/")[2], console_endpoint=self._console
        )

    def custom_job(self, custom_job: str) -> str:
        """Return the address of a custom job's page."""
        _, _, _, location, _, custom_job_id = custom_job.split("/")
        return custom_job_url(self._project, location, custom_job_id, console_endpoint=self._console)


def _logs_url(project: str, query: str, console_endpoint: str | None) -> str:
    # Logs Explorer reads the query from a path segment, so even "/" must be escaped.
    base = (console_endpoint or CONSOLE).rstrip("/")
    return f"{base}/logs/query;query={quote(query, safe='')}?project={quote(project)}"
