"""States of pipeline jobs and of their tasks, as Vertex AI names them.

Names in (strings or the API's enum numbers), ``str`` enums and named sets out. The numbers are those of
``google.cloud.aiplatform.v1`` ``PipelineState`` and ``PipelineTaskDetail.State``; they are kept here so
that neither the triggerer nor the emulator has to load Google's client to read a state.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

_E = TypeVar("_E", bound=StrEnum)


class PipelineState(StrEnum):
    """State of a pipeline job."""

    UNSPECIFIED = "PIPELINE_STATE_UNSPECIFIED"
    QUEUED = "PIPELINE_STATE_QUEUED"
    PENDING = "PIPELINE_STATE_PENDING"
    RUNNING = "PIPELINE_STATE_RUNNING"
    SUCCEEDED = "PIPELINE_STATE_SUCCEEDED"
    FAILED = "PIPELINE_STATE_FAILED"
    CANCELLING = "PIPELINE_STATE_CANCELLING"
    CANCELLED = "PIPELINE_STATE_CANCELLED"
    PAUSED = "PIPELINE_STATE_PAUSED"

    @property
    def short(self) -> str:
        """The name a person reads: ``RUNNING`` rather than ``PIPELINE_STATE_RUNNING``."""
        return self.value.removeprefix("PIPELINE_STATE_")


class TaskState(StrEnum):
    """State of one task of a pipeline job.

    ``SKIPPED`` means that the result came from the cache: a success. ``NOT_TRIGGERED`` means either that
    the task's condition was false or that something above it failed.
    """

    UNSPECIFIED = "STATE_UNSPECIFIED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    CANCEL_PENDING = "CANCEL_PENDING"
    CANCELLING = "CANCELLING"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"
    NOT_TRIGGERED = "NOT_TRIGGERED"


PIPELINE_STATE_NUMBERS: dict[int, PipelineState] = dict(enumerate(PipelineState))
TASK_STATE_NUMBERS: dict[int, TaskState] = dict(enumerate(TaskState))

#: The job will not change any more. PAUSED is not among them: it goes on when somebody resumes it.
TERMINAL_PIPELINE_STATES = frozenset({PipelineState.SUCCEEDED, PipelineState.FAILED, PipelineState.CANCELLED})
SUCCESSFUL_PIPELINE_STATES = frozenset({PipelineState.SUCCEEDED})

#: The task will not change any more.
TERMINAL_TASK_STATES = frozenset(
    {
        TaskState.SUCCEEDED,
        TaskState.CANCELLED,
        TaskState.FAILED,
        TaskState.SKIPPED,
        TaskState.NOT_TRIGGERED,
    }
)
SUCCESSFUL_TASK_STATES = frozenset({TaskState.SUCCEEDED, TaskState.SKIPPED})


def pipeline_state(value: object) -> PipelineState | None:
    """Read a job state from its name or number; ``None`` for one this version does not know."""
    return _read(PipelineState, PIPELINE_STATE_NUMBERS, value)


def task_state(value: object) -> TaskState | None:
    """Read a task state from its name or number; ``None`` for one this version does not know."""
    return _read(TaskState, TASK_STATE_NUMBERS, value)


def _read(kind: type[_E], numbers: dict[int, _E], value: object) -> _E | None:
    if isinstance(value, int):
        return numbers.get(int(value))
    try:
        return kind(str(value))
    except ValueError:
        return None
