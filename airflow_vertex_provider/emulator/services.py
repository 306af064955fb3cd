"""What every part of a running emulator shares: settings in, one bundle of services out."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

from airflow_vertex_provider.emulator.clock import Clock
from airflow_vertex_provider.emulator.faults import Faults
from airflow_vertex_provider.emulator.guesses import Switches
from airflow_vertex_provider.emulator.names import Ids
from airflow_vertex_provider.emulator.store import Store


class StoppedError(Exception):
    """The emulator is being stopped; work in progress is left as the store has it."""


@dataclass
class Services:
    """The parts that jobs, tasks and requests have in common.

    :param state_dir: folder that holds everything: database, logs, emulated buckets, work folders.
    :param term_grace: real seconds between SIGTERM and SIGKILL.
    :param max_processes: how many task processes may run at the same time.
    """

    state_dir: Path
    store: Store
    clock: Clock
    switches: Switches
    faults: Faults
    ids: Ids
    term_grace: float = 10.0
    max_processes: int = 8
    stopping: threading.Event = field(default_factory=threading.Event)
    slots: threading.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self.slots = threading.Semaphore(self.max_processes)
        for folder in (self.gcs, self.logs, self.work, self.uploads):
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def gcs(self) -> Path:
        """Folder of the emulated buckets: ``gs://b/x`` is the file ``b/x`` in it."""
        return self.state_dir / "gcs"

    @property
    def logs(self) -> Path:
        """Folder of the custom jobs' logs."""
        return self.state_dir / "logs"

    @property
    def uploads(self) -> Path:
        """Folder of objects that are still being written."""
        return self.state_dir / "uploads"

    @property
    def work(self) -> Path:
        """Folder of the processes' working directories."""
        return self.state_dir / "work"

    def local(self, uri: str) -> Path:
        """Return where ``gs://bucket/object`` lies on this machine."""
        return self.gcs / uri.removeprefix("gs://")

    def check_running(self) -> None:
        """Raise :class:`StoppedError` if the emulator is being stopped."""
        if self.stopping.is_set():
            raise StoppedError
