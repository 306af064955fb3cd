"""How a job or one of its tasks ended, and what it left: a snapshot in, an :class:`Outcome` out.

The same functions serve the triggerer, a worker that waits without deferring, and the sensor, so a state
means the same everywhere. Only success is success: PAUSED waits, CANCELLED fails, a cached result is a
success and says so (states at the end of vertex-rules). A task that ran and asked to be skipped succeeds in
Vertex and says so in its value; a task that its gate held back says so in the gate's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from airflow_vertex_provider.exceptions import VertexValueError
from airflow_vertex_provider.explanations import explain
from airflow_vertex_provider.graph.component_spec import value_of_outputs
from airflow_vertex_provider.graph.model import ARTIFACT_PREFIX, RETURN_OUTPUT
from airflow_vertex_provider.runtime import protocol
from airflow_vertex_provider.snapshot import JobSnapshot, TaskSnapshot, label
from airflow_vertex_provider.states import PipelineState, TaskState
from airflow_vertex_provider.verdict import gate_of, gate_skips, leaf_states, not_run

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
    :param skipped: whether Airflow's task is skipped; then it has not succeeded.
    :param artifact_texts: name to protocol text of the artifacts that a function left.
    """

    succeeded: bool
    message: str
    value_text: str | None = None
    logs_url: str = ""
    state: str = ""
    skipped: bool = False
    artifact_texts: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the form that travels in a trigger event."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Outcome:
        """Read what :meth:`to_dict` wrote."""
        return cls(**data)


def skipped_outcome(message: str, task: TaskSnapshot | None = None) -> Outcome:
    """Return the end of a task that was skipped."""
    return Outcome(
        succeeded=False,
        message=message,
        logs_url=task.logs_url if task else "",
        state=task.state_text if task else "",
        skipped=True,
    )


def no_job_outcome(submit_task_id: str, submit_state: str | None) -> Outcome:
    """Tell how a member ends for which there is no pipeline job.

    Its trigger rule lets it start, but a group starts as one: what it would follow was never made. A member
    of a group that was skipped is skipped. In all other cases it fails: a task that runs can be nothing else,
    and a success would hide that the task did not run. A teardown task with a setup task does not come here,
    since its rule looks at the setup, which did not run either.

    :param submit_state: the state of the task that makes the job, as Airflow names it.
    """
    why = f"Not run: {submit_task_id!r} made no pipeline job"
    if submit_state:
        why += f" ({submit_state})"
    message = f"{why}. A group starts as one: without its job the trigger rules inside let nothing run"
    if submit_state == "skipped":
        return skipped_outcome(message)
    return Outcome(succeeded=False, message=message)


def task_outcome(
    job: JobSnapshot, task_name: str, index: int | None = None, types: Mapping[str, str] | None = None
) -> Outcome | None:
    """Tell how one task of the job ended, or ``None`` while it has not.

    :param task_name: the task's name in Vertex.
    :param index: number of the iteration, for a task in a loop.
    :param types: output name to type, for a component of KFP, whose outputs are no protocol text.
    """
    task = job.task(task_name, index)
    held_back = task is None or not task.done or task.state is TaskState.NOT_TRIGGERED
    if held_back and gate_skips(job, task_name, index):
        return skipped_outcome(f"Vertex task {task_name!r} was not run: its trigger rule skips it", task)
    if task is not None and task.done:
        return _ended_task(job, task, gate_of(job, task_name, index), types)
    if not job.done:
        return None
    # The job is over and the task never came to an end of its own: it failed at start, or was stopped.
    state = task.state_text if task else "no entry"
    name = task_name if index is None else f"{task_name}[{index}]"
    lines = [
        f"Vertex task {name!r} did not run to its end ({state}); the pipeline job ended {job.state_text}"
    ]
    return Outcome(
        succeeded=False,
        message="\n".join([*lines, *_why(job)]),
        logs_url=task.logs_url if task else "",
        state=state,
    )


def _ended_task(
    job: JobSnapshot, task: TaskSnapshot, gate: TaskSnapshot | None, types: Mapping[str, str] | None
) -> Outcome:
    name = label(task)
    if task.succeeded:
        cached = task.state is TaskState.SKIPPED
        text = _value_text(task, types)
        if text == protocol.SKIPPED:
            return skipped_outcome(f"Vertex task {name!r} was skipped", task)
        return Outcome(
            succeeded=True,
            message=(
                f"Vertex task {name!r} took its result from the cache (SKIPPED)"
                if cached
                else f"Vertex task {name!r} succeeded"
            ),
            value_text=text,
            logs_url=task.logs_url,
            state=task.state_text,
            artifact_texts=_artifact_texts(task) if types is None else {},
        )
    error = task.error
    if task.state is TaskState.NOT_TRIGGERED:
        message = f"Vertex task {name!r} was not run (NOT_TRIGGERED): something above it failed"
        error = error or (gate.error if gate else "")
        lines = [f"{message}: {error}" if error else message]
    elif task.state is TaskState.CANCELLED:
        lines = [f"Vertex task {name!r} was cancelled (CANCELLED)"]
        lines += [error] if error else []
        lines += _cancelled_by(job)
    else:
        # The author's exception comes first: some only show the first line.
        lines = [*([error.strip()] if error else []), f"Vertex task {name!r} ended {task.state_text}"]
        lines += _help(job, error)
    lines += [f"{what}: {url}" for what, url in _pages(task)]
    return Outcome(succeeded=False, message="\n".join(lines), logs_url=task.logs_url, state=task.state_text)


def _pages(task: TaskSnapshot) -> list[tuple[str, str]]:
    pages = [("Logs", task.logs_url), ("Custom job", task.custom_job_url)]
    return [(what, url) for what, url in pages if url and (what == "Logs" or url != task.logs_url)]


def _help(job: JobSnapshot, error: str) -> list[str]:
    """Say in plain words what an error means, if that is known."""
    found = explain(error, project=job.name.split("/")[1], account=job.service_account)
    return [f"That means: {found}"] if found else []


def _why(job: JobSnapshot) -> list[str]:
    """Say why the job ended as it did, and what that means."""
    lines = [job.error] if job.error else []
    if job.state is PipelineState.CANCELLED:
        return lines + _cancelled_by(job)
    return lines + _help(job, job.error)


def _cancelled_by(job: JobSnapshot) -> list[str]:
    """Say who cancelled a job, as far as anybody knows: the service keeps no name."""
    if job.state not in (PipelineState.CANCELLED, PipelineState.CANCELLING):
        # FAIL_FAST and a custom job's own time limit end a task of a job that goes on.
        return ['Not the whole job was cancelled: a time limit of the task, or the failure policy "fast"']
    who = (
        "Cancelled by Airflow if wait_for_pipeline of this run was ended (its log says so); else from outside"
    )
    return [f"{who}: the console, the API or another program"]


def _value_text(task: TaskSnapshot, types: Mapping[str, str] | None) -> str | None:
    """Return the value of a task that succeeded as protocol text; ``None`` if it left none."""
    if types is not None:
        return protocol.encode(value_of_outputs(types, task.outputs)) if types else None
    text = task.outputs.get(RETURN_OUTPUT)
    return text if isinstance(text, str) else None


def _artifact_texts(task: TaskSnapshot) -> dict[str, str]:
    """Return what a function's task says of its artifacts, by name."""
    return {
        name.removeprefix(ARTIFACT_PREFIX): text
        for name, text in task.outputs.items()
        if name.startswith(ARTIFACT_PREFIX) and isinstance(text, str)
    }


def job_outcome(
    job: JobSnapshot,
    airflow_ids: Mapping[str, str] | None = None,
    rules: Mapping[str, Any] | None = None,
) -> Outcome | None:
    """Tell how the job as a whole ended, or ``None`` while it has not.

    :param airflow_ids: Vertex task name to Airflow task id, to name failed tasks as the author does.
    :param rules: what tells whether failures were taken care of, see
        :func:`~airflow_vertex_provider.verdict.leaf_rules`.
    """
    if not job.done:
        return None
    if (
        job.succeeded
        and rules
        and all({"skipped"} == set(found) for found in leaf_states(job, rules).values())
    ):
        return Outcome(
            succeeded=False,
            message=f"Pipeline job {job.name} succeeded, and the last tasks of the group were skipped",
            state=job.state_text,
            skipped=True,
        )
    if job.succeeded:
        return Outcome(
            succeeded=True,
            message=f"Pipeline job {job.name} succeeded: {job.progress(airflow_ids)}",
            state=job.state_text,
        )
    lines = [f"Pipeline job {job.name} ended {job.state_text}: {job.progress(airflow_ids)}"]
    if rules and job.state is PipelineState.FAILED:
        states = _states(job, rules)
        if states <= {"success", "skipped"}:
            lines.append(
                "What failed was taken care of: the last tasks of the group succeeded or were skipped"
            )
            lines += _failures(job, airflow_ids or {})
            skipped = states == {"skipped"}
            return Outcome(not skipped, "\n".join(lines), state=job.state_text, skipped=skipped)
    failures = _failures(job, airflow_ids or {})
    # The job's own error only names the tasks that failed; where none did, it is all there is.
    lines += failures or _why(job)
    if failures and job.state is PipelineState.CANCELLED:
        lines += _why(job)
    return Outcome(succeeded=False, message="\n".join(lines), state=job.state_text)


def _states(job: JobSnapshot, rules: Mapping[str, Any]) -> set[str]:
    """Return the states in which the group's last tasks ended."""
    return {state for found in leaf_states(job, rules).values() for state in found}


def _failures(job: JobSnapshot, airflow_ids: Mapping[str, str]) -> list[str]:
    """Describe the tasks that failed themselves; those that only say so of others are left out."""
    lines = []
    for task in job.failed_tasks():
        if not_run(task):
            continue
        name, vertex_name = label(task, airflow_ids.get(task.name, task.name)), label(task)
        error = task.error.strip() or "no error text"
        lines.append(f"Failed task {name!r} (Vertex task {vertex_name!r}): {error}")
        lines += [f"  {line}" for line in _help(job, task.error)]
        lines += [f"  {what}: {url}" for what, url in _pages(task)]
    return lines


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


def artifact_values(outcome: Outcome, read: Reader | None = None) -> dict[str, Any]:
    """Return the XComs that a task's artifacts are: name to a dict of ``uri``, ``type`` and ``metadata``.

    :param read: see :func:`read_value`.
    :raises VertexValueError: see :func:`read_value`.
    """
    return {name: read_value(text, read) for name, text in outcome.artifact_texts.items()}


def job_outputs(
    job: JobSnapshot,
    leaves: Mapping[str, str],
    types: Mapping[str, Mapping[str, str]] | None = None,
) -> dict[str, Any]:
    """Return the small values that the pipeline's last tasks left; a skipped one left none.

    :param leaves: Airflow task id to Vertex task name, of the tasks nothing in the group follows.
    :param types: Airflow task id to the types of its outputs, for each component of KFP.
    :return: Airflow task id to value, a list of them for a mapped task; a value that lies in a file is shown
        as its address and size, one that Airflow could not store as the text it travelled as. An artifact of
        a function stands beside its value, as ``train["model"]``.
    """
    result: dict[str, Any] = {}
    for task_id, name in leaves.items():
        own = (types or {}).get(task_id)
        iterations = job.iterations(name)
        if iterations:
            # As Airflow collects a mapped task: instances that were skipped or returned nothing leave none.
            shown = [_shown(task, own) for task in iterations.values()]
            result[task_id] = [value for value in shown if value is not None and value is not _NOTHING]
            for task in iterations.values():
                for artifact, found in _shown_artifacts(task, own).items():
                    result.setdefault(f'{task_id}["{artifact}"]', []).append(found)
            continue
        value = _shown(job.task(name), own)
        if value is not _NOTHING:
            result[task_id] = value
        for artifact, found in _shown_artifacts(job.task(name), own).items():
            result[f'{task_id}["{artifact}"]'] = found
    return result


_NOTHING = object()


def _shown(task: TaskSnapshot | None, types: Mapping[str, str] | None) -> Any:
    """Return a task's value as the job's outputs show it, or ``_NOTHING``."""
    return _shown_text(_value_text(task, types) if task and task.succeeded else None)


def _shown_artifacts(task: TaskSnapshot | None, types: Mapping[str, str] | None) -> dict[str, Any]:
    """Return a function's artifacts as the job's outputs show them."""
    texts = _artifact_texts(task) if task and task.succeeded and types is None else {}
    shown = {name: _shown_text(text) for name, text in texts.items()}
    return {name: value for name, value in shown.items() if value is not _NOTHING}


def _shown_text(text: str | None) -> Any:
    if text is None or text == protocol.SKIPPED:
        return _NOTHING
    if protocol.is_reference(text):
        reference = protocol.Reference.parse(text)
        return {"uri": reference.uri, "size": reference.size}
    value = read_value(text)
    return value if _storable(value) else text


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
    job_name: str,
    url: str,
    outcome: Outcome,
    job: JobSnapshot | None,
    leaves: Mapping[str, str],
    types: Mapping[str, Mapping[str, str]] | None = None,
) -> dict[str, Any]:
    """Return the XComs of a task that waited for a job; the same whoever pushes them.

    :param leaves: see :func:`job_outputs`; :param types: likewise. Without leaves the outputs are those that
        the pipeline itself declares.
    """
    outputs = {} if job is None else job_outputs(job, leaves, types) if leaves else dict(job.outputs)
    return {
        VERTEX_STATE: outcome.state,
        RETURN_VALUE: {
            "job_name": job_name,
            "state": outcome.state,
            "url": url,
            "outputs": outputs,
        },
    }
