"""DAG source text in, what happened out: by Airflow alone, or with the group on the emulator.

One child process (:mod:`tests.differential.bench`) runs ``dag.test()`` for many DAGs, one after the other,
on a metadata database of its own: starting Airflow costs seconds, a small DAG a fraction of one.

The text is the inside of ``with DAG(...):`` and uses ``Group("g")`` where the author would write
``TaskGroup("g")`` or ``VertexTaskGroup("g", ...)``. ``MARK(name)`` in a function and ``$MARKS/name`` in a
command leave a line in a file, so that every run of a task is counted, whatever becomes of it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self

from tests.support.airflow import airflow_environment, make_home
from tests.support.processes import REPOSITORY

#: ``airflow``: a plain task group. ``patient``: the same, but no trigger rule is decided before all tasks
#: above have ended (see bench.py). ``vertex``: a VertexTaskGroup on the emulator.
Side = Literal["airflow", "patient", "vertex"]

#: Tasks that the Vertex group adds; Airflow alone has none like them.
ADDED_TASKS = ("submit_pipeline", "wait_for_pipeline")
#: XComs that say where a task ran; and Airflow's own note of a branch, which names the added tasks too.
ADDED_KEYS = frozenset({"vertex_url", "vertex_logs_url", "vertex_state", "skipmixin_key"})

#: Seconds one DAG may take.
DAG_TIMEOUT = 300.0

PREAMBLE = """\
from __future__ import annotations

import datetime
from datetime import timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import (
    BranchPythonOperator, PythonOperator, PythonVirtualenvOperator, ShortCircuitOperator,
)
from airflow.sdk import DAG, Label, TaskGroup, chain, cross_downstream, setup, task, task_group, teardown

"""
_GROUP = {
    "airflow": "Group = TaskGroup\n",
    "vertex": """\
from airflow_vertex_provider import CustomJob, VertexTaskGroup


def Group(*args, **kwargs):
    return VertexTaskGroup(
        *args,
        location="europe-west4",
        pipeline_root="gs://emulated-bucket/pipelines",
        deferrable=False,
        poll_interval=0.02,
        **kwargs,
    )
""",
}


@dataclass(frozen=True)
class Outcome:
    """What one run of a DAG left behind, without what only a Vertex group has.

    :param run_state: state of the DAG run.
    :param states: task instance (``task_id`` or ``task_id[map_index]``) to its state.
    :param xcoms: task instance to its XComs by key; each value as text that tells types apart.
    :param marks: name of a mark to how often it was left.
    :param error: why the DAG could not be read or run, if so; ``refused`` tells that the group refused it.
    :param started: whether every Vertex group of the DAG made its job.
    """

    run_state: str = ""
    states: dict[str, str | None] = field(default_factory=dict)
    xcoms: dict[str, dict[str, str]] = field(default_factory=dict)
    marks: dict[str, int] = field(default_factory=dict)
    error: str = ""
    refused: bool = False
    started: bool = True
    seconds: float = 0.0
    downstream: dict[str, list[str]] = field(default_factory=dict)
    log: str = ""


def dag_source(side: Side, dag_id: str, body: str, marks: Path, *, options: str = "", above: str = "") -> str:
    """Return the whole text of the DAG file of one side.

    :param body: what stands in the ``with DAG(...)`` block.
    :param options: more arguments of ``DAG``.
    :param above: text before the block, at the top level of the file.
    """
    group = _GROUP["vertex" if side == "vertex" else "airflow"]
    head = f"with DAG({dag_id!r}, schedule=None{', ' if options else ''}{options}) as dag:\n"
    text = above + "\n\n" + head + textwrap.indent(textwrap.dedent(body).strip("\n"), "    ") + "\n"
    folder = f"{marks}/"
    text = re.sub(r"\bMARK\(([^()]*)\)", lambda m: f"open({folder!r} + str({m[1]}), 'a').write('x')", text)
    return PREAMBLE + group + text.replace("$MARKS", str(marks))


class Laboratory:
    """Runs DAGs on any side, for the length of a ``with`` block.

    :param connection: JSON of the connection to the emulator.
    """

    def __init__(self, connection: str) -> None:
        self._connection = connection
        self._home = Path(tempfile.mkdtemp(prefix="differential-"))
        self._bench: subprocess.Popen[str] | None = None
        self._log: IO[str] | None = None
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child process and remove the files."""
        self._end_bench()
        shutil.rmtree(self._home, ignore_errors=True)

    def run(
        self,
        side: Side,
        body: str,
        *,
        options: str = "",
        above: str = "",
        conf: Mapping[str, Any] | None = None,
        files: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Run a DAG once.

        :param files: name to text of files beside the DAG file.
        :raises RuntimeError: the child process broke down or ran out of time; with its log.
        """
        self._count += 1
        folder = self._home / f"run{self._count}"
        marks = folder / "marks"
        marks.mkdir(parents=True)
        dag_id = f"dag{self._count}"
        source = dag_source(side, dag_id, body, marks, options=options, above=above)
        answer = self._ask(
            {
                "side": side,
                "dag_id": dag_id,
                "conf": dict(conf or {}),
                "files": {f"{dag_id}.py": source, **(files or {})},
            }
        )
        counted = {path.name: path.stat().st_size for path in sorted(marks.iterdir())}
        shutil.rmtree(folder)
        states = {name: state for name, state in answer["states"].items() if not _is_added(name)}
        return Outcome(
            run_state=answer["run_state"],
            states=states,
            xcoms={
                name: {key: value for key, value in keys.items() if key not in ADDED_KEYS}
                for name, keys in answer["xcoms"].items()
                if name in states
            },
            marks=counted,
            error=answer["error"],
            refused=answer["refused"],
            started=all(
                state == "success"
                for name, state in answer["states"].items()
                if name.endswith(ADDED_TASKS[0])
            ),
            seconds=answer["seconds"],
            downstream=answer["downstream"],
            log=answer["log"],
        )

    def _ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        if self._bench is None:
            self._start_bench()
        bench = self._bench
        assert bench is not None
        assert bench.stdin is not None
        assert bench.stdout is not None
        try:
            bench.stdin.write(json.dumps(question) + "\n")
            bench.stdin.flush()
            answer = bench.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            log = (self._home / "bench.log").read_text(errors="replace")
            self._end_bench()
            raise RuntimeError(f"the process that runs DAGs broke down:\n{log[-20_000:]}")
        result: dict[str, Any] = json.loads(answer)
        return result

    def _start_bench(self) -> None:
        home = self._home / "airflow"
        shutil.rmtree(home, ignore_errors=True)
        make_home(home)
        dags = home / "dags"
        dags.mkdir()
        env = airflow_environment(home, [dags], {"google_cloud_default": self._connection})
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(REPOSITORY), env.get("PYTHONPATH")]))
        # Python orders sets of texts by a hash that is new in every process; dag.test() runs tasks from one.
        env["PYTHONHASHSEED"] = "0"
        env["DAG_TIMEOUT"] = str(DAG_TIMEOUT)
        self._log = (self._home / "bench.log").open("w")
        self._bench = subprocess.Popen(
            [sys.executable, "-m", "tests.differential.bench", str(dags)],
            env=env,
            cwd=home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def _end_bench(self) -> None:
        if self._bench is not None:
            self._bench.kill()
            self._bench.communicate()
            self._bench = None
        if self._log is not None:
            self._log.close()
            self._log = None


def _is_added(name: str) -> bool:
    return name.partition("[")[0].rpartition(".")[2] in ADDED_TASKS
