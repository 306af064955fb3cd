"""The emulator as a command: options in, its process and a client out; and a look at other processes."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.emulator.pipelines import Client, wait_for
from tests.support.processes import free_port

Launch = Callable[..., tuple["subprocess.Popen[str]", Client]]


def start_command(state: Path, *options: str) -> tuple[subprocess.Popen[str], Client]:
    """Start the emulator's command on a state directory."""
    command = [sys.executable, "-m", "airflow_vertex_provider.emulator", "--state-dir", str(state)]
    process = subprocess.Popen(
        [*command, "--port", str(free_port()), *options], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    endpoint = re.search(r"http://127\.0\.0\.1:\d+", line)
    if not endpoint:
        process.kill()
        raise AssertionError(f"the emulator's first line: {line!r}")
    assert f"{endpoint[0]}/" in line.replace(endpoint[0], "", 1)
    return process, Client(endpoint[0])


def written(path: Path) -> int:
    """Wait until a process has written its id to a file, and return it."""
    return int(wait_for(lambda: path.exists() and path.read_text().strip(), f"{path}"))


def gone(pid: int) -> bool:
    """Whether a process runs no more."""
    command = Path(f"/proc/{pid}/cmdline")
    try:
        return not command.read_bytes()
    except OSError:
        return True
