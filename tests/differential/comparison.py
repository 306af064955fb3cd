"""The outcomes of both sides in, their differences out, in words.

Everything is compared exactly, but for tasks whose outcome depends, in Airflow, on which task ends first.
Those are found by running Airflow once more with patient trigger rules (see bench.py): a task that ends
otherwise then is such a task. It must have ended one way or the other; what is below it is not compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.differential.laboratory import Outcome


@dataclass(frozen=True)
class Comparison:
    """What differs.

    :param differences: a line each; empty if the sides agree.
    :param timed: task instances that were not compared, since their outcome depends on timing.
    :param compared: how many task instances were compared.
    """

    differences: list[str]
    timed: frozenset[str] = frozenset()
    compared: int = 0


def compare(airflow: Outcome, vertex: Outcome, patient: Callable[[], Outcome]) -> Comparison:
    """Compare the two sides; ``patient`` is called only if they differ."""
    if vertex.error:
        return Comparison([f"the Vertex side cannot be run: {vertex.error.strip().splitlines()[-1]}"])
    differences = _differences(airflow, vertex, frozenset())
    if not differences:
        return Comparison([], compared=len(airflow.states))
    other = patient()
    if not _differences(other, vertex, frozenset()):
        timed = frozenset(_changed(airflow, other))
        return Comparison([], timed, len(airflow.states))
    changed = _changed(airflow, other)
    below = _below(changed, airflow.downstream)
    timed = frozenset(
        name for name in {*airflow.states, *other.states, *vertex.states} if _task(name) in below
    )
    left = _differences(airflow, vertex, timed)
    for name in sorted(changed):
        found = vertex.states.get(name)
        allowed = {airflow.states.get(name), other.states.get(name)}
        if _task(name) not in _below_only(changed, airflow.downstream) and found not in allowed:
            left.append(f"state of {name}: Airflow {sorted(map(str, allowed))}, Vertex {found}")
    return Comparison(left, timed, len(airflow.states) - len(timed))


def _differences(airflow: Outcome, vertex: Outcome, left_out: frozenset[str]) -> list[str]:
    lines = []
    for name in sorted({*airflow.states, *vertex.states} - left_out):
        here, there = airflow.states.get(name, "no such task"), vertex.states.get(name, "no such task")
        if here != there:
            lines.append(f"state of {name}: Airflow {here}, Vertex {there}")
        values, others = airflow.xcoms.get(name, {}), vertex.xcoms.get(name, {})
        lines += [
            f"XCom {key} of {name}: Airflow {values.get(key)}, Vertex {others.get(key)}"
            for key in sorted({*values, *others})
            if values.get(key) != others.get(key)
        ]
    unknown = {_task(name).rpartition(".")[2] for name in left_out}
    # A mark has the name of its task, and may say in brackets of which instance.
    return lines + [
        f"runs of {mark}: Airflow {airflow.marks.get(mark, 0)}, Vertex {vertex.marks.get(mark, 0)}"
        for mark in sorted({*airflow.marks, *vertex.marks})
        if _task(mark) not in unknown and airflow.marks.get(mark) != vertex.marks.get(mark)
    ]


def _changed(airflow: Outcome, patient: Outcome) -> set[str]:
    """Return the task instances whose state or XComs depend on timing."""
    return {
        name
        for name in {*airflow.states, *patient.states}
        if airflow.states.get(name) != patient.states.get(name)
        or airflow.xcoms.get(name) != patient.xcoms.get(name)
    }


def _below(names: set[str], downstream: dict[str, list[str]]) -> set[str]:
    """Return the tasks of these instances and all below them."""
    found = {_task(name) for name in names}
    return found | _below_only(names, downstream)


def _below_only(names: set[str], downstream: dict[str, list[str]]) -> set[str]:
    found: set[str] = set()
    left = [_task(name) for name in names]
    while left:
        for task in downstream.get(left.pop(), ()):
            if task not in found:
                found.add(task)
                left.append(task)
    return found


def _task(name: str) -> str:
    return name.partition("[")[0]
