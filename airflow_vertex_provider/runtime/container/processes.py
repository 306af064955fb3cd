"""Processes and signals: commands that the task starts, and how it is ended.

Part of the text that runs in a container, see :mod:`airflow_vertex_provider.runtime.entrypoint`.
"""

from __future__ import annotations

import json
import os

from airflow_vertex_provider.runtime.container.base import Terminated, VertexRuntimeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


# Signal masks to go back to after a fork; see hold_signal.
HELD: list[Any] = []


def stream(command: list[str], env: dict[str, str] | None, folder: str | None) -> tuple[int, str]:
    """Run a command, pass its output on line by line, return its exit code and its last line."""
    import signal
    import subprocess

    pipe, same = subprocess.PIPE, subprocess.STDOUT
    try:
        process = subprocess.Popen(
            command, stdout=pipe, stderr=same, env=env, cwd=folder, start_new_session=True
        )
    except (OSError, ValueError) as error:
        raise VertexRuntimeError("cannot start %s: %s" % (command[0], error)) from None
    last = ""
    try:
        for raw in process.stdout or ():
            last = raw.decode("utf-8", "backslashreplace").rstrip()
            print(last, flush=True)
        return process.wait(), last
    except BaseException:
        # Cancelled: nothing that the command started may outlive the task.
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        raise


def terminated(number: int, frame: Any) -> NoReturn:
    """Turn a termination signal into an exception, so that ``finally`` blocks run."""
    raise Terminated("the task was ended by signal %d" % number)


def hold_signal() -> None:
    """Before a fork: keep a termination signal waiting until the child has chosen its reaction to it."""
    import signal

    HELD.append(signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}))


def release_signal() -> None:
    """After a fork, in both processes: let the signal through again."""
    import signal

    signal.pthread_sigmask(signal.SIG_SETMASK, HELD.pop())


def forked() -> None:
    """Give a forked worker the usual reaction to a termination signal: pools end their workers with it."""
    import signal

    if signal.getsignal(signal.SIGTERM) is terminated:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    release_signal()


def is_chief() -> bool:
    """Say whether this process speaks for its task: the replicas of a custom job all run the same command.

    Vertex tells each who it is by ``CLUSTER_SPEC``; the chief is the first of the first worker pool. A
    process that is told nothing is alone.
    """
    try:
        task = json.loads(os.environ["CLUSTER_SPEC"])["task"]
        return task["type"] == "workerpool0" and int(task["index"]) == 0
    except (KeyError, TypeError, ValueError):
        return True
