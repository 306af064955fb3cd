"""The whole run of one task: two arguments in, files and an exit code out.

Part of the text that runs in a container, see :mod:`airflow_vertex_provider.runtime.entrypoint`.
"""

from __future__ import annotations

import json
import os
import sys

from airflow_vertex_provider.runtime.container.base import VertexRuntimeError, part
from airflow_vertex_provider.runtime.container.errors import is_named, leave, report
from airflow_vertex_provider.runtime.container.files import local_path, write
from airflow_vertex_provider.runtime.container.processes import (
    forked,
    hold_signal,
    is_chief,
    release_signal,
    terminated,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def execute(config: dict[str, Any], executor_input: dict[str, Any], target: str) -> None:
    """Run the task and, in the chief, write its outputs."""
    kind = config.get("kind")
    run = part("run_%s" % kind)
    if config.get("v") != 2 or not run:
        raise VertexRuntimeError(
            "cannot run a configuration of version %r and kind %r" % (config.get("v"), kind)
        )
    inputs = executor_input.get("inputs", {}).get("parameterValues", {})
    inputs["$"] = executor_input
    folder = os.path.dirname(target)
    if config.get("from_handoff"):
        part("use_from_handoff")(config, inputs, os.path.dirname(folder))
    verdict = part("use_gate")(config, inputs) if config.get("gate") else "run"
    values = run(config, inputs, verdict, folder)
    if values and config["chief"]:
        write(target, json.dumps(dict(executor_input.get("$written", {}), parameterValues=values)))


def main(arguments: list[str]) -> int:
    """Run the task described by the two arguments and return the exit code."""
    import signal

    for stream_ in (sys.stdout, sys.stderr):
        stream_.reconfigure(errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
    try:
        config, executor_input = map(json.loads, arguments)
        target = local_path(executor_input["outputs"]["outputFile"])
    except (ValueError, KeyError, TypeError) as error:
        print("airflow-vertex: cannot read the task's two arguments: %r" % error, file=sys.stderr)
        return 1
    # Asked before the author's code can change the environment.
    chief = config["chief"] = is_chief()
    folder = os.path.dirname(target)
    # Beside the folder: the service may clear that before another attempt.
    last = "%s/airflow_no_retry/%s.json" % os.path.split(folder)
    # As the container's first process, Python would otherwise not see the signal of a cancellation.
    signal.signal(signal.SIGTERM, terminated)
    os.register_at_fork(before=hold_signal, after_in_parent=release_signal, after_in_child=forked)
    try:
        # A retried task finds the files of the attempt before it.
        for name in os.listdir(folder) if chief and os.path.isdir(folder) else ():
            if name in ("airflow_error.json", "executor_error.json", "executor_output.json"):
                os.remove(os.path.join(folder, name))
        if os.path.exists(last):
            with open(last, encoding="ascii") as file:
                leave(json.load(file), folder, chief)
            return 1
        execute(config, executor_input, target)
    except BaseException as error:
        data = report(error, config)
        if is_named(error, "AirflowFailException") and chief:
            write(last, json.dumps(data))
        leave(data, folder, chief)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
