"""The emulator as a server: a state directory and a port in, a running Vertex AI on loopback out."""

from __future__ import annotations

import fcntl
import json
import logging
import shutil
import socket
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import uvicorn

from airflow_vertex_provider.emulator import pipeline_jobs, protos
from airflow_vertex_provider.emulator.app import App
from airflow_vertex_provider.emulator.clock import Clock
from airflow_vertex_provider.emulator.engine import Engine
from airflow_vertex_provider.emulator.faults import Faults
from airflow_vertex_provider.emulator.guesses import Switches
from airflow_vertex_provider.emulator.names import Ids
from airflow_vertex_provider.emulator.page_api import PageApi
from airflow_vertex_provider.emulator.request_log import RecordedRequest
from airflow_vertex_provider.emulator.services import Services
from airflow_vertex_provider.emulator.storage import StorageApi
from airflow_vertex_provider.emulator.store import Store
from airflow_vertex_provider.emulator.vertex_api import VertexApi

log = logging.getLogger(__name__)

Json = dict[str, Any]

#: The only address it listens on: it runs whatever it is sent, so nobody else may reach it.
HOST = "127.0.0.1"

#: Seconds an idle connection stays open. Google's SDK asks every five seconds, which is also uvicorn's
#: default: connections would be closed just as they are used again.
KEEP_ALIVE = 600


def _lock(state_dir: Path) -> IO[str]:
    """Take a state directory for this process; the system gives it back, however the process ends.

    :raises OSError: another emulator has it, and would run the same jobs.
    """
    file = (state_dir / "lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise OSError(error.errno, f"another emulator uses the state directory {state_dir}") from error
    return file


class VertexEmulator:
    """Vertex AI Pipelines on loopback, for tests, demonstrations and local work; never for production.

    ::

        with VertexEmulator() as emulator:
            client = PipelineServiceClient(
                transport="rest",
                client_options={"api_endpoint": emulator.endpoint},
                credentials=AnonymousCredentials(),
            )

    :param state_dir: folder that holds all it knows, found again by the next emulator started on it;
        ``None`` for a temporary one that is removed at the end.
    :param port: port of 127.0.0.1; 0 takes a free one.
    :param time_scale: factor on the durations that imitate the service; 0 waits for nothing, 1 is real.
    :param clock_offset: seconds by which its clock is ahead of this machine's, or behind it.
    :param max_processes: task processes at the same time.
    :param term_grace: real seconds between SIGTERM and SIGKILL for a cancelled task.
    :param only_created_buckets: whether a bucket must be created before it exists.
    :param execute: run the jobs; if not, they stay as they are: for load tests that change the store.
    :param seed: makes ids, machine start times and other draws repeatable.
    :param switches: answers the real service was never seen to give, see
        :data:`~airflow_vertex_provider.emulator.guesses.GUESSES`.
    :raises ValueError: an unknown switch or a value out of range.
    """

    def __init__(
        self,
        state_dir: str | Path | None = None,
        port: int = 0,
        *,
        time_scale: float = 0.0,
        clock_offset: float = 0.0,
        max_processes: int = 8,
        term_grace: float = 10.0,
        only_created_buckets: bool = False,
        execute: bool = True,
        seed: int | None = None,
        **switches: object,
    ) -> None:
        if max_processes < 1:
            raise ValueError(f"max_processes: found {max_processes!r}; allowed: 1 or more")
        if term_grace < 0:
            raise ValueError(f"term_grace: found {term_grace!r}; allowed: 0 or more seconds")
        self._state_dir = Path(state_dir).absolute() if state_dir is not None else None
        self._port = port
        self._max_processes = max_processes
        self._term_grace = term_grace
        self._only_created_buckets = only_created_buckets
        self._execute = execute
        self._ids = Ids(seed)
        self._switches = Switches(**switches)
        self.faults = Faults()
        self.clock = Clock(time_scale, clock_offset)
        self._services: Services | None = None
        self._engine: Engine | None = None
        self._app: App | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None
        self._lock: IO[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    # Life

    def start(self) -> None:
        """Listen, take up unfinished jobs, and return once requests are answered.

        :raises OSError: the port is taken, or another emulator uses the state directory.
        """
        if self._services is not None:
            raise RuntimeError("the emulator is running already")
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((HOST, self._port))
        except OSError:
            self._socket.close()
            raise
        state_dir = self._state_dir or Path(tempfile.mkdtemp(prefix="vertex-emulator-"))
        state_dir.mkdir(parents=True, exist_ok=True)
        try:
            self._lock = _lock(state_dir)
        except OSError:
            self._socket.close()
            raise
        protos.load()
        services = Services(
            state_dir,
            Store(state_dir / "state.sqlite"),
            self.clock,
            self._switches,
            self.faults,
            self._ids,
            self._term_grace,
            self._max_processes,
        )
        engine = Engine(services, execute=self._execute)
        self._app = App(
            services,
            VertexApi(services, engine),
            StorageApi(services, only_created_buckets=self._only_created_buckets),
            PageApi(services, engine),
        )
        self._services, self._engine = services, engine
        engine.start()
        self._serve(self._app)

    def _serve(self, app: App) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            proxy_headers=False,
            timeout_graceful_shutdown=1,
            timeout_keep_alive=KEEP_ALIVE,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="vertex emulator", daemon=True
        )
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise RuntimeError("the emulator's server ended while starting")
            self._thread.join(0.01)
        log.info("Vertex emulator at %s", self.endpoint)

    def stop(self) -> None:
        """Stop listening and end every task process; unfinished jobs stay unfinished in the state."""
        if self._services is None or self._engine is None:
            return
        self._services.stopping.set()
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join()
        self._engine.stop()
        self._services.store.close()
        if self._socket is not None:
            self._socket.close()
        if self._lock is not None:
            self._lock.close()
        if self._state_dir is None:
            shutil.rmtree(self._services.state_dir)
        self._services = self._engine = self._server = self._thread = self._socket = None

    # What it tells

    def _running(self) -> Services:
        if self._services is None:
            raise RuntimeError("the emulator is not running; use it as a context manager, or call start()")
        return self._services

    @property
    def endpoint(self) -> str:
        """Address for ``api_endpoint``: ``http://127.0.0.1:PORT``."""
        self._running()
        if self._socket is None:
            raise RuntimeError("the emulator is not listening")
        return f"http://{HOST}:{self._socket.getsockname()[1]}"

    @property
    def page_url(self) -> str:
        """Address of the page that shows the runs."""
        return f"{self.endpoint}/"

    @property
    def state_dir(self) -> Path:
        """Folder that holds everything."""
        return self._running().state_dir

    @property
    def requests(self) -> list[RecordedRequest]:
        """What the API received, oldest first: the last 10,000 requests, and 64 MiB of their bodies."""
        if self._app is None:
            return []
        return list(self._app.requests)

    @property
    def received(self) -> int:
        """How many requests the API has received since it started."""
        return self._app.requests.received if self._app is not None else 0

    def run_url(self, project: str, location: str, job_id: str) -> str:
        """Address of the page of one run: ``/ui/runs/PROJECT/LOCATION/JOB``."""
        return f"{self.endpoint}/ui/runs/{project}/{location}/{job_id}"

    def connection_json(
        self,
        project: str = "demo-project",
        location: str = "europe-west4",
        pipeline_root: str = "gs://demo-bucket/root",
    ) -> str:
        """Return an Airflow connection to this emulator, for a variable ``AIRFLOW_CONN_...``."""
        return json.dumps(
            {
                "conn_type": "google_cloud_platform",
                "extra": {
                    "project": project,
                    "is_anonymous": True,
                    "api_endpoint": self.endpoint,
                    "storage_endpoint": self.endpoint,
                    "console_endpoint": self.endpoint,
                    "location": location,
                    "pipeline_root": pipeline_root,
                },
            }
        )

    @property
    def store(self) -> Store:
        """What it remembers; with ``execute=False`` nobody else writes there."""
        return self._running().store

    def jobs(self) -> list[Json]:
        """Return every PipelineJob as a get would, oldest first."""
        services = self._running()
        pipeline_jobs.purge(services)
        return [
            protos.normalise("PipelineJob", pipeline_jobs.view(services, job, detail=True))
            for job in services.store.all("pipelineJobs")
        ]

    def custom_jobs(self) -> list[Json]:
        """Return every CustomJob, oldest first."""
        return [protos.normalise("CustomJob", job.body) for job in self._running().store.all("customJobs")]
