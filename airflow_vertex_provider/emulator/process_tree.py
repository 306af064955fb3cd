"""Everything a task has started: a mark and the process ids it began with in, all its processes ended out.

A process may leave its group, start a session, and outlive its parent, so its group alone does not tell
where it belongs. Where there is a ``/proc``, a task's processes are found by three things: a variable that
only this task's environment has, which children inherit; the parents of each process; and the group. On
systems without ``/proc`` only the group is left, and what has moved out of it is not found.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

#: The variable that marks a task's processes.
MARK_VARIABLE = "VERTEX_EMULATOR_TASK"

_PROC = Path("/proc")
#: How often a tree is searched for what was started while it was being ended.
_ROUNDS = 100
#: Seconds between two of these searches: a killed process takes a moment to go.
_PAUSE = 0.02


@dataclass(frozen=True)
class Process:
    """One process; its start tells it from a later one with the same id.

    :param started: when it started, in the system's own unit.
    """

    pid: int
    started: str


@dataclass(frozen=True)
class _Seen:
    process: Process
    parent: int
    group: int


def process_started(pid: int) -> str:
    """Return when a process started, in the system's own unit; empty if it is gone or cannot be told."""
    seen = _look(pid)
    return seen.process.started if seen else ""


def signal_group(pid: int, number: int) -> None:
    """Send a signal to a process group; one that is gone already is no error."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError) as error:
        log.debug("process group %s: %s", pid, error)


def find(mark: str, known: Iterable[Process] = ()) -> set[Process]:
    """Return the running processes that carry a mark, those of ``known`` that run, and all below them.

    :param mark: value of :data:`MARK_VARIABLE`. :param known: processes that were found earlier.
    """
    everything = {seen.process.pid: seen for seen in _all()}
    wanted = f"{MARK_VARIABLE}={mark}".encode()
    roots = {process for process in known if _same(everything.get(process.pid), process)}
    roots |= {seen.process for seen in everything.values() if wanted in _environment(seen.process.pid)}
    groups = {process.pid for process in roots if everything[process.pid].group == process.pid}
    children: dict[int, list[_Seen]] = {}
    for seen in everything.values():
        children.setdefault(seen.parent, []).append(seen)
        if seen.group in groups:
            roots.add(seen.process)
    found: set[Process] = set()
    waiting = list(roots)
    while waiting:
        process = waiting.pop()
        if process not in found and process.pid != os.getpid():
            found.add(process)
            waiting += [seen.process for seen in children.get(process.pid, ())]
    return found


def end(mark: str, known: Iterable[Process] = ()) -> None:
    """Kill all of a task's processes, and return when none is left.

    :param mark: as for :func:`find`. :param known: as for :func:`find`.
    """
    remembered = set(known)
    for _ in range(_ROUNDS):
        running = find(mark, remembered)
        if not running:
            return
        remembered |= running
        for process in running:
            try:
                os.kill(process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError) as error:
                log.debug("process %s: %s", process.pid, error)
        time.sleep(_PAUSE)
    log.warning("processes of %s do not end: %s", mark, sorted(process.pid for process in running))


def _same(seen: _Seen | None, process: Process) -> bool:
    return seen is not None and seen.process == process


def _all() -> list[_Seen]:
    if not _PROC.is_dir():
        return []
    looks = (_look(int(path.name)) for path in _PROC.iterdir() if path.name.isdigit())
    return [seen for seen in looks if seen is not None]


def _look(pid: int) -> _Seen | None:
    """Return what the system says of a process; ``None`` if it is gone, or dead and not yet collected."""
    try:
        # The name, in brackets, may hold blanks and brackets itself.
        fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    if len(fields) < 20 or fields[0] in "ZX":
        return None
    return _Seen(Process(pid, fields[19]), int(fields[1]), int(fields[2]))


def _environment(pid: int) -> list[bytes]:
    """Return a process's variables as it was started with; none if they may not be read."""
    try:
        return (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []
