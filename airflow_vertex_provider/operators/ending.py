"""An earlier attempt that is being cancelled: its end awaited, in the triggerer if that may be."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_vertex_provider.exceptions import VertexSubmissionError
from airflow_vertex_provider.triggers.pipeline_job import VertexPipelineJobTrigger
from airflow_vertex_provider.triggers.waiting import TIME_LIMIT_GRACE

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.definitions.context import Context

    from airflow_vertex_provider.operators.attempts import Ending
    from airflow_vertex_provider.triggers.identity import Identity

#: XCom key of which earlier job a task waits for, and since when.
WAITING_SINCE = "vertex_waiting_since"
#: Seconds to wait for an earlier attempt that is being cancelled, and between two looks at it.
ENDING_DEADLINE = 900.0
ENDING_INTERVAL = 5.0


def await_end(
    operator: BaseOperator, ending: Ending, context: Context, identity: Identity, *, deferrable: bool
) -> None:
    """Wait for an earlier attempt to end. On a worker; deferred, the operator's ``again`` goes on.

    :param identity: as whom the job is read.
    :raises VertexSubmissionError: it does not end.
    """
    operator.log.info("Waiting for the earlier attempt %s to end: %s", ending.name, ending.state)
    left = _waiting_since(context, ending.name) + ENDING_DEADLINE - time.time()
    if left <= 0:
        raise VertexSubmissionError(
            f"{ending.name}: found an earlier attempt still {ending.state} after "
            f"{ENDING_DEADLINE:.0f} seconds; allowed: its end. Clear this task once it has ended"
        )
    if deferrable:
        chain: str | Sequence[str] | None = identity.impersonation_chain
        operator.defer(
            trigger=VertexPipelineJobTrigger(
                job_name=ending.name,
                gcp_conn_id=identity.gcp_conn_id,
                impersonation_chain=list(chain) if isinstance(chain, tuple) else chain,
                project_id=identity.project_id,
                poll_interval=ENDING_INTERVAL,
                cancel_on_kill=False,
                deadline=time.time() + left,
            ),
            method_name="again",
            timeout=timedelta(seconds=left + TIME_LIMIT_GRACE),
        )
    time.sleep(min(ENDING_INTERVAL, left))


def _waiting_since(context: Context, name: str) -> float:
    """Return since when this task has been waiting for a job to end, in seconds since 1970."""
    ti = context["ti"]
    waits = ti.xcom_pull(task_ids=ti.task_id, key=WAITING_SINCE, map_indexes=ti.map_index)
    if isinstance(waits, dict) and waits.get("job_name") == name:
        return float(waits["since"])
    now = time.time()
    ti.xcom_push(key=WAITING_SINCE, value={"job_name": name, "since": now})
    return now
