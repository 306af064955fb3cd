"""Runs the embedded entry point as a container would: a configuration and inputs in, what it left out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_vertex_provider.graph.code import carry_function
from airflow_vertex_provider.runtime.protocol import (
    config_text,
    constant,
    decode,
    embedded_source,
    python_config,
)

#: The interpreter under the tests' own environment: without Airflow, as most images are.
BARE_PYTHON = str(Path(sys.base_prefix) / "bin" / "python3")
#: Every Python the entry point must run on; the images of authors have them, Airflow may not.
PYTHONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13")


def find_python(version: str) -> str | None:
    """Return an interpreter of that version, or ``None``."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return BARE_PYTHON
    found = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    return str(found[-1]) if found else None


@dataclass(frozen=True)
class Ended:
    """What one container left behind."""

    code: int
    stdout: str
    stderr: str
    folder: Path

    def text(self, output: str = "Output") -> str:
        """Return an output parameter as Vertex would read it."""
        value = self.outputs()[output]
        assert isinstance(value, str)
        return value

    def outputs(self) -> dict[str, Any]:
        """Return all outputs, after checking that the task succeeded and left no error."""
        assert self.code == 0, self.stderr
        assert list(self.folder.glob("*error.json")) == []
        data = json.loads((self.folder / "executor_output.json").read_text())
        assert set(data) == {"parameterValues"}
        return dict(data["parameterValues"])

    def value(self, read: Callable[[str], bytes] | None = None) -> Any:
        """Return the task's value."""
        return decode(self.text(), read)

    def error(self) -> dict[str, Any]:
        """Return the error left for Airflow, after checking that the task failed."""
        assert self.code == 1, (self.code, self.stdout, self.stderr)
        assert not (self.folder / "executor_output.json").exists()
        data = json.loads((self.folder / "airflow_error.json").read_text())
        assert set(data) == {"type", "message", "traceback", "skipped"}
        return dict(data)

    def shown_error(self) -> str:
        """Return the error left for Vertex to show."""
        data = json.loads((self.folder / "executor_error.json").read_text())
        return str(data["errorMessage"])


@dataclass(frozen=True)
class Container:
    """A place for tasks to run in: ``root`` stands for the mounted Cloud Storage."""

    root: Path
    python: str = BARE_PYTHON

    def command(
        self,
        config: Mapping[str, Any],
        inputs: Mapping[str, Any],
        folder: str = "bucket/job/task_1",
        artifacts: Mapping[str, Any] | None = None,
    ) -> list[str]:
        """Return the command line of a task, with its executor input as Vertex writes it.

        :param artifacts: of the executor input's ``inputs``; those of ``outputs`` are the configuration's.
        """
        typed = {name: {"stringValue": text} for name, text in inputs.items()}
        executor_input: dict[str, Any] = {
            "inputs": {"parameterValues": dict(inputs), "parameters": typed},
            "outputs": {
                "outputFile": f"/gcs/{folder}/executor_output.json",
                "parameters": {"Output": {"outputFile": f"/gcs/{folder}/Output"}},
            },
        }
        if artifacts:
            executor_input["inputs"]["artifacts"] = dict(artifacts)
        if config.get("artifacts"):
            executor_input["outputs"]["artifacts"] = {
                name: artifact(f"gs://{folder}/{name}", title, name=f"projects/1/artifacts/{name}")
                for name, title in config["artifacts"].items()
            }
        return [
            self.python,
            "-u",
            "-c",
            embedded_source(config),
            config_text(config),
            json.dumps(executor_input, separators=(",", ":")),
        ]

    def environment(self, **extra: str) -> dict[str, str]:
        """Return a bare environment: no Airflow, no import path of ours."""
        return {"PATH": os.defpath, "AIRFLOW_VERTEX_GCS_ROOT": str(self.root), **extra}

    def run(
        self,
        config: Mapping[str, Any],
        inputs: Mapping[str, Any] | None = None,
        *,
        folder: str = "bucket/job/task_1",
        artifacts: Mapping[str, Any] | None = None,
        **env: str,
    ) -> Ended:
        """Run a task to its end."""
        done = subprocess.run(
            self.command(config, inputs or {}, folder, artifacts),
            env=self.environment(**env),
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr, self.root / folder)

    def call(
        self,
        function: Callable[..., Any],
        *args: object,
        inputs: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Ended:
        """Run a function of this repository's tests with constants as arguments."""
        return self.run(config_of(function, [constant(arg) for arg in args], **options), inputs)


def artifact(uri: str, title: str, *, name: str = "", **metadata: object) -> dict[str, Any]:
    """Return an artifact as an executor input has it."""
    entry = {"name": name, "uri": uri, "type": {"schemaTitle": title}, "metadata": metadata}
    return {"artifacts": [entry]}


def config_of(function: Callable[..., Any], args: Sequence[Any] = (), **options: Any) -> dict[str, Any]:
    """Return the configuration that runs ``function``."""
    return python_config(task="group.task", **carry_function(function).to_config(), args=args, **options)
