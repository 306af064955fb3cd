"""Running again what failed and what follows it: two requests and an ended job in, the next request out.

What succeeded in the earlier job is left out of the next one's spec, so no machine is started for it and no
cache is asked; whoever needs its outputs is given the recorded ones. A unit (see
:mod:`~airflow_vertex_provider.reruns.units`: a task of the root DAG, or of the root's exit handler) is
reused if all of this holds:

- its entry is SUCCEEDED or SKIPPED (a cache hit), and so is all that is in it, conditions that were false
  aside;
- it is the same: its entry in the DAG, its component and executor with all below, its retry policy, the
  machine and the name it has, as plain data;
- the run parameters that it takes have the same values;
- all that it waits for is reused;
- what others take of it can be given to them: its parameters are recorded in their type, its artifacts are
  single ones with an address (of a list of artifacts an importer makes none).

**Never reused**

- what failed, was cancelled or not run, and tasks whose condition was false: they stay in the spec, and their
  condition is asked again, which starts nothing where it is false again;
- what depends on the job it ran in: ``{{$.pipeline_job_...}}`` or ``{{$.pipeline_task_uuid}}`` in a command
  or value, and tasks that take another one's final status;
- what takes an artifact that was given to the job as such;
- an exit task and its handler as a whole. Tasks in the handler are reused one by one, but not those that hand
  the exit task something through the job's folder (setup tasks, and tasks whose values it takes), nor what
  follows them. A handler with outputs of its own, which our compiler does not write, is one with its tasks;
- a setup task if any task that needs it runs again, see ``needs``; and, by the rule above, what follows the
  setup: what that left in a resource has gone with the teardown. A teardown that is no exit task is a task
  like any other: it follows those in its scope;
- outputs of the pipeline itself that reused tasks made: a parameter is left out of the new job's own outputs,
  since kfp writes none that is a run parameter. It stands in the merged snapshot of the task.

**Loops** that succeeded are reused as a whole. One that failed runs only the items that failed, if everything
it follows is reused and its items are ours (dicts with ``index``, told to every task in it): indexes stay
what they were. If others take what it collects, a small task, ``reused-<loop>-<output>``, joins the lists of
both jobs; it runs on a plain machine. A loop runs again as a whole where that cannot be done: where others
take artifacts, where the pipeline itself hands a list out, where an iteration that succeeded left no value.

**What no spec tells** is not looked at: the job's own settings (service account, network, ...), what has
become of an image under the same tag, and whether the files still exist that outputs are addresses of. Nor is
a job that succeeded treated otherwise: of that, a plain job is the new run.

**Chains.** The request of a rerun holds a note (:mod:`airflow_vertex_provider.reuse`), so it can be given as
the earlier request of the next rerun as the API returns it; no full spec has to be kept. Only the snapshot
must be the merged one, of :func:`airflow_vertex_provider.reuse.merged`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from airflow_vertex_provider.reruns.pruning import Part, Pruning
from airflow_vertex_provider.reruns.recorded import ABSENT, UNREADABLE, Recorded
from airflow_vertex_provider.reruns.units import Take, Unit, units_of, whole
from airflow_vertex_provider.reuse import NOTE_PARAMETER, Note, found_note, note_of
from airflow_vertex_provider.settings import TaskSettings
from airflow_vertex_provider.snapshot import JobSnapshot

NOTE_DESCRIPTION = "What this job takes over from an earlier one"
_STARTS_NOTHING = "a pipeline has at least one task"


@dataclass(frozen=True)
class Rerun:
    """The next job.

    :param spec: its PipelineSpec; :param parameter_values: its run parameters. Those of a plain job if
        nothing is reused.
    :param reused: what the service calls the tasks that will not run again: at any depth, gates and the like
        included, sub-DAGs that kfp made not.
    :param reasons: what the service calls each unit that succeeded and runs again nevertheless, to why.
    :param iterations: what the service calls a task in a loop that runs again in part, to the numbers of the
        iterations that will not.
    :param units: what the service calls the units that will not run again.
    """

    spec: dict[str, Any]
    parameter_values: dict[str, Any]
    reused: tuple[str, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    iterations: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    units: tuple[str, ...] = ()


def rerun(
    spec: Mapping[str, Any],
    values: Mapping[str, Any],
    earlier_spec: Mapping[str, Any],
    earlier_values: Mapping[str, Any],
    earlier: JobSnapshot,
    *,
    needs: Mapping[str, Sequence[str]] | None = None,
    again: Collection[str] = (),
) -> Rerun:
    """Return the job that runs again what failed in an earlier one. Runs at submit, in the worker.

    It is worked out from the arguments alone, which are not changed: the same ones give the same job.

    :param spec: what a plain new job would be asked for; :param values: its run parameters.
    :param earlier_spec: what the earlier job was asked for, as the API has it; :param earlier_values: its run
        parameters. Of a rerun its own, with their note, or what a plain job would have been asked for.
    :param earlier: how the earlier job ended; merged with what it took over, if it was a rerun itself.
    :param needs: name of a task in the service to those of its setup tasks, see
        :func:`~airflow_vertex_provider.graph.setups.setups_of`. Those of an exit task the spec tells.
    :param again: what the service calls tasks that are to run again though they succeeded.
    """
    decision = _Decision(spec, values, earlier_spec, earlier_values, earlier, needs or {}, again)
    return decision.result()


def again(
    spec: Mapping[str, Any],
    values: Mapping[str, Any],
    earlier: JobSnapshot,
    *,
    needs: Mapping[str, Sequence[str]] | None = None,
) -> Rerun:
    """Return the job that runs again what failed in one, worked out from that job alone.

    Its code and settings are what they were, so it may itself hold only part of a pipeline: what it took over
    is taken over once more. Runs wherever somebody waits for the job.

    :param spec: what the job was asked for; :param values: its run parameters, with its note if it has one.
    :param earlier: how it ended, merged with what it took over; :param needs: see :func:`rerun`.
    """
    name, note = found_note(values)
    if note is None:
        return rerun(spec, values, spec, values, earlier, needs=needs)
    spec, values = copy.deepcopy(dict(spec)), {key: values[key] for key in values if key != name}
    spec["root"].get("inputDefinitions", {}).get("parameters", {}).pop(name, None)
    found = rerun(spec, values, spec, values, earlier, needs=needs)
    _, new = found_note(found.parameter_values)
    units, partial = (new.reused, new.iterations) if new else ((), {})
    combined = Note(
        earlier.name,
        note.digests,
        (*note.reused, *units),
        {
            loop: tuple(sorted({*note.iterations.get(loop, ()), *partial.get(loop, ())}))
            for loop in sorted({*note.iterations, *partial} - set(units))
        },
    )
    inputs = found.spec["root"].setdefault("inputDefinitions", {}).setdefault("parameters", {})
    inputs[name] = {"parameterType": "STRING", "description": NOTE_DESCRIPTION}
    return replace(found, parameter_values={**found.parameter_values, name: combined.to_text()})


class _Decision:
    """What of one job is reused."""

    def __init__(
        self,
        spec: Mapping[str, Any],
        values: Mapping[str, Any],
        earlier_spec: Mapping[str, Any],
        earlier_values: Mapping[str, Any],
        earlier: JobSnapshot,
        needs: Mapping[str, Sequence[str]],
        again: Collection[str],
    ) -> None:
        self._again = frozenset(again)
        self._spec, self._values, self._earlier_values = spec, values, earlier_values
        self._earlier = earlier
        self._units = units_of(spec)
        note = note_of(earlier_values)
        self._digests = (
            note.digests
            if note is not None
            else {path: unit.digest for path, unit in units_of(earlier_spec).items()}
        )
        self._recorded = Recorded(earlier, spec.get("components", {}))
        self._takers: dict[str, list[tuple[Unit, Take]]] = {path: [] for path in self._units}
        for unit in self._units.values():
            for take in unit.takes:
                if take.producer in self._takers:
                    self._takers[take.producer].append((unit, take))
        self._needs = self._paths_needed(needs)
        #: Path of each unit that runs again, to why.
        self._why: dict[str, str] = {}

    def result(self) -> Rerun:
        for path, unit in self._units.items():
            reason = self._own_reason(unit)
            if reason:
                self._why[path] = reason
        self._settle()
        for scope in sorted({unit.scope for unit in self._units.values()}):
            inside = [path for path, unit in self._units.items() if unit.scope == scope]
            if not any(path in self._why for path in inside):
                followed = {above for path in inside for above in self._units[path].follows}
                self._why[[path for path in inside if path not in followed][-1]] = _STARTS_NOTHING
                self._settle()
        reused = [path for path in self._units if path not in self._why]
        parts = {path: part for path, unit in self._units.items() if (part := self._part_of(unit))}
        reasons = {
            self._units[path].title: why
            for path, why in self._why.items()
            if not self._units[path].handler and self._recorded.ended_well(self._units[path])
        }
        if not reused and not parts:
            return Rerun(copy.deepcopy(dict(self._spec)), dict(self._values), reasons=reasons)
        return self._written(reused, parts, reasons)

    def _written(self, reused: list[str], parts: Mapping[str, Part], reasons: dict[str, str]) -> Rerun:
        pruning = Pruning(self._spec, self._units, reused, self._recorded)
        pruning.write(parts)
        partial = {}
        for path, part in parts.items():
            left = set(_numbers(part.items))
            numbers = set(_numbers(self._items(self._units[path])))
            partial[path] = tuple(sorted(numbers - left))
        units = tuple(self._units[path].title for path in reused)
        note = Note(
            self._earlier.name,
            {path: unit.digest for path, unit in self._units.items()},
            units,
            {self._units[path].title: numbers for path, numbers in partial.items()},
        )
        pruning.parameter(NOTE_PARAMETER, "STRING", note.to_text(), NOTE_DESCRIPTION)
        return Rerun(
            pruning.spec,
            {**self._values, **pruning.values},
            tuple(sorted({name for path in reused for name in self._units[path].names})),
            reasons,
            {name: numbers for path, numbers in partial.items() for name in self._units[path].names},
            units,
        )

    # What runs again

    def _own_reason(self, unit: Unit) -> str:
        """Return why a unit runs again whatever becomes of the others."""
        if unit.handler or not self._recorded.ended_well(unit):
            return "it did not succeed"
        changed = self._changed(unit)
        if changed:
            return changed
        if not self._again.isdisjoint(unit.names):
            return "it is asked for"
        if unit.of_the_job:
            return "it depends on the job that it runs in"
        if unit.given_artifact:
            return "it takes an artifact that is given to the job"
        return ""

    def _changed(self, unit: Unit) -> str:
        if self._digests.get(unit.path) != unit.digest:
            return "its code or settings changed"
        known = self._spec["root"].get("inputDefinitions", {}).get("parameters", {})
        for name in sorted(unit.parameters):
            now, then = (
                whole(given.get(name, known.get(name, {}).get("defaultValue")))
                for given in (self._values, self._earlier_values)
            )
            if now != then or type(now) is not type(then):
                return f"takes run parameter {name!r}, whose value changed"
        return ""

    def _settle(self) -> None:
        """Find all that runs again because of others, until nothing changes."""
        settled = False
        while not settled:
            settled = True
            for path, unit in self._units.items():
                reason = "" if path in self._why else self._reason_by_others(unit)
                if reason:
                    self._why[path] = reason
                    settled = False

    def _reason_by_others(self, unit: Unit) -> str:
        for above in sorted(unit.follows):
            if above in self._why:
                return f"follows {self._called(above)}, which runs again"
        for needing, why in self._needs.get(unit.path, ()):
            if needing in self._why:
                return why
        for taker, take in self._takers[unit.path]:
            if taker.path in self._why and self._cannot_be_given(unit, take):
                return f"its output {take.output!r} cannot be taken from the earlier job"
        return ""

    def _cannot_be_given(self, unit: Unit, take: Take) -> bool:
        if take.artifact:
            return self._recorded.artifact(unit, take.output) is UNREADABLE
        value = self._recorded.parameter(unit, take.output)
        return value is UNREADABLE or (value is ABSENT and not take.optional)

    def _called(self, path: str) -> str:
        """Return what people call a unit; kfp's own sub-DAGs are called by what is in them."""
        unit = self._units.get(path)
        names = unit.names if unit is not None and unit.names else (path,)
        return f"{names[0]!r}" if len(names) == 1 else f"{names[0]!r} (with {len(names) - 1} more)"

    # Setups

    def _paths_needed(self, needs: Mapping[str, Sequence[str]]) -> dict[str, list[tuple[str, str]]]:
        """Return, for units that run again with others, those with the words for it."""
        # What runs inside a component of KFP may be called like a task of the group.
        by_name = {name: path for path, unit in self._units.items() for name in unit.names}
        by_name |= {unit.title: path for path, unit in self._units.items()}
        found: dict[str, list[tuple[str, str]]] = {}
        for name, setups in sorted(needs.items()):
            for setup in setups:
                if name in by_name and setup in by_name:
                    why = f"is a setup task of {name!r}, which runs again"
                    found.setdefault(by_name[setup], []).append((by_name[name], why))
        for unit in self._units.values():
            for key in self._handed_to(unit):
                for path, other in self._units.items():
                    if other.scope in unit.follows and key in other.keys:
                        why = f"hands {unit.title!r} something through the folder of the job"
                        found.setdefault(path, []).append((unit.path, why))
        return found

    def _handed_to(self, unit: Unit) -> list[str]:
        """Return the keys of the tasks that hand an exit task something through the job's folder.

        kfp's exit task takes nothing from others, so the entry point's configuration tells.
        """
        if not any(self._units[above].handler for above in unit.follows if above in self._units):
            return []
        executors = self._spec.get("deploymentSpec", {}).get("executors", {})
        container = executors.get(unit.component.get("executorLabel"), {}).get("container", {})
        found: dict[str, None] = {}
        for text in (*container.get("command", ()), *container.get("args", ())):
            if "from_handoff" in text:
                try:
                    config = json.loads(text)
                except ValueError:
                    continue
                if isinstance(config, dict):
                    found |= dict.fromkeys(config.get("from_handoff", {}).values())
        return list(found)

    # Loops

    def _part_of(self, unit: Unit) -> Part | None:
        """Return which part of a loop has to run again; ``None`` for all or nothing of it."""
        if unit.path not in self._why or "parameterIterator" not in unit.task:
            return None
        if self._changed(unit) or unit.of_the_job or not self._again.isdisjoint(unit.names):
            return None
        if any(above in self._why for above in unit.follows) or any(
            path in self._why for path, _ in self._needs.get(unit.path, ())
        ):
            return None
        items = self._items(unit)
        numbers = _numbers(items)
        done = self._recorded.done_iterations(unit) & set(numbers)
        taken = {take.output for _, take in self._takers[unit.path]}
        if not done or len(done) == len(numbers) or not self._can_be_joined(unit, taken):
            return None
        known = {}
        for output in taken:
            values = self._recorded.collected(unit, output, done)
            if len(values) < len(done):
                return None
            known[output] = [[values[number]] if number in done else None for number in numbers]
        left = [item for item, number in zip(items, numbers, strict=True) if number not in done]
        return Part(left, known, self._image_of(unit) if known else "")

    def _can_be_joined(self, unit: Unit, taken: set[str]) -> bool:
        """Tell whether all that is taken of a loop can be put together again from two jobs."""
        lists = unit.component.get("outputDefinitions", {}).get("parameters", {})
        outputs = json.dumps(self._spec["root"]["dag"].get("outputs", {}))
        return taken <= set(lists) and f'"producerSubtask": "{unit.key}"' not in outputs

    def _image_of(self, unit: Unit) -> str:
        """Return an image with Python: that of a plain task in the loop which runs our entry point."""
        components = self._spec.get("components", {})
        executors = self._spec.get("deploymentSpec", {}).get("executors", {})
        for task in unit.component["dag"]["tasks"].values():
            label = components[task["componentRef"]["name"]].get("executorLabel")
            container = executors.get(label, {}).get("container", {})
            if container.get("command", [])[:3] == ["python3", "-u", "-c"]:
                return str(container["image"])
        return TaskSettings().image

    def _items(self, unit: Unit) -> list[Any]:
        """Return a loop's items, the same as in the earlier job; none where it is not known."""
        channel = unit.task["parameterIterator"].get("items", {}).get("inputParameter")
        form = unit.task.get("inputs", {}).get("parameters", {}).get(channel, {})
        inner = [
            given.get("componentInputParameter")
            for task in unit.component["dag"]["tasks"].values()
            for given in task.get("inputs", {}).get("parameters", {}).values()
        ]
        if channel is None or channel in inner or form.get("parameterExpressionSelector"):
            return []
        items: Any = None
        take = next((take for take in unit.takes if take.input == channel), None)
        if take is not None and take.producer in self._units:
            items = self._recorded.parameter(self._units[take.producer], take.output)
        elif "componentInputParameter" in form:
            name = form["componentInputParameter"]
            if unit.scope:
                given = self._units[unit.scope].task["inputs"]["parameters"].get(name, {})
                name = given.get("componentInputParameter")
            items = self._values.get(name)
        return items if isinstance(items, list) else []


def _numbers(items: list[Any]) -> list[int]:
    """Return the numbers of a loop's items; nothing if they are not ours."""
    found = []
    for item in items:
        text = str(item.get("index")) if isinstance(item, Mapping) else ""
        if not text.isdigit():
            return []
        found.append(int(text))
    return found if len(set(found)) == len(found) else []
