"""A DAG file in, the outcome of ``dag.test()`` out: Airflow's own way to run a DAG with no scheduler.

The run happens in a fresh process with an Airflow home of its own, so nothing of it is left in the tests'
process. This module is both ends: :func:`run_dag_test` starts it, and as ``__main__`` it is the child,
whose last line of output is the result as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.airflow import airflow_environment, make_home
from tests.support.processes import REPOSITORY


@dataclass(frozen=True)
class DagTestResult:
    """What one ``dag.test()`` left behind.

    :param state: state of the DAG run.
    :param states: task instance to its state; a mapped one is ``task_id[map_index]``.
    :param xcoms: task instance to its XComs by key, as a later task would read them.
    :param output: everything the process printed, the tasks' logs among it.
    """

    state: str
    states: dict[str, str | None]
    xcoms: dict[str, dict[str, Any]]
    output: str


def run_dag_test(
    dag_file: Path,
    dag_id: str,
    connections: Mapping[str, str],
    conf: dict[str, Any] | None = None,
    *,
    env: Mapping[str, str] | None = None,
    timeout: float = 900,
) -> DagTestResult:
    """Run ``dag.test()`` on one DAG of a file.

    :param connections: connection id to its JSON or URI.
    :param env: more environment variables.
    :param timeout: seconds; the child is killed after that.
    :raises RuntimeError: the child itself failed (a failed DAG run is a result, not an error).
    """
    with tempfile.TemporaryDirectory(prefix="airflow-test-") as folder:
        home = Path(folder)
        make_home(home)
        child_env = {**airflow_environment(home, [dag_file], connections), **(env or {})}
        python_path = filter(None, [str(REPOSITORY), child_env.get("PYTHONPATH")])
        child_env["PYTHONPATH"] = os.pathsep.join(python_path)
        command = [sys.executable, "-m", "tests.support.dag_test", str(dag_file), dag_id]
        # A file, not a pipe: what was printed before a timeout is what tells why.
        log = home / "output.log"
        with log.open("wb") as output:
            child = subprocess.Popen(
                [*command, json.dumps(conf or {})],
                env=child_env,
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                outcome = f"ended with {child.wait(timeout)}"
            except subprocess.TimeoutExpired:
                outcome = f"did not end within {timeout:g} s"
            finally:
                child.kill()
                child.wait()
        text = log.read_text(errors="replace")
    if child.returncode:
        raise RuntimeError(f"dag.test() of {dag_id} {outcome}:\n{text}")
    result = json.loads(text.rstrip().splitlines()[-1])
    return DagTestResult(result["state"], result["states"], result["xcoms"], text)


def _child(dag_file: Path, dag_id: str, conf: dict[str, Any]) -> None:
    """Run the DAG and print the result."""
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow 3.1
        from airflow.models.dagbag import DagBag  # type: ignore[no-redef]
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    # What `python dag_file.py` would put there; the file may import its neighbours.
    sys.path.insert(0, str(dag_file.parent))
    bag = DagBag(dag_file)
    if dag_id not in bag.dags:
        raise RuntimeError(f"{dag_file} has no DAG {dag_id!r}: {sorted(bag.dags)} {bag.import_errors}")
    run = bag.dags[dag_id].test(run_conf=conf)

    states = {}
    xcoms: dict[str, dict[str, Any]] = {}
    with create_session() as session:
        for instance in run.get_task_instances(session=session):
            name = _name(instance.task_id, instance.map_index)
            states[name] = instance.state and str(instance.state)
            xcoms[name] = {}
        for entry in session.scalars(
            select(XComModel).where(XComModel.dag_id == dag_id, XComModel.run_id == run.run_id)
        ):
            xcoms[_name(entry.task_id, entry.map_index)][entry.key] = entry.value
    print(json.dumps({"state": str(run.state), "states": states, "xcoms": xcoms}))


def _name(task_id: str, map_index: int) -> str:
    return task_id if map_index == -1 else f"{task_id}[{map_index}]"


if __name__ == "__main__":
    _child(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]))
