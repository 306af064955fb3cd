"""A folder of DAGs in, a running Airflow out: API server, scheduler, DAG processor and triggerer.

::

    with AirflowDeployment(folder, {"google_cloud_default": connection_json}) as airflow:
        run_id = airflow.trigger("my_dag", conf={"day": "2026-01-01"})
        assert airflow.wait_for_run("my_dag", run_id) == "success"
        assert airflow.xcom("my_dag", run_id, "report") == {"best": "forest"}

Each component is a process of its own, as in production, with LocalExecutor and SQLite. What only makes
waiting shorter is set for tests: heartbeats, loop pauses, scan intervals. Nothing else differs from a
fresh installation.
"""

from __future__ import annotations

import atexit
import base64
import functools
import json
import os
import secrets
import shutil
import signal as signals
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from tests.support.airflow_api import AirflowApi
from tests.support.processes import ManagedProcess, free_port, wait_until

#: Component to its arguments. The log servers are not started: all logs lie on the API server's disk.
COMPONENTS = {
    "api-server": ("api-server", "--host", "127.0.0.1", "--workers", "1"),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
#: Component to its name in the answer of the health endpoint and the field of its last heartbeat there.
_HEALTH = {
    "scheduler": ("scheduler", "latest_scheduler_heartbeat"),
    "dag-processor": ("dag_processor", "latest_dag_processor_heartbeat"),
    "triggerer": ("triggerer", "latest_triggerer_heartbeat"),
}
#: Seconds that a set of components may take to report as healthy.
START_TIMEOUT = 120.0


def airflow_environment(
    home: Path, dags_folders: Sequence[Path], connections: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment of an Airflow in ``home``: this process's own, without its Airflow settings.

    :param connections: connection id to JSON or URI.
    """
    env = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}
    env["AIRFLOW_HOME"] = str(home)
    # Commands started by the DAGs must find the environment's programs without its activation.
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', '')}"
    env["NO_PROXY"] = env["no_proxy"] = ",".join(filter(None, [env.get("NO_PROXY"), "127.0.0.1,localhost"]))
    bundles = [
        {
            "name": f"dags-{number}",
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(folder), "refresh_interval": 1},
        }
        for number, folder in enumerate(dags_folders)
    ]
    settings = {
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": "4",
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__DAGS_FOLDER": str(dags_folders[0]),
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        # A DAG file that imports Google's SDK has taken more than the usual half minute on a busy machine.
        "CORE__DAGBAG_IMPORT_TIMEOUT": "300",
        "DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "300",
        "CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "0",
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        # All processes share these; each would otherwise make its own when it finds no configuration.
        "CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "API__SECRET_KEY": secrets.token_hex(16),
        "API_AUTH__JWT_SECRET": secrets.token_hex(32),
        # SQLite gives a writer that finds the file locked five seconds; that is short on a busy machine.
        "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}?timeout=60",
        "DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
        "DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "1",
        "DAG_PROCESSOR__REFRESH_INTERVAL": "1",
        "LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "LOGGING__COLORED_CONSOLE_LOG": "False",
        "SCHEDULER__JOB_HEARTBEAT_SEC": "1",
        "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
        "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
        "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
        "SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "1",
        "TRIGGERER__JOB_HEARTBEAT_SEC": "1",
        # Another triggerer takes a killed one's triggers over only after this many seconds.
        "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "15",
    }
    env.update({f"AIRFLOW__{key}": value for key, value in settings.items()})
    env.update({f"AIRFLOW_CONN_{key.upper()}": value for key, value in connections.items()})
    return env


def run_airflow(arguments: Sequence[str], env: Mapping[str, str]) -> str:
    """Run one ``airflow`` command to its end and return what it printed.

    :raises RuntimeError: it failed; with its output.
    """
    done = subprocess.run(
        [airflow_program(), *arguments],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"airflow {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def airflow_program() -> str:
    """Return the ``airflow`` program of the environment that runs the tests."""
    return str(Path(sys.executable).parent / "airflow")


@functools.cache
def _migrated_database() -> Path:
    """Return an empty metadata database, made once a test session: the migration takes many seconds."""
    home = Path(tempfile.mkdtemp(prefix="airflow-db-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    env = airflow_environment(home, [home], {})
    run_airflow(["db", "migrate"], env)
    return home / "airflow.db"


def make_home(home: Path) -> None:
    """Put an empty, migrated database into ``home``."""
    home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_migrated_database(), home / "airflow.db")


class AirflowDeployment(AirflowApi):
    """A real Airflow on loopback, for the length of a ``with`` block.

    :param dags_folder: one folder of DAG files, or several.
    :param connections: connection id to its JSON or URI, set as ``AIRFLOW_CONN_*``.
    :param env: more environment variables for every process.
    :param components: what of :data:`COMPONENTS` is started; all of it if not given.
    """

    def __init__(
        self,
        dags_folder: Path | Sequence[Path],
        connections: Mapping[str, str],
        *,
        env: Mapping[str, str] | None = None,
        components: Iterable[str] = COMPONENTS,
    ) -> None:
        self._components = tuple(components)
        self.port = free_port()
        super().__init__(f"http://127.0.0.1:{self.port}")
        self.home = Path(tempfile.mkdtemp(prefix="airflow-home-"))
        folders = [dags_folder] if isinstance(dags_folder, Path) else list(dags_folder)
        self.env = {
            **airflow_environment(self.home, folders, connections),
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__BASE_URL": self.base_url,
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.base_url}/execution/",
            **(env or {}),
        }
        self._processes: dict[str, ManagedProcess] = {}

    def __enter__(self) -> Self:
        try:
            make_home(self.home)
            for name in self._components:
                self._processes[name] = ManagedProcess(
                    name,
                    [airflow_program(), *COMPONENTS[name]],
                    log=self.home / f"{name}.log",
                    env=self.env,
                )
            self.start(*self._components)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every process and remove the files."""
        # The API server goes last: a task or a trigger that is being ended still reports to it.
        others = [process for name, process in self._processes.items() if name != "api-server"]
        for process in others:
            process.terminate()
        for process in [*others, *self._processes.values()]:
            process.stop()
        self._http.close()
        shutil.rmtree(self.home, ignore_errors=True)

    # -- components ------------------------------------------------------------------------------

    def start(self, *components: str) -> None:
        """Start components and wait until each has reported since then."""
        since = datetime.now(UTC)
        for name in components:
            self._processes[name].start()
        self._wait_healthy(components, since)

    def stop(self, component: str) -> None:
        """End a component in good order, as a roll-out does; :meth:`start` brings it back."""
        self._processes[component].stop(grace=30)

    def restart(self, component: str) -> None:
        """End a component in good order and start it again."""
        self.stop(component)
        self.start(component)

    def kill(self, component: str, signal: signals.Signals = signals.SIGKILL) -> None:
        """Send a signal to a component and all its children, as the loss of its machine would.

        :param signal: after SIGKILL this waits for the end; :meth:`start` brings the component back.
        """
        if signal == signals.SIGKILL:
            self._processes[component].kill()
        else:
            self._processes[component].signal(signal)

    def process(self, component: str) -> ManagedProcess:
        """Return the process of a component, for its pid or its output."""
        return self._processes[component]

    def wait_for_executor(self, dag_id: str, run_id: str, task_id: str, *, times: int = 1) -> None:
        """Wait until the scheduler has heard from its executor that a task's process ended.

        That comes after the task's state, and names the task instance by its ids alone: in Airflow 3.3 it
        fails a task instance of the same ids, of a run that was deleted and made again meanwhile.

        :param times: how many such ends there were, over all runs of this id.
        """
        key = f"dag_id={dag_id!r}, task_id={task_id!r}, run_id={run_id!r},"

        def heard() -> bool:
            log = self._processes["scheduler"].log.read_text(errors="replace")
            events = [line for line in log.splitlines() if "Received executor event" in line and key in line]
            return sum("success" in line or "failed" in line for line in events) >= times

        self.wait_until(heard, 60, f"the executor's end of {task_id} in {run_id} of {dag_id}")

    def _wait_healthy(self, components: Iterable[str], since: datetime) -> None:
        for name in components:
            wait_until(
                self._health_check(name, since),
                START_TIMEOUT,
                f"Airflow's {name} to be healthy",
                detail=self._failure_detail,
            )

    def _health_check(self, component: str, since: datetime) -> Callable[[], bool]:
        """Return a test for: it answers, or its heartbeat is younger than ``since``."""

        def healthy() -> bool:
            if not self._processes[component].running:
                raise RuntimeError(f"Airflow's {component} ended\n{self._failure_detail()}")
            try:
                health = self.health()
            except (requests.ConnectionError, requests.Timeout):
                return False
            if component == "api-server":
                return bool(health["metadatabase"]["status"] == "healthy")
            name, field = _HEALTH[component]
            beat = health[name].get(field)
            return (
                health[name]["status"] == "healthy"
                and beat is not None
                and datetime.fromisoformat(beat) > since
            )

        return healthy

    def _failure_detail(self) -> str:
        return "\n".join(process.tail() for process in self._processes.values())
