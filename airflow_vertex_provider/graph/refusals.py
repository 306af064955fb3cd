"""Rules that a pipeline cannot keep: a graph in, problems out.

What :mod:`~airflow_vertex_provider.graph.control` can say about a graph, it says exactly. Where a pipeline
would not know what Airflow knows (how many instances of a mapped task failed, what a component left that was
skipped), the group is refused here, with the way out.
"""

from __future__ import annotations

from collections.abc import Iterator

from airflow_vertex_provider.exceptions import Problem
from airflow_vertex_provider.graph.component_spec import is_artifact
from airflow_vertex_provider.graph.control import (
    ALL_DONE,
    ALWAYS,
    NONE_FAILED,
    NONE_FAILED_MIN_ONE_SUCCESS,
    ONE_FAILED,
    TEARDOWN_RULE,
    Control,
    is_plain,
    upstream_of,
)
from airflow_vertex_provider.graph.model import ALL_SUCCESS, FromOutput, Graph, Task, TaskKind
from airflow_vertex_provider.graph.order import circle
from airflow_vertex_provider.runtime import protocol

#: Rules that say the same of a mapped task whatever number of its instances failed.
_SURE_OF_MAPPED = frozenset(
    # Teardowns look at setups alone, none of which is mapped.
    {ALL_SUCCESS, NONE_FAILED, NONE_FAILED_MIN_ONE_SUCCESS, ALL_DONE, ONE_FAILED, ALWAYS, TEARDOWN_RULE}
)
#: Rules to which it is the same whether some or all instances of a mapped task were skipped.
_ONE_FOR_ALL = frozenset({ALL_SUCCESS, NONE_FAILED, ALL_DONE, ALWAYS})
#: Most rules of tasks that run nothing that one task may have to look through.
MAX_PATHS = 100


class Refusals(Control):
    """What of one graph's rules cannot be had."""

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
            upstream = self._merged(task) if task.rule == ALL_SUCCESS else upstream_of(task)
            inner = [
                above
                for above in upstream
                if self._tasks[above].kind is TaskKind.EMPTY or self._told_apart(task, above)
            ]
            counts[task_id] = 1 + sum(counts.get(above, 0) for above in inner if not self._settled(above))
        return counts

    def _component_problems(self, task: Task) -> Iterator[Problem]:
        """Find what artifacts, and the typed values of components, which have no "skipped", cannot do."""
        for name, source in task.inputs.items():
            if not isinstance(source, FromOutput):
                continue
            above = self._tasks[source.task]
            missing = self.tolerant(task.id) or (self.can_skip(above.id) and task.rule != ALL_SUCCESS)
            if is_artifact(task.input_types.get(name, "")):
                mapped = above.loop is not None and above.loop != task.loop
                if mapped or self.gated(above.id) or missing:
                    yield Problem(
                        task.id,
                        f"inputs.{name}",
                        f"an artifact of {above.id!r}, which is mapped or may be skipped, or missing with "
                        f"{task.rule!r}",
                        "all_success, and an artifact of a task that runs always and once: the service hands "
                        "none out of a loop or a condition",
                    )
            elif above.native and missing:
                yield Problem(
                    task.id,
                    f"inputs.{name}",
                    f"an output of {above.id!r}, which may be missing with {task.rule!r}",
                    "all_success: the typed value of a component or container cannot say that there is none",
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
            if other.rule != ALL_SUCCESS or not is_plain(other) or task.rule not in _ONE_FOR_ALL:
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


def fast_policy_problems(graph: Graph) -> Iterator[Problem]:
    """Find the tasks that ``failure_policy="fast"`` would keep from running (L20).

    Runs at parse if the group says so, and at submit if the connection does.
    """
    control = Refusals(graph)
    for task in graph.tasks:
        if control.tolerant(task.id):
            yield Problem(
                task.id,
                "trigger_rule",
                f"{task.rule!r} with failure_policy='fast', which starts nothing after a failure",
                "failure_policy='slow', or a rule that needs no task after a failure",
            )
