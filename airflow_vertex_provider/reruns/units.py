"""What of a pipeline can be run again by itself: a PipelineSpec in, its units with what each depends on out.

A unit is a task of the root DAG: a container, an importer, a loop, a condition, a pair of branches. KFP puts
everything beside an exit task into one exit handler; so where the root has such a handler, the tasks inside
are units too. All of a unit that may change its outcome is in its digest, so that two specs are compared
without keeping one of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_vertex_provider.reuse import EXIT_HANDLER
from airflow_vertex_provider.snapshot import is_scope

#: Values of the author's below these keys are compared as they are; elsewhere an empty field is no field.
_LITERAL = frozenset({"constant", "constantValue", "defaultValue", "metadata"})
#: What differs from job to job: a result that was made with it belongs to that job alone.
_OF_THE_JOB = ("{{$.pipeline_job_", "{{$.pipeline_task_uuid", '"taskFinalStatus"')


@dataclass(frozen=True)
class Take:
    """An input that comes from another unit.

    :param input: its name; :param producer: path of the unit; :param output: what it takes of that.
    :param artifact: it is an artifact; :param optional: it may be missing.
    """

    input: str
    producer: str
    output: str
    artifact: bool
    optional: bool


@dataclass(frozen=True)
class Unit:
    """A task that is reused, or runs again, as a whole.

    :param path: its key, behind that of the exit handler it stands in: ``fit``, ``exit-handler-1/fit``.
    :param scope: the exit handler's path, or empty.
    :param key: its key in its DAG; :param title: ``taskInfo.name``, by which the service calls it.
    :param task: its PipelineTaskSpec; :param component: its ComponentSpec; neither is to be changed.
    :param digest: of all that makes it what it is, run parameters' values aside.
    :param handler: it is the exit handler itself, whose tasks are units.
    :param of_the_job: it depends on the job it runs in.
    :param given_artifact: it takes an artifact that is given to the job.
    :param takes: the inputs that come from other units; :param follows: paths of all that it waits for.
    :param parameters: names of the run parameters it takes.
    :param names: what the service calls the tasks in it that run something, itself included.
    :param keys: keys of all tasks in it.
    """

    path: str
    scope: str
    key: str
    title: str
    task: Mapping[str, Any]
    component: Mapping[str, Any]
    digest: str
    handler: bool
    of_the_job: bool
    given_artifact: bool
    takes: tuple[Take, ...]
    follows: frozenset[str]
    parameters: frozenset[str]
    names: tuple[str, ...]
    keys: frozenset[str]


def title_of(key: str, task: Mapping[str, Any]) -> str:
    """Return the name by which the service calls a task."""
    return str(task.get("taskInfo", {}).get("name") or key)


def producers(task: Mapping[str, Any]) -> Iterator[tuple[str, str, str, bool]]:
    """Yield input, producer, output and whether it is an artifact, of inputs from other tasks of a DAG."""
    for group in ("parameters", "artifacts"):
        for name, form in task.get("inputs", {}).get(group, {}).items():
            if "taskOutputParameter" in form:
                wanted = form["taskOutputParameter"]
                yield name, wanted["producerTask"], wanted["outputParameterKey"], False
            elif "taskOutputArtifact" in form:
                wanted = form["taskOutputArtifact"]
                yield name, wanted["producerTask"], wanted["outputArtifactKey"], True


def units_of(spec: Mapping[str, Any]) -> dict[str, Unit]:
    """Return the units of a pipeline by path, in the order of their paths."""
    return dict(sorted(_Reader(spec).read()))


def setting(data: Any) -> Any:
    """Write a part of a spec so that it reads the same before and after the service has had it.

    The API keeps numbers as doubles, and may leave out what is empty or false.
    """
    return _plain(data, literal=False)


def whole(data: Any) -> Any:
    """Write numbers without a fraction as integers: a protobuf Value knows doubles only."""
    return _plain(data, literal=True)


def _plain(data: Any, *, literal: bool) -> Any:
    if isinstance(data, float) and data.is_integer() and abs(data) < 2**63:
        return int(data)
    if isinstance(data, Mapping):
        found = {}
        for key, value in data.items():
            kept = literal or key in _LITERAL
            written = _plain(value, literal=kept)
            if kept or written:
                found[key] = written
        return found
    if isinstance(data, list | tuple):
        return [_plain(item, literal=literal) for item in data]
    return data


def digest_of(data: Any) -> str:
    """Return a short digest of plain data: it tells changes, nobody forges it."""
    return hashlib.sha256(_text(data).encode()).hexdigest()[:16]


def _text(data: Any) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True)
class _Component:
    digest: str
    of_the_job: bool
    names: tuple[str, ...]
    keys: frozenset[str]


class _Reader:
    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._root = spec["root"]
        self._components: Mapping[str, Any] = spec.get("components", {})
        self._executors: Mapping[str, Any] = spec.get("deploymentSpec", {}).get("executors", {})
        self._known: dict[str, _Component] = {}

    def read(self) -> Iterator[tuple[str, Unit]]:
        for key, task in self._root["dag"].get("tasks", {}).items():
            unit = self._unit(key, task, None)
            yield unit.path, unit
            if unit.handler:
                for inner, its_task in unit.component["dag"]["tasks"].items():
                    found = self._unit(inner, its_task, unit)
                    yield found.path, found

    def _unit(self, key: str, task: Mapping[str, Any], around: Unit | None) -> Unit:
        name = task["componentRef"]["name"]
        component, read = self._components[name], self._component(name)
        prefix = f"{around.path}/" if around else ""
        takes, follows = [], {prefix + above for above in task.get("dependentTasks", ())}
        declared = component.get("inputDefinitions", {}).get("parameters", {})
        for taken, producer, output, artifact in producers(task):
            port = declared.get(taken, {})
            optional = bool(port.get("isOptional")) or "defaultValue" in port
            takes.append(Take(taken, prefix + producer, output, artifact, optional))
            follows.add(prefix + producer)
        channels = self._channels(task, around)
        parameters = set()
        for form in channels.values():
            if "componentInputParameter" in form:
                parameters.add(form["componentInputParameter"])
        for form in task.get("inputs", {}).get("parameters", {}).values():
            if "taskFinalStatus" in form:
                follows.add(prefix + form["taskFinalStatus"]["producerTask"])
        own = _sorted_task(task)
        known = self._root.get("inputDefinitions", {}).get("parameters", {})
        definition = {
            "task": own,
            "component": read.digest,
            # A description says nothing to the task.
            "parameters": {
                taken: {k: v for k, v in known.get(taken, {}).items() if k != "description"}
                for taken in parameters
            },
            "channels": channels if around else {},
        }
        text = _text(setting(definition))
        title = title_of(key, task)
        return Unit(
            path=prefix + key,
            scope=around.path if around else "",
            key=key,
            title=title,
            task=task,
            component=component,
            digest=digest_of(text),
            handler=around is None and self._is_handler(key, task, component),
            of_the_job=read.of_the_job or any(mark in text for mark in _OF_THE_JOB),
            given_artifact=any("componentInputArtifact" in form for form in channels.values()),
            takes=tuple(takes),
            # Whatever is inside the exit handler waits for what the handler waits for.
            follows=frozenset(follows | (set(around.follows) if around else set())),
            parameters=frozenset(parameters),
            names=_names(title, component, read),
            keys=frozenset({key, *read.keys}),
        )

    def _channels(self, task: Mapping[str, Any], around: Unit | None) -> dict[str, Any]:
        """Return what a unit takes from outside its DAG, by the name it has there, as the root writes it."""
        found: dict[str, Any] = {}
        for group, kind in (
            ("parameters", "componentInputParameter"),
            ("artifacts", "componentInputArtifact"),
        ):
            for form in task.get("inputs", {}).get(group, {}).values():
                if kind not in form:
                    continue
                name = form[kind]
                given = around.task.get("inputs", {}).get(group, {}).get(name, {}) if around else form
                found[f"{group}/{name}"] = given
        return found

    @staticmethod
    def _is_handler(key: str, task: Mapping[str, Any], component: Mapping[str, Any]) -> bool:
        plain = not any(
            task.get(field) for field in ("triggerPolicy", "parameterIterator", "artifactIterator")
        )
        dag = component.get("dag", {})
        return bool(plain and EXIT_HANDLER.fullmatch(key) and dag.get("tasks") and not dag.get("outputs"))

    def _component(self, name: str) -> _Component:
        """Read a component with all below it, each once."""
        known = self._known.get(name)
        if known is not None:
            return known
        component = self._components[name]
        # Its executor stands for the label, its components for their names: those are only references.
        written = {key: value for key, value in component.items() if key not in ("executorLabel", "dag")}
        names: dict[str, None] = {}
        keys: set[str] = set()
        below: list[_Component] = []
        if "dag" in component:
            tasks = {}
            for key, task in component["dag"].get("tasks", {}).items():
                inner = self._component(task["componentRef"]["name"])
                tasks[key] = {**_sorted_task(task), "component": inner.digest}
                inner_component = self._components[task["componentRef"]["name"]]
                names |= dict.fromkeys(_names(title_of(key, task), inner_component, inner))
                keys |= {key, *inner.keys}
                below.append(inner)
            written["dag"] = {"outputs": component["dag"].get("outputs", {}), "tasks": tasks}
        else:
            written["executor"] = self._executors.get(component.get("executorLabel", ""), {})
        text = _text(setting(written))
        of_the_job = any(mark in text for mark in _OF_THE_JOB) or any(item.of_the_job for item in below)
        made = _Component(digest_of(text), of_the_job, tuple(names), frozenset(keys))
        self._known[name] = made
        return made


def _sorted_task(task: Mapping[str, Any]) -> dict[str, Any]:
    own = {key: value for key, value in task.items() if key != "componentRef"}
    if "dependentTasks" in own:
        own["dependentTasks"] = sorted(own["dependentTasks"])
    return own


def _names(title: str, component: Mapping[str, Any], read: _Component) -> tuple[str, ...]:
    """Return the names of a task and of those inside it, without those of the sub-DAGs that kfp makes."""
    made_by_kfp = "dag" in component and is_scope(title, "", has_container=False)
    return tuple(_unique([] if made_by_kfp else [title], read.names))


def _unique(*names: Iterable[str]) -> Iterator[str]:
    yield from dict.fromkeys(name for some in names for name in some)
