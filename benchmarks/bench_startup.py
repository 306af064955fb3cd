"""Start of a task: one function in, the times that our entry point and kfp's executor take to run it out.

Each runs as its compiler writes it. What is measured is a process from its start to its end, on this
interpreter: the wall clock, and the processor time of the process and its children, which a busy machine
changes less. The rows:

``python -c pass``
    the interpreter alone.
``entry point``
    our command, with code, configuration and executor input.
``kfp, installed in the image``
    kfp's command of a component with ``install_kfp_package=False``.
``kfp, its default``
    kfp's command as a component has it by default: it calls pip at every start. Here kfp is installed, so
    pip finds nothing to do; on an image without kfp a download and an installation come on top, which is not
    measured, since benchmarks use no network.

Annotations are not postponed in this file: kfp reads them.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_vertex_provider.graph.code import carry_function
from airflow_vertex_provider.runtime.protocol import config_text, constant, embedded_source, python_config

#: Starts of each row, taken in turn, so that what else the machine does meets all of them alike.
ROUNDS = 20


def add(a: int = 1, b: int = 2) -> int:
    return a + b


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="bench-startup-") as folder:
        root = Path(folder)
        commands = {"python -c pass": [sys.executable, "-c", "pass"], "entry point": _ours(root)}
        commands |= {
            "kfp, installed in the image": _kfp(root, install=False),
            "kfp, its default": _kfp(root, install=True),
        }
        environment = {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
            "HOME": folder,
            "AIRFLOW_VERTEX_GCS_ROOT": folder,
            # Without an index pip says at once that what it is asked for is there.
            "PIP_NO_INDEX": "1",
        }
        samples: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(ROUNDS):
            for name, command in commands.items():
                samples[name].append(_measure(command, environment))
    _print(samples)


def _ours(root: Path) -> list[str]:
    config = python_config(
        task="bench.add", args=[constant(1), constant(2)], **carry_function(add).to_config()
    )
    executor_input = {"outputs": {"outputFile": "/gcs/ours/executor_output.json"}}
    return [
        sys.executable,
        "-u",
        "-c",
        embedded_source(config),
        config_text(config),
        json.dumps(executor_input),
    ]


def _kfp(root: Path, *, install: bool) -> list[str]:
    from kfp import dsl

    component: Any = dsl.component(base_image="python:3.11", install_kfp_package=install)(add)
    (executor,) = component.pipeline_spec.deployment_spec["executors"].values()
    executor_input = {
        "inputs": {"parameterValues": {"a": 1, "b": 2}},
        "outputs": {
            "outputFile": str(root / f"kfp-{install}" / "executor_output.json"),
            "parameters": {"Output": {"outputFile": str(root / f"kfp-{install}" / "Output")}},
        },
    }
    container = executor["container"]
    text = json.dumps(executor_input)
    return [part.replace("{{$}}", text) for part in (*container["command"], *container["args"])]


def _measure(command: list[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Return the milliseconds of wall clock and of processor time that one start takes."""
    with tempfile.TemporaryFile() as output:
        begun = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise RuntimeError(f"{command[:3]} ended with {process.returncode}: {output.read().decode()}")
    return wall * 1000, (usage.ru_utime + usage.ru_stime) * 1000


def _print(samples: Mapping[str, list[tuple[float, float]]]) -> None:
    from importlib.metadata import version

    print(f"Python {sys.version.split()[0]}, kfp {version('kfp')}; milliseconds, of {ROUNDS} starts each")
    print(f"{'':30}{'wall, median':>14}{'least':>10}{'processor, median':>20}{'least':>10}{'over bare':>12}")
    bare = statistics.median(cpu for _, cpu in samples["python -c pass"])
    over: dict[str, float] = {}
    for name, found in samples.items():
        walls, cpus = ([sample[index] for sample in found] for index in (0, 1))
        over[name] = statistics.median(cpus) - bare
        print(
            f"{name:30}{statistics.median(walls):14.0f}{min(walls):10.0f}"
            f"{statistics.median(cpus):20.0f}{min(cpus):10.0f}{over[name]:12.0f}"
        )
    for name in [name for name in samples if name.startswith("kfp")]:
        print(f"{name}: {over[name] / over['entry point']:.1f} times the entry point's time over bare Python")
