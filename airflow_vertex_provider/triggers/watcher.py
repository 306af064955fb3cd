"""Shared reading of jobs in the triggerer: a job's name in, a stream of its snapshots out.

One :class:`Watcher` per project, region and identity reads for everybody who waits there, whatever the number
of jobs and mirrored tasks. It reads in worker threads, since Google's client blocks, and never more often
than its :class:`~airflow_vertex_provider.triggers.budget.ReadBudget` allows.

Few jobs are read one by one, each as often as its followers ask. Where that would take more than
:data:`FEW` reads a minute, a list without tasks tells which jobs changed, and only those are read. Nobody has
recorded that a job's update time moves when only a task changes (vertex-observed section 3). So jobs that the
list says nothing of are looked at too, one every few seconds; if such a look finds news, the list is trusted
no longer and half of the budget goes into looking.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_vertex_provider import metrics
from airflow_vertex_provider.exceptions import VertexApiError, VertexProviderError
from airflow_vertex_provider.job_names import JobName
from airflow_vertex_provider.reuse import merged
from airflow_vertex_provider.triggers.budget import ReadBudget
from airflow_vertex_provider.triggers.identity import Identity, in_thread

try:
    from airflow.sdk.exceptions import AirflowNotFoundException
except ImportError:  # Airflow 3.1 has it elsewhere; delete when 3.2 is the lowest supported.
    from airflow.exceptions import AirflowNotFoundException  # type: ignore[attr-defined]

if TYPE_CHECKING:
    from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
    from airflow_vertex_provider.snapshot import JobSnapshot, ListedJob

log = logging.getLogger(__name__)

#: Longest pause, in seconds, while the service answers with transient errors.
MAX_BACKOFF = 300.0
#: Reads a minute up to which jobs are simply read.
FEW = 10
#: Reads a minute for looks at jobs of which a list says nothing.
SAFETY = 6
#: Seconds between two lists as part of those between two looks: who has ended is to be read within these.
LIST_SHARE = 0.5
#: Calls under way at a time, each with a client of its own.
LANES = 4
#: How far a list reaches back behind the latest change it has shown: changes may become visible out of order.
OVERLAP = timedelta(minutes=1)
#: The label that all jobs of task groups carry; it keeps others out of the lists.
GROUP_LABEL = "airflow_dag_id"


@dataclass(eq=False)
class _Job:
    """One job that somebody waits for.

    :param intervals: seconds between two looks, by follower.
    :param news: set and replaced whenever there is something new to see.
    :param wanted: a look is due whatever the interval says: the first one, or a list told of a change.
    :param ended: a list told that the job has ended.
    :param expected: it may not be there yet.
    :param looked: when it was last read, in the loop's time.
    """

    name: str
    intervals: dict[object, float] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    snapshot: JobSnapshot | None = None
    error: BaseException | None = None
    wanted: bool = True
    ended: bool = False
    reading: bool = False
    expected: bool = False
    looked: float = float("-inf")
    jitter: float = 1.0

    @property
    def interval(self) -> float:
        return min(self.intervals.values(), default=1.0)

    @property
    def over(self) -> bool:
        return self.error is not None or (self.snapshot is not None and self.snapshot.done)

    def due(self) -> float:
        """Return when the next look is due, in the loop's time."""
        if self.ended or (self.snapshot is None and not self.expected):
            return float("-inf")
        return self.looked + self.interval * self.jitter

    def tell(self) -> None:
        """Wake everybody who waits for news."""
        self.news.set()
        self.news = asyncio.Event()


class Watcher:
    """Reads the jobs of one project and region, as one identity, for everyone who waits in this process."""

    _running: dict[tuple[int, Identity, str], Watcher] = {}  # noqa: RUF012 - one registry for the process

    def __init__(self, identity: Identity, parent: str) -> None:
        self._identity = identity
        self._parent = parent
        self._jobs: dict[str, _Job] = {}
        self._wake = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._reads: set[asyncio.Task[None]] = set()
        self._hooks: list[VertexPipelineHook] = []
        self._budget: ReadBudget | None = None
        self._stopped = False
        self._failures = 0
        self._resume = float("-inf")
        self._next_list = float("-inf")
        self._next_safety = float("-inf")
        self._listing = False
        self._list_refused = False
        self._trusts_list = True
        self._cursor: datetime | None = None
        #: Jobs that have ended and that others take tasks over from.
        self._ended: dict[str, JobSnapshot] = {}

    # What triggers use

    @classmethod
    async def follow(
        cls, identity: Identity, job_name: str, *, poll_interval: float, expected: bool = False
    ) -> AsyncIterator[JobSnapshot]:
        """Yield the job when it is first seen and whenever it has changed. Runs in the triggerer.

        The job is read as often as the most impatient follower asks, if the budget allows. Transient errors
        are logged and waited out, longer each time. Reading stops with the last follower or the job's end.

        :param poll_interval: seconds between two looks.
        :param expected: the job may not be there yet; that is waited out.
        :raises VertexApiError: the job cannot be read and waiting would not help.
        :raises VertexConfigurationError: ``job_name`` names no job.
        """
        # A process has one event loop in the triggerer, but several in turn in dag.test().
        key = (id(asyncio.get_running_loop()), identity, JobName.parse(job_name).parent)
        watcher = cls._running.get(key)
        if watcher is None:
            watcher = cls._running[key] = cls(identity, key[2])
        follower = object()
        try:
            async for snapshot in watcher._snapshots(job_name, follower, poll_interval, expected):
                yield snapshot
        finally:
            watcher._leave(job_name, follower)
            if not watcher._jobs:
                cls._running.pop(key, None)
                watcher._stop()

    async def _snapshots(
        self, job_name: str, follower: object, poll_interval: float, expected: bool
    ) -> AsyncIterator[JobSnapshot]:
        job = self._jobs.setdefault(job_name, _Job(job_name))
        job.expected = job.expected or expected
        job.intervals[follower] = poll_interval
        self._wake.set()
        if self._reader is None:
            self._reader = asyncio.create_task(self._read_all(), name=f"watch {self._parent}")
        seen: JobSnapshot | None = None
        while True:
            news = job.news
            if job.error is not None:
                raise job.error
            if job.snapshot is not None and job.snapshot is not seen:
                seen = job.snapshot
                yield seen
                if seen.done:
                    return
                continue
            await news.wait()

    def _leave(self, job_name: str, follower: object) -> None:
        job = self._jobs.get(job_name)
        if job is not None:
            job.intervals.pop(follower, None)
            if not job.intervals:
                del self._jobs[job_name]

    def _stop(self) -> None:
        # A task that waits for a thread may not notice that it was cancelled (asgiref).
        self._stopped = True
        self._wake.set()
        for task in (self._reader, *self._reads):
            if task is not None:
                task.cancel()
        self._hooks.clear()

    # What is read, and when

    async def _read_all(self) -> None:
        """Begin one read after the other, as they become due; until somebody cancels this task."""
        lanes = asyncio.Semaphore(LANES)
        try:
            while not self._stopped:
                self._wake.clear()
                await lanes.acquire()
                if self._budget is None:
                    await self._one(self._find_budget, lanes)
                    await self._sleep(self._resume - asyncio.get_running_loop().time())
                    continue
                read, delay = self._next()
                if read is None:
                    lanes.release()
                    await self._sleep(delay)
                    continue
                await self._budget.take()
                task = asyncio.create_task(self._one(read, lanes))
                self._reads.add(task)
                task.add_done_callback(self._reads.discard)
        except Exception as error:  # noqa: BLE001 - the followers get whatever it is
            self._fail(error)

    async def _find_budget(self, hook: VertexPipelineHook) -> None:
        endpoint = await in_thread(functools.partial(hook.endpoint, self._parent.rpartition("/")[2]))
        self._budget = ReadBudget.shared(endpoint, self._parent)

    async def _sleep(self, delay: float) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), max(delay, 0.0))
        except TimeoutError:
            return

    def _next(self) -> tuple[Callable[[VertexPipelineHook], Coroutine[Any, Any, None]] | None, float]:
        """Choose what to read now; if nothing is due, tell for how long."""
        now = asyncio.get_running_loop().time()
        if now < self._resume:
            return None, self._resume - now
        free = [job for job in self._jobs.values() if not job.reading and not job.over]
        if not free:
            return None, 60.0
        wanted = [job for job in free if job.wanted and job.due() <= now]
        listing = self._lists(free)
        if listing and not self._listing and self._next_list <= now and any(job.snapshot for job in free):
            self._listing = True
            self._next_list = now + min(job.interval for job in free) * LIST_SHARE * _jitter()
            return self._list, 0.0
        if wanted:
            # Ended ones and first looks first, then who has waited longest.
            return self._take(min(wanted, key=lambda job: (job.due() != float("-inf"), job.looked))), 0.0
        oldest = min(free, key=lambda job: job.due())
        if not listing:
            if oldest.due() <= now:
                return self._take(oldest), 0.0
            return None, oldest.due() - now
        if oldest.due() <= now and self._next_safety <= now:
            self._next_safety = now + self._safety_spacing()
            return self._take(oldest), 0.0
        moments = [self._next_list, max(oldest.due(), self._next_safety)]
        moments += [job.due() for job in free if job.wanted]
        return None, min(moments) - now

    def _lists(self, jobs: list[_Job]) -> bool:
        """Tell whether a list pays."""
        return (
            not self._list_refused
            and len(jobs) > 1
            and sum(60.0 / max(job.interval, 1e-3) for job in jobs) > FEW
        )

    def _safety_spacing(self) -> float:
        """Return the seconds between two looks at jobs that a list says nothing of."""
        assert self._budget is not None
        half = self._budget.per_minute / 2
        return 60.0 / (min(SAFETY, half) if self._trusts_list else half)

    def _take(self, job: _Job) -> Callable[[VertexPipelineHook], Coroutine[Any, Any, None]]:
        job.reading = True
        return functools.partial(self._look, job)

    # The reads themselves

    async def _one(
        self, read: Callable[[VertexPipelineHook], Coroutine[Any, Any, None]], lanes: asyncio.Semaphore
    ) -> None:
        """Make one read with a client of its own; one that got no answer is not used again."""
        hook = None
        try:
            hook = self._hooks.pop() if self._hooks else await self._new_hook()
            await read(hook)
            self._hooks.append(hook)
            self._failures = 0
        except VertexApiError as error:
            if hook is not None and error.code not in (None, 401):
                self._hooks.append(hook)
            self._back_off(error)
        except Exception as error:  # noqa: BLE001 - the followers get whatever it is
            self._fail(error)
        finally:
            lanes.release()
            self._wake.set()

    async def _new_hook(self) -> VertexPipelineHook:
        """Make a client; that Airflow cannot tell the connection just now is waited out.

        :raises VertexApiError: it may work later.
        """
        try:
            return await in_thread(self._identity.hook)
        except (VertexProviderError, AirflowNotFoundException):
            raise
        except Exception as error:
            # Whatever stands between Airflow and the connection: its API server, a secrets backend.
            raise VertexApiError(
                f"Could not look up connection {self._identity.gcp_conn_id!r}: {error}", transient=True
            ) from error

    async def _look(self, job: _Job, hook: VertexPipelineHook) -> None:
        try:
            snapshot = await self._read(job.name, hook)
        except VertexApiError as error:
            if error.transient:
                raise
            if not (job.expected and error.code == 404):
                job.error = error
                job.tell()
            return
        finally:
            job.reading = False
            job.looked = asyncio.get_running_loop().time()
            job.jitter = _jitter()
        before, told = job.snapshot, job.wanted
        job.wanted = job.ended = False
        if snapshot != before:
            job.snapshot = snapshot
            job.tell()
            if (
                before is not None
                and not told
                and before.update_time == snapshot.update_time
                and self._lists([*self._jobs.values()])
            ):
                self._trusts_list = False

    async def _read(self, name: str, hook: VertexPipelineHook) -> JobSnapshot:
        """Read a job, and once each of those that it takes over tasks from."""
        metrics.count("api_reads")
        snapshot = await in_thread(functools.partial(hook.look, name))
        if snapshot.note is None:
            return snapshot
        earlier = snapshot.note.job
        if earlier not in self._ended:
            assert self._budget is not None
            await self._budget.take()
            self._ended[earlier] = await self._read(earlier, hook)
        return merged(snapshot, snapshot.note, self._ended[earlier])

    async def _list(self, hook: VertexPipelineHook) -> None:
        """Find out which jobs changed since the last list."""
        try:
            since, label = self._cursor or self._first_cursor(), self._common_label()
            token = ""
            while True:
                metrics.count("api_reads")
                listed, token = await in_thread(
                    functools.partial(hook.list_changes, self._parent, since, label=label, page_token=token)
                )
                for row in listed:
                    self._note(row)
                if not token:
                    return
                assert self._budget is not None
                await self._budget.take()
        except VertexApiError as error:
            if error.transient:
                raise
            self._list_refused = True
            log.warning("Pipeline jobs cannot be listed, so each is read by itself: %s", error)
        finally:
            self._listing = False

    def _first_cursor(self) -> datetime:
        """Return the earliest change that may have been missed: none before a job's own last one."""
        times = [
            job.snapshot.update_time
            for job in self._jobs.values()
            if job.snapshot is not None and job.snapshot.update_time is not None
        ]
        return min(times) if times else datetime.fromisoformat("1970-01-01T00:00:00+00:00")

    def _common_label(self) -> str:
        snapshots = [job.snapshot for job in self._jobs.values() if job.snapshot is not None]
        return GROUP_LABEL if all(GROUP_LABEL in snapshot.labels for snapshot in snapshots) else ""

    def _note(self, row: ListedJob) -> None:
        if row.update_time is not None:
            reached = row.update_time - OVERLAP
            self._cursor = reached if self._cursor is None else max(self._cursor, reached)
        job = self._jobs.get(row.name)
        if job is None or job.over or job.snapshot is None:
            return
        if row.state is not job.snapshot.state or row.update_time != job.snapshot.update_time:
            job.wanted = True
            job.ended = row.ended

    def _back_off(self, error: VertexApiError) -> None:
        """Let all reads rest for a while; several that fail together count once."""
        if error.code == 429:
            metrics.count("throttled")
        now = asyncio.get_running_loop().time()
        if now < self._resume:
            return
        self._failures += 1
        pause = min(2.0 ** (self._failures - 1), MAX_BACKOFF) * random.uniform(0.5, 1.0)  # noqa: S311
        self._resume = now + pause
        log.warning("%s; looking again in %.1f seconds, failure %d", error, pause, self._failures)

    def _fail(self, error: Exception) -> None:
        """Tell everybody that nothing can be read."""
        for job in self._jobs.values():
            if not job.over:
                job.error = error
                job.tell()


def _jitter() -> float:
    return random.uniform(0.9, 1.1)  # noqa: S311
