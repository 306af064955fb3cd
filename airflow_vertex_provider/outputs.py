"""How a job or one of its tasks ended, and what it left: a snapshot in, an :class:`Outcome` out.

The same functions serve the triggerer, a worker that waits without deferring, and the sensor, so a state
means the same everywhere. Only success is success: PAUSED waits, CANCELLED fails, a cached result is a
success and says so (states at the end of vertex-rules).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from airflow_vertex_provider.exceptions import VertexValueError
from airflow_vertex_provider.graph.model import RETURN_OUTPUT
from airflow_vertex_provider.runtime import protocol
from airflow_vertex_provider.snapshot import JobSnapshot, TaskSnapshot
from airflow_vertex_provider.states import TaskState

#: XCom keys of ``wait_for_pipeline`` and of everything else that returns a value.
VERTEX_STATE = "vertex_state"
RETURN_VALUE = "return_value"

Reader = Callable[[str], bytes]


@dataclass(frozen=True)
class Outcome:
    """The end of a job or of one task.

    :param succeeded: whether Airflow's task succeeds.
    :param message: one line for a success, all that is known for a failure.
    :param value_text: the task's return value as protocol text; ``None`` if it returned nothing we know.
    :param logs_url: address of the container's logs, or empty.
    :param state: the state as Vertex names it.
    """

    succeeded: bool
    message: str
    value_text: str | None = None
    logs_url: str = ""
    state: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the form that travels in a trigger event."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Outcome:
        """Read what :meth:`to_dict` wrote."""
        return cls(**data)


def task_outcome(job: JobSnapshot, task_name: str) -> Outcome | None:
    """Tell how one task of the job ended, or ``None`` while it has not.

    :param task_name: the task's name in Vertex.
    """
    task = job.tasks.get(task_name)
    if task is not None and task.done:
        return _ended_task(task)
    if not job.done:
        return None
    # The job is over and the task never came to an end of its own: it failed at start, or was stopped.
    state = task.state_text if task else "no entry"
    reason = f": {job.error}" if job.error else ""
    return Outcome(
        succeeded=False,
        message=(
            f"Vertex task {task_name!r} did not run to its end ({state}); "
            f"the pipeline job ended {job.state_text}{reason}"
        ),
        logs_url=task.logs_url if task else "",
        state=state,
    )


def _ended_task(task: TaskSnapshot) -> Outcome:
    if task.succeeded:
        cached = task.state is TaskState.SKIPPED
        text = task.outputs.get(RETURN_OUTPUT)
        return Outcome(
            succeeded=True,
            message=(
                f"Vertex task {task.name!r} took its result from the cache (SKIPPED)"
                if cached
                else f"Vertex task {task.name!r} succeeded"
            ),
            value_text=text if isinstance(text, str) else None,
            logs_url=task.logs_url,
            state=task.state_text,
        )
    if task.state is TaskState.NOT_TRIGGERED:
        message = f"Vertex task {task.name!r} was not run (NOT_TRIGGERED): something above it failed"
    elif task.state is TaskState.CANCELLED:
        message = f"Vertex task {task.name!r} was cancelled (CANCELLED)"
    else:
        message = f"Vertex task {task.name!r} ended {task.state_text}"
    if task.error:
        message = f"{message}: {task.error}"
    return Outcome(succeeded=False, message=message, logs_url=task.logs_url, state=task.state_text)


def job_outcome(job: JobSnapshot, airflow_ids: Mapping[str, str] | None = None) -> Outcome | None:
    """Tell how the job as a whole ended, or ``None`` while it has not.

    :param airflow_ids: Vertex task name to Airflow task id, to name failed tasks as the author does.
    """
    if not job.done:
        return None
    if job.succeeded:
        return Outcome(
            succeeded=True,
            message=f"Pipeline job {job.name} succeeded: {job.progress()}",
            state=job.state_text,
        )
    lines = [f"Pipeline job {job.name} ended {job.state_text}: {job.progress()}"]
    if job.error:
        lines.append(job.error)
    for task in job.failed_tasks():
        name = (airflow_ids or {}).get(task.name, task.name)
        lines.append(f"Failed task {name!r} (Vertex task {task.name!r}): {task.error or 'no error text'}")
        if task.logs_url:
            lines.append(f"  Logs: {task.logs_url}")
    return Outcome(succeeded=False, message="\n".join(lines), state=job.state_text)


def read_value(text: str | None, read: Reader | None = None) -> Any:
    """Turn a task's recorded output into the value it returned.

    :param text: protocol text: JSON, or a reference to a file for a large value; ``None`` gives ``None``.
    :param read: reads a ``gs://`` address; needed for references only.
    :raises VertexValueError: the text is not of the protocol, or the file is missing or damaged.
    """
    if text is None:
        return None
    try:
        return protocol.decode(text, read)
    except ValueError as error:
        raise VertexValueError(f"The value of the task cannot be read back: {error}") from error


def job_outputs(job: JobSnapshot, leaves: Mapping[str, str]) -> dict[str, Any]:
    """Return the small values that the pipeline's last tasks left.

    :param leaves: Airflow task id to Vertex task name, of the tasks nothing in the group follows.
    :return: Airflow task id to value; a value that lies in a file is shown as its address and size, one that
        Airflow could not store as the text it travelled as.
    """
    result: dict[str, Any] = {}
    for task_id, name in leaves.items():
        task = job.tasks.get(name)
        text = task.outputs.get(RETURN_OUTPUT) if task and task.succeeded else None
        if not isinstance(text, str):
            continue
        if protocol.is_reference(text):
            reference = protocol.Reference.parse(text)
            result[task_id] = {"uri": reference.uri, "size": reference.size}
        else:
            value = read_value(text)
            result[task_id] = value if _storable(value) else text
    return result


def _storable(value: Any) -> bool:
    """Tell whether Airflow can store a value as it is: its XComs take no integer beyond 64 bits."""
    if isinstance(value, int):
        return -(2**63) <= value < 2**64
    if isinstance(value, list):
        return all(map(_storable, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _storable(item) for key, item in value.items())
    return value is None or isinstance(value, str | float)


def job_xcoms(
    job_name: str, url: str, outcome: Outcome, job: JobSnapshot | None, leaves: Mapping[str, str]
) -> dict[str, Any]:
    """Return the XComs of a task that waited for a job; the same whoever pushes them.

    :param leaves: see :func:`job_outputs`.
    """
    return {
        VERTEX_STATE: outcome.state,
        RETURN_VALUE: {
            "job_name": job_name,
            "state": outcome.state,
            "url": url,
            "outputs": job_outputs(job, leaves) if job else {},
        },
    }
