"""Leaving out what ran before: a PipelineSpec and the units to reuse in, the spec of what is left out.

What a remaining task takes from one that is left out becomes a run parameter, or the artifact of an importer:
shapes that kfp's compiler writes (design rule 2).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_vertex_provider.reruns.recorded import ABSENT, Recorded
from airflow_vertex_provider.reruns.units import Unit, title_of

#: What kfp calls the output of an importer, and its input.
_ARTIFACT, _URI = "artifact", "uri"
#: The inputs of a task that joins what two jobs collected, and its output.
_KNOWN, _NEW, _JOINED = "known", "new", "joined"
#: What such a task does: a place that is known keeps its value, the others get the new ones in order.
_JOIN = f"""\
import json, os, sys
given = json.loads(sys.argv[1])
values = given["inputs"]["parameterValues"]
known, new = values["{_KNOWN}"], values["{_NEW}"]
if known.count(None) != len(new):
    sys.exit("%d values were collected of %d instances" % (len(new), known.count(None)))
new = iter(new)
joined = [next(new) if value is None else value[0] for value in known]
path = given["outputs"]["outputFile"]
os.makedirs(os.path.dirname(path), exist_ok=True)
with open(path, "w") as file:
    json.dump({{"parameterValues": {{"{_JOINED}": joined}}}}, file)
"""


@dataclass(frozen=True)
class Part:
    """What a loop still has to run.

    :param items: the items that are left.
    :param known: output to its list with ``[value]`` where the earlier job has it and ``None`` elsewhere.
    :param image: of a container with Python.
    """

    items: list[Any]
    known: Mapping[str, list[Any]] = field(default_factory=dict)
    image: str = ""


class Pruning:
    """Writes the spec of a job that runs only a part of a pipeline.

    :param spec: the whole pipeline; it is not changed.
    :param units: its units by path; :param reused: paths of those to leave out.
    :param recorded: the job that ran them.
    """

    def __init__(
        self, spec: Mapping[str, Any], units: Mapping[str, Unit], reused: Collection[str], recorded: Recorded
    ) -> None:
        self.spec: dict[str, Any] = copy.deepcopy(dict(spec))
        #: Run parameters that the job has beside those of the whole pipeline.
        self.values: dict[str, Any] = {}
        self._units = units
        self._reused = reused
        self._recorded = recorded
        self._given: dict[tuple[str, str], str] = {}
        self._importers: dict[tuple[str, str], str] = {}
        self._keys = set(_keys(spec))

    def write(self, parts: Mapping[str, Part]) -> None:
        """Leave out the units, and give the others what they take of them.

        :param parts: path of a loop that runs in part, to which.
        """
        joined = {
            (path, output): self._join(self._units[path], output, part)
            for path, part in parts.items()
            for output in sorted(part.known)
        }
        for path, unit in self._units.items():
            if path not in self._reused:
                self._rewire(unit, parts.get(path), joined)
        self._root_outputs()
        for path in self._reused:
            del self._dag(self._units[path].scope)["tasks"][self._units[path].key]
        for scope in {unit.scope for unit in self._units.values()}:
            dag = self._dag(scope)
            dag["tasks"] = dict(sorted(dag["tasks"].items()))
        self._drop_unused()

    def parameter(self, hint: str, kind: str, value: Any, description: str) -> str:
        """Add a run parameter and return its name: ``hint``, with a number where that is taken."""
        inputs = self.spec["root"].setdefault("inputDefinitions", {})
        known = inputs.setdefault("parameters", {})
        name = _free(re.sub(r"[^A-Za-z0-9_]", "_", hint), known, "_")
        known[name] = {"parameterType": kind, "description": description}
        inputs["parameters"] = dict(sorted(known.items()))
        self.values[name] = value
        return name

    # Inputs

    def _rewire(self, unit: Unit, part: Part | None, joined: Mapping[tuple[str, str], str]) -> None:
        task = self._dag(unit.scope)["tasks"][unit.key]
        channel = self._restrict(unit, task, part.items) if part is not None else ""
        after = [
            name for name in task.get("dependentTasks", ()) if self._path(unit, name) not in self._reused
        ]
        for take in unit.takes:
            if (take.producer, take.output) in joined:
                joining = joined[take.producer, take.output]
                task["inputs"]["parameters"][take.input]["taskOutputParameter"] = {
                    "producerTask": joining,
                    "outputParameterKey": _JOINED,
                }
                after.append(joining)
            if take.producer not in self._reused or take.input == channel:
                continue
            producer = self._units[take.producer]
            if take.artifact:
                importer = self._importer(producer, take.output)
                task["inputs"]["artifacts"][take.input] = {
                    "taskOutputArtifact": {"producerTask": importer, "outputArtifactKey": _ARTIFACT}
                }
                after.append(importer)
                continue
            name = self._value_of(producer, take.output)
            if name is None:
                del task["inputs"]["parameters"][take.input]
                continue
            form = task["inputs"]["parameters"][take.input]
            del form["taskOutputParameter"]
            form["componentInputParameter"] = self._inside(unit.scope, name)
        self._set_after(task, after)

    def _set_after(self, task: dict[str, Any], after: list[str]) -> None:
        task.pop("dependentTasks", None)
        if after:
            task["dependentTasks"] = sorted(set(after))
        elif "triggerPolicy" in task:
            # kfp writes a strategy only for a task that waits for others.
            task["triggerPolicy"].pop("strategy", None)
            if not task["triggerPolicy"]:
                del task["triggerPolicy"]

    def _restrict(self, unit: Unit, task: dict[str, Any], left: list[Any]) -> str:
        """Let a loop run over some of its items, and return the name of the input that holds them."""
        channel = str(task["parameterIterator"]["items"]["inputParameter"])
        name = self.parameter(
            f"reused_{unit.key}_items", "LIST", left, f"The items of {unit.title!r} that are left to run"
        )
        task["inputs"]["parameters"][channel] = {"componentInputParameter": self._inside(unit.scope, name)}
        return channel

    def _value_of(self, producer: Unit, output: str) -> str | None:
        """Return the run parameter that holds a recorded output, ``None`` if the task left none."""
        if (producer.path, output) not in self._given:
            value = self._recorded.parameter(producer, output)
            if value is ABSENT:
                return None
            declared = producer.component["outputDefinitions"]["parameters"][output]
            self._given[producer.path, output] = self.parameter(
                f"reused_{producer.key}_{output}",
                declared.get("parameterType", "STRING"),
                value,
                f"Output {output!r} of {producer.title!r}, which an earlier job ran",
            )
        return self._given[producer.path, output]

    def _inside(self, scope: str, name: str) -> str:
        """Return what a run parameter is called in a DAG; an exit handler is given it first."""
        if not scope:
            return name
        handler = self._units[scope]
        channel = f"pipelinechannel--{name}"
        task = self.spec["root"]["dag"]["tasks"][handler.key]
        given = task.setdefault("inputs", {}).setdefault("parameters", {})
        given[channel] = {"componentInputParameter": name}
        task["inputs"]["parameters"] = dict(sorted(given.items()))
        kind = self.spec["root"]["inputDefinitions"]["parameters"][name]["parameterType"]
        component = self.spec["components"][task["componentRef"]["name"]]
        ports = component.setdefault("inputDefinitions", {}).setdefault("parameters", {})
        ports[channel] = {"parameterType": kind}
        component["inputDefinitions"]["parameters"] = dict(sorted(ports.items()))
        return channel

    def _importer(self, producer: Unit, output: str) -> str:
        """Return the key of the importer that brings a recorded artifact back, in its producer's DAG."""
        if (producer.path, output) in self._importers:
            return self._importers[producer.path, output]
        found = self._recorded.artifact(producer, output)
        what = f"artifact {output!r} of {producer.title!r}, which an earlier job ran"
        uri = self.parameter(f"reused_{producer.key}_{output}_uri", "STRING", found["uri"], f"URI of {what}")
        key = self._key(f"reused-{producer.key}-{output}")
        self._importers[producer.path, output] = key
        self.spec["components"][f"comp-{key}"] = {
            "executorLabel": f"exec-{key}",
            "inputDefinitions": {"parameters": {_URI: {"parameterType": "STRING"}}},
            "outputDefinitions": {"artifacts": {_ARTIFACT: {"artifactType": found["type"]}}},
        }
        self.spec["deploymentSpec"]["executors"][f"exec-{key}"] = {
            "importer": {
                "artifactUri": {"runtimeParameter": _URI},
                **({"metadata": found["metadata"]} if found["metadata"] else {}),
                "typeSchema": dict(found["type"]),
            }
        }
        self._dag(producer.scope)["tasks"][key] = {
            "cachingOptions": {"enableCache": True},
            "componentRef": {"name": f"comp-{key}"},
            "inputs": {"parameters": {_URI: {"componentInputParameter": self._inside(producer.scope, uri)}}},
            "taskInfo": {"name": key},
        }
        return key

    def _join(self, loop: Unit, output: str, part: Part) -> str:
        """Return the key of the task that puts a loop's list together from both jobs."""
        what = output.removeprefix("pipelinechannel--")
        known = self.parameter(
            f"reused_{loop.key}_{what}",
            "LIST",
            part.known[output],
            f"What {loop.title!r} collected of {what!r} in an earlier job",
        )
        key = self._key(f"reused-{loop.key}-{what}")
        lists = {"parameterType": "LIST"}
        self.spec["components"][f"comp-{key}"] = {
            "executorLabel": f"exec-{key}",
            "inputDefinitions": {"parameters": {_KNOWN: lists, _NEW: dict(lists)}},
            "outputDefinitions": {"parameters": {_JOINED: dict(lists)}},
        }
        self.spec["deploymentSpec"]["executors"][f"exec-{key}"] = {
            "container": {
                "image": part.image,
                "command": ["python3", "-u", "-c", _JOIN],
                "args": ["{{$}}"],
            }
        }
        self._dag(loop.scope)["tasks"][key] = {
            "cachingOptions": {},
            "componentRef": {"name": f"comp-{key}"},
            "dependentTasks": [loop.key],
            "inputs": {
                "parameters": {
                    _KNOWN: {"componentInputParameter": self._inside(loop.scope, known)},
                    _NEW: {"taskOutputParameter": {"producerTask": loop.key, "outputParameterKey": output}},
                }
            },
            "taskInfo": {"name": key},
        }
        return key

    def _key(self, hint: str) -> str:
        """Return a key for a task that no task, component or executor has."""
        key = _free(re.sub("[^a-z0-9]+", "-", hint.lower()).strip("-"), self._keys, "-")
        self._keys.add(key)
        return key

    # The rest of the spec

    def _root_outputs(self) -> None:
        """Keep the pipeline's outputs that are still made; kfp writes none that is a run parameter."""
        root = self.spec["root"]
        outputs = root["dag"].get("outputs", {})
        parameters, artifacts = outputs.get("parameters", {}), outputs.get("artifacts", {})
        for name, form in list(parameters.items()):
            one = [form["valueFromParameter"]] if "valueFromParameter" in form else []
            sources = form.get("valueFromOneof", {}).get("parameterSelectors", one)
            if any(source["producerSubtask"] in self._reused for source in sources):
                del parameters[name]
        for name, form in list(artifacts.items()):
            for source in form.get("artifactSelectors", []):
                producer = self._units[source["producerSubtask"]]
                if producer.path not in self._reused:
                    continue
                if not isinstance(self._recorded.artifact(producer, source["outputArtifactKey"]), dict):
                    del artifacts[name]
                    break
                source["producerSubtask"] = self._importer(producer, source["outputArtifactKey"])
                source["outputArtifactKey"] = _ARTIFACT
        for group, kept in (("parameters", parameters), ("artifacts", artifacts)):
            declared = root.get("outputDefinitions", {}).get(group, {})
            for name in set(declared) - set(kept):
                del declared[name]
        for owner, part in ((root["dag"], "outputs"), (root, "outputDefinitions")):
            groups = {group: ports for group, ports in owner.get(part, {}).items() if ports}
            owner.pop(part, None)
            if groups:
                owner[part] = groups

    def _drop_unused(self) -> None:
        """Drop the components and executors that nothing refers to any more."""
        components = self.spec["components"]
        used: dict[str, None] = {}
        pending = [self.spec["root"]["dag"]]
        while pending:
            for task in pending.pop()["tasks"].values():
                name = task["componentRef"]["name"]
                if name not in used:
                    used[name] = None
                    if "dag" in components[name]:
                        pending.append(components[name]["dag"])
        labels = {components[name].get("executorLabel") for name in used}
        executors = self.spec["deploymentSpec"]["executors"]
        self.spec["components"] = {name: components[name] for name in sorted(used)}
        self.spec["deploymentSpec"]["executors"] = {
            label: executors[label] for label in sorted(executors) if label in labels
        }

    def _dag(self, scope: str) -> dict[str, Any]:
        root: dict[str, Any] = self.spec["root"]["dag"]
        if not scope:
            return root
        name = root["tasks"][scope]["componentRef"]["name"]
        dag: dict[str, Any] = self.spec["components"][name]["dag"]
        return dag

    @staticmethod
    def _path(unit: Unit, key: str) -> str:
        return f"{unit.scope}/{key}" if unit.scope else key


def _keys(spec: Mapping[str, Any]) -> Iterator[str]:
    """Yield every key and every name of a task, and what the names of its component and executor tell."""
    for item in (spec["root"], *spec.get("components", {}).values()):
        for key, task in item.get("dag", {}).get("tasks", {}).items():
            yield from (key, title_of(key, task))
    for name in (*spec.get("components", {}), *spec.get("deploymentSpec", {}).get("executors", {})):
        yield name.partition("-")[2]


def _free(hint: str, taken: Collection[str], mark: str) -> str:
    name, number = hint, 1
    while name in taken:
        number += 1
        name = f"{hint}{mark}{number}"
    return name
