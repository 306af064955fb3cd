"""What the engine runs: plain values read from a PipelineSpec in, the same with types and names out.

:mod:`~airflow_vertex_provider.emulator.spec` makes these from the JSON that kfp's compiler writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_vertex_provider.emulator.conditions import Condition
from airflow_vertex_provider.emulator.selectors import Selector

Json = dict[str, Any]


class _Missing:
    """Stands for "no default", which is not the same as a default of null."""


MISSING = _Missing()


@dataclass(frozen=True)
class ParameterInput:
    """One declared input parameter."""

    kind: str
    default: Any
    optional: bool


@dataclass(frozen=True)
class Retry:
    """A task's retry policy; durations in seconds, with the documented defaults."""

    count: int = 0
    backoff: float = 0.0
    factor: float = 2.0
    longest: float = 3600.0

    def delay(self, failures: int) -> float:
        """Return the seconds to wait after that many failed attempts."""
        return float(min(self.longest, self.backoff * self.factor ** (failures - 1)))


@dataclass
class Component:
    """A component: what goes in, what comes out, and a container, an importer or a DAG of tasks."""

    name: str
    parameters: dict[str, ParameterInput] = field(default_factory=dict)
    artifacts: dict[str, Json] = field(default_factory=dict)
    output_parameters: dict[str, str] = field(default_factory=dict)
    output_artifacts: dict[str, Json] = field(default_factory=dict)
    container: Json | None = None
    importer: Json | None = None
    dag: Dag | None = None


@dataclass(frozen=True)
class Loop:
    """What a task is repeated over.

    :param item: name of the component's input that receives one item.
    :param source: name of the component's input that holds the items; empty if ``raw`` does.
    :param raw: the items themselves. :param artifacts: the items are artifacts.
    :param limit: most iterations at the same time; 0 for no limit.
    """

    item: str
    source: str = ""
    raw: tuple[Any, ...] = ()
    artifacts: bool = False
    limit: int = 0


@dataclass
class TaskSpec:
    """One task of a DAG.

    :param key: key in the DAG. :param name: ``taskInfo.name``.
    :param upstream: keys of the tasks that must have ended, from edges and from inputs.
    :param selectors: which part of an input parameter's source is its value, by input.
    :param condition: must hold, or the task is not triggered.
    :param completed: starts when all above it have ended, however they ended.
    :param exits: waits so for an exit handler's group: runs whatever happened to the job.
    """

    key: str
    name: str
    component: Component
    parameters: Json
    artifacts: Json
    upstream: tuple[str, ...]
    enable_cache: bool
    retry: Retry
    selectors: Mapping[str, Selector] = field(default_factory=dict)
    condition: Condition | None = None
    loop: Loop | None = None
    completed: bool = False
    exits: bool = False

    @property
    def item(self) -> str:
        """Name of the input that each iteration fills by itself; empty if this is no loop."""
        return self.loop.item if self.loop else ""


@dataclass
class Dag:
    """Tasks in an order in which each stands after those it needs, and where the outputs come from.

    An output has one source, a task and its output, or several: then the first that ran gives the value.
    """

    tasks: dict[str, TaskSpec] = field(default_factory=dict)
    output_parameters: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    output_artifacts: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)

    def forgiven(self) -> set[str]:
        """Keys of the tasks whose failure another task of this DAG is told to ignore."""
        return {
            name
            for task in self.tasks.values()
            if task.completed and not task.exits
            for name in task.upstream
        }


@dataclass
class Plan:
    """A whole pipeline."""

    name: str
    root: Component


def constant(source: Mapping[str, Any]) -> Any:
    """Return the constant of an input whose source is ``runtimeValue``."""
    value = source["runtimeValue"]
    if "constant" in value:
        return value["constant"]
    for read in _OLD_CONSTANTS:
        found = read(value["constantValue"])
        if found is not None:
            return found
    return ""


_OLD_CONSTANTS: tuple[Callable[[Mapping[str, Any]], Any], ...] = (
    lambda value: value.get("stringValue"),
    lambda value: int(value["intValue"]) if "intValue" in value else None,
    lambda value: value.get("doubleValue"),
)
