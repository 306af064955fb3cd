"""The end of a task on a worker before its time: a signal in, the job cancelled or left running out.

Airflow calls ``on_kill`` when a user ends the task and likewise when its worker is shut down for a roll-out:
both are a SIGTERM. Only the first may cancel the job. A user's act changes the task's state before the signal
comes, so the state tells; after it a worker has about five seconds until it is killed. ``on_kill`` runs in a
signal handler, where asking Airflow could wait for ever, so a thread asks.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from airflow_vertex_provider import metrics
from airflow_vertex_provider.exceptions import VertexApiError, VertexSubmissionError
from airflow_vertex_provider.job_names import JobName
from airflow_vertex_provider.triggers.identity import Identity
from airflow_vertex_provider.triggers.submitted import ended_by_user

try:
    from airflow.sdk.exceptions import AirflowTaskTimeout
except ImportError:  # Airflow 3.1 has it elsewhere; delete when 3.2 is the lowest supported.
    from airflow.exceptions import AirflowTaskTimeout  # type: ignore[no-redef]

#: Seconds for which a cancel on a worker is asked for again; longer than a killed process may live.
CANCEL_DEADLINE = 60.0


class Killing:
    """Cancels a task's job once a user has ended the task. One for each task on a worker.

    :param identity: as whom the job is cancelled.
    :param log: the task's.
    """

    def __init__(self, identity: Callable[[], Identity], log: Any) -> None:
        self._identity = identity
        self._log = log
        self._thread: threading.Thread | None = None
        self.user = threading.Event()

    def begin(self, ti: Any, job_name: str | None) -> None:
        """Cancel the job if a user ended the task, or its time is over. Runs in ``on_kill``; never waits.

        :param job_name: the job, or the one that is being created just now; nothing is done if there is none.
        """
        if not job_name or self._thread is not None:
            return
        # Airflow ends a task that ran too long by an exception, and asks for the end while that is handled.
        out_of_time = isinstance(sys.exc_info()[1], AirflowTaskTimeout)
        if out_of_time:
            self._cancel(job_name)
            return
        self._thread = threading.Thread(target=self._ask_and_cancel, args=(ti, job_name), daemon=True)
        self._thread.start()

    def stop_if_ended(self, ti: Any, job_name: str, *, cancel: bool) -> None:
        """Cancel a job that has just come into being for a task that somebody ended meanwhile. On a worker.

        Airflow tells a worker only with its next heartbeat; a short task may be over by then.

        :param cancel: whether the job is to be cancelled at all.
        :raises VertexSubmissionError: the task was ended.
        """
        if self.user.is_set() or ended_by_user(ti):
            if cancel:
                # Also where a thread is at it: that ends with this process.
                self._cancel(job_name)
            raise VertexSubmissionError(f"{job_name}: this task was ended while the job was being created")

    def _ask_and_cancel(self, ti: Any, job_name: str) -> None:
        if not ended_by_user(ti):
            self._log.info("Left pipeline job %s running: its worker ends, no user ended the task", job_name)
            self._thread = None
            return
        self.user.set()
        self._cancel(job_name)

    def _cancel(self, job_name: str) -> None:
        """Ask until the service takes the request, or there is no job to cancel for too long."""
        name = JobName.parse(job_name).id
        deadline, pause = time.monotonic() + CANCEL_DEADLINE, 0.25
        while True:
            try:
                asked = self._identity().hook().cancel_job(job_name, once=True)
            except VertexApiError as error:
                # A job that is being created may come into being a moment later.
                passing = error.transient or error.code == 404
                if not passing or time.monotonic() > deadline:
                    self._log.warning("Pipeline job %s could not be cancelled: %s", name, error)
                    return
            except ImportError as error:
                # The signal came while the task itself was loading Google's client: two threads at a time
                # may find it half loaded.
                if time.monotonic() > deadline:
                    raise
                self._log.debug("Google's client is not there yet: %s", error)
            else:
                metrics.count("cancels", int(asked))
                text = "Asked Vertex AI to cancel %s" if asked else "Pipeline job %s had ended already"
                self._log.info(text, name)
                return
            time.sleep(pause)
            pause = min(pause * 2, 5.0)
