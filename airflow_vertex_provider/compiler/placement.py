"""Placement: a graph and its settings in, where each task stands in the pipeline and what it decides on out.

Only here is it decided which shape a rule or a skip gets. A task of Python or Bash on a plain machine looks
at the states itself, when its container starts. A task on a machine of its own, a container of the author's
or a component stands in a condition, so that nothing dear is started to do nothing; a gate task decides where
one value cannot. Both forms follow design rule 2: kfp's compiler writes no others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from airflow_vertex_provider.compiler.wiring import (
    STRING,
    Const,
    ItemField,
    Leaf,
    Out,
    Param,
    Ref,
    Scope,
    Wiring,
)
from airflow_vertex_provider.graph.component_spec import ARTIFACT, is_artifact
from airflow_vertex_provider.graph.control import TEARDOWN_RULE, Control
from airflow_vertex_provider.graph.model import (
    ALL_SUCCESS,
    ARTIFACT_PREFIX,
    DECISION_OUTPUT,
    RETURN_OUTPUT,
    RUN,
    TEXT_OUTPUT,
    URI_PREFIX,
    FromConstant,
    FromItem,
    FromOutput,
    FromParameter,
    Graph,
    Source,
    Task,
    TaskKind,
)
from airflow_vertex_provider.runtime import protocol
from airflow_vertex_provider.settings import TaskSettings

#: Kinds that run our entry point, so that they can decide for themselves and tell how they ended.
_OURS = frozenset({TaskKind.PYTHON, TaskKind.BASH, TaskKind.GATE})
#: A typed output of a task that was skipped.
_ZERO: Mapping[str, Any] = {
    "NUMBER_INTEGER": 0,
    "NUMBER_DOUBLE": 0.0,
    "BOOLEAN": False,
    "LIST": [],
    "STRUCT": {},
}
_NULL = "null"
#: Artifacts that reach a function as text alone: the service writes metadata into the function's arguments,
#: and a curve may have thousands of points.
_LARGE = f"{ARTIFACT} system.ClassificationMetrics@"
#: The output of the task behind one that does not tell itself how it ended.
DONE_OUTPUT = "Done"


@dataclass(eq=False)
class Placed:
    """A task of the pipeline.

    :param leaf: where it stands.
    :param task: the member it belongs to.
    :param role: ``member``: the member itself; ``gate`` decides about it; ``mark`` stands for it where it
        did not run, or tells that it has.
    :param extra: keys of the entry point's configuration that come from the place.
    :param behind_gate: a gate task waits for all that the member would wait for.
    """

    leaf: Leaf
    task: Task
    role: Literal["member", "gate", "mark"]
    extra: dict[str, Any] = field(default_factory=dict)
    behind_gate: bool = False


class Placement:
    """Places every task of a graph.

    :param graph: the graph; :param settings: merged settings of each task by id.
    """

    def __init__(self, graph: Graph, settings: Mapping[str, TaskSettings]) -> None:
        self.wiring = Wiring()
        self.wiring.stand_in = self._stand_in
        self.wiring.pass_on = self._pass_on
        self.placed: dict[str, Placed] = {}
        self._graph = graph
        self._settings = settings
        self._control = Control(graph)
        self._tasks = {task.id: task for task in graph.tasks}
        self._types = {parameter.name: parameter.type for parameter in graph.parameters}
        self._names = {task.id: task.name for task in graph.tasks}
        self._exit_task = self._find_exit_task()
        self._main = self.wiring.root
        if self._exit_task is not None:
            self._main = self.wiring.scope("exit-handler", self.wiring.root)
        self._loops = {
            loop.id: self.wiring.scope(
                "for-loop", self._main, items=self._ref(loop.items), parallelism=loop.parallelism
            )
            for loop in graph.loops
        }
        self._observed = self._find_observed()
        for task in self._in_order():
            self._place(task)
        for placed in list(self.placed.values()):
            self._order(placed)
            if self.hands_over(placed.task):
                placed.leaf.caching = False  # a result from the cache leaves no file in this job's folder
            self._link(placed)
        self.wiring.connect()

    def _in_order(self) -> list[Task]:
        """Return the running tasks, each behind those whose values or ends it looks at."""
        tasks = [self._tasks[task_id] for task_id in self._control.in_order()]
        return [task for task in tasks if task.kind is not TaskKind.EMPTY]

    # One task

    def _place(self, task: Task) -> None:
        if task is self._exit_task:
            self._place_exit(task)
            return
        scope = self._loops[task.loop] if task.loop else self._main
        gated = self._control.gated(task.id)
        tolerant = self._control.tolerant(task.id)
        if gated and not self._decides_itself(task):
            self._place_in_condition(task, scope, tolerant)
            return
        placed = self._member(task, scope)
        placed.leaf.tolerant = tolerant
        if gated:
            placed.extra["gate"] = self._gate(task.id, placed.leaf)

    def _decides_itself(self, task: Task) -> bool:
        return task.kind is TaskKind.GATE or (
            task.kind in _OURS and self._settings[task.id].custom_job is None
        )

    def _member(self, task: Task, scope: Scope) -> Placed:
        leaf = self.wiring.leaf(
            task.name,
            task.title,
            scope,
            inputs={
                name: self._ref(source, task.input_types.get(name, STRING))
                for name, source in task.inputs.items()
            },
            **_outputs(task),
            artifact_inputs={name: kind for name, kind in task.input_types.items() if is_artifact(kind)},
            defaults=self._default,
            caching=self._settings[task.id].enable_caching and task.kind is not TaskKind.GATE,
            retry=task.retry,
        )
        for output, name in task.payload.get("relay", {}).items():
            leaf.outputs[output] = self.wiring.kind_of(leaf.inputs[name], scope)
        placed = self.placed[task.name] = Placed(leaf, task, "member")
        if task.may_skip:
            placed.extra["skips"] = True
        return placed

    def _place_in_condition(self, task: Task, scope: Scope, tolerant: bool) -> None:
        condition = None if tolerant else self._simple_condition(task)
        gate = None
        if condition is None:
            gate = self._add_gate(task, scope, tolerant)
            condition = (Out(gate.leaf.key, DECISION_OUTPUT), "==", RUN)
        around = scope
        if task.id in self._observed:
            around = self.wiring.scope("condition-branches", scope)
        inside = self.wiring.scope("condition", around, condition=(*condition, False))
        if around is not scope:
            self.wiring.scope("condition", around, condition=(*condition, True))
        placed = self._member(task, inside)
        if gate is not None:
            placed.behind_gate = True
            if tolerant:
                self._relay(placed, gate)

    def _simple_condition(self, task: Task) -> tuple[Ref, str, str] | None:
        """Return the one value that decides about a task, if there is such a one."""
        upstream = task.upstream
        if task.rule != ALL_SUCCESS or task.setups or len(task.skipped_by) > 1:
            return None
        skipping = [above for above in upstream if self._control.seen_skipped(above, task.id)]
        if any(self._tasks[above].kind is TaskKind.EMPTY for above in skipping):
            return None
        if task.skipped_by:
            ((skipper, output),) = task.skipped_by
            if set(skipping) <= {skipper}:
                return Out(self._names[skipper], output), "==", RUN
            return None
        if len(skipping) != 1 or self._tasks[skipping[0]].loop != task.loop:
            return None
        return self._state_ref(skipping[0]), "!=", protocol.SKIPPED

    def _add_gate(self, task: Task, scope: Scope, tolerant: bool) -> Placed:
        leaf = self.wiring.leaf(
            f"{task.name}-gate",
            f"{task.title}-gate",
            scope,
            outputs={DECISION_OUTPUT: STRING},
            defaults=self._default,
            tolerant=tolerant,
            # It runs nothing of the author's: the same states always give the same decision.
            caching=True,
        )
        placed = self.placed[leaf.key] = Placed(leaf, task, "gate")
        placed.extra["gate"] = self._gate(task.id, leaf)
        return placed

    def _relay(self, placed: Placed, gate: Placed) -> None:
        """Take values from above by way of the gate: a condition waits for tasks that succeed alone."""
        relay = gate.extra.setdefault("relay", {})
        for name, ref in list(placed.leaf.inputs.items()):
            if not isinstance(ref, Out) or name in placed.leaf.artifact_inputs:
                continue
            taken = self._input_for(gate.leaf, name, ref)
            output = f"Relay_{taken}"
            relay[output] = taken
            gate.leaf.outputs[output] = self.wiring.kind_of(ref, gate.leaf.scope)
            # A large value is relayed as the address of a file, which may be gone when a later run asks.
            gate.leaf.caching = False
            placed.leaf.inputs[name] = Out(gate.leaf.key, output)

    def _place_exit(self, task: Task) -> None:
        """Place the teardown that is the exit task; what it takes from others comes by files."""
        handed = {
            name: self._names[source.task]
            for name, source in task.inputs.items()
            if isinstance(source, FromOutput)
        }
        kept = {name: source for name, source in task.inputs.items() if name not in handed}
        leaf = self.wiring.leaf(
            task.name,
            task.title,
            self.wiring.root,
            inputs={name: self._ref(source) for name, source in kept.items()},
            **_outputs(task),
            after_scopes=[self._main],
            tolerant=True,
            retry=task.retry,
        )
        placed = self.placed[task.name] = Placed(leaf, task, "member")
        if task.may_skip:
            placed.extra["skips"] = True
        states: dict[str, str] = {}
        for above in (*task.upstream, *task.setups):
            if self._tasks[above].setup:
                states[above] = next(
                    (name for name, known in handed.items() if known == self._names[above]),
                    f"state_of_{len(states)}",
                )
                handed[states[above]] = self._names[above]
        placed.extra["gate"] = {
            "rule": TEARDOWN_RULE,
            "states": [states[above] for above in task.upstream if above in states],
            "setup_states": [states[above] for above in task.upstream if above in states],
            "setups": [states[above] for above in task.setups if above in states],
        }
        if handed:
            placed.extra["from_handoff"] = handed

    def _find_exit_task(self) -> Task | None:
        """Find the one teardown that ends the group and can be its exit task.

        kfp's exit task takes nothing from other tasks, so states and values reach it by files, which only
        our own entry point writes, outside of loops.
        """
        followed = {above for task in self._graph.tasks for above in (*task.upstream, *task.setups)}
        last = [
            task
            for task in self._graph.tasks
            if task.teardown and task.kind is not TaskKind.EMPTY and task.id not in followed
        ]
        if len(last) != 1:
            return None
        task = last[0]
        taken = [source for source in task.inputs.values() if isinstance(source, FromOutput)]
        if any(source.output != RETURN_OUTPUT for source in taken):
            return None  # no file holds it
        needed = {source.task for source in taken}
        needed |= {above for above in (*task.upstream, *task.setups) if self._tasks[above].setup}
        if task.rule != TEARDOWN_RULE or task.loop is not None or not self._decides_itself(task):
            return None
        if task.skipped_by or any(
            self._tasks[above].kind not in (TaskKind.PYTHON, TaskKind.BASH)
            or self._tasks[above].loop is not None
            for above in needed
        ):
            return None
        if any(self._tasks[above].kind is TaskKind.EMPTY for above in (*task.upstream, *task.setups)):
            return None
        return task

    def hands_over(self, task: Task) -> bool:
        """Tell whether a task's value goes to the exit task."""
        if self._exit_task is None:
            return False
        return task.name in self.placed[self._exit_task.name].extra.get("from_handoff", {}).values()

    def _link(self, placed: Placed) -> None:
        """Let a function that takes an artifact's text have the artifact too: Vertex then shows who took it.

        Only where the service can hand it over: not out of a loop or a condition, and not to a task that
        starts after a failure.
        """
        leaf = placed.leaf
        if placed.role != "member" or self._control.tolerant(placed.task.id):
            return
        for name, ref in list(leaf.inputs.items()):
            if not isinstance(ref, Out) or not ref.output.startswith(ARTIFACT_PREFIX):
                continue
            producer, artifact = self.wiring.leaves[ref.leaf], ref.output.removeprefix(ARTIFACT_PREFIX)
            kind, taken = producer.artifacts[artifact], f"{name}_artifact"
            if kind.startswith(_LARGE) or taken in leaf.inputs:
                continue
            if producer.scope in leaf.scope.path():
                leaf.inputs[taken] = Out(ref.leaf, artifact)
                leaf.artifact_inputs[taken] = kind
                linked = self.placed[ref.leaf].extra.setdefault("linked", [])
                if artifact not in linked:
                    linked.append(artifact)

    # Edges and values

    def _order(self, placed: Placed) -> None:
        """Give a placed task its edges; those that leave a loop or a condition need a value to go by."""
        leaf, task = placed.leaf, placed.task
        if task is self._exit_task or placed.role == "mark":
            return
        if placed.behind_gate:
            return  # the condition around the task waits for the gate, and the gate for everything else
        for above in self._control.waits_for(task.id):
            self._wait(leaf, above)

    def _wait(self, leaf: Leaf, above: str) -> None:
        producer = self.wiring.leaves[self._names[above]]
        if producer.scope in leaf.scope.path():
            if producer not in leaf.after:
                leaf.after.append(producer)
            return
        around = self.wiring.outermost(producer, leaf)
        if around.kind == "for-loop":
            # kfp lets a task wait for a loop without taking what it collects.
            leaf.after_scopes.append(around)
            return
        taken = {ref.leaf for ref in leaf.inputs.values() if isinstance(ref, Out)}
        ref = self._state_ref(above)
        if not {producer.key, ref.leaf} & taken:
            self._input_for(leaf, f"after_{producer.key}", ref)

    def _gate(self, task_id: str, leaf: Leaf) -> dict[str, Any]:
        return self._named(self._control.expression(task_id), leaf)

    def _named(self, expression: Mapping[str, Any], leaf: Leaf) -> dict[str, Any]:
        """Put the names of inputs in place of tasks; a task that always ends the same way needs none."""
        gate: dict[str, Any] = {"rule": expression["rule"]}
        for key in ("states", "setup_states", "setups"):
            states = [self._state_input(state, leaf) for state in expression[key]]
            if states:
                gate[key] = states
        follow = [
            self._input_for(leaf, f"follow_{self._names[skipper]}", Out(self._names[skipper], output))
            for skipper, output in expression["follow"]
        ]
        if follow:
            gate["follow"] = follow
        return gate

    def _state_input(self, state: str | Mapping[str, Any], leaf: Leaf) -> str | dict[str, Any]:
        if not isinstance(state, str):
            told = {"of": self._state_input(state["of"], leaf)} if "of" in state else {}
            return {**self._named(state, leaf), **told}
        return self._input_for(leaf, f"state_of_{self._names[state]}", self._state_ref(state))

    def _input_for(self, leaf: Leaf, hint: str, ref: Ref) -> str:
        for name, known in leaf.inputs.items():
            if known == ref:
                return name
        name = hint.replace("-", "_")
        number = 1
        while name in leaf.inputs:
            number += 1
            name = f"{hint.replace('-', '_')}_{number}"
        leaf.inputs[name] = ref
        return name

    def _state_ref(self, task_id: str) -> Out:
        """Return where it can be read how a task ended: its own output, or that of a task right behind it."""
        task = self._tasks[task_id]
        if task.kind in (TaskKind.PYTHON, TaskKind.BASH):
            return Out(task.name, RETURN_OUTPUT)
        if task.kind is TaskKind.GATE:
            return Out(task.name, DECISION_OUTPUT)
        key = f"{task.name}-done"
        if key not in self.wiring.leaves:
            member = self.wiring.leaves[task.name]
            leaf = self.wiring.leaf(
                key,
                f"{task.title}-done",
                member.scope,
                outputs={DONE_OUTPUT: STRING},
                after=[member],
                caching=True,
            )
            self.placed[key] = Placed(leaf, task, "mark", {"outputs": {DONE_OUTPUT: _NULL}})
        return Out(key, DONE_OUTPUT)

    def _stand_in(self, scope: Scope, leaf: Leaf, output: str, kind: str) -> Leaf:
        """Return the task that writes, in place of ``leaf``, what a skipped task writes."""
        placed = self.placed[leaf.key]
        key = f"{placed.task.name}-skipped"
        marker = self.wiring.leaves.get(key)
        if marker is None:
            marker = self.wiring.leaf(key, f"{placed.task.title}-skipped", scope, caching=True)
            self.placed[key] = Placed(marker, placed.task, "mark", {"outputs": {}})
        marker.outputs[output] = kind
        self.placed[key].extra["outputs"][output] = _of_skipped(placed.task, output, kind)
        return marker

    def _pass_on(self, scope: Scope, leaf: Leaf, output: str, kind: str) -> Leaf:
        """Return a task in ``scope`` that hands on what a task in a condition, or its stand-in, wrote."""
        placed = self.placed[leaf.key]
        ending = re.sub("[^a-z0-9]+", "-", output.lower()).strip("-")
        if output not in (RETURN_OUTPUT, TEXT_OUTPUT, DONE_OUTPUT) and not output.startswith("Follow_"):
            ending = f"output-{ending}"  # the author's own name, which no other task's keeps clear of
        key, number = f"{leaf.key}-{ending}", 1
        while key in self.wiring.leaves:
            number += 1
            key = f"{leaf.key}-{ending}-{number}"
        made = self.wiring.leaf(
            key,
            f"{leaf.title}{key.removeprefix(leaf.key)}",
            scope,
            inputs={"given": Out(leaf.key, output)},
            outputs={output: kind},
        )
        self.placed[made.key] = Placed(made, placed.task, "gate", {"relay": {output: "given"}})
        return made

    def _ref(self, source: Source, kind: str = STRING) -> Ref:
        if isinstance(source, FromParameter):
            return Param(source.parameter, self._types.get(source.parameter, STRING))
        if isinstance(source, FromOutput):
            return Out(self._names[source.task], source.output)
        if isinstance(source, FromItem):
            return ItemField(source.field)
        if isinstance(source, FromConstant):
            return Const(source.text if kind == STRING else json.loads(source.text), kind)
        raise TypeError(f"not a source of a value: {source!r}")

    def _default(self, name: str, ref: Ref, kind: str) -> Any:
        """Return what an input reads when the task it comes from gave nothing."""
        if not isinstance(ref, Out):
            raise TypeError(f"{name}: found {ref!r}; allowed: an output")
        if self.wiring.leaves[ref.leaf].outputs[ref.output] != kind:
            return [protocol.FAILED]  # the outputs of a loop
        if ref.output == TEXT_OUTPUT or ref.output.startswith(URI_PREFIX):
            return _NULL
        if ref.output.startswith("Follow_"):
            return RUN
        return _ZERO.get(kind, protocol.FAILED)

    def _find_observed(self) -> set[str]:
        """Find the tasks that others wait for."""
        found: set[str] = set()
        for task in self._graph.tasks:
            if task is self._exit_task or task.kind is TaskKind.EMPTY:
                continue
            found.update(self._control.waits_for(task.id))
            found.update(source.task for source in task.inputs.values() if isinstance(source, FromOutput))
        return found


def _outputs(task: Task) -> dict[str, dict[str, str]]:
    """Return the parameters and the artifacts that a task writes, by name."""
    kinds = {name: task.output_types.get(name, STRING) for name in task.outputs}
    return {
        "outputs": {name: kind for name, kind in kinds.items() if not is_artifact(kind)},
        "artifacts": {name: kind for name, kind in kinds.items() if is_artifact(kind)},
    }


def _of_skipped(task: Task, output: str, kind: str) -> Any:
    ours = output == RETURN_OUTPUT or output.startswith(ARTIFACT_PREFIX)
    if output == DONE_OUTPUT or (ours and not task.native):
        return protocol.SKIPPED
    if output == TEXT_OUTPUT or (output.startswith(URI_PREFIX) and not task.native):
        return _NULL
    follow = task.payload.get("follow", {})
    if output in follow:
        return follow[output]["if_skipped"]
    return _ZERO.get(kind, "")
