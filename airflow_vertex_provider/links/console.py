"""Addresses of pages a person looks at: project, location and ids in, URLs out.

The two patterns of the Google Cloud console stand here and nowhere else. A connection may name another
console (extra ``console_endpoint``), which is how a run on the emulator opens the emulator's own page.
"""

from __future__ import annotations

from urllib.parse import quote

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


def _logs_url(project: str, query: str, console_endpoint: str | None) -> str:
    # Logs Explorer reads the query from a path segment, so even "/" must be escaped.
    base = (console_endpoint or CONSOLE).rstrip("/")
    return f"{base}/logs/query;query={quote(query, safe='')}?project={quote(project)}"
