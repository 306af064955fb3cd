"""Shared reading of jobs in the triggerer: a job's name in, a stream of its snapshots out.

The triggers of one pipeline job (its wait task and all its mirrored members) look at the same job. One
:class:`Watch` per job and identity reads it for all of them, in a worker thread, because Google's client
blocks and looks up the Airflow connection synchronously, which the triggerer's event loop forbids.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from airflow_vertex_provider.exceptions import VertexApiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
    from airflow_vertex_provider.snapshot import JobSnapshot

log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: Longest pause, in seconds, between two looks while the service answers with transient errors.
MAX_BACKOFF = 300.0


async def in_thread(function: Callable[[], _T]) -> _T:
    """Run a blocking function in a worker thread of the triggerer.

    Not by ``asyncio.to_thread``: what the function asks of Airflow (a connection, an XCom) goes through one
    channel, which in Airflow 3.1 breaks down unless asgiref can lead the call back to the event loop.
    """
    from asgiref.sync import sync_to_async

    return await sync_to_async(function, thread_sensitive=False)()


@dataclass(frozen=True)
class Identity:
    """As whom the service is called: what a hook is made of, and what may share one.

    :param gcp_conn_id: Airflow connection.
    :param impersonation_chain: accounts to impersonate, the last one acts.
    :param project_id: project of the jobs, or ``None`` for the connection's.
    """

    gcp_conn_id: str
    impersonation_chain: str | tuple[str, ...] | None = None
    project_id: str | None = None

    @classmethod
    def of(
        cls, gcp_conn_id: str, impersonation_chain: str | Sequence[str] | None, project_id: str | None
    ) -> Identity:
        """Make one from operator arguments; a list becomes a tuple, so that it can be a key."""
        chain = impersonation_chain
        if chain is not None and not isinstance(chain, str):
            chain = tuple(chain)
        return cls(gcp_conn_id, chain, project_id)

    def hook(self) -> VertexPipelineHook:
        """Make a hook. Blocks (the connection is looked up): never call it on an event loop."""
        from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook

        chain = self.impersonation_chain
        return VertexPipelineHook(
            gcp_conn_id=self.gcp_conn_id,
            impersonation_chain=list(chain) if isinstance(chain, tuple) else chain,
            project_id=self.project_id,
        )

    async def call(self, function: Callable[[VertexPipelineHook], _T]) -> _T:
        """Run ``function`` with a new hook in a worker thread."""
        return await in_thread(lambda: function(self.hook()))


class Watch:
    """Reads one job for everyone who waits for it in this process."""

    _running: dict[tuple[int, Identity, str], Watch] = {}  # noqa: RUF012 - one registry for the process

    def __init__(self, identity: Identity, job_name: str) -> None:
        self._identity = identity
        self._job_name = job_name
        self._intervals: dict[object, float] = {}
        self._changed = asyncio.Condition()
        self._latest: JobSnapshot | None = None
        self._error: BaseException | None = None
        self._looks = 0
        self._wake = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None

    @classmethod
    async def follow(
        cls, identity: Identity, job_name: str, *, poll_interval: float
    ) -> AsyncIterator[JobSnapshot]:
        """Yield the job each time it has been looked at, the first time at once. Runs in the triggerer.

        The job is read as often as the most impatient follower asks. Transient errors are logged and
        waited out, longer each time. The reader stops with its last follower or with the job's end.

        :param poll_interval: seconds between two looks.
        :raises VertexApiError: the job cannot be read and waiting would not help.
        """
        # A process has one event loop in the triggerer, but several in turn in dag.test().
        key = (id(asyncio.get_running_loop()), identity, job_name)
        watch = cls._running.get(key)
        if watch is None:
            watch = cls._running[key] = cls(identity, job_name)
        follower = object()
        try:
            async for snapshot in watch._snapshots(follower, poll_interval):
                yield snapshot
        finally:
            watch._intervals.pop(follower, None)
            if not watch._intervals:
                cls._running.pop(key, None)
                if watch._reader is not None:
                    watch._reader.cancel()

    async def _snapshots(self, follower: object, poll_interval: float) -> AsyncIterator[JobSnapshot]:
        self._intervals[follower] = poll_interval
        self._wake.set()
        if self._reader is None:
            self._reader = asyncio.create_task(self._read(), name=f"watch {self._job_name}")
        seen = 0
        while True:
            async with self._changed:
                while self._looks == seen and self._error is None:
                    await self._changed.wait()
                seen = self._looks
                if self._error is not None:
                    raise self._error
                snapshot = self._latest
            if snapshot is not None:
                yield snapshot
                if snapshot.done:
                    return

    async def _read(self) -> None:
        """Look, tell the followers, sleep; until the job is done or somebody cancels this task."""
        hook: VertexPipelineHook | None = None
        failures = 0
        while True:
            self._wake.clear()
            try:
                if hook is None:
                    hook = await in_thread(self._identity.hook)
                snapshot = await in_thread(functools.partial(hook.get_job, self._job_name))
            except VertexApiError as error:
                if not error.transient:
                    await self._publish(None, error)
                    return
                failures += 1
                hook = None
                log.warning("Cannot look at %s, look %d in a row: %s", self._job_name, failures, error)
            except Exception as error:  # noqa: BLE001 - the followers get whatever it is
                await self._publish(None, error)
                return
            else:
                failures = 0
                await self._publish(snapshot, None)
                if snapshot.done:
                    return
            await self._pause(failures)

    async def _pause(self, failures: int) -> None:
        interval = min(self._intervals.values(), default=1.0)
        delay = min(interval * 2**failures, max(MAX_BACKOFF, interval)) * random.uniform(0.9, 1.1)  # noqa: S311
        try:
            # A new follower gets its first look at once.
            await asyncio.wait_for(self._wake.wait(), delay)
        except TimeoutError:
            return

    async def _publish(self, snapshot: JobSnapshot | None, error: BaseException | None) -> None:
        async with self._changed:
            self._latest = snapshot or self._latest
            self._error = error
            self._looks += 1
            self._changed.notify_all()
