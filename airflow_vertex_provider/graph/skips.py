"""Branches and short circuits: who skips whom in the author's group in, follow outputs out.

A task that decides about others writes one ``run`` or ``skip`` for each set of followers that share a fate,
so that whoever follows need not know what was chosen, or why.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_vertex_provider.exceptions import Problem
from airflow_vertex_provider.graph.model import ALL_SUCCESS

if TYPE_CHECKING:
    from airflow.sdk import TaskGroup


@dataclass
class Follows:
    """What one group's branches and short circuits decide.

    :param outputs: id of the deciding task to its follow outputs, as the entry point's ``follow`` has them.
    :param skipped_by: id of a task to the pairs of deciding task and output that may skip it.
    """

    outputs: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    skipped_by: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def rule_of(operator: Any) -> str:
    """Return an operator's trigger rule as text."""
    return str(getattr(operator.trigger_rule, "value", operator.trigger_rule))


def read_follows(
    group: TaskGroup,
    operators: Mapping[str, Any],
    skippers: Mapping[str, str],
    loops: Collection[str],
    above_tolerant: Iterable[str],
) -> Follows:
    """Find what the deciding tasks of a group skip.

    :param operators: every member by id. :param skippers: id to kind, see
        :class:`~airflow_vertex_provider.graph.converters.base.Conversion`.
    :param loops: ids of the tasks in loops.
    :param above_tolerant: ids of tasks with a tolerant task below them.
    """
    found = Follows()
    observed = set(above_tolerant)
    for skipper, kind in skippers.items():
        if skipper in loops:
            found.problems.append(
                Problem(
                    skipper,
                    "operator",
                    "a mapped branch or short circuit",
                    "one that is not mapped: Airflow itself skips nothing below a mapped one "
                    "(apache/airflow#67265)",
                )
            )
            continue
        operator = operators[skipper]
        direct = operator.downstream_task_ids.intersection(operators)
        followers = sorted(direct)
        if kind == "all":
            below = operator.get_flat_relative_ids(upstream=False).intersection(operators)
            followers = sorted(
                task_id
                for task_id in below
                if task_id in direct or _needs_telling(operators, task_id, below | {skipper}, observed)
            )
        if kind in ("all", "direct"):
            followers = [task_id for task_id in followers if not operators[task_id].is_teardown]
        outputs: dict[str, dict[str, Any]] = {}
        for follower in followers:
            rule = rule_of(operators[follower])
            description = {
                "keep": _keep(group, operator, operators[follower]) if kind == "branch" else None,
                "if_skipped": "skip" if rule == ALL_SUCCESS else "run",
            }
            name = next((name for name, known in outputs.items() if known == description), None)
            if name is None:
                name = f"Follow_{len(outputs) + 1}"
                outputs[name] = description
            found.skipped_by.setdefault(follower, []).append((skipper, name))
        if outputs:
            found.outputs[skipper] = outputs
    return found


def _needs_telling(operators: Mapping[str, Any], task_id: str, below: set[str], observed: set[str]) -> bool:
    """Tell whether a task far below a short circuit would go on if only its neighbours were skipped.

    With ``all_success`` it is skipped by its neighbours, unless one from elsewhere failed: that makes a
    difference to tolerant tasks below it alone.
    """
    operator = operators[task_id]
    if rule_of(operator) != ALL_SUCCESS:
        return True
    elsewhere = operator.upstream_task_ids.intersection(operators) - below
    return bool(elsewhere) and task_id in observed


def _keep(group: TaskGroup, skipper: Any, follower: Any) -> list[str]:
    """Return the ids that, chosen by a branch, let the follower run: its own, those above it, and groups."""
    below = skipper.get_flat_relative_ids(upstream=False)
    above = follower.get_flat_relative_ids(upstream=True)
    return sorted(with_groups(group, {follower.task_id, *(above & below)}))


def branch_ids(group: TaskGroup, operator: Any, operators: Collection[str]) -> list[str]:
    """Return the ids that a branch may name: what stands below it in the group, and next to it outside."""
    below = operator.get_flat_relative_ids(upstream=False).intersection(operators)
    return sorted(with_groups(group, {*below, *operator.downstream_task_ids}))


def with_groups(group: TaskGroup, ids: set[str]) -> set[str]:
    """Add the ids of the task groups that begin with one of the tasks, as a branch may choose a group."""
    groups = group.dag.task_group.get_task_group_dict().items()
    begun = {str(group_id) for group_id, other in groups if any(root.task_id in ids for root in other.roots)}
    return ids | begun - {"None"}
