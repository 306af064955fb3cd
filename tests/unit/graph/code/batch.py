"""Runs many functions in one process of another Python, as containers do: configurations in, values out."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from airflow_vertex_provider.graph.code import CarriedFunction
from airflow_vertex_provider.runtime import protocol

#: The entry point's own text, and a loop around the part that loads and calls.
_DRIVER = """
import json, sys
scope = {"__name__": "embedded"}
exec(compile(sys.argv[1], "<string>", "exec"), scope)
sys.meta_path.append(scope["AirflowShim"]())
for line in sys.stdin:
    config = json.loads(line)
    try:
        answer = {"value": scope["encode"](scope["use_function"](config, {}))}
    except BaseException as error:
        answer = scope["report"](error, config)
    print("@@" + json.dumps(answer), flush=True)
"""


def config_of(carried: CarriedFunction, args: Iterable[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a call."""
    return protocol.python_config(
        task="g.t",
        **carried.to_config(),
        args=[protocol.constant(item) for item in args],
        kwargs={name: protocol.constant(item) for name, item in kwargs.items()},
    )


def run_batch(
    python: str, configs: list[dict[str, Any]], *, path: Path | None = None
) -> list[dict[str, Any]]:
    """Return what each configuration gave: its ``value``, or its error as the entry point reports it.

    :param path: a folder on Python's path, as an image or a bundle has it.
    """
    done = subprocess.run(
        [python, "-c", _DRIVER, protocol.embedded_source()],
        input="".join(protocol.config_text(config) + "\n" for config in configs),
        env={"PATH": os.defpath, **({"PYTHONPATH": str(path)} if path else {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    answers = [json.loads(line[2:]) for line in done.stdout.splitlines() if line.startswith("@@")]
    assert len(answers) == len(configs), (done.stdout[-2000:], done.stderr[-2000:])
    return answers
