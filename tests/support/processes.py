"""A command line in, a running process whose output lies in a file out; and the waits the tests use.

Every process gets a session of its own, so that ending it ends its children too, and nothing else.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import psutil

_T = TypeVar("_T")

#: The folder that holds the package, the tests and the example DAGs.
REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLE_DAGS = REPOSITORY / "example_dags"
#: DAGs that only tests need, with the modules they use beside them.
INTEGRATION_DAGS = REPOSITORY / "tests" / "integration" / "dags"

#: Seconds a process has after SIGTERM before it gets SIGKILL.
GRACE = 10.0

_POLL = 0.1
#: How many times longer than its author thought a wait may take. A machine that does other work besides has
#: been seen to take three times as long; a wait that is over costs nothing.
PATIENCE = 4


class WaitTimeoutError(AssertionError):
    """What a test waited for did not happen in time; says what it was and what was seen last."""


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listened on a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until(
    predicate: Callable[[], _T | None],
    timeout: float,
    what: str,
    *,
    detail: Callable[[], str] | None = None,
) -> _T:
    """Call ``predicate`` until its result is true, and return that result.

    :param timeout: seconds on a machine that does nothing else; :data:`PATIENCE` times that is waited.
    :param what: what is waited for, as it shall stand in the error.
    :param detail: makes more text for the error, for example the tails of log files.
    :raises WaitTimeoutError: when ``timeout`` is over.
    """
    timeout *= PATIENCE
    deadline = time.monotonic() + timeout
    while True:
        result = predicate()
        if result:
            return result
        if time.monotonic() >= deadline:
            more = f"\n{detail()}" if detail else ""
            raise WaitTimeoutError(f"waited {timeout:g} s for {what}; the last look gave {result!r}{more}")
        time.sleep(_POLL)


class ManagedProcess:
    """One process of a test, with its output in a file.

    :param name: short name for messages.
    :param command: program and arguments.
    :param log: file that gets standard output and standard error; appended to on a restart.
    :param env: the whole environment.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str],
        cwd: Path = REPOSITORY,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        self.env = dict(env)
        self.cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process, in a session of its own."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.env,
                cwd=self.cwd,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id, which is also the id of the session."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit code, or ``None`` while it runs."""
        return None if self._process is None else self._process.poll()

    @property
    def running(self) -> bool:
        """Whether the process was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to every process of the session."""
        for pid in self._session():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue  # ended between the look and the signal

    def terminate(self) -> None:
        """Ask the process to end, and do not wait; :meth:`stop` waits."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def stop(self, *, grace: float = GRACE) -> None:
        """End the process: SIGTERM to it, then SIGKILL to whatever of its session is left.

        :param grace: seconds between the two.
        """
        if self._process is None:
            return
        if self._process.poll() is None:
            self.terminate()
            try:
                self._process.wait(grace)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self.signal(signal.SIGKILL)

    def kill(self) -> None:
        """End the process and its children at once, as the loss of the machine would."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def tail(self, lines: int = 40) -> str:
        """Return the last lines of the output."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        state = "running" if self.running else f"ended with {self.returncode}"
        return f"--- {self.name} ({state}), last lines ---\n" + "\n".join(text.splitlines()[-lines:])

    def _session(self) -> list[int]:
        """Return the ids of the processes of the session; zombies count and do no harm."""
        found = []
        for pid in psutil.pids():
            try:
                if os.getsid(pid) == self.pid:
                    found.append(pid)
            except ProcessLookupError:
                continue  # ended while the list was read
        return found
