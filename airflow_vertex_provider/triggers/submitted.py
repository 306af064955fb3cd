"""Whether a group's job was made at all: a submit task's id in, its state out.

A member's trigger rule (``all_done``, say) may start it although ``submit_pipeline`` failed or was skipped.
Both ends of a member ask here: the worker's before it waits, and the triggerer's where no worker is used.
"""

from __future__ import annotations


def is_job_name(job_name: object) -> bool:
    """Tell whether a rendered field names a job; a missing XCom renders to ``None`` or to that text."""
    return isinstance(job_name, str) and "/" in job_name


def submit_state(dag_id: str, run_id: str, submit_task_id: str) -> str | None:
    """Ask Airflow for the state of the task that makes the job. Blocks: in the triggerer use a thread.

    :return: Airflow's name of the state; ``None`` if the task has none.
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    states = RuntimeTaskInstance.get_task_states(dag_id=dag_id, task_ids=[submit_task_id], run_ids=[run_id])
    state = states.get(run_id, {}).get(submit_task_id)
    return None if state is None else str(getattr(state, "value", state))
