"""Questions on standard input in, answers on standard output out: the process that runs ``dag.test()``.

A question is a line of JSON: DAG files to write, and which DAG to run on which side. The answer is a line
of JSON too. All that Airflow and the tasks print goes to standard error.

On side ``patient`` no trigger rule is decided before all tasks above have ended. Airflow decides some as
soon as it can: ``one_success`` runs its task after the first success, a skip passes on at once though a
failure may follow. So the outcome may depend on which task ends first. A pipeline decides when all have
ended; where its outcome differs from plain Airflow's, this side tells whether that is the reason.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_ERROR = re.compile(r"^[\w.]*(?:Error|Exception): .*", re.MULTILINE)

#: Characters of the log that an answer carries.
LOG_TAIL = 12_000


class OutOfTimeError(BaseException):
    """A DAG took too long. No ``Exception``, so that no task takes it for its own."""


def main(dags_folder: Path) -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    # Standard output is the tasks' from here on, and belongs to the log.
    os.dup2(2, 1)
    sys.stdout = os.fdopen(1, "w", buffering=1)
    log = Path(f"/proc/self/fd/{2}").resolve()
    patience = Patience()
    signal.signal(signal.SIGALRM, _out_of_time)
    for line in sys.stdin:
        question = json.loads(line)
        start, log_start = time.monotonic(), log.stat().st_size
        answer: dict[str, Any] = {
            "run_state": "",
            "states": {},
            "xcoms": {},
            "downstream": {},
            "error": "",
            "refused": False,
        }
        for old in dags_folder.iterdir():
            if old.is_file():
                old.unlink()
        for name, text in question["files"].items():
            (dags_folder / name).write_text(text)
        patience.on = question["side"] == "patient"
        signal.setitimer(signal.ITIMER_REAL, float(os.environ["DAG_TIMEOUT"]))
        try:
            answer.update(run(dags_folder / f"{question['dag_id']}.py", question["dag_id"], question["conf"]))
        except ParseError as error:
            answer["error"] = str(error)
            answer["refused"] = "VertexGroupError" in str(error)
        except (Exception, OutOfTimeError):
            answer["error"] = traceback.format_exc()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        sys.stdout.flush()
        sys.stderr.flush()
        answer["seconds"] = time.monotonic() - start
        with log.open("rb") as printed:
            printed.seek(log_start)
            text = printed.read().decode(errors="replace")
        answer["log"] = text[-LOG_TAIL:]
        if any(
            name.endswith("submit_pipeline") and end == "failed" for name, end in answer["states"].items()
        ):
            answer["error"] = f"submit_pipeline failed: {' / '.join(_ERROR.findall(text)[:2])}"
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


class ParseError(Exception):
    """The DAG file could not be read."""


def run(dag_file: Path, dag_id: str, conf: dict[str, Any]) -> dict[str, Any]:
    """Run one DAG with ``dag.test()`` and return what it left in the database."""
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow 3.1
        from airflow.models.dagbag import DagBag  # type: ignore[no-redef]
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    bag = DagBag(dag_file)
    if dag_id not in bag.dags:
        raise ParseError("\n".join(bag.import_errors.values()) or f"{dag_file} holds no DAG {dag_id}")
    dag = bag.dags[dag_id]
    dag_run = dag.test(run_conf=conf)
    states: dict[str, str | None] = {}
    xcoms: dict[str, dict[str, str]] = {}
    with create_session() as session:
        for instance in dag_run.get_task_instances(session=session):
            name = _name(instance.task_id, instance.map_index)
            states[name] = instance.state and str(instance.state)
            xcoms[name] = {}
        for entry in session.scalars(
            select(XComModel).where(XComModel.dag_id == dag_id, XComModel.run_id == dag_run.run_id)
        ):
            value = XComModel.deserialize_value(entry)
            xcoms[_name(entry.task_id, entry.map_index)][entry.key] = canonical(value)
    return {
        "run_state": str(dag_run.state),
        "states": states,
        "xcoms": xcoms,
        "downstream": {task.task_id: sorted(task.downstream_task_ids) for task in dag.tasks},
    }


def canonical(value: Any) -> str:
    """Return a text that is equal for equal values of equal types, and the same in every process."""
    if isinstance(value, set | frozenset):
        return f"{type(value).__name__}({sorted(canonical(item) for item in value)})"
    if type(value) is dict:
        return f"{{{', '.join(f'{canonical(key)}: {canonical(item)}' for key, item in value.items())}}}"
    if type(value) is list:
        return f"[{', '.join(canonical(item) for item in value)}]"
    # A container has no pendulum: its UTC is another class of the same zone once Airflow has read it.
    return "'pendulum.tz.timezone.Timezone'" if value == "pendulum.tz.timezone.FixedTimezone" else repr(value)


class Patience:
    """Makes Airflow's trigger rules wait for all tasks above while ``on``."""

    def __init__(self) -> None:
        from airflow.ti_deps.deps.trigger_rule_dep import TriggerRuleDep

        self.on = False
        decide = TriggerRuleDep._evaluate_trigger_rule

        def patiently(dep: Any, *, ti: Any, dep_context: Any, session: Any) -> Iterator[Any]:
            if self.on and _waits(ti, session):
                yield dep._failing_status(reason="a task above has not ended")
            else:
                yield from decide(dep, ti=ti, dep_context=dep_context, session=session)

        TriggerRuleDep._evaluate_trigger_rule = patiently  # type: ignore[method-assign,assignment]


def _waits(ti: Any, session: Any) -> bool:
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.state import State
    from sqlalchemy import select

    above = set(ti.task.upstream_task_ids) | {task.task_id for task in ti.task.get_upstreams_only_setups()}
    own_group = ti.task.get_closest_mapped_task_group()
    query = select(TaskInstance).where(
        TaskInstance.dag_id == ti.dag_id, TaskInstance.run_id == ti.run_id, TaskInstance.task_id.in_(above)
    )
    for other in session.scalars(query):
        if other.state in State.finished:
            continue
        group = ti.task.dag.get_task(other.task_id).get_closest_mapped_task_group()
        same = own_group is not None and group is not None and group.group_id == own_group.group_id
        if not same or ti.map_index < 0 or other.map_index in (-1, ti.map_index):
            return True
    return False


def _name(task_id: str, map_index: int) -> str:
    return task_id if map_index == -1 else f"{task_id}[{map_index}]"


def _out_of_time(*_: Any) -> None:
    raise OutOfTimeError(f"no end after {os.environ['DAG_TIMEOUT']} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
