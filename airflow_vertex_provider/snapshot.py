"""What a pipeline job looks like at one moment: the API's job in, small frozen objects out.

The hook builds a :class:`JobSnapshot` from Google's answer; triggers, operators and sensors only see that.
How the service reports tasks is described in vertex-observed section 1: a root entry named after the job
id, one entry per task named after ``taskInfo.name``, outputs in the execution's metadata under
``output:<name>``, a failure that only restates its children on every enclosing entry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from airflow_vertex_provider.states import (
    SUCCESSFUL_PIPELINE_STATES,
    SUCCESSFUL_TASK_STATES,
    TERMINAL_PIPELINE_STATES,
    TERMINAL_TASK_STATES,
    PipelineState,
    TaskState,
)


@dataclass(frozen=True)
class TaskSnapshot:
    """One task of the job.

    :param name: the task's name in Vertex.
    :param state: its state; ``None`` if this version does not know the one reported (``state_text`` does).
    :param state_text: the state as reported.
    :param error: the service's error text, empty if there is none.
    :param outputs: output parameters, by name, as the service recorded them.
    :param custom_job: resource name of the custom job that runs or ran the container, or empty.
    :param logs_url: address of that custom job's logs, or empty.
    """

    name: str
    state: TaskState | None
    state_text: str
    error: str = ""
    outputs: Mapping[str, object] = field(default_factory=dict)
    custom_job: str = ""
    logs_url: str = ""

    @property
    def done(self) -> bool:
        """Whether the state is final."""
        return self.state in TERMINAL_TASK_STATES

    @property
    def succeeded(self) -> bool:
        """Whether the task has its outputs: it ran well, or its result came from the cache."""
        return self.state in SUCCESSFUL_TASK_STATES


@dataclass(frozen=True)
class JobSnapshot:
    """One pipeline job.

    :param name: full resource name, ``projects/<number>/locations/<location>/pipelineJobs/<id>``.
    :param state: its state; ``None`` if this version does not know the one reported (``state_text`` does).
    :param state_text: the state as reported.
    :param error: the service's error text, empty if there is none.
    :param tasks: the job's tasks by Vertex name, without the root entry.
    :param labels: the job's labels.
    :param create_time: when the service took the job.
    """

    name: str
    state: PipelineState | None
    state_text: str
    error: str = ""
    tasks: Mapping[str, TaskSnapshot] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    create_time: datetime | None = None

    @property
    def done(self) -> bool:
        """Whether the job will not change any more; a paused job will."""
        return self.state in TERMINAL_PIPELINE_STATES

    @property
    def succeeded(self) -> bool:
        """Whether every task that should run ran well."""
        return self.state in SUCCESSFUL_PIPELINE_STATES

    def failed_tasks(self) -> Iterator[TaskSnapshot]:
        """Yield the tasks that failed themselves, in the order the service lists them."""
        for task in self.tasks.values():
            if task.state is TaskState.FAILED:
                yield task

    def progress(self) -> str:
        """Describe the job in one line: ``3 of 5 done, 1 running (train-b), 0 failed``."""
        done = sum(task.done for task in self.tasks.values())
        running = [task.name for task in self.tasks.values() if task.state is TaskState.RUNNING]
        failed = sum(1 for _ in self.failed_tasks())
        names = f" ({', '.join(running)})" if running else ""
        return f"{done} of {len(self.tasks)} done, {len(running)} running{names}, {failed} failed"
