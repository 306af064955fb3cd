"""Run the example DAG on the emulator and tell what happened: nothing in, a readable account out.

`make demo` calls this. Everything is local: the emulator serves the Vertex AI API on this machine and runs
the containers' commands as processes; Airflow runs the DAG by `dag.test()` on a database of its own.
Exits with 1 and a cause if anything went wrong.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from airflow_vertex_provider.emulator import VertexEmulator

ROOT = Path(__file__).resolve().parent
STATE = ROOT.parent / "demo-state"
DAG_ID = "example_train_and_compare"

#: Runs in a process of its own, whose environment is Airflow's.
RUN_DAG = """
import json, sys
sys.path.insert(0, sys.argv[1])
from example_train_and_compare import example_train_and_compare
dag = example_train_and_compare()
run = dag.test()
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import select
with create_session() as session:
    states = {ti.task_id: str(ti.state) for ti in run.get_task_instances(session=session)}
    rows = session.execute(
        select(XComModel.task_id, XComModel.key, XComModel.value).where(XComModel.run_id == run.run_id)
    ).all()
order = [task.task_id for task in dag.topological_sort()]
result = {"state": str(run.state), "states": states, "order": order, "xcoms": [list(row) for row in rows]}
with open(sys.argv[2], "w") as file:
    json.dump(result, file)
"""


def main() -> int:
    """Run the demo; return the exit code."""
    started = time.monotonic()
    shutil.rmtree(STATE, ignore_errors=True)
    home = STATE / "airflow"
    home.mkdir(parents=True)
    log = STATE / "airflow.log"
    with VertexEmulator(state_dir=STATE / "emulator") as emulator:
        print(f"Vertex AI emulator: {emulator.page_url}")
        environment = {
            **os.environ,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
            "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT": emulator.connection_json(),
            "EXAMPLE_POLL_INTERVAL": "0.5",
        }
        print(f"Running DAG {DAG_ID} in Airflow (log: {log.relative_to(STATE.parent)}) ...", flush=True)
        result_file = STATE / "result.json"
        for command in (
            [sys.executable, "-m", "airflow", "db", "migrate"],
            [sys.executable, "-c", RUN_DAG, str(ROOT), str(result_file)],
        ):
            with log.open("a") as output:
                code = subprocess.run(
                    command, env=environment, stdout=output, stderr=subprocess.STDOUT, check=False
                ).returncode
            if code:
                return _fail(f"{' '.join(command[:3])[:60]} ended with exit code {code}", log)
        result = json.loads(result_file.read_text())
        jobs = emulator.jobs()
        _print_run(result, jobs)
        if result["state"] != "success":
            return _fail(f"the DAG run ended {result['state']}", log)
        if len(jobs) != 1:
            return _fail(f"{len(jobs)} pipeline jobs were created instead of one", log)
        _print_report(result)
    state_dir = (STATE / "emulator").relative_to(STATE.parent)
    print(f"{time.monotonic() - started:.0f} s in all. To look at the run's graph, values and logs again:")
    print(f"  {Path(sys.executable).parent / 'airflow-vertex'} emulator --state-dir {state_dir}")
    print("demo: OK")
    return 0


def _print_run(result: dict[str, Any], jobs: list[dict[str, Any]]) -> None:
    details: dict[str, dict[str, Any]] = {}
    executors: dict[str, Any] = {}
    for job in jobs:
        for detail in job.get("jobDetail", {}).get("taskDetails", []):
            details[detail["taskName"]] = detail
        executors.update(job["pipelineSpec"]["deploymentSpec"]["executors"])
    xcoms = {(task_id, key): value for task_id, key, value in result["xcoms"]}
    names = xcoms.get(("train.submit_pipeline", "vertex_task_names")) or {}
    table = [("task", "Airflow state", "Vertex state", "machine", "duration")]
    for task_id in result["order"]:
        name = names.get(task_id, "")
        detail = details.get(name, {})
        machine = _machine(executors.get(f"exec-{name}", {})) if name else "(Airflow)"
        table.append(
            (task_id, result["states"].get(task_id, ""), detail.get("state", ""), machine, _duration(detail))
        )
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    print()
    for number, row in enumerate(table):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))
    print(f"\nVertex URL: {xcoms.get(('train.submit_pipeline', 'vertex_url'))}")


def _machine(executor: dict[str, Any]) -> str:
    """Describe what a task asked for, as it stands in the spec that was sent."""
    container = executor.get("container", {})
    args = container.get("args", [])
    if "--payload" in args:
        payload = json.loads(args[args.index("--payload") + 1])
        pool = payload["job_spec"]["worker_pool_specs"][0]
        spec, disk = pool["machine_spec"], pool.get("disk_spec", {})
        gpu = (
            f" + {spec['accelerator_count']} x {spec['accelerator_type']}"
            if "accelerator_type" in spec
            else ""
        )
        return f"{spec['machine_type']}{gpu}, {disk.get('boot_disk_size_gb', 100)} GB"
    resources = container.get("resources", {})
    if resources:
        return f"plain: {resources.get('resourceCpuLimit')} CPU, {resources.get('resourceMemoryLimit')}"
    return "plain"


def _duration(detail: dict[str, Any]) -> str:
    if "startTime" not in detail or "endTime" not in detail:
        return ""
    start, end = (datetime.fromisoformat(detail[key]) for key in ("startTime", "endTime"))
    return f"{(end - start).total_seconds():.1f} s"


def _print_report(result: dict[str, Any]) -> None:
    report = next(
        value for task_id, key, value in result["xcoms"] if (task_id, key) == ("report", "return_value")
    )
    print("\nReport of the last task:")
    for line in report:
        print(f"  {line}")
    print()


def _fail(cause: str, log: Path) -> int:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    print(f"\nLast lines of {log.name}:", file=sys.stderr)
    for line in lines[-40:]:
        print(f"  {line}", file=sys.stderr)
    print(f"demo: FAILED: {cause}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
