"""What guards a closed Vertex task group: edges and tasks drawn too late in, carried on or refused.

A DAG file goes on after a group's ``with`` block. Edges to its members still count then: they are seen on the
id sets of the operators, however they are drawn, and reach the pipeline or its submit task, if the trigger
rules allow it just as they would have inside the block. Tasks do not.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_vertex_provider.entry import Entry
from airflow_vertex_provider.exceptions import Problem, VertexGroupError
from airflow_vertex_provider.graph.model import ALL_SUCCESS, Graph
from airflow_vertex_provider.graph.refusals import Refusals
from airflow_vertex_provider.graph.skips import with_groups
from airflow_vertex_provider.graph.values import descends
from airflow_vertex_provider.verdict import leaf_rules

if TYPE_CHECKING:
    from airflow_vertex_provider.operators.pipeline_job import (
        SubmitVertexPipelineOperator,
        WaitVertexPipelineOperator,
    )
    from airflow_vertex_provider.task_group import VertexTaskGroup


def cycles(group: VertexTaskGroup, inside: set[str], upstream: set[str]) -> list[Problem]:
    """Find outer tasks between two members: one job cannot stop half-way for them."""
    reached: set[str] = set()
    pending = [
        below for task in group.iter_tasks() for below in task.downstream_task_ids if below not in inside
    ]
    while pending:
        task_id = pending.pop()
        if task_id in reached or task_id in inside:
            continue
        reached.add(task_id)
        pending.extend(group.dag.get_task(task_id).downstream_task_ids)
    return [
        Problem(
            task_id,
            "edges",
            f"task {task_id!r} both after and before members of {group.group_id!r}",
            "it inside the group, or the group split in two: the members run as one job",
        )
        for task_id in sorted(reached & upstream)
    ]


def branched(outer: Any, members: Iterable[str]) -> list[Problem]:
    """Refuse edges from a branch outside to members: a branch that names one of them would skip the group.

    What starts the group is its submit task; the group's own id stands for that, a member's does not.
    """
    # LatestOnlyOperator chooses what stands below it, so it cannot name a member that does not.
    if not descends(outer, "BranchMixIn") or descends(outer, "LatestOnlyOperator"):
        return []
    return [
        Problem(
            member,
            "upstream",
            f"the branch {outer.task_id!r} outside the group",
            "an edge from the branch to the group as a whole, and a branch that returns the group's id",
        )
        for member in sorted(members)
    ]


def unfollowed(outer: str, member: str) -> Problem:
    """Say that a task waits for a member which Airflow does not follow."""
    return Problem(
        outer,
        "upstream",
        f"member {member!r}, which is not followed (wait_for_completion=False)",
        "wait_for_completion=True, or the group itself as upstream",
    )


class LateEdges:
    """Takes the edges of members that are drawn after their group has closed.

    However an edge is drawn, Airflow adds the other end's id to the two sets of ids on the operators, so
    that is where it is seen.
    """

    def __init__(
        self,
        group: VertexTaskGroup,
        submit: SubmitVertexPipelineOperator,
        wait: WaitVertexPipelineOperator | None,
        members: set[str],
        entry: Entry,
    ) -> None:
        self._group = group
        self._submit = submit
        self._wait = wait
        self._members = members
        self._entry = entry

    def watch(self, operator: Any) -> None:
        """Look at every edge of ``operator`` from now on."""
        task_id = operator.task_id
        operator.upstream_task_ids = _Edges(
            operator.upstream_task_ids, lambda other: self._above(task_id, other)
        )
        operator.downstream_task_ids = _Edges(
            operator.downstream_task_ids, lambda other: self._below(task_id, other)
        )

    def watch_submit(self) -> None:
        """Look at every edge that leads to the group as a whole from now on."""
        self._submit.upstream_task_ids = _Edges(self._submit.upstream_task_ids, self._above_submit)

    def _above(self, task_id: str, other: str) -> bool:
        """Carry an edge from above on; return whether the operator keeps it too."""
        inside = {task.task_id for task in self._group.iter_tasks()}
        if other in self._members and task_id in self._members:
            self._join(task_id, other)
        elif other in inside and other != self._submit.task_id:
            self._refuse(
                task_id, f"an edge from {other!r} drawn after the with block", "edges drawn inside the block"
            )
        elif other not in inside:
            problems = cycles(self._group, inside, {other})
            problems += branched(self._group.dag.get_task(other), [task_id])
            if problems:
                raise VertexGroupError(self._group.dag.dag_id, str(self._group.group_id), problems)
            self._take(self._entry.with_outer([task_id], other))
            outer = self._group.dag.get_task(other)
            outer.downstream_task_ids.discard(task_id)
            # Past the watch: the edge is this task's, not that of all first tasks.
            set.add(self._submit.upstream_task_ids, other)
            outer.downstream_task_ids.add(self._submit.task_id)
            return False
        return True

    def _above_submit(self, other: str) -> bool:
        """Take an edge to the group: it is one to each of its first tasks."""
        self._take(self._entry.with_outer(self._entry.roots, other))
        return True

    def _join(self, task_id: str, other: str) -> None:
        """Take an edge between two members into the pipeline, where it is no more than an edge."""
        graph = Graph.from_dict(self._submit.graph)
        plain = (
            self._entry.rules[task_id] == ALL_SUCCESS
            and not graph.loops
            and not any(task.setup or task.teardown or "follow" in task.payload for task in graph.tasks)
        )
        if not plain:
            self._refuse(
                task_id,
                f"an edge from {other!r} drawn after the with block, in a group with branches, mapped, setup "
                "or teardown tasks, or to a task with another trigger rule than all_success",
                "edges drawn inside the block",
            )
        self._take(self._entry.with_inner(task_id, other))
        for item in self._submit.graph["tasks"]:
            if item["id"] == task_id:
                item["upstream"] = sorted({*item["upstream"], other})
        problems = list(Refusals(Graph.from_dict(self._submit.graph)).problems())
        if problems:
            raise VertexGroupError(self._group.dag.dag_id, str(self._group.group_id), problems)
        if self._wait is not None:
            outputs = {name: task for name, task in self._wait.output_tasks.items() if name != other}
            rules = leaf_rules(Graph.from_dict(self._submit.graph))
            self._wait.judge_by(outputs, rules)

    def _take(self, entry: Entry) -> None:
        """Let the group be entered by other edges than so far, if that can be."""
        problems = entry.problems()
        if problems:
            raise VertexGroupError(self._group.dag.dag_id, str(self._group.group_id), problems)
        self._entry = entry
        self._submit.trigger_rule = type(self._submit.trigger_rule)(entry.submit_rule())

    def _below(self, task_id: str, other: str) -> bool:
        """Refuse what would follow a member that is not followed itself; let a branch choose it."""
        if not self._group.wait_for_completion:
            problem = unfollowed(other, task_id)
            self._refuse(problem.where, problem.found, problem.allowed)
        if other not in self._entry.rules:
            choices = with_groups(self._group, {other})
            for item in self._submit.graph["tasks"]:
                if item["id"] == task_id and "ids" in item["payload"]:
                    item["payload"]["ids"] = sorted({*item["payload"]["ids"], *choices})
        return True

    def _refuse(self, task_id: str, found: str, allowed: str) -> None:
        raise VertexGroupError(
            self._group.dag.dag_id, str(self._group.group_id), [Problem(task_id, "edges", found, allowed)]
        )


class ClosedChildren(dict[str, Any]):
    """The children of a group inside a closed Vertex group: no more come in; a copy of it is a plain dict."""

    def __init__(self, children: Mapping[str, Any], group: VertexTaskGroup) -> None:
        super().__init__(children)
        self._group = group

    def __setitem__(self, task_id: str, task: Any) -> None:
        raise VertexGroupError(
            self._group.dag.dag_id,
            str(self._group.group_id),
            [
                Problem(
                    task_id, "task_group", "added after the Vertex task group closed", "tasks made inside it"
                )
            ],
        )

    def __copy__(self) -> dict[str, Any]:
        return dict(self)

    def __deepcopy__(self, memo: Any) -> dict[str, Any]:
        return copy.deepcopy(dict(self), memo)

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (dict(self),)


class _Edges(set[str]):
    """A set of task ids that asks before it takes one more; a copy of it is a plain set."""

    def __init__(self, ids: Iterable[str], asked: Callable[[str], bool]) -> None:
        super().__init__(ids)
        self._asked = asked

    def add(self, task_id: str) -> None:
        if task_id in self or self._asked(task_id):
            super().add(task_id)

    def __copy__(self) -> set[str]:
        return set(self)

    def __deepcopy__(self, memo: Any) -> set[str]:
        return set(self)

    def __reduce__(self) -> tuple[type[set[str]], tuple[list[str]]]:
        return set, (sorted(self),)
