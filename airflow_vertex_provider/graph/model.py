"""The neutral model of a task group: what the reader makes and the compiler takes, and nothing of either.

Airflow objects in (through :mod:`~airflow_vertex_provider.graph.reader`), a :class:`Graph` of plain data
out. It goes to JSON and back without loss, so it can sit on an operator's field, in a file or in a test.
An edge is said once, on its downstream end: ``Task.upstream`` names the tasks that must have succeeded.

Values do not appear here. A task's input says *where* its value comes from: a run parameter of the job,
another task's output, or a constant of the author's code. Every value travels as text, written and read
by :mod:`airflow_vertex_provider.runtime.protocol`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

#: Version of the JSON form; a reader refuses another one.
SCHEMA_VERSION = 1

#: The output that carries a member's return value, as protocol text. KFP's own name for a single return.
RETURN_OUTPUT = "Output"
#: The same value as plain text (a ``str`` unquoted); declared only when a container takes it as argument.
TEXT_OUTPUT = "Text"


class TaskKind(StrEnum):
    """What runs in the task's container.

    ``PYTHON``: our entry point with a function. ``BASH``: our entry point with a shell command.
    ``CONTAINER``: the author's own command; the spec holds ``command``, ``arguments`` and ``env``.
    """

    PYTHON = "python"
    BASH = "bash"
    CONTAINER = "container"


class Encoding(StrEnum):
    """How a run parameter's value is written: protocol JSON, or the bare text a container's argument is."""

    JSON = "json"
    TEXT = "text"


@dataclass(frozen=True)
class FromParameter:
    """The input's value is the run parameter ``parameter`` of the job."""

    parameter: str


@dataclass(frozen=True)
class FromOutput:
    """The input's value is ``output`` of the task with Airflow id ``task``."""

    task: str
    output: str = RETURN_OUTPUT


@dataclass(frozen=True)
class FromConstant:
    """The input's value is ``text``, the same on every run."""

    text: str


Source = FromParameter | FromOutput | FromConstant

_SOURCE_KINDS: dict[str, type[FromParameter] | type[FromOutput] | type[FromConstant]] = {
    "parameter": FromParameter,
    "output": FromOutput,
    "constant": FromConstant,
}


@dataclass(frozen=True)
class Retry:
    """How often, and after how long, the service runs a failed task again. Delays in seconds."""

    max_retry_count: int
    backoff_duration: float = 0.0
    backoff_factor: float = 1.0
    backoff_max_duration: float = 3600.0


@dataclass(frozen=True)
class Parameter:
    """One run parameter of the job: a value that only an Airflow run knows."""

    name: str
    encoding: Encoding = Encoding.JSON
    description: str = ""


@dataclass(frozen=True)
class Task:
    """One task of the pipeline.

    :param id: full Airflow task id, for example ``train.fit``.
    :param name: Vertex name: key in the DAG and ``taskInfo.name``; unique in the graph.
    :param kind: what runs.
    :param payload: what the kind needs. PYTHON and BASH: the configuration the entry point reads, see
        :mod:`airflow_vertex_provider.runtime.protocol`. CONTAINER: ``command`` and ``arguments`` (lists of
        parts) and ``env`` (name to part); a part is a list of strings and ``{"$in": input}`` dicts that
        are concatenated.
    :param inputs: input name to the source of its value; names are ``[A-Za-z_][A-Za-z0-9_]*``.
    :param outputs: names of the outputs the task writes.
    :param upstream: Airflow ids of the tasks that must succeed first; inputs count as edges too and
        stand here as well.
    :param settings: the author's ``executor_config["vertex"]``, unmerged, possibly with templates.
    :param retry: retry policy, or ``None`` for none.
    :param timeout: seconds the task may run, or ``None``; only a custom job can keep it.
    """

    id: str
    name: str
    kind: TaskKind
    payload: Mapping[str, Any]
    inputs: Mapping[str, Source] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    retry: Retry | None = None
    timeout: float | None = None


@dataclass(frozen=True)
class Graph:
    """A task group, ready to be compiled.

    :param dag_id: the DAG the group stands in.
    :param group_id: full id of the group.
    :param name: pipeline name in Vertex, see :func:`airflow_vertex_provider.graph.naming.pipeline_name`.
    :param tasks: in the author's order.
    :param parameters: the job's run parameters, in order of first use.
    """

    dag_id: str
    group_id: str
    name: str
    tasks: tuple[Task, ...]
    parameters: tuple[Parameter, ...] = ()

    def task(self, task_id: str) -> Task:
        """Return the task with the Airflow id ``task_id``; ``KeyError`` if there is none."""
        for task in self.tasks:
            if task.id == task_id:
                return task
        raise KeyError(task_id)

    def vertex_names(self) -> dict[str, str]:
        """Map every Airflow task id to its name in Vertex."""
        return {task.id: task.name for task in self.tasks}

    def to_dict(self) -> dict[str, Any]:
        """Return the graph as JSON-ready data."""
        return {
            "schema_version": SCHEMA_VERSION,
            "dag_id": self.dag_id,
            "group_id": self.group_id,
            "name": self.name,
            "parameters": [
                {**asdict(parameter), "encoding": str(parameter.encoding)} for parameter in self.parameters
            ],
            "tasks": [_task_to_dict(task) for task in self.tasks],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Graph:
        """Read what :meth:`to_dict` wrote.

        :raises ValueError: ``data`` is of another schema version.
        """
        version = data.get("schema_version")
        if version != SCHEMA_VERSION:
            raise ValueError(f"graph of schema version {version!r}; this package reads {SCHEMA_VERSION}")
        return cls(
            dag_id=data["dag_id"],
            group_id=data["group_id"],
            name=data["name"],
            parameters=tuple(
                Parameter(item["name"], Encoding(item["encoding"]), item["description"])
                for item in data["parameters"]
            ),
            tasks=tuple(_task_from_dict(item) for item in data["tasks"]),
        )


def _task_to_dict(task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "name": task.name,
        "kind": str(task.kind),
        "payload": dict(task.payload),
        "inputs": {name: _source_to_dict(source) for name, source in task.inputs.items()},
        "outputs": list(task.outputs),
        "upstream": list(task.upstream),
        "settings": dict(task.settings),
        "retry": asdict(task.retry) if task.retry else None,
        "timeout": task.timeout,
    }


def _task_from_dict(data: Mapping[str, Any]) -> Task:
    return Task(
        id=data["id"],
        name=data["name"],
        kind=TaskKind(data["kind"]),
        payload=data["payload"],
        inputs={name: _source_from_dict(source) for name, source in data["inputs"].items()},
        outputs=tuple(data["outputs"]),
        upstream=tuple(data["upstream"]),
        settings=data["settings"],
        retry=Retry(**data["retry"]) if data["retry"] else None,
        timeout=data["timeout"],
    )


def _source_to_dict(source: Source) -> dict[str, str]:
    for kind, cls in _SOURCE_KINDS.items():
        if isinstance(source, cls):
            return {"from": kind, **asdict(source)}
    raise TypeError(f"not a source of a value: {source!r}")


def _source_from_dict(data: Mapping[str, str]) -> Source:
    fields = {key: value for key, value in data.items() if key != "from"}
    return _SOURCE_KINDS[data["from"]](**fields)
