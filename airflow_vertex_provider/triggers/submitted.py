"""What Airflow says of a task while something waits: a task's id in, its state out.

Whether a group's job was made at all: a member's trigger rule (``all_done``, say) may start it although
``submit_pipeline`` failed or was skipped. Both ends of a member ask here: the worker's before it waits, and
the triggerer's where no worker is used. Whether a user ended a task: only then is its job cancelled, and
never because a process restarts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def is_job_name(job_name: object) -> bool:
    """Tell whether a rendered field names a job; a missing XCom renders to ``None`` or to that text."""
    return isinstance(job_name, str) and "/" in job_name


def task_states(dag_id: str, run_id: str, task_ids: Sequence[str]) -> dict[str, str | None]:
    """Ask Airflow for the states of tasks of a run. Blocks: in the triggerer use a thread.

    :return: task id, for a mapped task with ``_`` and the index behind it, to Airflow's name of the state,
        ``None`` if it has none. What Airflow does not know is not there.
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    found = RuntimeTaskInstance.get_task_states(dag_id=dag_id, task_ids=list(task_ids), run_ids=[run_id])
    states = found.get(run_id, {})
    return {
        key: None if state is None else str(getattr(state, "value", state)) for key, state in states.items()
    }


def task_state(dag_id: str, run_id: str, task_id: str) -> str | None:
    """Ask Airflow for the state of one task that is not mapped, see :func:`task_states`."""
    return task_states(dag_id, run_id, [task_id]).get(task_id)


def ended_by_user(ti: Any) -> bool:
    """Tell whether somebody ended a task that runs or is deferred. Blocks: in the triggerer use a thread.

    A process that restarts leaves the task's state as it is; a user's act changes it first, or removes the
    task's run. Where Airflow does not answer, nobody did: better a job that goes on than one lost.
    """
    try:
        states = task_states(ti.dag_id, ti.run_id, [ti.task_id])
    except Exception:  # noqa: BLE001 - whatever keeps Airflow from answering
        return False
    index = -1 if ti.map_index is None else ti.map_index
    return states.get(ti.task_id if index < 0 else f"{ti.task_id}_{index}") not in GOING_ON


#: States of a task that will do nothing more by itself.
ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
#: States of a task that nobody ended. None is not among them: a cleared task has no state.
GOING_ON = frozenset({"running", "deferred", "scheduled", "queued", "up_for_reschedule", "up_for_retry"})
