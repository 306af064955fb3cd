"""Which jobs run: stored jobs in, a thread for each unfinished one out, until it ends or is cancelled.

All that a run knows is in the store, so an emulator that was killed takes up every unfinished job where
it stood: tasks that had ended keep their results, the others run again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from airflow_vertex_provider.emulator.custom_jobs import FINAL_STATES, CustomJobs
from airflow_vertex_provider.emulator.job_run import JobRun
from airflow_vertex_provider.emulator.services import Services, StoppedError
from airflow_vertex_provider.emulator.store import Resource
from airflow_vertex_provider.states import TERMINAL_PIPELINE_STATES, PipelineState

log = logging.getLogger(__name__)


class Engine:
    """Runs every unfinished job of a store.

    :param services: the emulator's shared parts.
    :param execute: whether jobs are run at all.
    """

    def __init__(self, services: Services, *, execute: bool = True) -> None:
        self._services = services
        self._execute = execute
        self.custom_jobs = CustomJobs(services)
        self._runs: dict[int, JobRun] = {}
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def start(self) -> None:
        """Take up what an earlier life of the emulator left unfinished."""
        self.custom_jobs.take_up()
        if not self._execute:
            return
        for job in self._services.store.all("pipelineJobs"):
            if PipelineState(job.body["state"]) not in TERMINAL_PIPELINE_STATES:
                self.submit(job)
        for job in self._services.store.all("customJobs"):
            if job.notes.get("owner") is None and job.body["state"] not in FINAL_STATES:
                self.submit_custom_job(job)

    def stop(self) -> None:
        """End every process and thread; the store keeps what was reached."""
        self._services.stopping.set()
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join()

    def submit(self, job: Resource) -> None:
        """Begin to run a pipeline job."""
        if not self._execute:
            return
        run = JobRun(self._services, self.custom_jobs, job)
        with self._lock:
            self._runs[job.key] = run

        def follow() -> None:
            run.run()
            with self._lock:
                self._runs.pop(job.key, None)

        self._spawn(follow, f"job {job.id}")

    def submit_custom_job(self, job: Resource) -> None:
        """Begin to run a custom job that a client created."""
        if not self._execute:
            return

        def run() -> None:
            try:
                self.custom_jobs.run_own(job)
            except StoppedError:
                log.debug("custom job %s left unfinished: the emulator stops", job.id)

        self._spawn(run, f"custom job {job.id}")

    def cancel(self, key: int) -> None:
        """Ask a pipeline job to end; its state is CANCELLING on return."""
        with self._services.store.change(key) as job:
            if PipelineState(job.body["state"]) in TERMINAL_PIPELINE_STATES:
                return
            job.body["state"] = PipelineState.CANCELLING.value
            job.body["updateTime"] = self._services.clock.stamp()
        # Looked up after the state has changed: a run that is not here yet reads the state when it begins.
        with self._lock:
            run = self._runs.get(key)
        if run is not None and self._services.switches.cancel_outcome == "cancelled":
            run.cancel()

    def forget(self, key: int) -> None:
        """Give up the thread of a job that is being deleted, after it has ended what runs."""
        with self._lock:
            run = self._runs.pop(key, None)
        if run is not None:
            run.give_up()
            run.ended.wait()

    def _spawn(self, target: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        with self._lock:
            self._threads = [other for other in self._threads if other.is_alive()]
            self._threads.append(thread)
        thread.start()
