"""What an earlier job left of its units: a snapshot in, their ends and outputs, as a run takes them, out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airflow_vertex_provider.reruns.units import Unit, title_of, whole
from airflow_vertex_provider.reuse import children_of, inside, number_of, top_entries
from airflow_vertex_provider.snapshot import JobSnapshot, TaskSnapshot
from airflow_vertex_provider.states import SUCCESSFUL_TASK_STATES, TaskState

#: The earlier job holds no such output.
ABSENT: Any = object()
#: It holds one that cannot be given to a task again.
UNREADABLE: Any = object()

#: Inside a sub-DAG that ended well: its condition was false, or it stood behind such a one.
_WELL = SUCCESSFUL_TASK_STATES | {TaskState.NOT_TRIGGERED}


class Recorded:
    """An earlier job, by units.

    :param job: its snapshot; it has ended.
    :param components: those of the new job's spec; they tell where the outputs of a sub-DAG come from.
    """

    def __init__(self, job: JobSnapshot, components: Mapping[str, Any]) -> None:
        self._components = components
        self._children = children_of(job.entries)
        #: The entries of units.
        self._top = top_entries(job.entries)

    def entry(self, unit: Unit) -> TaskSnapshot | None:
        """Return a unit's entry, ``None`` if there is none or more than one."""
        found = self._top.get(unit.title, [])
        return found[0] if len(found) == 1 else None

    def ended_well(self, unit: Unit) -> bool:
        """Tell whether a unit succeeded, with all that is in it."""
        entry = self.entry(unit)
        if entry is None or not entry.succeeded:
            return False
        found = inside(entry, self._children)
        # Should the service not say what stands in what, the names do.
        found += [other for name in unit.names if name != unit.title for other in self._top.get(name, ())]
        return all(other.state in _WELL for other in found)

    def done_iterations(self, unit: Unit) -> set[int]:
        """Return the numbers of a loop's iterations that succeeded, with all that is in them."""
        return {
            number
            for number, iteration in self._iterations(unit).items()
            if iteration.succeeded
            and all(found.state in _WELL for found in inside(iteration, self._children))
        }

    def collected(self, unit: Unit, output: str, numbers: set[int]) -> dict[int, Any]:
        """Return what iterations of a loop left for one of its lists; nothing of those that left nothing."""
        iterations = self._iterations(unit)
        values = {
            number: self._of_dag(iterations[number], unit.component["dag"], output) for number in numbers
        }
        return {
            number: value
            for number, value in values.items()
            if value is not ABSENT and value is not UNREADABLE
        }

    def _iterations(self, unit: Unit) -> dict[int, TaskSnapshot]:
        entry = self.entry(unit)
        found = {
            number_of(iteration, self._children): iteration
            for iteration in (self._children.get(entry.id, ()) if entry is not None else ())
        }
        return {number: iteration for number, iteration in found.items() if number is not None}

    # Outputs

    def parameter(self, unit: Unit, output: str) -> Any:
        """Return an output parameter in its declared type, :data:`ABSENT` or :data:`UNREADABLE`."""
        entry = self.entry(unit)
        if entry is None:
            return ABSENT
        if output not in unit.component.get("outputDefinitions", {}).get("parameters", {}):
            return UNREADABLE
        return self._value(entry, unit.task, output)

    def artifact(self, unit: Unit, output: str) -> Any:
        """Return an output artifact, ``{"uri", "metadata", "type"}``, or :data:`UNREADABLE`.

        Only what an importer can bring back: one artifact with an address, not a list of them.
        """
        entry = self.entry(unit)
        declared = unit.component.get("outputDefinitions", {}).get("artifacts", {}).get(output)
        if entry is None or declared is None or declared.get("isArtifactList"):
            return UNREADABLE
        found = self._value(entry, unit.task, output, artifact=True)
        if not isinstance(found, Mapping) or not found.get("uri"):
            return UNREADABLE
        metadata = whole(found.get("metadata") or {})
        if "{{$" in json.dumps(metadata):
            return UNREADABLE  # an importer would replace it
        return {"uri": str(found["uri"]), "metadata": metadata, "type": dict(declared["artifactType"])}

    def _value(
        self, entry: TaskSnapshot, task: Mapping[str, Any], output: str, *, artifact: bool = False
    ) -> Any:
        """Return an output as recorded, in its type; that of a sub-DAG also from what is inside."""
        component = self._components[task["componentRef"]["name"]]
        if output in entry.outputs:
            declared = component.get("outputDefinitions", {}).get("parameters", {}).get(output, {})
            value = entry.outputs[output]
            return value if artifact else typed(declared.get("parameterType", "STRING"), value)
        if "dag" not in component:
            return ABSENT
        if "parameterIterator" not in task and "artifactIterator" not in task:
            return self._of_dag(entry, component["dag"], output, artifact=artifact)
        iterations = self._children.get(entry.id, [])
        numbered = {number_of(iteration, self._children): iteration for iteration in iterations}
        if artifact or None in numbered or len(numbered) != len(iterations):
            return UNREADABLE
        values = [
            self._of_dag(numbered[number], component["dag"], output)
            for number in sorted(number for number in numbered if number is not None)
        ]
        # A gap in the list would be for the service to fill, and how it does is not known.
        return UNREADABLE if any(value is ABSENT or value is UNREADABLE for value in values) else values

    def _of_dag(
        self, entry: TaskSnapshot, dag: Mapping[str, Any], output: str, *, artifact: bool = False
    ) -> Any:
        if artifact:
            form = dag.get("outputs", {}).get("artifacts", {}).get(output, {})
            sources, key = form.get("artifactSelectors", []), "outputArtifactKey"
        else:
            form = dag.get("outputs", {}).get("parameters", {}).get(output, {})
            one = [form["valueFromParameter"]] if "valueFromParameter" in form else []
            sources = form.get("valueFromOneof", {}).get("parameterSelectors", one)
            key = "outputParameterKey"
        children = {child.name: child for child in self._children.get(entry.id, ())}
        for source in sources:
            task = dag["tasks"][source["producerSubtask"]]
            child = children.get(title_of(source["producerSubtask"], task))
            if child is not None and child.succeeded:
                return self._value(child, task, source[key], artifact=artifact)
        return ABSENT


def typed(kind: str, value: Any) -> Any:
    """Return a recorded value in the parameter type ``kind``, or :data:`UNREADABLE`.

    The record keeps numbers as doubles, and may keep a list or a dict as its JSON.
    """
    value = whole(value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(value, str) and kind != "STRING":
        try:
            value = json.loads(value)
        except ValueError:
            return UNREADABLE
        return UNREADABLE if isinstance(value, str) else typed(kind, value)
    right = {
        "STRING": isinstance(value, str),
        "NUMBER_INTEGER": isinstance(value, int) and number,
        "NUMBER_DOUBLE": number,
        "BOOLEAN": isinstance(value, bool),
        "LIST": isinstance(value, list),
        "STRUCT": isinstance(value, Mapping),
    }
    return value if right.get(kind, False) else UNREADABLE
