"""Several pipeline jobs waited for at once: their names in, one event with every job's end out.

Each job is followed by a :class:`VertexPipelineJobTrigger`; all of a project and region share one reader, so
many jobs cost no more calls than that reader's budget.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_vertex_provider.triggers.pipeline_job import VertexPipelineJobTrigger
from airflow_vertex_provider.triggers.waiting import SETTLING


class VertexPipelineJobsTrigger(BaseTrigger):
    """Waits for several pipeline jobs; never cancels one.

    Fires one event, a dict with ``jobs``: for each job, in the order given, the event that a trigger for this
    job alone fires (``outcome`` and ``xcoms``), or ``None`` if it was not waited for to its end.

    :param job_names: resource names.
    :param vertex_urls: addresses of the jobs' pages, in the same order.
    :param gcp_conn_id: Airflow connection.
    :param impersonation_chain: as in Google's provider.
    :param project_id: project of the jobs; the connection's if ``None``.
    :param poll_interval: seconds between two looks.
    :param deadline: when to stop waiting, in seconds since 1970; what has not ended then has not succeeded
        and has no state.
    :param until_failure: stop waiting when one job has not succeeded.
    """

    def __init__(
        self,
        *,
        job_names: Sequence[str],
        vertex_urls: Sequence[str],
        gcp_conn_id: str = "google_cloud_default",
        impersonation_chain: str | Sequence[str] | None = None,
        project_id: str | None = None,
        poll_interval: float = 30.0,
        deadline: float | None = None,
        until_failure: bool = True,
    ) -> None:
        super().__init__()
        self.job_names = list(job_names)
        self.vertex_urls = list(vertex_urls)
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self.project_id = project_id
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.until_failure = until_failure

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments, from which Airflow makes the trigger again."""
        names = (
            "job_names",
            "vertex_urls",
            "gcp_conn_id",
            "impersonation_chain",
            "project_id",
            "poll_interval",
            "deadline",
            "until_failure",
        )
        kwargs = {name: getattr(self, name) for name in names}
        return f"{type(self).__module__}.{type(self).__qualname__}", kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for the jobs, then yield the one event."""
        started = asyncio.get_running_loop().time()
        waits = [
            asyncio.create_task(self._end_of(name, url), name=f"wait for {name}")
            for name, url in zip(self.job_names, self.vertex_urls, strict=True)
        ]
        try:
            for ended in asyncio.as_completed(waits):
                payload = await ended
                if self.until_failure and not payload["outcome"]["succeeded"]:
                    break
            # What ended together with the last is told too.
            ends = [wait.result() if wait.done() else None for wait in waits]
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        # As a trigger for one job: a scheduler may not have heard of the task's first step yet.
        if self.trigger_id is not None:
            least, most = SETTLING
            lived = asyncio.get_running_loop().time() - started
            await asyncio.sleep(min(max(self.poll_interval, least), most) - lived)
        yield TriggerEvent({"jobs": ends})

    async def _end_of(self, name: str, url: str) -> Mapping[str, Any]:
        """Wait for one job; errors are told in its outcome, none is raised."""
        trigger = VertexPipelineJobTrigger(
            job_name=name,
            vertex_url=url,
            gcp_conn_id=self.gcp_conn_id,
            impersonation_chain=self.impersonation_chain,
            project_id=self.project_id,
            poll_interval=self.poll_interval,
            deadline=self.deadline,
            cancel_on_kill=False,
        )
        events = [event async for event in trigger.run()]
        payload: Mapping[str, Any] = events[-1].payload
        return payload
