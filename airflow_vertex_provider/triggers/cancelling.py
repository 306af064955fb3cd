"""Cancelling from the triggerer: a job's name in, the job followed until it has ended or for long enough.

A cancel is one request that the service may be slow to take and slower to carry out: a job is CANCELLING
until all that it launched has ended (vertex-observed section 3). The work goes on in the background when the
one who asked can wait no longer, so a service that is away for a moment costs no machine hours.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

from airflow_vertex_provider import metrics
from airflow_vertex_provider.exceptions import VertexApiError, VertexProviderError
from airflow_vertex_provider.job_names import JobName
from airflow_vertex_provider.triggers.identity import Identity
from airflow_vertex_provider.triggers.watcher import Watcher

#: Seconds for which a cancel is asked for again and followed.
CANCEL_DEADLINE = 600.0
#: Seconds between two looks at a job that is being cancelled.
CANCEL_POLL = 5.0

#: Seconds within which a job comes into being that was being created when its end was asked for.
EXPECTED_WITHIN = 60.0

#: Cancels under way in this process; an event loop alone would let go of them.
_UNDER_WAY: set[asyncio.Task[bool]] = set()


def begin_cancel(
    identity: Identity, job_name: str, log: Any, *, expected: bool = False
) -> asyncio.Task[bool]:
    """Begin to cancel a job; the work outlives whoever asked. Runs in the triggerer.

    :param expected: the job may be coming into being just now.
    :return: the work; it tells whether the job has ended.
    """
    task = asyncio.create_task(_cancel(identity, job_name, log, expected), name=f"cancel {job_name}")
    _UNDER_WAY.add(task)
    task.add_done_callback(_UNDER_WAY.discard)
    return task


async def cancel_within(identity: Identity, job_name: str, log: Any, *, seconds: float) -> bool:
    """Cancel a job and follow it for a while; then the work goes on in the background.

    :return: whether the job has ended within that time.
    """
    work = begin_cancel(identity, job_name, log)
    done, _ = await asyncio.wait({work}, timeout=seconds)
    if not done:
        log.info(
            "Pipeline job %s is not cancelled yet; Vertex AI goes on with it", JobName.parse(job_name).id
        )
        return False
    return work.result()


async def _cancel(identity: Identity, job_name: str, log: Any, expected: bool) -> bool:
    name = JobName.parse(job_name).id
    try:
        async with asyncio.timeout(CANCEL_DEADLINE):
            if not await _ask(identity, job_name, log, EXPECTED_WITHIN if expected else 0.0):
                log.info("Pipeline job %s had ended already", name)
                return True
            log.info("Asked Vertex AI to cancel %s", name)
            metrics.count("cancels")
            follow = Watcher.follow(identity, job_name, poll_interval=CANCEL_POLL)
            async with aclosing(follow) as snapshots:  # type: ignore[type-var]
                async for job in snapshots:
                    if job.done:
                        log.info("Pipeline job %s ended %s", name, job.state_text)
                        return True
    except TimeoutError:
        log.warning("Pipeline job %s had not ended %.0f seconds after its cancel", name, CANCEL_DEADLINE)
    except VertexProviderError as error:
        log.warning("Pipeline job %s could not be cancelled: %s", name, error)
    return False


async def _ask(identity: Identity, job_name: str, log: Any, expected_within: float) -> bool:
    """Ask until the service has taken the request; return whether there was something to cancel."""
    pause = 1.0
    until = asyncio.get_running_loop().time() + expected_within
    while True:
        try:
            return await identity.call(lambda hook: hook.cancel_job(job_name, once=True))
        except VertexApiError as error:
            missing = error.code == 404 and expected_within
            if missing and asyncio.get_running_loop().time() > until:
                return False
            if not error.transient and not missing:
                raise
            log.warning("Cannot cancel yet, trying again: %s", error)
        await asyncio.sleep(pause)
        pause = min(pause * 2, 30.0)
