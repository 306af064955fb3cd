"""Loops of a graph: mapped parts and the tasks read from them in, loops with their items and gates out.

A loop is entered as a whole, so what its tasks wait for outside must be the same for all that begin in it.
Where that may skip them, a gate in front of the loop looks at it and gives an empty list: no instance is
started only to be skipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from airflow_vertex_provider.exceptions import Problem
from airflow_vertex_provider.graph import mapping, naming
from airflow_vertex_provider.graph.component_spec import is_artifact
from airflow_vertex_provider.graph.control import Control
from airflow_vertex_provider.graph.model import (
    ALL_SUCCESS,
    DECISION_OUTPUT,
    FromOutput,
    FromParameter,
    Graph,
    Loop,
    Task,
    TaskKind,
)
from airflow_vertex_provider.graph.values import Values
from airflow_vertex_provider.runtime import protocol

#: The output of a loop's gate that holds the items.
ITEMS_OUTPUT = "Items"
#: Rules that skip a task whose neighbours in the loop were skipped: nothing runs if nothing is entered.
_SKIPPED_WITH_NEIGHBOURS = frozenset({ALL_SUCCESS, "none_failed_min_one_success"})


@dataclass
class LoopResult:
    """The tasks with their gates in place, the loops, and what cannot be had."""

    tasks: dict[str, Task]
    loops: list[Loop] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def add_loops(
    tasks: Mapping[str, Task],
    parts: Mapping[str, mapping.MappedPart],
    gate_names: Mapping[str, str],
    members: mapping.Members,
) -> LoopResult:
    """Give every loop its items and, where one is needed, its gate. Runs at parse.

    :param tasks: every task by id, rules and skips in place.
    :param gate_names: id of a loop to the Vertex name its gate would have.
    """
    result = LoopResult(dict(tasks))
    for part in parts.values():
        inside = {task_id: result.tasks[task_id] for task_id in part.operators if task_id in result.tasks}
        if len(inside) < len(part.operators):
            continue  # a problem of its own is known already
        _Builder(result, part, inside, gate_names[part.id], mapping.ItemsReader(part, members)).build()
    return result


class _Builder:
    def __init__(
        self,
        result: LoopResult,
        part: mapping.MappedPart,
        inside: dict[str, Task],
        gate_name: str,
        items: mapping.ItemsReader,
    ) -> None:
        self._result = result
        self._part = part
        self._inside = inside
        self._gate_name = gate_name
        self._items = items
        self._outside = {
            task.id: tuple(above for above in task.upstream if above not in inside)
            for task in inside.values()
        }
        self._roots = [task for task in inside.values() if set(task.upstream).isdisjoint(inside)]
        self._control = Control(Graph("", "", "", tuple(result.tasks.values()), loops=tuple(result.loops)))

    def build(self) -> None:
        problems = list(self._problems())
        if problems:
            self._result.problems.extend(problems)
            return
        root = self._roots[0]
        inner = self._items.inner()
        producer = self._producer(root)
        source: FromParameter | FromOutput
        if producer is not None:
            source = self._from_producer(producer)
        elif inner or self._decides(root, None):
            source = self._from_gate(root)
        else:
            source, found = self._items.at_submit()
            self._result.problems.extend(found)
        for task_id in self._items.must_be_mappable():
            if task_id in self._result.tasks:
                self._change(task_id, mapped_over=True)
        self._result.loops.append(
            Loop(
                self._part.id,
                source,
                mapping.parallelism(self._part.operators),
                mapping.may_be_empty(self._part.expand_input) or isinstance(source, FromOutput),
            )
        )

    def _decides(self, root: Task, producer: str | None) -> bool:
        """Tell whether somebody has to look at states before the loop is entered.

        :param producer: the member that writes the items; it writes none when it is skipped.
        """
        if self._control.tolerant(root.id):
            return True
        if producer is not None and root.rule == ALL_SUCCESS and not root.skipped_by and not root.setups:
            others = [above for above in self._outside[root.id] if above != producer]
            return any(self._control.seen_skipped(above, root.id) for above in others)
        return self._control.gated(root.id)

    def _producer(self, root: Task) -> str | None:
        producer = self._items.whole_output()
        task = self._result.tasks.get(producer) if producer else None
        if task is None or task.kind not in (TaskKind.PYTHON, TaskKind.BASH) or task.loop is not None:
            return None
        # Whether a gated task becomes a branch of the pipeline depends on its settings; kfp loops over no
        # output of a branch.
        if self._control.gated(task.id) or self._decides(root, task.id):
            return None
        return task.id

    def _from_producer(self, producer: str) -> FromOutput:
        task = self._result.tasks[producer]
        output = naming.parameter_name(f"Items_{self._part.id.rpartition('.')[2]}", task.outputs)
        spec, found = self._items.own_spec()
        self._result.problems.extend(found)
        expand = {**task.payload.get("expand", {}), output: spec}
        self._result.tasks[producer] = replace(
            task,
            payload={**task.payload, "expand": expand},
            outputs=(*task.outputs, output),
            output_types={**task.output_types, output: "LIST"},
        )
        return FromOutput(producer, output)

    def _from_gate(self, root: Task) -> FromOutput:
        """Put a gate in front of the loop; it takes over the rule and the edges from outside."""
        spec, values = self._items.spec()
        self._result.problems.extend(values.problems)
        gate_id = f"{self._part.id}:items"
        relayed: dict[str, str] = {}
        tolerant = self._control.tolerant(root.id)
        for task in self._inside.values():
            inputs = dict(task.inputs)
            if tolerant:
                inputs = self._relay(task, gate_id, values, relayed)
            is_root = task in self._roots
            if is_root:
                task = replace(task, rule=ALL_SUCCESS, setups=(), skipped_by=())
            self._result.tasks[task.id] = replace(
                task,
                inputs=inputs,
                upstream=(
                    *(above for above in task.upstream if above in self._inside),
                    *([gate_id] if self._outside[task.id] or is_root else []),
                ),
            )
        self._result.tasks[gate_id] = Task(
            id=gate_id,
            name=self._gate_name,
            kind=TaskKind.GATE,
            payload=protocol.gate_config(task=gate_id, relay=dict(relayed), expand={ITEMS_OUTPUT: spec}),
            inputs=values.inputs,
            outputs=(DECISION_OUTPUT, ITEMS_OUTPUT, *relayed),
            upstream=tuple(dict.fromkeys([*self._outside[root.id], *self._items.inner()])),
            rule=root.rule,
            setups=root.setups,
            skipped_by=root.skipped_by,
            output_types={ITEMS_OUTPUT: "LIST"},
        )
        return FromOutput(gate_id, ITEMS_OUTPUT)

    def _relay(self, task: Task, gate_id: str, values: Values, relayed: dict[str, str]) -> dict[str, Any]:
        """Take values from outside by way of the gate, which has them or knows that there are none."""
        inputs = dict(task.inputs)
        for name, source in task.inputs.items():
            if isinstance(source, FromOutput) and source.task not in self._inside:
                if is_artifact(task.input_types.get(name, "")):
                    self._result.problems.append(
                        Problem(
                            task.id,
                            f"inputs.{name}",
                            f"an artifact of {source.task!r}, in a loop that may start after a failure",
                            "all_success: the service hands an artifact to no such task",
                        )
                    )
                    continue
                taken = values.take(name, source)
                output = next((known for known, by in relayed.items() if by == taken), None)
                if output is None:
                    output = naming.parameter_name(f"Relay_{taken}", list(relayed))
                    relayed[output] = taken
                inputs[name] = FromOutput(gate_id, output)
        return inputs

    def _change(self, task_id: str, **payload: Any) -> None:
        task = self._result.tasks[task_id]
        self._result.tasks[task_id] = replace(task, payload={**task.payload, **payload})

    # What cannot be had

    def _problems(self) -> Iterator[Problem]:
        for task in self._inside.values():
            if task.teardown or task.setup:
                yield Problem(
                    task.id,
                    "teardown" if task.teardown else "setup",
                    "a mapped task",
                    "a setup or teardown task that is not mapped",
                )
            if task.kind is TaskKind.EMPTY and len(self._inside) == 1:
                yield Problem(
                    task.id, "expand", "a mapped task that runs nothing", "a task that runs something"
                )
        for key in self._items.unwritable_keys():
            yield Problem(
                next(iter(self._inside)),
                "expand",
                f"an argument called {key!r}",
                "a name of ASCII letters, digits and underscores: it stands in an expression of the pipeline",
            )
        yield from self._skip_problems()
        yield from self._source_problems()
        if len(self._inside) > 1:
            yield from self._group_problems()

    def _skip_problems(self) -> Iterator[Problem]:
        """Find instances that are there from the start: a branch skips them, unless another task fails."""
        if mapping.may_be_empty(self._part.expand_input):
            return
        for root in self._roots:
            skippers = {skipper for skipper, _ in root.skipped_by}
            others = set(self._outside[root.id]) - skippers
            if skippers and others:
                yield Problem(
                    root.id,
                    "upstream",
                    f"{_listed(others)} beside the branch or short circuit {_listed(skippers)}, above a task "
                    "mapped over a list that is written out",
                    "the list given by a task, or the other tasks above the branch: of such a task alone "
                    "Airflow lets a failure go before the skip",
                )

    def _source_problems(self) -> Iterator[Problem]:
        root = self._roots[0]
        inner = [task_id for task_id in self._items.inner() if task_id in self._result.tasks]
        for task_id in inner:
            strict = not self._control.tolerant(root.id)
            if root.rule == ALL_SUCCESS or (strict and not self._control.seen_skipped(task_id, root.id)):
                continue
            yield Problem(
                root.id,
                "trigger_rule",
                f"{root.rule!r} for a task mapped over the output of {task_id!r}",
                "all_success: without that output Airflow marks the mapped task upstream_failed",
            )

    def _group_problems(self) -> Iterator[Problem]:
        """Find what a loop, which waits as a whole, cannot do as the tasks of a mapped task group do."""
        shared = set(self._outside[self._roots[0].id])
        for task in self._inside.values():
            outside = set(self._outside[task.id])
            is_root = task in self._roots
            if is_root and (outside != shared or (outside and task.rule != ALL_SUCCESS)):
                yield Problem(
                    task.id,
                    "upstream",
                    f"{_listed(outside)} outside the mapped task group, with {task.rule!r}, "
                    f"where {self._roots[0].id!r} waits for {_listed(shared)}",
                    "the same tasks for all that begin in the group, and all_success: the loop waits as one",
                )
            elif not is_root and not outside <= shared:
                yield Problem(
                    task.id,
                    "upstream",
                    f"{_listed(outside - shared)} outside the mapped task group",
                    "tasks that all tasks which begin in the group wait for too: the loop waits as one",
                )
            elif not is_root and outside and task.rule != ALL_SUCCESS:
                yield Problem(
                    task.id,
                    "trigger_rule",
                    f"{task.rule!r} with {_listed(outside)} outside the mapped task group above it",
                    "all_success, or no such edge",
                )
            if task.skipped_by and not is_root:
                yield Problem(
                    task.id,
                    "upstream",
                    "a branch or short circuit outside the mapped task group",
                    "it above the group as a whole",
                )
        if any(self._control.seen_skipped(above, self._roots[0].id) for above in shared) or any(
            root.skipped_by for root in self._roots
        ):
            for task in self._inside.values():
                if task not in self._roots and task.rule not in _SKIPPED_WITH_NEIGHBOURS:
                    yield Problem(
                        task.id,
                        "trigger_rule",
                        f"{task.rule!r} in a mapped task group that may be skipped as a whole",
                        "one of " + ", ".join(sorted(_SKIPPED_WITH_NEIGHBOURS)),
                    )


def _listed(ids: set[str]) -> str:
    return ", ".join(sorted(ids)) or "no task"
