"""Wiring: tasks placed in nested DAGs and the values they take in, DagSpecs with every channel out.

KFP lets a value cross the border of a loop or a condition only through declared inputs and outputs of the
component around it. Here that is done for any pair of tasks, with the names and forms that kfp's compiler
writes: ``pipelinechannel--<task>-<output>`` on the way in and out, a list on the way out of a loop, one of
two on the way out of a pair of conditions.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from airflow_vertex_provider.graph.component_spec import artifact_spec
from airflow_vertex_provider.graph.model import Retry

ScopeKind = Literal["root", "exit-handler", "for-loop", "condition-branches", "condition"]
#: What kfp's parameter types are called where nothing else is said.
STRING = "STRING"
COMPLETED = "ALL_UPSTREAM_TASKS_COMPLETED"
#: Longest back-off between two attempts, in seconds (L16).
MAX_BACKOFF = 3600


@dataclass(frozen=True)
class Param:
    """The run parameter ``name``, of the type ``kind``."""

    name: str
    kind: str = STRING


@dataclass(frozen=True)
class Const:
    """A value that stands in the spec."""

    value: Any
    kind: str = STRING


@dataclass(frozen=True)
class ItemField:
    """A field of the item of the loop around the task."""

    field: str


@dataclass(frozen=True)
class Out:
    """The output ``output`` of the task with the key ``leaf``."""

    leaf: str
    output: str


Ref = Param | Const | ItemField | Out


@dataclass(eq=False)
class Leaf:
    """A task with a component of its own.

    :param key: key in its DAG.
    :param title: ``taskInfo.name``, by which the service calls it.
    :param scope: the DAG it stands in.
    :param inputs: input name to where its value comes from.
    :param outputs: name to type of the parameters it writes.
    :param artifacts: name to artifact type of the artifacts it writes; :param artifact_inputs: likewise in.
    :param after: tasks that must have ended first, besides those it takes values from; :param after_scopes:
        likewise loops, and the exit handler.
    :param defaults: what an input reads when the task it comes from gave nothing.
    :param tolerant: start when all above have ended, in whatever state.
    """

    key: str
    title: str
    scope: Scope
    inputs: dict[str, Ref] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    artifacts: dict[str, str] = field(default_factory=dict)
    artifact_inputs: dict[str, str] = field(default_factory=dict)
    after: list[Leaf] = field(default_factory=list)
    after_scopes: list[Scope] = field(default_factory=list)
    defaults: Callable[[str, Ref, str], Any] | None = None
    tolerant: bool = False
    caching: bool = False
    retry: Retry | None = None
    depends: set[str] = field(default_factory=set)
    written: dict[str, dict[str, Any]] = field(default_factory=dict)
    input_types: dict[str, str] = field(default_factory=dict)


@dataclass(eq=False)
class Scope:
    """A DAG: the whole pipeline, or one task of another DAG.

    :param condition: what must hold for it to run: a value, ``==`` or ``!=``, a text, and whether negated.
    :param items: the list a loop runs over; :param parallelism: how many at once, 0 for no limit.
    """

    kind: ScopeKind
    key: str = ""
    parent: Scope | None = None
    condition: tuple[Ref, str, str, bool] | None = None
    items: Ref | None = None
    parallelism: int = 0
    scopes: list[Scope] = field(default_factory=list)
    leaves: list[Leaf] = field(default_factory=list)
    depends: set[str] = field(default_factory=set)
    inputs: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    outputs: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    item: str = ""
    artifact_inputs: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)

    def path(self) -> list[Scope]:
        """Return the scopes from the root down to this one."""
        above = self.parent.path() if self.parent else []
        return [*above, self]


class Wiring:
    """Connects the tasks of one pipeline."""

    def __init__(self) -> None:
        self.root = Scope("root")
        self.leaves: dict[str, Leaf] = {}
        self._count = 0
        self._one_of: dict[tuple[str, str], str] = {}
        self._passed_on: dict[tuple[str, str], Leaf] = {}
        #: Both are set by who places the tasks, and take a DAG, a task, one of its outputs and its type.
        #: The first makes the task that writes that output where the other is not run, the second one that
        #: hands it on.
        self.stand_in: Callable[[Scope, Leaf, str, str], Leaf] | None = None
        self.pass_on: Callable[[Scope, Leaf, str, str], Leaf] | None = None

    def scope(self, kind: ScopeKind, parent: Scope, **more: Any) -> Scope:
        """Open a DAG inside another one, numbered as kfp does."""
        self._count += 1
        made = Scope(kind, f"{kind}-{self._count}", parent, **more)
        parent.scopes.append(made)
        return made

    def leaf(self, key: str, title: str, scope: Scope, **more: Any) -> Leaf:
        """Put a task into a DAG."""
        made = Leaf(key, title, scope, **more)
        scope.leaves.append(made)
        self.leaves[key] = made
        return made

    def connect(self) -> None:
        """Give every task its inputs and edges, and every DAG the channels that these need."""
        for scope in self._all_scopes():
            self._connect_scope(scope)
        for leaf in list(self.leaves.values()):
            self.connect_leaf(leaf)

    def connect_leaf(self, leaf: Leaf) -> None:
        """Give one task its inputs and edges; for a task that was made while others were connected."""
        if leaf.written:
            return
        for name, ref in leaf.inputs.items():
            kind = self._write_input(leaf, name, ref)
            leaf.input_types[name] = kind
        for above in leaf.after:
            home = _common(leaf.scope, above.scope)
            if above.scope is not home:
                raise ValueError(f"{leaf.key}: found an edge from {above.key} in {above.scope.key}")
            _depend(leaf, home, above.key)
        for scope in leaf.after_scopes:
            _depend(leaf, scope.parent or self.root, scope.key)

    def outermost(self, leaf: Leaf, other: Leaf) -> Scope:
        """Return the outermost DAG around ``leaf`` that ``other`` does not stand in."""
        home = _common(leaf.scope, other.scope)
        found = _child(home, leaf.scope)
        if found is None:
            raise ValueError(f"{leaf.key}: found in the same DAG as {other.key}")
        return found

    def kind_of(self, ref: Ref, scope: Scope) -> str:
        """Return the type of a value as a task in ``scope`` sees it."""
        if isinstance(ref, Param | Const):
            return ref.kind
        if isinstance(ref, ItemField):
            return STRING
        leaf = self.leaves[ref.leaf]
        home = _common(scope, leaf.scope)
        inside = leaf.scope.path()[len(home.path()) :]
        looped = any(above.kind == "for-loop" for above in inside)
        return "LIST" if looped else leaf.outputs[ref.output]

    def _all_scopes(self) -> Iterator[Scope]:
        pending = [self.root]
        while pending:
            scope = pending.pop(0)
            pending.extend(scope.scopes)
            yield scope

    def _connect_scope(self, scope: Scope) -> None:
        if scope.items is not None and scope.parent is not None:
            form, _ = self._source(scope.items, scope)
            chan = form["componentInputParameter"]
            scope.item = f"{chan}-loop-item"
        if scope.condition is not None:
            self._source(scope.condition[0], scope)

    def _write_input(self, leaf: Leaf, name: str, ref: Ref) -> str:
        if isinstance(ref, Out) and name in leaf.artifact_inputs:
            leaf.written[name], kind = self._artifact(ref, leaf)
            return kind
        leaf.written[name], kind = self._source(ref, leaf.scope, leaf)
        return kind

    def _artifact(self, ref: Out, leaf: Leaf) -> tuple[dict[str, Any], str]:
        """Return how an artifact is written for a task in its producer's DAG or one inside that."""
        producer = self.leaves[ref.leaf]
        home = producer.scope
        if home not in leaf.scope.path():
            raise ValueError(f"{leaf.key}: found the artifact {ref.output} from {home.key}")
        (_child(home, leaf.scope) or leaf).depends.add(producer.key)
        kind = producer.artifacts[ref.output]
        channel = f"pipelinechannel--{producer.key}-{ref.output}"
        form: dict[str, Any] = {
            "taskOutputArtifact": {"producerTask": producer.key, "outputArtifactKey": ref.output}
        }
        for inner in leaf.scope.path()[len(home.path()) :]:
            inner.artifact_inputs.setdefault(channel, (kind, form))
            form = {"componentInputArtifact": channel}
        return form, kind

    def _source(self, ref: Ref, scope: Scope, leaf: Leaf | None = None) -> tuple[dict[str, Any], str]:
        """Return how a value is written for a task in ``scope``, or for ``scope`` itself, and its type."""
        kind = self.kind_of(ref, scope if leaf else scope.parent or scope)
        if isinstance(ref, Const):
            return {"runtimeValue": {"constant": ref.value}}, kind
        if isinstance(ref, ItemField):
            return self._item(ref, scope), kind
        form: dict[str, Any] = {}
        if isinstance(ref, Param):
            home, channel = self.root, f"pipelinechannel--{ref.name}"
            form = {"componentInputParameter": ref.name}
        else:
            producer = self.leaves[ref.leaf]
            home = _common(scope if leaf else scope.parent or scope, producer.scope)
            key, name = self._climb(producer, ref.output, home)
            form = {"taskOutputParameter": {"producerTask": key, "outputParameterKey": name}}
            channel = f"pipelinechannel--{key}-{name}"
            if key.startswith("for-loop-"):
                channel = name
            below = _child(home, scope)
            (below or leaf or scope).depends.add(key)
        return self._descend(home, scope, channel, kind, form), kind

    def _item(self, ref: ItemField, scope: Scope) -> dict[str, Any]:
        loop = next(above for above in reversed(scope.path()) if above.kind == "for-loop")
        form = self._descend(loop, scope, loop.item, "STRUCT", {"componentInputParameter": loop.item})
        return {**form, "parameterExpressionSelector": f'parseJson(string_value)["{ref.field}"]'}

    def _descend(
        self, home: Scope, scope: Scope, channel: str, kind: str, form: dict[str, Any]
    ) -> dict[str, Any]:
        for inner in scope.path()[len(home.path()) :]:
            inner.inputs.setdefault(channel, (kind, form))
            form = {"componentInputParameter": channel}
        return form

    def _climb(self, leaf: Leaf, output: str, home: Scope) -> tuple[str, str]:
        """Declare an output on every DAG between a task and ``home``; return the task there and its name."""
        leaf = self._out_of_conditions(leaf, output, home)
        key, name, kind, scope = leaf.key, output, leaf.outputs[output], leaf.scope
        while scope is not home:
            if scope.kind == "condition-branches":
                name = self._either(scope, key, name, leaf, output, kind)
            else:
                outer = name if name.startswith("pipelinechannel--") else f"pipelinechannel--{key}-{name}"
                if scope.kind == "for-loop":
                    kind = "LIST"
                scope.outputs.setdefault(
                    outer,
                    (kind, {"valueFromParameter": {"outputParameterKey": name, "producerSubtask": key}}),
                )
                name = outer
            key = scope.key
            if scope.parent is None:
                raise ValueError(f"{leaf.key}: found no common DAG with who takes its output")
            scope = scope.parent
        return key, name

    def _out_of_conditions(self, leaf: Leaf, output: str, home: Scope) -> Leaf:
        """Return who gives a task's output to the outside of a loop: kfp collects nothing of conditions."""
        between = leaf.scope.path()[len(home.path()) :]
        kinds = [scope.kind for scope in between]
        if "for-loop" not in kinds or "condition-branches" not in kinds:
            return leaf
        if (leaf.key, output) not in self._passed_on:
            if self.pass_on is None:
                raise ValueError(f"{leaf.key}: found nobody to hand its output on")
            branches = between[kinds.index("condition-branches")]
            made = self.pass_on(branches.parent or home, leaf, output, leaf.outputs[output])
            self._passed_on[leaf.key, output] = made
            self.connect_leaf(made)
        return self._passed_on[leaf.key, output]

    def _either(self, branches: Scope, key: str, name: str, leaf: Leaf, output: str, kind: str) -> str:
        """Declare one output of two conditions, of which exactly one runs."""
        known = self._one_of.get((leaf.key, output))
        if known is not None:
            return known
        if self.stand_in is None:
            raise ValueError(f"{branches.key}: found nobody to stand in for {leaf.key}")
        other = next(scope for scope in branches.scopes if scope.key != key)
        marker = self.stand_in(other, leaf, output, kind)
        other_key, other_name = self._climb(marker, output, branches)
        number = 1 + sum(1 for one in branches.outputs)
        made = f"pipelinechannel--{branches.key}-oneof-{number}"
        branches.outputs[made] = (
            kind,
            {
                "valueFromOneof": {
                    "parameterSelectors": [
                        {"outputParameterKey": name, "producerSubtask": key},
                        {"outputParameterKey": other_name, "producerSubtask": other_key},
                    ]
                }
            },
        )
        self._one_of[leaf.key, output] = made
        return made

    # Writing

    def dag(self, scope: Scope) -> dict[str, Any]:
        """Return the DagSpec of a scope."""
        tasks = {leaf.key: self._task(leaf) for leaf in scope.leaves}
        tasks |= {inner.key: self._scope_task(inner) for inner in scope.scopes}
        outputs = {name: form for name, (_, form) in sorted(scope.outputs.items())}
        return {
            **({"outputs": {"parameters": outputs}} if outputs else {}),
            "tasks": dict(sorted(tasks.items())),
        }

    def components(self) -> dict[str, dict[str, Any]]:
        """Return the components of all DAGs below the root."""
        made = {}
        for scope in self._all_scopes():
            if scope.parent is None:
                continue
            inputs = {name: {"parameterType": kind} for name, (kind, _) in scope.inputs.items()}
            if scope.item:
                inputs[scope.item] = {"parameterType": "STRUCT"}
            outputs = {name: {"parameterType": kind} for name, (kind, _) in scope.outputs.items()}
            artifacts = {name: kind for name, (kind, _) in scope.artifact_inputs.items()}
            made[f"comp-{scope.key}"] = {
                "dag": self.dag(scope),
                **_definitions("inputDefinitions", dict(sorted(inputs.items())), artifacts),
                **({"outputDefinitions": {"parameters": dict(sorted(outputs.items()))}} if outputs else {}),
            }
        return made

    def _task(self, leaf: Leaf) -> dict[str, Any]:
        spec: dict[str, Any] = {
            "cachingOptions": {"enableCache": True} if leaf.caching else {},
            "componentRef": {"name": f"comp-{leaf.key}"},
            "taskInfo": {"name": leaf.title},
        }
        if leaf.depends:
            spec["dependentTasks"] = sorted(leaf.depends)
        inputs: dict[str, Any] = {}
        for name, form in sorted(leaf.written.items()):
            group = "artifacts" if name in leaf.artifact_inputs else "parameters"
            inputs.setdefault(group, {})[name] = form
        if inputs:
            spec["inputs"] = inputs
        if leaf.retry is not None and leaf.retry.max_retry_count > 0:
            spec["retryPolicy"] = _retry_policy(leaf.retry)
        if leaf.tolerant and leaf.depends:
            spec["triggerPolicy"] = {"strategy": COMPLETED}
        return spec

    def _scope_task(self, scope: Scope) -> dict[str, Any]:
        spec: dict[str, Any] = {
            "componentRef": {"name": f"comp-{scope.key}"},
            "taskInfo": {"name": scope.key},
        }
        if scope.depends:
            spec["dependentTasks"] = sorted(scope.depends)
        taken: dict[str, Any] = {}
        for group, given in (("parameters", scope.inputs), ("artifacts", scope.artifact_inputs)):
            if given:
                taken[group] = {name: form for name, (_, form) in sorted(given.items())}
        if taken:
            spec["inputs"] = taken
        if scope.condition is not None:
            spec["triggerPolicy"] = {"condition": self._condition(scope, *scope.condition)}
        if scope.kind == "for-loop":
            spec["parameterIterator"] = {
                "itemInput": scope.item,
                "items": {"inputParameter": scope.item.removesuffix("-loop-item")},
            }
            if scope.parallelism:
                spec["iteratorPolicy"] = {"parallelismLimit": scope.parallelism}
        return spec

    def _condition(self, scope: Scope, ref: Ref, operator: str, text: str, negated: bool) -> str:
        form, _ = self._source(ref, scope)
        quoted = text if "'" not in text else json.dumps(text)
        written = f"inputs.parameter_values['{form['componentInputParameter']}'] {operator} '{quoted}'"
        return f"!({written})" if negated else written


def _common(one: Scope, other: Scope) -> Scope:
    """Return the innermost DAG that both stand in."""
    common = None
    for left, right in zip(one.path(), other.path(), strict=False):
        if left is not right:
            break
        common = left
    if common is None:
        raise ValueError("found two pipelines")
    return common


def _child(home: Scope, scope: Scope) -> Scope | None:
    """Return the DAG directly inside ``home`` on the way to ``scope``, or ``None`` if they are the same."""
    below = scope.path()[len(home.path()) :]
    return below[0] if below else None


def _depend(leaf: Leaf, home: Scope, key: str) -> None:
    (_child(home, leaf.scope) or leaf).depends.add(key)


def component_ports(leaf: Leaf) -> dict[str, Any]:
    """Return the inputs and outputs of a task's component, for a task whose component is ours."""
    inputs: dict[str, Any] = {}
    for name, kind in sorted(leaf.input_types.items()):
        if name in leaf.artifact_inputs:
            continue
        inputs[name] = {"parameterType": kind}
        ref = leaf.inputs[name]
        if leaf.tolerant and leaf.defaults is not None and isinstance(ref, Out):
            inputs[name] |= {"defaultValue": leaf.defaults(name, ref, kind), "isOptional": True}
    outputs = {name: {"parameterType": kind} for name, kind in sorted(leaf.outputs.items())}
    return {
        **_definitions("inputDefinitions", inputs, leaf.artifact_inputs),
        **_definitions("outputDefinitions", outputs, leaf.artifacts),
    }


def _definitions(
    side: str, parameters: Mapping[str, Any], artifacts: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Write the inputs or the outputs of a component."""
    groups = {
        "artifacts": {name: artifact_spec(kind) for name, kind in sorted(artifacts.items())},
        "parameters": parameters,
    }
    found = {group: dict(ports) for group, ports in groups.items() if ports}
    return {side: found} if found else {}


def _retry_policy(retry: Retry) -> dict[str, Any]:
    """Write a retry policy as kfp does: whole seconds, here rounded up, and no longer than L16 allows."""
    return {
        "maxRetryCount": retry.max_retry_count,
        "backoffDuration": f"{math.ceil(retry.backoff_duration)}s",
        "backoffFactor": float(retry.backoff_factor),
        "backoffMaxDuration": f"{min(math.ceil(retry.backoff_max_duration), MAX_BACKOFF)}s",
    }
