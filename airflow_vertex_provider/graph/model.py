"""The neutral model of a task group: what the reader makes and the compiler takes, and nothing of either.

Airflow objects in (through :mod:`~airflow_vertex_provider.graph.reader`), a :class:`Graph` of plain data
out. It goes to JSON and back without loss, so it can sit on an operator's field, in a file or in a test.
An edge is said once, on its downstream end: ``Task.upstream`` names the tasks that must have ended first, and
``Task.rule`` says in which states.

Values do not appear here. A task's input says *where* its value comes from: a run parameter of the job,
another task's output, one field of a loop's item, or a constant of the author's code. Every value travels as
text, written and read by :mod:`airflow_vertex_provider.runtime.protocol`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

#: Version of the JSON form; a reader refuses another one.
SCHEMA_VERSION = 2

#: The output that carries a member's return value, as protocol text. KFP's own name for a single return.
RETURN_OUTPUT = "Output"
#: The same value as plain text (a ``str`` unquoted); declared only when a container takes it as argument.
TEXT_OUTPUT = "Text"
#: What a gate task decided: ``run`` or ``skip``.
DECISION_OUTPUT = "Decision"
#: Start of the outputs by which a task gives its value to a typed input of a component.
TYPED_PREFIX = "Value_"
#: Start of the outputs that say what an artifact is, as protocol text: a dict of uri, type and metadata.
ARTIFACT_PREFIX = "Artifact_"
#: Start of the outputs that hold an artifact's address as plain text; declared only when an argument of a
#: container or a STRING input of a component takes it.
URI_PREFIX = "Uri_"
#: What a gate or ``follow`` output says when its followers are to run.
RUN = "run"
#: The input of every task in a loop that says which iteration it is; see :class:`FromItem`.
INDEX_FIELD = "index"
#: Airflow's default trigger rule.
ALL_SUCCESS = "all_success"


class TaskKind(StrEnum):
    """What runs in the task's container.

    ``PYTHON``: our entry point with a function. ``BASH``: our entry point with a shell command.
    ``CONTAINER``: the author's own command; the spec holds ``command``, ``arguments`` and ``env``.
    ``COMPONENT``: a component of KFP, given by its own specification.
    ``EMPTY``: nothing; the task only passes its state on, and no task of the pipeline is made for it.
    ``GATE``: our entry point, deciding whether others run and what a loop runs over; no author's code.
    """

    PYTHON = "python"
    BASH = "bash"
    CONTAINER = "container"
    COMPONENT = "component"
    EMPTY = "empty"
    GATE = "gate"


class Encoding(StrEnum):
    """How a run parameter's value is written.

    ``JSON``: protocol text. ``TEXT``: the bare text a container's argument is. ``ITEMS``: the items of a
    loop, a LIST of STRUCTs. ``NATIVE``: as a component's typed input takes it.
    """

    JSON = "json"
    TEXT = "text"
    ITEMS = "items"
    NATIVE = "native"


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


@dataclass(frozen=True)
class FromItem:
    """The input's value is the field ``field`` of the item of the loop that the task stands in."""

    field: str


Source = FromParameter | FromOutput | FromConstant | FromItem

_SOURCE_KINDS: dict[str, type[FromParameter] | type[FromOutput] | type[FromConstant] | type[FromItem]] = {
    "parameter": FromParameter,
    "output": FromOutput,
    "constant": FromConstant,
    "item": FromItem,
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
    """One run parameter of the job: a value that only an Airflow run knows.

    :param type: KFP's name of the parameter's type; only a component's inputs and a loop's items are no
        STRING.
    """

    name: str
    encoding: Encoding = Encoding.JSON
    description: str = ""
    type: str = "STRING"


@dataclass(frozen=True)
class Loop:
    """Tasks that are run once for each item of a list.

    :param id: Airflow id of the mapped task or of the mapped task group.
    :param items: where the list comes from: a run parameter, or an output of a task outside the loop. Its
        items are STRUCTs of texts: ``index`` and the fields that :class:`FromItem` names.
    :param parallelism: how many run at once; 0 sets no limit.
    :param may_be_empty: the list may turn out to have no items; Airflow skips a task mapped over none.
    """

    id: str
    items: FromParameter | FromOutput
    parallelism: int = 0
    may_be_empty: bool = True


@dataclass(frozen=True)
class Task:
    """One task of the pipeline.

    :param id: full Airflow task id, for example ``train.fit``.
    :param name: key in the pipeline's DAG; unique in the graph.
    :param kind: what runs.
    :param payload: what the kind needs. PYTHON and BASH: the configuration the entry point reads, see
        :mod:`airflow_vertex_provider.runtime.protocol`. CONTAINER: ``command`` and ``arguments`` (lists of
        parts) and ``env`` (name to part); a part is a list of strings and dicts, ``{"$in": input}``,
        ``{"$uri": input}`` (the address of an artifact) or ``{"$out": output}`` (the path of its file), that
        are concatenated.
    :param inputs: input name to the source of its value; names are ``[A-Za-z_][A-Za-z0-9_]*``.
    :param outputs: names of the outputs the task writes.
    :param upstream: Airflow ids of the tasks that must end first; inputs count as edges too and
        stand here as well.
    :param settings: the author's ``executor_config["vertex"]``, unmerged, possibly with templates.
    :param retry: retry policy, or ``None`` for none.
    :param timeout: seconds the task may run, or ``None``; only a custom job can keep it.
    :param rule: Airflow's trigger rule: in which states of ``upstream`` the task runs.
    :param setups: Airflow ids of setup tasks further up whose failure or skip holds for this task too.
    :param skipped_by: pairs of task id and output; ``skip`` in one of them skips this task.
    :param may_skip: the task's own code may ask for a skip.
    :param loop: id of the loop the task stands in, or ``None``.
    :param setup: the task is a setup task; :param teardown: it is a teardown task.
    :param display_name: the author's name for it, if there is one; unique in the graph.
    :param description: what the author wrote about it.
    :param input_types: types of inputs that are no STRING; :param output_types: likewise of outputs.
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
    rule: str = ALL_SUCCESS
    setups: tuple[str, ...] = ()
    skipped_by: tuple[tuple[str, str], ...] = ()
    may_skip: bool = False
    loop: str | None = None
    setup: bool = False
    teardown: bool = False
    display_name: str = ""
    description: str = ""
    input_types: Mapping[str, str] = field(default_factory=dict)
    output_types: Mapping[str, str] = field(default_factory=dict)

    @property
    def native(self) -> bool:
        """Whether the outputs are values of Vertex's own types, not protocol text: our code writes none."""
        return self.kind in (TaskKind.COMPONENT, TaskKind.CONTAINER)

    @property
    def title(self) -> str:
        """The name by which the service calls the task, ``taskInfo.name`` in the pipeline."""
        return self.display_name or self.name


@dataclass(frozen=True)
class Graph:
    """A task group, ready to be compiled.

    :param dag_id: the DAG the group stands in.
    :param group_id: full id of the group.
    :param name: pipeline name in Vertex, see :func:`airflow_vertex_provider.graph.naming.pipeline_name`.
    :param tasks: in the author's order.
    :param parameters: the job's run parameters, in order of first use.
    :param loops: the loops that tasks stand in.
    :param description: what the author wrote about the group.
    """

    dag_id: str
    group_id: str
    name: str
    tasks: tuple[Task, ...]
    parameters: tuple[Parameter, ...] = ()
    loops: tuple[Loop, ...] = ()
    description: str = ""

    def task(self, task_id: str) -> Task:
        """Return the task with the Airflow id ``task_id``; ``KeyError`` if there is none."""
        for task in self.tasks:
            if task.id == task_id:
                return task
        raise KeyError(task_id)

    def vertex_names(self) -> dict[str, str]:
        """Map the Airflow id of every task that runs the author's code to what the service calls it."""
        return {
            task.id: task.title for task in self.tasks if task.kind not in (TaskKind.EMPTY, TaskKind.GATE)
        }

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
            "loops": [_loop_to_dict(loop) for loop in self.loops],
            "description": self.description,
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
                Parameter(item["name"], Encoding(item["encoding"]), item["description"], item["type"])
                for item in data["parameters"]
            ),
            tasks=tuple(_task_from_dict(item) for item in data["tasks"]),
            loops=tuple(_loop_from_dict(item) for item in data["loops"]),
            description=data["description"],
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
        "rule": task.rule,
        "setups": list(task.setups),
        "skipped_by": [list(pair) for pair in task.skipped_by],
        "may_skip": task.may_skip,
        "loop": task.loop,
        "setup": task.setup,
        "teardown": task.teardown,
        "display_name": task.display_name,
        "description": task.description,
        "input_types": dict(task.input_types),
        "output_types": dict(task.output_types),
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
        rule=data["rule"],
        setups=tuple(data["setups"]),
        skipped_by=tuple((task, output) for task, output in data["skipped_by"]),
        may_skip=data["may_skip"],
        loop=data["loop"],
        setup=data["setup"],
        teardown=data["teardown"],
        display_name=data["display_name"],
        description=data["description"],
        input_types=data["input_types"],
        output_types=data["output_types"],
    )


def _loop_to_dict(loop: Loop) -> dict[str, Any]:
    return {
        "id": loop.id,
        "items": _source_to_dict(loop.items),
        "parallelism": loop.parallelism,
        "may_be_empty": loop.may_be_empty,
    }


def _loop_from_dict(data: Mapping[str, Any]) -> Loop:
    items = _source_from_dict(data["items"])
    if not isinstance(items, FromParameter | FromOutput):
        raise TypeError(f"items of loop {data['id']!r}: found {items!r}; allowed: a parameter or an output")
    return Loop(data["id"], items, data["parallelism"], data["may_be_empty"])


def _source_to_dict(source: Source) -> dict[str, str]:
    for kind, cls in _SOURCE_KINDS.items():
        if isinstance(source, cls):
            return {"from": kind, **asdict(source)}
    raise TypeError(f"not a source of a value: {source!r}")


def _source_from_dict(data: Mapping[str, str]) -> Source:
    fields = {key: value for key, value in data.items() if key != "from"}
    return _SOURCE_KINDS[data["from"]](**fields)
