"""The outcomes of both sides in, their differences out, in words.

Everything is compared exactly: the state of the run, states, XComs and runs of tasks. Two kinds of tasks are
left out, and all below them with them:

- those whose outcome depends, in Airflow, on which task ends first. They are found by running Airflow once
  more with patient trigger rules (see bench.py): a task that ends otherwise then is such a task. It must have
  ended one way or the other.
- those that docs/translation.md makes an exception of ("The group starts as one"): where what stands above
  the group failed or was skipped, the members that Airflow alone would run in spite of that. They must not
  have run here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from tests.differential.laboratory import Outcome


@dataclass(frozen=True)
class Comparison:
    """What differs.

    :param differences: a line each; empty if the sides agree.
    :param timed: task instances that were not compared, since their outcome depends on timing.
    :param unstarted: likewise, since the group did not start, where Airflow alone runs some tasks.
    :param compared: how many task instances were compared.
    """

    differences: list[str]
    timed: frozenset[str] = frozenset()
    unstarted: frozenset[str] = frozenset()
    compared: int = 0


def compare(
    airflow: Outcome, vertex: Outcome, patient: Callable[[], Outcome], apart: Collection[str] = ()
) -> Comparison:
    """Compare the two sides; ``patient`` is called only if they differ.

    :param apart: tasks that docs/translation.md makes an exception of for another reason; not compared
        either, nor what is below them.
    """
    if vertex.error:
        return Comparison([f"the Vertex side cannot be run: {vertex.error.strip().splitlines()[-1]}"])
    excepted = _instances(_below(set(apart), airflow.downstream), airflow, vertex)
    unstarted: frozenset[str] = frozenset()
    ran: list[str] = []
    if not vertex.started:
        names, ran = _unstarted(airflow, vertex)
        unstarted = _instances(_below(names, airflow.downstream), airflow, vertex)
        excepted |= unstarted
    differences = ran + _differences(airflow, vertex, excepted)
    count = len(airflow.states) - len(excepted)
    if not differences:
        return Comparison([], unstarted=unstarted, compared=count)
    other = patient()
    changed = _changed(airflow, other)
    if not ran + _differences(other, vertex, excepted):
        return Comparison([], frozenset(changed), unstarted, count)
    timed = _instances(_below(changed, airflow.downstream), airflow, other, vertex)
    left = ran + _differences(airflow, vertex, timed | excepted)
    for name in sorted(changed - excepted):
        found = vertex.states.get(name)
        allowed = {airflow.states.get(name), other.states.get(name)}
        if _task(name) not in _below_only(changed, airflow.downstream) and found not in allowed:
            left.append(f"state of {name}: Airflow {sorted(map(str, allowed))}, Vertex {found}")
    return Comparison(left, timed, unstarted, len(airflow.states) - len(timed | excepted))


def _unstarted(airflow: Outcome, vertex: Outcome) -> tuple[set[str], list[str]]:
    """Find the members of ``g`` that Airflow alone runs though the group did not start.

    Where its first tasks do not run for other reasons than the one here (one of them is mapped over nothing,
    say), that is all members.

    :return: their names, and a line for each that did run on the Vertex side.
    """
    members = {name for name in airflow.states if name.startswith("g.")}
    followers = {below for name in members for below in airflow.downstream.get(_task(name), ())}
    ran_there, ran_here = ({_task(mark) for mark in side.marks} for side in (airflow, vertex))
    ran = {
        name
        for name in members
        if airflow.states[name] not in ("skipped", "upstream_failed") or _mark(name) in ran_there
    }
    first = {name for name in members - ran if _task(name) not in followers}
    reasons = {airflow.states[name] for name in first}
    another = any(airflow.states[name] != vertex.states.get(name) for name in first)
    lines = [
        f"{name} ran though its group did not start" for name in sorted(members) if _mark(name) in ran_here
    ]
    return (members if another or len(reasons) > 1 else ran), lines


def _differences(airflow: Outcome, vertex: Outcome, left_out: frozenset[str]) -> list[str]:
    lines = []
    # What was left out may have made the run a success or a failure.
    if not left_out and airflow.run_state != vertex.run_state:
        lines.append(f"state of the run: Airflow {airflow.run_state}, Vertex {vertex.run_state}")
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
    unknown = {_mark(name) for name in left_out}
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


def _instances(tasks: Collection[str], *outcomes: Outcome) -> frozenset[str]:
    """Return the instances of these tasks on any side."""
    return frozenset(name for outcome in outcomes for name in outcome.states if _task(name) in tasks)


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


def _mark(name: str) -> str:
    """Return how a task's mark begins."""
    return _task(name).rpartition(".")[2]


def _task(name: str) -> str:
    return name.partition("[")[0]
