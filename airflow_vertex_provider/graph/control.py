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

from airflow_vertex_provider.exceptions import Problem
from airflow_vertex_provider.graph.component_spec import is_artifact
from airflow_vertex_provider.graph.model import (
    ALL_SUCCESS,
    FromOutput,
    Graph,
    Loop,
    Task,
    TaskKind,
)
from airflow_vertex_provider.graph.order import circle, ordered
from airflow_vertex_provider.runtime import protocol

ALWAYS = "always"
NONE_FAILED = "none_failed"
NONE_FAILED_MIN_ONE_SUCCESS = "none_failed_min_one_success"
ALL_DONE = "all_done"
ONE_SUCCESS = "one_success"
ONE_FAILED = "one_failed"
ONE_DONE = "one_done"
TEARDOWN_RULE = "all_done_setup_success"

#: Rules that say the same of a mapped task whatever number of its instances failed.
_SURE_OF_MAPPED = frozenset(
    # Teardowns look at setups alone, none of which is mapped.
    {ALL_SUCCESS, NONE_FAILED, NONE_FAILED_MIN_ONE_SUCCESS, ALL_DONE, ONE_FAILED, ALWAYS, TEARDOWN_RULE}
)

#: Rules to which it is the same whether some or all instances of a mapped task were skipped.
_ONE_FOR_ALL = frozenset({ALL_SUCCESS, NONE_FAILED, ALL_DONE, ALWAYS})
#: Most rules of tasks that run nothing that one task may have to look through.
MAX_PATHS = 100


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
        yield from _upstream(task)
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
        upstream = _upstream(task)
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
        upstream = self._merged(task) if task.rule == ALL_SUCCESS else _upstream(task)
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
        pending = list(_upstream(task))
        while pending:
            above = pending.pop(0)
            other = self._tasks[above]
            if other.kind is TaskKind.EMPTY and other.rule == ALL_SUCCESS and _plain(other):
                if above not in known:
                    known.add(above)
                    pending.extend(_upstream(other))
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
        upstream = _upstream(task)
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
            for above in (*_upstream(self._tasks[pending[0]]), *self._tasks[pending[0]].setups):
                if above not in found:
                    found.add(above)
                    pending.append(above)
            del pending[0]
        return found

    # What cannot be had

    def problems(self) -> Iterator[Problem]:
        """Find the rules that a pipeline cannot keep exactly."""
        locked = circle(self._tasks, lambda task_id: self._tasks[task_id].upstream)
        if locked:
            yield Problem(
                locked[0], "edges", f"a circle: {', '.join(locked)}", "edges that lead back to no task"
            )
            return
        yield from self._size_problems()
        for task in self._tasks.values():
            if task.rule not in protocol.RULES:
                yield Problem(
                    task.id, "trigger_rule", repr(task.rule), "one of " + ", ".join(sorted(protocol.RULES))
                )
                continue
            yield from self._component_problems(task)
            yield from self._always_problems(task)
            yield from self._mapped_problems(task)
            yield from self._loop_problems(task)

    def _size_problems(self) -> Iterator[Problem]:
        """Refuse rules that would have to be written out path by path."""
        for task_id, paths in self._count_paths().items():
            if paths > MAX_PATHS and self._tasks[task_id].kind is not TaskKind.EMPTY:
                yield Problem(
                    task_id,
                    "upstream",
                    f"{paths} ways through tasks that run nothing, or that one_done tells apart",
                    f"at most {MAX_PATHS}: fewer such tasks, or all_success for some",
                )

    def _count_paths(self) -> dict[str, int]:
        """Count the rules that :meth:`expression` would write for each task."""
        counts: dict[str, int] = {}
        for task_id in self._order:
            task = self._tasks[task_id]
            upstream = self._merged(task) if task.rule == ALL_SUCCESS else _upstream(task)
            inner = [
                above
                for above in upstream
                if self._tasks[above].kind is TaskKind.EMPTY or self._told_apart(task, above)
            ]
            counts[task_id] = 1 + sum(counts.get(above, 0) for above in inner if not self._settled(above))
        return counts

    def _settled(self, task_id: str) -> bool:
        """Tell whether a task that runs nothing is a success in the end whatever stands above it."""
        task = self._tasks[task_id]
        return task.kind is TaskKind.EMPTY and task.rule in (ALL_DONE, ALWAYS) and _plain(task)

    def _told_apart(self, task: Task, above: str) -> bool:
        """Tell whether failed and upstream_failed of ``above`` are two things to ``task``."""
        return task.rule == ONE_DONE and self._may_be_upstream_failed(above)

    def _component_problems(self, task: Task) -> Iterator[Problem]:
        """Find what the typed values and artifacts of components, which have no "skipped", cannot do."""
        for name, source in task.inputs.items():
            if not isinstance(source, FromOutput) or self._tasks[source.task].kind is not TaskKind.COMPONENT:
                continue
            above = self._tasks[source.task]
            artifact = is_artifact(task.input_types.get(name, ""))
            apart = above.loop != task.loop or self.gated(above.id) or self.gated(task.id)
            if artifact and apart:
                yield Problem(
                    task.id,
                    f"inputs.{name}",
                    f"an artifact of {above.id!r}, where one of the two is mapped or may be skipped",
                    "both tasks run always and once: an artifact crosses no loop and no condition",
                )
            elif not artifact and (
                self.tolerant(task.id) or (self.can_skip(above.id) and task.rule != ALL_SUCCESS)
            ):
                yield Problem(
                    task.id,
                    f"inputs.{name}",
                    f"an output of the component {above.id!r}, which may be missing with {task.rule!r}",
                    "all_success: a component's typed value cannot say that there is none",
                )

    def _always_problems(self, task: Task) -> Iterator[Problem]:
        taken = sorted({s.task for s in task.inputs.values() if isinstance(s, FromOutput)})
        if task.rule == ALWAYS and taken:
            yield Problem(
                task.id,
                "trigger_rule",
                f"'always' for a task that takes the output of {', '.join(taken)}",
                "another rule, such as all_done: with 'always' the value may not be there yet",
            )

    def _may_be_upstream_failed(self, task_id: str) -> bool:
        task = self._tasks[task_id]
        return bool(_upstream(task)) and task.rule != ALL_DONE

    def _mapped_problems(self, task: Task) -> Iterator[Problem]:
        loops = [
            above
            for above in self._seen(task)
            if self._tasks[above].loop is not None and self._tasks[above].loop != task.loop
        ]
        if not loops or not self._tolerant_rule(task):
            return
        if task.rule not in _SURE_OF_MAPPED:
            yield Problem(
                task.id,
                "trigger_rule",
                f"{task.rule!r} below the mapped {', '.join(loops)}: after a failure a pipeline cannot tell "
                "how many instances failed",
                "one of " + ", ".join(sorted(_SURE_OF_MAPPED)),
            )
            return
        taken = {s.task for s in task.inputs.values() if isinstance(s, FromOutput)}
        for above in sorted(taken.intersection(loops)):
            yield Problem(
                task.id,
                "trigger_rule",
                f"{task.rule!r} for a task that takes the outputs of the mapped {above!r}: after the failure "
                "of one instance a pipeline does not hand on those of the others",
                "a rule without failures above, such as none_failed; or no output of it",
            )

    def _loop_problems(self, task: Task) -> Iterator[Problem]:
        """Find failures inside a loop that whoever waits for one of its tasks would not see in Airflow.

        A loop fails as a whole. So each of its tasks must be one whose failure reaches a task that ``task``
        waits for.
        """
        yield from self._empty_in_loop_problems(task)
        above = [self._tasks[task_id] for task_id in self._seen(task)]
        for loop in sorted({other.loop for other in above if other.loop not in (None, task.loop)}, key=str):
            waited = {other.id for other in above if other.loop == loop}
            inside = [other for other in self._tasks.values() if other.loop == loop]
            unseen = [
                other.id
                for other in inside
                if other.kind is not TaskKind.EMPTY and not self._fails_with(other.id, waited, inside)
            ]
            if unseen and not (task.rule == ALL_DONE and not self._takes_from(task, waited)):
                yield Problem(
                    task.id,
                    "upstream",
                    f"{', '.join(sorted(waited))} of the mapped task group {loop!r}, where "
                    f"{', '.join(sorted(unseen))} may fail without that",
                    "edges from these tasks, or from the whole mapped task group: a loop fails as a whole",
                )

    def _empty_in_loop_problems(self, task: Task) -> Iterator[Problem]:
        """Find tasks that run nothing in a loop whose states, one for each item, are not known outside."""
        for task_id in self._through(task):
            other = self._tasks[task_id]
            if other.loop in (None, task.loop):
                continue
            if other.rule != ALL_SUCCESS or not _plain(other) or task.rule not in _ONE_FOR_ALL:
                yield Problem(
                    task.id,
                    "upstream",
                    f"{task_id!r}, a task of a mapped task group that runs nothing, with {other.rule!r}, "
                    f"for {task.rule!r}",
                    "an edge from the tasks before it: its state for each item is known inside alone",
                )

    def _fails_with(self, task_id: str, waited: set[str], inside: list[Task]) -> bool:
        """Tell whether a failure of a task reaches one of ``waited`` by rules that let it through."""
        reached, pending = {task_id}, [task_id]
        while pending:
            current = pending.pop()
            if current in waited:
                return True
            for other in inside:
                strict = other.rule != ALWAYS and other.rule not in protocol.TOLERANT_RULES
                if current in other.upstream and strict and other.id not in reached:
                    reached.add(other.id)
                    pending.append(other.id)
        return False

    def _takes_from(self, task: Task, others: set[str]) -> bool:
        return any(isinstance(s, FromOutput) and s.task in others for s in task.inputs.values())

    def _seen(self, task: Task) -> list[str]:
        """Return the tasks right above one, those that run nothing looked through."""
        found: dict[str, None] = {}
        for each in (task, *(self._tasks[empty] for empty in self._through(task))):
            running = (above for above in _upstream(each) if self._tasks[above].kind is not TaskKind.EMPTY)
            found.update(dict.fromkeys(running))
        return list(found)

    def _through(self, task: Task) -> list[str]:
        """Return the tasks that run nothing between one and the next that run something above it."""
        found: dict[str, None] = {}
        pending = list(_upstream(task))
        while pending:
            above = pending.pop(0)
            if self._tasks[above].kind is TaskKind.EMPTY and above not in found:
                found[above] = None
                pending.extend(_upstream(self._tasks[above]))
        return list(found)


def _upstream(task: Task) -> tuple[str, ...]:
    """Return the tasks that the rule looks at; ``always`` looks at none."""
    return () if task.rule == ALWAYS else task.upstream


def _plain(task: Task) -> bool:
    """Tell whether nothing but its rule decides about a task."""
    return not task.skipped_by and not task.setups
