"""What a pipeline job looks like at one moment: the API's job in, small frozen objects out.

The hook builds a :class:`JobSnapshot` from Google's answer; triggers, operators and sensors only see that.
How the service reports tasks is described in vertex-observed section 1: a root entry named after the job
id, one entry per task named after ``taskInfo.name``, outputs in the execution's metadata under
``output:<name>``, a failure that only restates its children on every enclosing entry.

A task in a loop has one entry for each iteration, all of one name. Which iteration an entry belongs to is
told by, in this order: the entry's own input :data:`INDEX_INPUT`; the item that an enclosing entry was given;
the number at the end of an enclosing iteration's name; the order in which the entries were made.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from airflow_vertex_provider.job_names import ATTEMPT_LABEL, RETRIES_LABEL
from airflow_vertex_provider.states import (
    SUCCESSFUL_PIPELINE_STATES,
    SUCCESSFUL_TASK_STATES,
    TERMINAL_PIPELINE_STATES,
    TERMINAL_TASK_STATES,
    PipelineState,
    TaskState,
)

if TYPE_CHECKING:
    from airflow_vertex_provider.reuse import Note

#: The input of every task in a loop that holds the number of its iteration.
INDEX_INPUT = "item_index"
#: An iteration's number while the job runs and nothing tells it yet.
UNKNOWN = -1
#: KFP's name for the input of an iteration that holds its item ends so; the item has the field ``index``.
_ITEM_INPUT = re.compile(r".*-loop-item(-.*)?")
#: How the entry of one iteration is called, as far as anybody has seen.
_ITERATION = re.compile(r"for-loop-\d+-(?:.*-)?(\d+)")
#: How KFP calls the sub-DAGs it makes.
_SCOPE = re.compile(r"(for-loop|condition|condition-branches|exit-handler)-\d+(-.*)?")


@dataclass(frozen=True)
class TaskSnapshot:
    """One task of the job, or one iteration of it.

    :param name: the task's name in Vertex.
    :param state: its state; ``None`` if this version does not know the one reported (``state_text`` does).
    :param state_text: the state as reported.
    :param error: the service's error text, empty if there is none; the author's exception, where it is known.
    :param outputs: output parameters, by name, as the service recorded them.
    :param custom_job: resource name of the custom job that runs or ran the author's code, or empty. While a
        task with a custom job runs it is the launcher's, since the service names no other until the end.
    :param logs_url: address of that custom job's logs, or empty.
    :param custom_job_url: address of that custom job's own page, or empty.
    :param begun: the service has begun with the task: what is still PENDING then waits for a machine.
    :param id: the service's number for the entry; :param parent: that of the enclosing entry, or empty.
    :param scope: the entry stands for a sub-DAG (a loop, a condition, an exit handler), not for a task.
    :param inputs: those of its inputs that tell the iteration, see :func:`tells_iteration`.
    :param index: number of the iteration, ``None`` outside of loops, :data:`UNKNOWN` while nothing tells.
    :param create_time: when the service made the entry; :param start_time: when its machine began.
    """

    name: str
    state: TaskState | None
    state_text: str
    error: str = ""
    outputs: Mapping[str, object] = field(default_factory=dict)
    custom_job: str = ""
    logs_url: str = ""
    custom_job_url: str = ""
    begun: bool = False
    id: str = ""
    parent: str = ""
    scope: bool = False
    inputs: Mapping[str, object] = field(default_factory=dict)
    index: int | None = None
    create_time: datetime | None = None
    start_time: datetime | None = None

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
    :param service_account: the account that the job runs as.
    :param note: what the job takes over from an earlier one, see :mod:`airflow_vertex_provider.reuse`.
    :param output_directory: the ``gs://`` folder that the job's own folder is made in.
    :param entries: what the service lists, without the root entry, with every iteration's ``index``; see
        :func:`with_indexes`.
    :param labels: the job's labels.
    :param display_name: its name in the console.
    :param outputs: what the pipeline as a whole gives, by name: the outputs of the root entry.
    :param start_time: when the first machine of it was asked for.
    :param create_time: when the service took the job; :param update_time: when it last changed, as far as the
        service tells: nobody has recorded that a task's change counts; :param end_time: when it ended.
    """

    name: str
    state: PipelineState | None
    state_text: str
    error: str = ""
    entries: tuple[TaskSnapshot, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    create_time: datetime | None = None
    update_time: datetime | None = None
    end_time: datetime | None = None
    service_account: str = ""
    output_directory: str = ""
    note: Note | None = None
    display_name: str = ""
    outputs: Mapping[str, object] = field(default_factory=dict)
    start_time: datetime | None = None

    @property
    def done(self) -> bool:
        """Whether the job will not change any more; a paused job will."""
        return self.state in TERMINAL_PIPELINE_STATES

    @property
    def succeeded(self) -> bool:
        """Whether every task that should run ran well."""
        return self.state in SUCCESSFUL_PIPELINE_STATES

    @property
    def retries_left(self) -> int:
        """How often the group is tried again by itself if this attempt fails; a cancelled one is not."""
        left = self.labels.get(RETRIES_LABEL, "0")
        return int(left) if left.isdigit() and self.state is not PipelineState.CANCELLED else 0

    @property
    def attempt(self) -> int:
        """The number of the attempt, counted from 1; 0 if the job is none of a group's."""
        number = self.labels.get(ATTEMPT_LABEL, "0")
        return int(number) if number.isdigit() else 0

    @cached_property
    def _by_name(self) -> Mapping[str, Mapping[int | None, TaskSnapshot]]:
        found: dict[str, dict[int | None, TaskSnapshot]] = defaultdict(dict)
        by_id = {entry.id: entry for entry in self.entries if entry.id}
        # The outer ones first: what runs inside a component of KFP may be called like a task of the group.
        for entry in sorted(self.entries, key=lambda entry: sum(1 for _ in _around(entry, by_id))):
            # A pipeline used as a component is a task too; KFP's own sub-DAGs have names of their own.
            if entry.index != UNKNOWN and not (entry.scope and _SCOPE.fullmatch(entry.name)):
                found[entry.name].setdefault(entry.index, entry)
        return found

    @cached_property
    def tasks(self) -> Mapping[str, TaskSnapshot]:
        """The tasks outside of loops, by Vertex name."""
        return {name: found[None] for name, found in self._by_name.items() if None in found}

    def task(self, name: str, index: int | None = None) -> TaskSnapshot | None:
        """Return one task, or one iteration of it, if the service lists it."""
        return self._by_name.get(name, {}).get(index)

    def iterations(self, name: str) -> Mapping[int, TaskSnapshot]:
        """Return the iterations of a task in a loop, in order."""
        found = self._by_name.get(name, {})
        return {index: found[index] for index in sorted(index for index in found if index is not None)}

    def failed_tasks(self) -> Iterator[TaskSnapshot]:
        """Yield the tasks that failed themselves, in the order the service lists them."""
        for entry in self.entries:
            if entry.state is TaskState.FAILED and not entry.scope:
                yield entry

    def progress(
        self, names: Mapping[str, str] | None = None, *, now: datetime | None = None, total: int = 0
    ) -> str:
        """Describe the job in one line: ``12 of 20 done, 3 running (train_b 4m), 0 failed``.

        :param names: Vertex task name to how the author calls the task; only these are counted. All tasks, by
            the service's names, if not given.
        :param now: with it the line says for how long tasks have been running, or waiting for a machine.
        :param total: how many tasks there are at least; the service may list them only as they begin.
        """
        tasks = [task for task in self.entries if not task.scope and (not names or task.name in names)]
        running = [task for task in tasks if task.state in _AT_WORK]
        waiting = [task for task in tasks if task.state is TaskState.PENDING and task.begun]
        counts = {
            "cached": sum(task.state is TaskState.SKIPPED for task in tasks),
            "not run": sum(task.state is TaskState.NOT_TRIGGERED for task in tasks),
        }
        aside = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        done = f"{sum(task.done for task in tasks)} of {max(len(tasks), total)} done"
        parts = [
            f"{done} ({aside})" if aside else done,
            f"{len(running)} running{_named(running, names, now)}",
        ]
        if waiting:
            parts.append(f"{len(waiting)} waiting for a machine{_named(waiting, names, now)}")
        parts.append(f"{sum(task.state is TaskState.FAILED for task in tasks)} failed")
        return ", ".join(parts)


@dataclass(frozen=True)
class ListedJob:
    """One job as a list shows it: what tells whether it changed, and no tasks.

    The parameters are those of :class:`JobSnapshot`.
    """

    name: str
    state: PipelineState | None
    update_time: datetime | None

    @property
    def ended(self) -> bool:
        """Whether the job will not change any more."""
        return self.state in TERMINAL_PIPELINE_STATES


#: States of a task that has its machine still.
_AT_WORK = frozenset({TaskState.RUNNING, TaskState.CANCEL_PENDING, TaskState.CANCELLING})


def _named(tasks: list[TaskSnapshot], names: Mapping[str, str] | None, now: datetime | None) -> str:
    shown = [
        f"{label(task, (names or {}).get(task.name))}{_since(task.start_time or task.create_time, now)}"
        for task in tasks[:_SHOWN]
    ]
    more = [f"{len(tasks) - _SHOWN} more"] if len(tasks) > _SHOWN else []
    return f" ({', '.join([*shown, *more])})" if shown else ""


#: Tasks that one line names.
_SHOWN = 5


def _since(moment: datetime | None, now: datetime | None) -> str:
    return "" if moment is None or now is None else f" {age(moment, now)}"


def age(moment: datetime, now: datetime) -> str:
    """Return the time since a moment as people read it; clocks that differ give none, rather than less."""
    seconds = max(0, int((now - moment).total_seconds()))
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m"
    return f"{seconds // 3600}h{seconds % 3600 // 60:02d}m"


def label(task: TaskSnapshot, name: str | None = None) -> str:
    """Return a task's name as people read it: ``fit``, or ``fit[2]`` for an iteration."""
    name = task.name if name is None else name
    if task.index is None:
        return name
    return f"{name}[{'?' if task.index == UNKNOWN else task.index}]"


def unknown_states(job: JobSnapshot) -> set[str]:
    """Return the states that the service reports and this version does not know."""
    own = {job.state_text} if job.state is None else set()
    return own | {entry.state_text for entry in job.entries if entry.state is None}


def tells_iteration(name: str) -> bool:
    """Tell whether an input of that name says which iteration an entry belongs to."""
    return name == INDEX_INPUT or _ITEM_INPUT.fullmatch(name) is not None


def is_scope(name: str, schema_title: str, *, has_container: bool) -> bool:
    """Tell whether an entry stands for a sub-DAG.

    :param schema_title: of its execution (``system.DagExecution`` for a sub-DAG), or empty: an entry that
        never started has none, and then its name must tell.
    :param has_container: a container belongs to the entry.
    """
    if schema_title:
        return schema_title in ("system.DagExecution", "system.Run")
    return not has_container and _SCOPE.fullmatch(name) is not None


def with_indexes(entries: Iterable[TaskSnapshot], *, final: bool = True) -> tuple[TaskSnapshot, ...]:
    """Find out which iteration each entry belongs to.

    :param final: no more entries will come, so their order tells where nothing else does.
    """
    entries = tuple(entries)
    by_id = {entry.id: entry for entry in entries if entry.id}
    found = [
        None if entry.scope and _SCOPE.fullmatch(entry.name) else _told(entry, by_id) for entry in entries
    ]
    # Entries that no name or input tells apart: the first made is the first iteration.
    unknown: dict[str, list[int]] = defaultdict(list)
    for position, entry in enumerate(entries):
        if not entry.scope and found[position] is None:
            unknown[entry.name].append(position)
    for name, positions in unknown.items():
        if len(positions) == 1 and not _in_loop(entries[positions[0]], by_id):
            continue
        if not final:
            for position in positions:
                found[position] = UNKNOWN
            continue
        taken = {number for entry, number in zip(entries, found, strict=True) if entry.name == name}
        free = iter(number for number in range(len(entries)) if number not in taken)
        for position in sorted(positions, key=lambda at: (_made(entries[at]), at)):
            found[position] = next(free)
    return tuple(replace(entry, index=index) for entry, index in zip(entries, found, strict=True))


def _told(entry: TaskSnapshot, by_id: Mapping[str, TaskSnapshot]) -> int | None:
    """Return the number that an entry's inputs, or those and the names around it, tell."""
    around = list(_around(entry, by_id))
    for one in (entry, *around):
        for name, value in one.inputs.items():
            number = _number(value if name == INDEX_INPUT else _index_of(value))
            if number is not None:
                return number
    for one in around:
        match = _ITERATION.fullmatch(one.name)
        if match:
            return int(match[1])
    return None


def _around(entry: TaskSnapshot, by_id: Mapping[str, TaskSnapshot]) -> Iterator[TaskSnapshot]:
    """Yield the enclosing entries, the nearest first."""
    seen = {entry.id}
    parent = by_id.get(entry.parent)
    while parent is not None and parent.id not in seen:
        yield parent
        seen.add(parent.id)
        parent = by_id.get(parent.parent)


def _in_loop(entry: TaskSnapshot, by_id: Mapping[str, TaskSnapshot]) -> bool:
    return any(one.scope and one.name.startswith("for-loop-") for one in _around(entry, by_id))


def _index_of(item: object) -> object:
    """Take the field ``index`` out of a loop's item: a STRUCT, or its JSON."""
    if isinstance(item, str):
        try:
            item = json.loads(item)
        except ValueError:
            return None
    if isinstance(item, Mapping):
        return dict(item).get("index")
    return None


def _number(value: object) -> int | None:
    """Read a count that may come as a number or as text."""
    try:
        number = int(value)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        return None
    return int(number) if number >= 0 else None


def _made(entry: TaskSnapshot) -> datetime:
    return entry.create_time or datetime.min.replace(tzinfo=UTC)
