"""A port and a folder in, the Vertex emulator as a process of its own out, with a connection to it.

The emulator runs apart from the tests and from Airflow, so that each can be ended and started again
while the others go on.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.processes import REPOSITORY, ManagedProcess, free_port, wait_until

PROJECT = "emulated-project"
LOCATION = "europe-west4"
PIPELINE_ROOT = "gs://emulated-bucket/pipelines"

#: Seconds the emulator may take to print its endpoint.
START_TIMEOUT = 60.0

_ENDPOINT = re.compile(r"http://127\.0\.0\.1:\d+")


def connection_json(
    endpoint: str,
    *,
    project: str = PROJECT,
    location: str = LOCATION,
    pipeline_root: str = PIPELINE_ROOT,
) -> str:
    """Return an Airflow connection of Google's own type that leads to ``endpoint``, as JSON."""
    return json.dumps(
        {
            "conn_type": "google_cloud_platform",
            "extra": {
                "project": project,
                "is_anonymous": True,
                "api_endpoint": endpoint,
                "storage_endpoint": endpoint,
                "console_endpoint": endpoint,
                "location": location,
                "pipeline_root": pipeline_root,
            },
        }
    )


class EmulatorProcess:
    """The emulator, started by its command line, for the length of a ``with`` block.

    :param state_dir: folder that holds jobs and the emulated buckets; a restart finds them again.
    :param port: port of 127.0.0.1; a free one if not given. A restart uses the same one.
    :param arguments: more arguments of the command line.
    """

    def __init__(self, state_dir: Path, *, port: int | None = None, arguments: tuple[str, ...] = ()) -> None:
        self.state_dir = state_dir
        self.port = port or free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "airflow_vertex_provider.emulator"]
        command += ["--port", str(self.port), "--state-dir", str(state_dir), *arguments]
        env = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self._process = ManagedProcess(
            "emulator", command, log=state_dir.with_name(f"{state_dir.name}.log"), env=env, cwd=REPOSITORY
        )

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

    def start(self) -> None:
        """Start the emulator and wait until it has printed its endpoint."""
        self.state_dir.mkdir(parents=True, exist_ok=True)
        log = self._process.log
        already = log.stat().st_size if log.exists() else 0
        self._process.start()

        def ready() -> bool:
            if not self._process.running:
                raise RuntimeError(f"the emulator ended\n{self._process.tail()}")
            return self.endpoint in _ENDPOINT.findall(log.read_bytes()[already:].decode(errors="replace"))

        try:
            wait_until(
                ready, START_TIMEOUT, f"the emulator to print {self.endpoint}", detail=self._process.tail
            )
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the emulator in good order."""
        self._process.stop()

    def kill(self) -> None:
        """End the emulator and all the task processes it started, at once."""
        self._process.kill()

    def connection_json(self, **options: str) -> str:
        """Return the connection of :func:`connection_json` to this emulator."""
        return connection_json(self.endpoint, **options)
