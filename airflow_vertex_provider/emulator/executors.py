"""Running a container's command as a process of this machine: argv and environment in, its end out.

No shell of ours stands between: the argument vector is executed exactly as resolved, so the system's own
limits (128 KiB for one argument on Linux) show as they would in a container. The process gets a clean
environment and a mark, by which all that it starts is found and ended with it.
"""

from __future__ import annotations

import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

from airflow_vertex_provider.emulator import process_tree
from airflow_vertex_provider.emulator.process_tree import Process

log = logging.getLogger(__name__)

#: Variables of the emulator's own environment that a process gets.
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")
#: Tells our own entry point where ``gs://`` lies on this machine; see docs/emulator.md.
GCS_ROOT_VARIABLE = "AIRFLOW_VERTEX_GCS_ROOT"

#: Longest piece of output kept as one log line.
_LINE_LIMIT = 64 * 1024
#: Seconds between two looks at a process that neither writes nor ends.
_LOOK = 0.1


class How(StrEnum):
    """How a process ended."""

    EXITED = "exited"
    NOT_STARTED = "not started"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    PREEMPTED = "preempted"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Ended:
    """The end of a process.

    :param status: exit status as a container shows it: 128 + n if signal n ended it.
    :param text: why it could not start.
    """

    how: How
    status: int = 0
    text: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether the process ended by itself with status 0."""
        return self.how is How.EXITED and self.status == 0


class LogFile:
    """Lines with time and stream, one JSON array a line, in a file.

    :param path: made at the first line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def write(self, stream: str, text: str, when: float | None = None) -> None:
        """Append one line."""
        line = json.dumps([round(when or time.time(), 3), stream, text], ensure_ascii=False) + "\n"
        with self._lock, self.path.open("a", encoding="utf-8", errors="surrogateescape") as file:
            file.write(line)

    def read(self, offset: int = 0) -> tuple[list[list[Any]], int]:
        """Return the lines after byte ``offset``, and the offset to go on from."""
        if not self.path.exists():
            return [], offset
        with self.path.open("rb") as file:
            file.seek(offset)
            data = file.read()
        complete = data[: data.rfind(b"\n") + 1]
        lines = [json.loads(line.decode("utf-8", "replace")) for line in complete.splitlines()]
        return lines, offset + len(complete)


def base_environment(gcs_root: Path) -> dict[str, str]:
    """Return what every process finds in its environment before the container's own variables."""
    env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.defpath)])
    env[GCS_ROOT_VARIABLE] = str(gcs_root)
    return env


@dataclass(frozen=True)
class Command:
    """What to run.

    :param mark: text that no other task's processes have; goes into their environment.
    :param timeout: real seconds until the process is ended; ``None`` for no limit.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    log: LogFile
    mark: str
    timeout: float | None = None


def run_process(
    command: Command,
    *,
    cancelled: Callable[[], bool],
    stopping: Callable[[], bool],
    grace: float,
    on_start: Callable[[int], None],
    on_terminate: Callable[[], None],
    preempt: bool = False,
) -> Ended:
    """Run a command to its end; on return nothing that it started runs any more.

    :param cancelled: true sends SIGTERM, and SIGKILL after ``grace`` seconds.
    :param stopping: true ends the process because the emulator ends.
    :param on_start: told the process id. :param on_terminate: told just before a cancel's SIGTERM.
    :param preempt: end the process as soon as it has started, as a lost machine would.
    """
    command.cwd.mkdir(parents=True, exist_ok=True)
    if not command.argv:
        return Ended(How.NOT_STARTED, text="the container names no command, and no image is run here")
    try:
        process = subprocess.Popen(
            list(command.argv),
            env={**command.env, process_tree.MARK_VARIABLE: command.mark},
            cwd=command.cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        text = f"exec {command.argv[0][:200]!r}: {reason}"
        command.log.write("system", text)
        return Ended(How.NOT_STARTED, text=text)
    leader = Process(process.pid, process_tree.process_started(process.pid))
    try:
        on_start(process.pid)
        how = _follow(process, command, cancelled, stopping, grace, on_terminate, preempt=preempt)
    except BaseException:
        _end(process, command.mark, {leader})
        raise
    status = process.returncode
    return Ended(how, 128 - status if status < 0 else status)


def _follow(
    process: subprocess.Popen[bytes],
    command: Command,
    cancelled: Callable[[], bool],
    stopping: Callable[[], bool],
    grace: float,
    on_terminate: Callable[[], None],
    *,
    preempt: bool,
) -> How:
    started = time.monotonic()
    how = How.EXITED
    kill_at: float | None = None
    known = {Process(process.pid, process_tree.process_started(process.pid))}
    with _Output(process, command.log) as output:
        while True:
            output.read(_LOOK)
            if process.poll() is not None:
                break
            now = time.monotonic()
            if kill_at is None:
                if stopping():
                    how, kill_at = How.STOPPED, now + min(grace, 1.0)
                elif cancelled():
                    on_terminate()
                    how, kill_at = How.CANCELLED, now + grace
                elif command.timeout is not None and now - started > command.timeout:
                    how, kill_at = How.TIMEOUT, now + grace
                elif preempt:
                    how, kill_at = How.PREEMPTED, now
                if kill_at is not None:
                    # What is below it now may have no parent any more when it is looked for again.
                    known |= process_tree.find(command.mark, known)
                    process_tree.signal_group(process.pid, signal.SIGTERM)
            elif now >= kill_at:
                break
        # A container ends with its first process; so does everything that process left behind.
        _end(process, command.mark, known)
        output.drain()
    return how


def _end(process: subprocess.Popen[bytes], mark: str, known: set[Process]) -> None:
    """Kill a process, its group and all that it started."""
    known = known | process_tree.find(mark, known)
    process_tree.signal_group(process.pid, signal.SIGKILL)
    process.wait()
    process_tree.end(mark, known)


class _Output:
    """Reads both output streams of a process, line by line, into its log."""

    def __init__(self, process: subprocess.Popen[bytes], target: LogFile) -> None:
        self._target = target
        self._selector = selectors.DefaultSelector()
        self._open: dict[str, IO[bytes]] = {}
        self._rest: dict[str, bytes] = {}
        for name, stream in (("stdout", process.stdout), ("stderr", process.stderr)):
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
                self._selector.register(stream, selectors.EVENT_READ, name)
                self._open[name] = stream
                self._rest[name] = b""

    def __enter__(self) -> _Output:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in self._open.values():
            stream.close()
        self._selector.close()

    def read(self, timeout: float) -> None:
        """Write what has arrived, waiting at most ``timeout`` seconds for it."""
        if not self._selector.get_map():
            time.sleep(timeout / 10)
            return
        for key, _ in self._selector.select(timeout):
            name = key.data
            data = os.read(key.fd, 1 << 16)
            if not data:
                self._selector.unregister(key.fileobj)
                self._flush(name)
                continue
            self._rest[name] += data
            for line in self._lines(name):
                self._target.write(name, line)

    def drain(self) -> None:
        """Write what is still in the pipes."""
        while self._selector.get_map() and self._selector.select(0):
            self.read(0)
        for name in self._rest:
            self._flush(name)

    def _lines(self, name: str) -> Iterator[str]:
        *lines, rest = self._rest[name].split(b"\n")
        if len(rest) > _LINE_LIMIT:
            lines, rest = [*lines, rest], b""
        self._rest[name] = rest
        for line in lines:
            yield line.decode("utf-8", "replace")

    def _flush(self, name: str) -> None:
        if self._rest[name]:
            self._target.write(name, self._rest[name].decode("utf-8", "replace"))
            self._rest[name] = b""
