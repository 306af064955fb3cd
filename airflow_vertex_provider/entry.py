"""How a closed group is entered: trigger rules and outer edges of its members in, submit's rule out.

Airflow starts each member by its own trigger rule; a group is started once, by ``submit_pipeline``. Inside
the group every mirror keeps its rule. Towards the outside there is one rule for all: ``all_success``, or that
of the group's first tasks if they all have the same rule and the same tasks above them. Anything else would
start a task that Airflow would not have started, or the other way round, and is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions.mappedoperator import MappedOperator

from airflow_vertex_provider.exceptions import Problem
from airflow_vertex_provider.graph.control import ALWAYS, TEARDOWN_RULE
from airflow_vertex_provider.graph.model import ALL_SUCCESS
from airflow_vertex_provider.graph.skips import rule_of

if TYPE_CHECKING:
    from airflow_vertex_provider.task_group import VertexTaskGroup


@dataclass(frozen=True)
class Entry:
    """The ways into a group. All keys and values are task ids.

    :param rules: every task's trigger rule, as the author gave it.
    :param inner: the tasks of the group above a task that it waits for; none with ``always``.
    :param outer: the tasks outside above a task.
    """

    rules: Mapping[str, str]
    inner: Mapping[str, frozenset[str]]
    outer: Mapping[str, frozenset[str]]

    @property
    def roots(self) -> list[str]:
        """The tasks that nothing of the group keeps waiting."""
        return [task_id for task_id in self.rules if not self.inner[task_id]]

    def with_inner(self, task_id: str, above: str) -> Entry:
        """Return the entry with one more edge inside the group."""
        return replace(self, inner={**self.inner, task_id: self.inner[task_id] | {above}})

    def with_outer(self, task_ids: Iterable[str], above: str) -> Entry:
        """Return the entry with one more task outside above some of the group's."""
        added = {task_id: self.outer[task_id] | {above} for task_id in task_ids}
        return replace(self, outer={**self.outer, **added})

    def submit_rule(self) -> str:
        """Return the trigger rule of ``submit_pipeline``; if there are :meth:`problems`, it is none."""
        if not self._special():
            return ALL_SUCCESS
        return self.rules[self.roots[0]]

    def problems(self) -> list[Problem]:
        """Find the rules that cannot be kept towards the outside."""
        special = self._special()
        roots = self.roots
        ways = {(self.rules[root], self.outer[root]) for root in roots}
        later = [task_id for task_id in self.rules if task_id not in roots and self.outer[task_id]]
        if not special or (len(ways) == 1 and not later and next(iter(ways))[0] != TEARDOWN_RULE):
            return []
        return [
            Problem(
                task_id,
                "trigger_rule",
                f"{self.rules[task_id]!r} below {', '.join(sorted(self.outer[task_id]))} outside the group",
                "all_success; or the same rule and the same tasks above for every first task of the group, "
                "and none outside above the others: the group is started once, as a whole",
            )
            for task_id in special
        ]

    def _special(self) -> list[str]:
        """Return the tasks below tasks outside by another rule than the usual one."""
        return [
            task_id for task_id, rule in self.rules.items() if rule != ALL_SUCCESS and self.outer[task_id]
        ]


def read_entry(group: VertexTaskGroup, operators: Collection[Any]) -> Entry:
    """Read the ways into a group whose block has ended.

    :param operators: all tasks of the group, whatever they become.
    """
    by_id = {operator.task_id: operator for operator in operators}
    rules = {task_id: rule_of(operator) for task_id, operator in by_id.items()}
    outer = {task_id: set(operator.upstream_task_ids) - set(by_id) for task_id, operator in by_id.items()}
    everywhere = group.dag.task_group.get_task_group_dict()
    for inner in group.get_task_group_dict().values():
        # Drawn while the group was empty: Airflow keeps such an edge on the group alone.
        above = set(inner.upstream_task_ids)
        for group_id in inner.upstream_group_ids:
            above |= {task.task_id for task in everywhere[str(group_id)].get_leaves()}
        above -= set(by_id)
        within = {task.task_id for task in inner.iter_tasks()}
        for task_id in within if above else ():
            if by_id[task_id].upstream_task_ids.isdisjoint(within):
                outer[task_id] |= above
    return Entry(
        rules=rules,
        inner={
            task_id: frozenset(() if rules[task_id] == ALWAYS else operator.upstream_task_ids & set(by_id))
            for task_id, operator in by_id.items()
        },
        outer={task_id: frozenset(above) for task_id, above in outer.items()},
    )


def always_problems(operators: Collection[Any]) -> list[Problem]:
    """Find mapped tasks that would not wait for what they are mapped over."""
    inside = {operator.task_id for operator in operators}
    problems = []
    for operator in operators:
        if not isinstance(operator, MappedOperator) or rule_of(operator) != ALWAYS:
            continue
        over = sorted({above.task_id for above in operator.iter_mapped_dependencies()} & inside)
        if over:
            problems.append(
                Problem(
                    operator.task_id,
                    "trigger_rule",
                    f"'always' for a task that is mapped over {', '.join(over)}",
                    "another rule: it cannot start before it is known what to map over",
                )
            )
    return problems
