"""Trigger rules and skips: a graph in, what each task has to look at before it runs out.

Airflow decides about a task when the tasks above it end; a pipeline knows two ways to start one: all above
succeeded, or all above ended. What lies between is decided by looking at states, which travel inside the
values (:data:`~airflow_vertex_provider.runtime.protocol.SKIPPED`). This module says for which tasks that
look is needed at all: most groups have none, and compile as if these rules did not exist.

A *tolerant* task may run though something above it failed, so it starts when all above have ended and reads
``failed`` where a value did not arrive. A *gated* task has something to decide.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from airflow_vertex_provider.graph.model import (
    ALL_SUCCESS,
    FromOutput,
    Graph,
    Loop,
    Task,
    TaskKind,
)
from airflow_vertex_provider.graph.order import ordered
from airflow_vertex_provider.runtime import protocol

ALWAYS = "always"
NONE_FAILED = "none_failed"
NONE_FAILED_MIN_ONE_SUCCESS = "none_failed_min_one_success"
ALL_DONE = "all_done"
ONE_SUCCESS = "one_success"
ONE_FAILED = "one_failed"
ONE_DONE = "one_done"
#: Only teardown tasks have it: it looks at the setups above.
TEARDOWN_RULE = "all_done_setup_success"


class Control:
    """What the rules of one graph ask for.

    :param graph: the graph; tasks that run nothing (EMPTY) stand in it and are looked through.
    """

    def __init__(self, graph: Graph) -> None:
        self._tasks: dict[str, Task] = {task.id: task for task in graph.tasks}
        self._loops: dict[str, Loop] = {loop.id: loop for loop in graph.loops}
        self._order = ordered(self._tasks, self._above)
        self._can_skip: dict[str, bool] = {}
        for task_id in self._order:
            task = self._tasks[task_id]
            self._can_skip[task_id] = task.may_skip or self._rule_can_skip(task)
        #: Ids of the tasks that some tolerant task stands below.
        self.above_tolerant = self._find_above_tolerant()

    def waits_for(self, task_id: str) -> list[str]:
        """Return the tasks that must have ended before ``task_id``, through those that run nothing."""
        task = self._tasks[task_id]
        looked_through = [self._tasks[empty] for empty in self._through(task)]
        found = dict.fromkeys(self._seen(task))
        for each in (*looked_through, task):
            found.update(dict.fromkeys([*each.setups, *(skipper for skipper, _ in each.skipped_by)]))
        return list(found)

    def in_order(self) -> list[str]:
        """Return the ids of all tasks, each behind those whose ends or values it looks at."""
        return list(self._order)

    def _above(self, task_id: str) -> Iterator[str]:
        task = self._tasks[task_id]
        yield from upstream_of(task)
        yield from task.setups
        yield from (skipper for skipper, _ in task.skipped_by)
        yield from (
            source.task
            for source in task.inputs.values()
            if isinstance(source, FromOutput) and source.task in self._tasks
        )

    def can_skip(self, task_id: str) -> bool:
        """Tell whether a task may end skipped, by its own wish or by its rule."""
        return self._can_skip.get(task_id, False)  # not known yet: of a circle, which is refused elsewhere

    def seen_skipped(self, above: str, below: str) -> bool:
        """Tell whether ``below`` may see ``above`` skipped; a loop over nothing counts as that."""
        if self._tasks[above].kind is TaskKind.GATE:
            return False  # the gate of a loop skips by giving it no items
        loop = self._tasks[above].loop
        if loop is not None and loop != self._tasks[below].loop:
            known = self._loops.get(loop)  # at parse a loop further down is not known yet
            if known is None or known.may_be_empty:
                return True
        return self.can_skip(above)

    def tolerant(self, task_id: str) -> bool:
        """Tell whether a task has to be started though something above it failed."""
        task = self._tasks[task_id]
        if self._tolerant_rule(task):
            return True
        if not task.skipped_by:
            return False
        skippers = {skipper for skipper, _ in task.skipped_by}
        if not skippers.issubset(self._seen(task)):
            return True  # what decides about it far above may fail, and the tasks between may bear that
        # Skipped by a branch, whatever became of the others above it; told from failed only by a task
        # that has been started. Nobody but a tolerant task further down sees the difference.
        return bool(set(self.waits_for(task_id)) - skippers and task_id in self.above_tolerant)

    def gated(self, task_id: str) -> bool:
        """Tell whether a task has something to decide before it runs."""
        task = self._tasks[task_id]
        upstream = upstream_of(task)
        if task.skipped_by:
            return True
        if not upstream:
            return False
        if task.setups and (self.tolerant(task_id) or any(map(self.can_skip, task.setups))):
            return True
        if any(
            self._tasks[above].kind is TaskKind.EMPTY and self._tolerant_rule(self._tasks[above])
            for above in upstream
        ):
            return True
        if task.rule in (NONE_FAILED, ALL_DONE):
            return False
        skips = [self.seen_skipped(above, task_id) for above in upstream]
        if task.rule == ALL_SUCCESS:
            return any(skips)
        if task.rule == NONE_FAILED_MIN_ONE_SUCCESS:
            return all(skips)
        return True

    def expression(self, task_id: str) -> dict[str, Any]:
        """Return what a task decides on: the entry point's ``gate`` with tasks in place of input names.

        ``states`` and ``setups`` hold task ids, or such an expression for a task that runs nothing, or with
        ``of`` for one that runs; ``follow`` holds pairs of task id and output.
        """
        task = self._tasks[task_id]
        upstream = self._merged(task) if task.rule == ALL_SUCCESS else upstream_of(task)
        return {
            "rule": task.rule,
            "states": [self._state(above, self._told_apart(task, above)) for above in upstream],
            "setup_states": [self._state(above) for above in upstream if self._tasks[above].setup],
            "setups": [self._state(setup) for setup in task.setups],
            "follow": [tuple(pair) for pair in task.skipped_by],
        }

    def _merged(self, task: Task) -> tuple[str, ...]:
        """Return what an ``all_success`` looks at, through such tasks that run nothing.

        It comes to the same, and keeps a ladder of them from being written out path by path.
        """
        found: dict[str, None] = {}
        known: set[str] = set()
        pending = list(upstream_of(task))
        while pending:
            above = pending.pop(0)
            other = self._tasks[above]
            if other.kind is TaskKind.EMPTY and other.rule == ALL_SUCCESS and is_plain(other):
                if above not in known:
                    known.add(above)
                    pending.extend(upstream_of(other))
            else:
                found[above] = None
        return tuple(found)

    def _state(self, task_id: str, told_apart: bool = False) -> str | dict[str, Any]:
        """Return how the state of a task is found.

        :param told_apart: failed and upstream_failed are two things to whoever asks. No value arrives of
            either, but the second follows from the rule.
        """
        if self._settled(task_id):
            return {"rule": ALWAYS, "states": [], "setup_states": [], "setups": [], "follow": []}
        if self._tasks[task_id].kind is TaskKind.EMPTY:
            return self.expression(task_id)
        return {**self.expression(task_id), "of": task_id} if told_apart else task_id

    def _tolerant_rule(self, task: Task) -> bool:
        return any(
            each.rule in protocol.TOLERANT_RULES and bool(each.upstream)
            for each in (task, *(self._tasks[empty] for empty in self._through(task)))
        )

    def _rule_can_skip(self, task: Task) -> bool:
        upstream = upstream_of(task)
        if task.skipped_by:
            return True
        if not upstream:
            return False
        if any(map(self.can_skip, task.setups)):
            return True
        skips = [self.seen_skipped(above, task.id) for above in upstream]
        if task.rule in (NONE_FAILED, ALL_DONE):
            return False
        if task.rule == ALL_SUCCESS:
            return any(skips)
        if task.rule in (NONE_FAILED_MIN_ONE_SUCCESS, ONE_SUCCESS):
            return all(skips)
        if task.rule == TEARDOWN_RULE:
            setups = [above for above in upstream if self._tasks[above].setup]
            return bool(setups) and all(map(self.can_skip, setups))
        return True

    def _find_above_tolerant(self) -> set[str]:
        found: set[str] = set()
        pending = [task.id for task in self._tasks.values() if self._tolerant_rule(task)]
        while pending:
            for above in (*upstream_of(self._tasks[pending[0]]), *self._tasks[pending[0]].setups):
                if above not in found:
                    found.add(above)
                    pending.append(above)
            del pending[0]
        return found

    def _settled(self, task_id: str) -> bool:
        """Tell whether a task that runs nothing is a success in the end whatever stands above it."""
        task = self._tasks[task_id]
        return task.kind is TaskKind.EMPTY and task.rule in (ALL_DONE, ALWAYS) and is_plain(task)

    def _told_apart(self, task: Task, above: str) -> bool:
        """Tell whether failed and upstream_failed of ``above`` are two things to ``task``."""
        return task.rule == ONE_DONE and self._may_be_upstream_failed(above)

    def _may_be_upstream_failed(self, task_id: str) -> bool:
        task = self._tasks[task_id]
        return bool(upstream_of(task)) and task.rule != ALL_DONE

    def _seen(self, task: Task) -> list[str]:
        """Return the tasks right above one, those that run nothing looked through."""
        found: dict[str, None] = {}
        for each in (task, *(self._tasks[empty] for empty in self._through(task))):
            running = (above for above in upstream_of(each) if self._tasks[above].kind is not TaskKind.EMPTY)
            found.update(dict.fromkeys(running))
        return list(found)

    def _through(self, task: Task) -> list[str]:
        """Return the tasks that run nothing between one and the next that run something above it."""
        found: dict[str, None] = {}
        pending = list(upstream_of(task))
        while pending:
            above = pending.pop(0)
            if self._tasks[above].kind is TaskKind.EMPTY and above not in found:
                found[above] = None
                pending.extend(upstream_of(self._tasks[above]))
        return list(found)


def upstream_of(task: Task) -> tuple[str, ...]:
    """Return the tasks that the rule looks at; ``always`` looks at none."""
    return () if task.rule == ALWAYS else task.upstream


def is_plain(task: Task) -> bool:
    """Tell whether nothing but its rule decides about a task."""
    return not task.skipped_by and not task.setups
