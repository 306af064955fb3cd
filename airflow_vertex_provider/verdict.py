"""Whether a group failed, or was skipped: a graph's rules and an ended job in, the states of its leaves out.

Airflow judges a DAG run by its last tasks: a failure that a later task was there to take care of (a trigger
rule such as ``all_done``, a teardown) fails nothing. A pipeline job is FAILED as soon as one task failed. So
the task that waits for the job looks at the states of the group's last tasks, as Airflow would. The states
of tasks that ran are in the job; those of the others follow from their trigger rules.

The rules travel on the operator and its trigger as plain JSON, see :func:`leaf_rules`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from airflow_vertex_provider.graph.control import ALWAYS, Control
from airflow_vertex_provider.graph.model import (
    ALL_SUCCESS,
    DECISION_OUTPUT,
    RETURN_OUTPUT,
    FromOutput,
    Graph,
    Task,
    TaskKind,
)
from airflow_vertex_provider.graph.order import ordered
from airflow_vertex_provider.runtime import protocol
from airflow_vertex_provider.snapshot import JobSnapshot, TaskSnapshot
from airflow_vertex_provider.states import TaskState

#: What a gate or ``follow`` output says when its followers are not to run.
SKIP = "skip"
#: How the error of a task begins that ended because of its trigger rule; see the entry point.
UPSTREAM_FAILED = "UpstreamFailed: not run"

SUCCESS, SKIPPED, FAILED, NOT_RUN = "success", "skipped", "failed", "upstream_failed"


def leaf_rules(graph: Graph) -> dict[str, Any]:
    """Return what :func:`leaf_states` needs, as plain JSON. Runs at parse.

    :return: nothing if the job's own state tells all: a failed task always fails a last one, and the last
        tasks are not all skipped.
    """
    leaves = _leaves(graph)
    careful = any(
        task.teardown or task.skipped_by or task.rule == ALWAYS or task.rule in protocol.TOLERANT_RULES
        for task in graph.tasks
    )
    if not careful and not _may_all_be_skipped(graph, leaves):
        return {}
    loops = {loop.id: loop.items for loop in graph.loops}
    return {
        "tasks": {task.id: _rules_of(task) for task in graph.tasks},
        "loops": {
            name: [items.task, items.output] if isinstance(items, FromOutput) else []
            for name, items in loops.items()
        },
        "leaves": leaves,
    }


def _may_all_be_skipped(graph: Graph, leaves: list[str]) -> bool:
    control = Control(graph)
    empty = {loop.id for loop in graph.loops if loop.may_be_empty}
    return all(control.can_skip(leaf) or graph.task(leaf).loop in empty for leaf in leaves)


def _rules_of(task: Task) -> dict[str, Any]:
    facts = {
        "name": "" if task.kind is TaskKind.EMPTY else task.title,
        "rule": "" if task.rule == ALL_SUCCESS else task.rule,
        "upstream": [] if task.rule == ALWAYS else list(task.upstream),
        "setups": list(task.setups),
        "skipped_by": [list(pair) for pair in task.skipped_by],
        "loop": task.loop,
        "setup": task.setup,
    }
    return {name: fact for name, fact in facts.items() if fact}


def _leaves(graph: Graph) -> list[str]:
    """Find the tasks that Airflow judges the group by: the last ones, teardowns aside."""
    counted = [task for task in graph.tasks if not task.teardown] or list(graph.tasks)
    followed = {above for task in counted for above in task.upstream}
    return [task.id for task in counted if task.id not in followed and task.kind is not TaskKind.GATE]


def last_tasks(graph: Graph) -> dict[str, str]:
    """Map Airflow task id to Vertex name, for the tasks that none but teardown tasks follow. Runs at parse.

    Tasks that run nothing, and gates, are looked through: they follow nobody on their own account.
    """
    names = graph.vertex_names()
    tasks = {task.id: task for task in graph.tasks}
    if not all(task.teardown for task in graph.tasks if task.id in names):
        names = {task_id: name for task_id, name in names.items() if not tasks[task_id].teardown}
    followed: set[str] = set()
    pending = [above for task_id in names for above in tasks[task_id].upstream]
    while pending:
        above = pending.pop()
        if above not in followed:
            followed.add(above)
            pending.extend(tasks[above].upstream if above not in names else ())
    return {task_id: name for task_id, name in names.items() if task_id not in followed}


def leaf_states(job: JobSnapshot, rules: Mapping[str, Any]) -> dict[str, list[str]]:
    """Map the ids of the group's last tasks to the states Airflow would give them: one for each instance.

    :param job: a job that has ended.
    :param rules: what :func:`leaf_rules` returned.
    """
    states = _States(job, rules["tasks"], rules["loops"])
    for task_id in ordered(rules["tasks"], states.above):
        states.of(task_id)
    return {task_id: list(states.of(task_id).values()) for task_id in rules["leaves"]}


def not_run(task: TaskSnapshot) -> bool:
    """Tell whether a task that failed only says so of those above it."""
    return UPSTREAM_FAILED in task.error


def gate_of(job: JobSnapshot, name: str, index: int | None) -> TaskSnapshot | None:
    """Return the task that decides about ``name``: one for each iteration, or one for the whole loop."""
    gate = f"{name}-gate"
    return job.task(gate, index) or job.task(gate)


def gate_skips(job: JobSnapshot, name: str, index: int | None) -> bool:
    """Tell whether a gate has decided that the task is skipped."""
    gate = gate_of(job, name, index)
    return gate is not None and gate.succeeded and gate.outputs.get(DECISION_OUTPUT) == SKIP


class _States:
    """The states of a group's tasks, each found once."""

    def __init__(
        self, job: JobSnapshot, tasks: Mapping[str, Mapping[str, Any]], loops: Mapping[str, Any]
    ) -> None:
        self._job = job
        self._tasks = tasks
        self._loops = loops
        self._known: dict[str, dict[int | None, str]] = {}

    def above(self, task_id: str) -> Iterator[str]:
        """Yield the ids of the tasks whose states decide about one."""
        facts = self._tasks[task_id]
        yield from facts.get("upstream", [])
        yield from facts.get("setups", [])

    def of(self, task_id: str) -> Mapping[int | None, str]:
        """Return a task's states by iteration; ``None`` stands for a task outside of loops."""
        if task_id not in self._known:
            indexes = self._indexes(self._tasks[task_id].get("loop"))
            self._known[task_id] = {index: self._one(task_id, index) for index in indexes}
        return self._known[task_id]

    def _indexes(self, loop: str | None) -> list[int | None]:
        if loop is None:
            return [None]
        names = [task["name"] for task in self._tasks.values() if task.get("loop") == loop and "name" in task]
        found = {index for name in names for index in self._job.iterations(name)}
        return [*sorted(found)] if found else [None]

    def _one(self, task_id: str, index: int | None) -> str:
        facts = self._tasks[task_id]
        name = facts.get("name")
        if name:
            entry = self._job.task(name, index)
            if entry is not None and entry.succeeded:
                text = entry.outputs.get(RETURN_OUTPUT)
                if isinstance(text, str):
                    return protocol.state_of(text)
                return SKIPPED if entry.outputs.get(DECISION_OUTPUT) == SKIP else SUCCESS
            if entry is not None and entry.state is TaskState.FAILED:
                return NOT_RUN if not_run(entry) else FAILED
            if gate_skips(self._job, name, index):
                return SKIPPED
        verdict = protocol.decide(
            facts.get("rule", ALL_SUCCESS),
            list(self._seen(facts, facts.get("upstream", []), index)),
            [
                state
                for above in facts.get("upstream", [])
                if self._tasks[above].get("setup")
                for state in self._seen(facts, [above], index)
            ],
            list(self._seen(facts, facts.get("setups", []), index)),
            list(self._told(facts, index)),
        )
        if verdict == "run":
            return SUCCESS if not name else self._should_have_run(facts, index)
        return SKIPPED if verdict == SKIP else NOT_RUN

    def _seen(self, facts: Mapping[str, Any], above: list[str], index: int | None) -> Iterator[str]:
        """Yield the states a task looks at: in its own loop those of its own iteration."""
        for task_id in above:
            states = self.of(task_id)
            if self._tasks[task_id].get("loop") == facts.get("loop") and index in states:
                yield states[index]
            else:
                yield from states.values()

    def _told(self, facts: Mapping[str, Any], index: int | None) -> Iterator[str]:
        """Yield what branches and short circuits said about a task."""
        for task_id, output in facts.get("skipped_by", []):
            name = self._tasks[task_id].get("name", "")
            entry = self._job.task(name, index) or self._job.task(name)
            if entry is not None and entry.succeeded:
                yield str(entry.outputs.get(output, "run"))

    def _should_have_run(self, facts: Mapping[str, Any], index: int | None) -> str:
        """Tell what became of a task that nothing kept from running, and that did not run to its end."""
        if facts.get("loop") and index is None:
            # No iteration at all: of a loop over nothing Airflow says that it is skipped.
            source = self._loops[facts["loop"]]
            entry = self._job.task(self._tasks[source[0]].get("name", "")) if source else None
            items = entry.outputs.get(source[1]) if entry is not None else None
            if not source or not items or items == "[]":
                return SKIPPED
        return FAILED
