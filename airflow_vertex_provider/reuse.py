"""What a pipeline job takes over from an earlier one: the note that such a job carries, and both jobs as one.

A job that runs again only part of a group holds only that part, and a note of the rest: a run parameter that
nothing takes. The note names the earlier job, so whoever has a job's request can find all jobs it stands on;
and it holds a digest of every task, also of those left out, so that a third job is worked out from the second
without the first one's spec. See :mod:`airflow_vertex_provider.reruns.decision`.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from airflow_vertex_provider.snapshot import INDEX_INPUT, JobSnapshot, TaskSnapshot

#: The run parameter that holds the note; with a number behind it where the author has one of that name.
NOTE_PARAMETER = "airflow_reuse"
_NOTE_NAME = re.compile(rf"{NOTE_PARAMETER}(_\d+)?")
_VERSION = 1
#: How kfp calls the sub-DAG that it makes of ``dsl.ExitHandler``.
EXIT_HANDLER = re.compile(r"exit-handler-\d+")


@dataclass(frozen=True)
class Note:
    """What a job says of the part that it does not run.

    :param job: resource name of the earlier job.
    :param digests: path to digest of every unit of the whole pipeline, see
        :func:`~airflow_vertex_provider.reruns.units.units_of`.
    :param reused: what the service calls the units that are left out.
    :param iterations: what the service calls a loop to the numbers of its iterations that are left out.
    """

    job: str
    digests: Mapping[str, str]
    reused: tuple[str, ...] = ()
    iterations: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def to_text(self) -> str:
        """Return the run parameter's value."""
        return json.dumps({"version": _VERSION, **asdict(self)}, sort_keys=True, separators=(",", ":"))


def note_of(values: Mapping[str, Any]) -> Note | None:
    """Return the note among a job's run parameters, ``None`` for a job that takes nothing over.

    :param values: ``runtime_config.parameter_values`` of the job.
    """
    return found_note(values)[1]


def found_note(values: Mapping[str, Any]) -> tuple[str, Note | None]:
    """Return the name of the run parameter that holds the note, and the note; ``None`` if none does.

    :param values: see :func:`note_of`.
    """
    for name in sorted(values):
        if not _NOTE_NAME.fullmatch(name) or not isinstance(values[name], str):
            continue
        try:
            data = json.loads(values[name])
        except ValueError:
            continue
        if isinstance(data, dict) and data.pop("version", None) == _VERSION:
            iterations = {loop: tuple(numbers) for loop, numbers in data["iterations"].items()}
            return name, Note(data["job"], data["digests"], tuple(data["reused"]), iterations)
    return "", None


def top_entries(entries: Iterable[TaskSnapshot]) -> dict[str, list[TaskSnapshot]]:
    """Return the entries of units by name: those of the root DAG, and those right inside its exit handler."""
    entries = tuple(entries)
    by_id = {entry.id: entry for entry in entries if entry.id}
    found: dict[str, list[TaskSnapshot]] = defaultdict(list)
    for entry in entries:
        parent = by_id.get(entry.parent)
        if parent is None or (parent.parent not in by_id and EXIT_HANDLER.fullmatch(parent.name)):
            found[entry.name].append(entry)
    return found


def children_of(entries: Iterable[TaskSnapshot]) -> dict[str, list[TaskSnapshot]]:
    """Return the entries by the id of the one around them."""
    found: dict[str, list[TaskSnapshot]] = defaultdict(list)
    for entry in entries:
        if entry.parent and entry.parent != entry.id:
            found[entry.parent].append(entry)
    return found


def inside(entry: TaskSnapshot, children: Mapping[str, list[TaskSnapshot]]) -> list[TaskSnapshot]:
    """Return all entries inside one, at any depth."""
    found: list[TaskSnapshot] = []
    pending, seen = [entry.id], {entry.id}
    while pending:
        for child in children.get(pending.pop(), ()):
            if child.id not in seen:
                seen.add(child.id)
                pending.append(child.id)
                found.append(child)
    return found


def number_of(iteration: TaskSnapshot, children: Mapping[str, list[TaskSnapshot]]) -> int | None:
    """Return which iteration a loop's child is, as its tasks were told; a guess by order does not count."""
    told = {
        found.index
        for found in inside(iteration, children)
        if INDEX_INPUT in found.inputs and not found.scope
    }
    return told.pop() if len(told) == 1 else None


def merged(job: JobSnapshot, note: Note | None, earlier: JobSnapshot) -> JobSnapshot:
    """Return a job with the entries that it takes over, as if it had run everything.

    :param job: the later job; :param note: its own, see :func:`note_of`.
    :param earlier: the job that the note names, merged with what that one takes over in its turn.
    """
    if note is None:
        return job
    top, children = top_entries(earlier.entries), children_of(earlier.entries)
    own = top_entries(job.entries)
    added: list[TaskSnapshot] = []
    for name in note.reused:
        for entry in top.get(name, ()):
            added += [entry, *inside(entry, children)]
    entries = list(job.entries)
    for name, numbers in note.iterations.items():
        loops = own.get(name, ())
        # What the loop itself collected is of the iterations that it ran, not of all.
        entries = [replace(entry, outputs={}) if entry in loops else entry for entry in entries]
        for iteration in (child for entry in top.get(name, ()) for child in children.get(entry.id, ())):
            if number_of(iteration, children) in numbers:
                around = loops[0].id if loops else iteration.parent
                added += [replace(iteration, parent=around), *inside(iteration, children)]
    return replace(job, entries=(*entries, *added))
