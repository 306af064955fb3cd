"""What follows a failed attempt of a group: the ended job in, which attempt is followed next out.

The triggers and the operators that wait on workers decide alike and say the same; only how they wait differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_vertex_provider import metrics
from airflow_vertex_provider.job_names import JobName
from airflow_vertex_provider.outputs import Outcome
from airflow_vertex_provider.snapshot import JobSnapshot

if TYPE_CHECKING:
    from airflow_vertex_provider.hooks.next_attempt import NextAttempt

#: What is told of a member that was cleared alone after its job failed.
WHAT_TO_CLEAR = (
    "No next attempt comes: %s is %s. To run again what failed, clear that task too, or %s with all below it"
)
#: Key of the job whose failure a wait task reported: of an XCom, and in Airflow's task state store.
REPORTED = "vertex_reported"


@dataclass(frozen=True)
class NextStep:
    """What the task that waits for a whole job does after it failed.

    :param name: resource name of the attempt that follows.
    :param there: it was made before; otherwise it is to be made now.
    :param retry: it is one of the group's own retries.
    """

    name: str
    there: bool
    retry: bool


def next_step(job: JobSnapshot, reported: str) -> NextStep | None:
    """Tell how a group goes on after a job that failed; ``None`` if no attempt follows.

    :param reported: the job whose failure the task reported before it was cleared; empty if it was not.
    """
    reached = JobName.parse(reported).attempt if reported else 0
    retry = bool(job.retries_left)
    if not job.attempt or not (retry or reached >= job.attempt):
        return None
    return NextStep(_following(job), there=reached > job.attempt, retry=retry)


def awaited_attempt(job: JobSnapshot, wait_task_id: str, try_number: int) -> str:
    """Return the attempt that a failed member may go on with; empty if none is to be expected.

    :param wait_task_id: the task that makes it; empty if there is none.
    :param try_number: of the member: a second try means that it was cleared, or its worker lost.
    """
    expected = job.retries_left or try_number > 1
    return _following(job) if job.attempt and job.done and wait_task_id and expected else ""


def _following(job: JobSnapshot) -> str:
    return JobName.parse(job.name).with_attempt(job.attempt + 1)


def tell_awaited(outcome: Outcome, log: Any) -> None:
    """Say that a member's failure may not be its end."""
    log.info("%s; a next attempt may follow", outcome.message.partition("\n")[0])


def tell_retry(job: JobSnapshot, outcome: Outcome, delay: float, log: Any) -> None:
    """Say that the group tries again, and why; the job that failed counts among the metrics."""
    metrics.job_ended(job)
    log.warning("%s", outcome.message)
    log.info("The group has %d retries left; the next one in %.0f s", job.retries_left, delay)


def tell_made(made: NextAttempt, airflow_ids: Mapping[str, str], log: Any) -> None:
    """Say what the attempt that was made runs again, and what it takes over."""
    for line in made.lines(airflow_ids) if made.created else ():
        log.info("%s", line)
    metrics.count("submitted" if made.created else "attached")
