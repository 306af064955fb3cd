"""The Airflow side of the task container: values and configurations in, the texts the container reads out.

The container's side is :mod:`airflow_vertex_provider.runtime.entrypoint`. What both ends must agree on is
written there once and imported here; this module adds what only the client and the compiler need.

A value travels as *protocol text*: compact ASCII JSON in which every type that JSON lacks is a dict with
one tag as its key: ``$tuple``, ``$set``, ``$frozenset``, ``$bytes`` (base64), ``$datetime`` (ISO 8601,
with ``[zone]`` behind it for a named zone), ``$date``, ``$timedelta`` (days, seconds, microseconds),
``$int`` (hexadecimal, for integers of thousands of digits), ``$dict`` (pairs, for a dict that would
look like a tag), ``$absent`` (no value, see :data:`ABSENT`) and ``$file`` (an object in a file of its own).
Dict keys become ``str``, enum members that
are also ``int``, ``float`` or ``str`` become their value, named tuples become tuples: as in Airflow's own
XComs. A value too large to be an argument travels as a reference to a file, see :class:`Reference`.

``$file`` has ``uri``, ``sha256``, ``size``, ``as`` (the serialiser that wrote it), ``type`` (of the object)
and ``metadata`` (a dict of JSON). Only a task that takes the value opens the file. On the way through one
that does not, the tag stays what it is (:class:`entrypoint.Apart`); as text for a container, and in Airflow,
it is the dict ``uri``, ``type`` and ``metadata`` (:func:`entrypoint.outside`).

A task's state travels inside its value: :data:`SKIPPED` is the output of a task that was skipped,
:data:`FAILED` the default of an input whose task may have failed, so that no text at all reads as failed.
As values both are ``None``, as in Airflow. The outputs of a loop's tasks come as a list of texts: as a
value it is the list of those that are not ``None``, as states each text counts as one task, and an empty
list as one skipped task. :func:`state_of` and :func:`decide` are what the container itself uses.

Nodes
-----
Where a configuration needs a value it holds a *node*, JSON of one of these forms; anything else stands for
itself, with nodes inside lists and dicts. :func:`from_input`, :func:`constant`, :func:`mapping`,
:func:`known_object` make them.

``{"$in": name}``
    the value of an input parameter, decoded. ``"get": key`` takes one item of a dict; ``"text": true`` the
    text undecoded; ``"raw": true`` the parameter's JSON as it is (a component's output).
``{"$lit": data}``
    a constant in tagged form.
``{"$tuple": [node, ...]}``, ``{"$dict": [[key, value], ...]}``
    a tuple of nodes; a dict of nodes: an argument in the author's code keeps its keys, as in Airflow.
``{"$zip": [node, ...], "fill": node}``, ``{"$concat": [node, ...]}``
    lists, as Airflow's ``XComArg.zip`` (``fill`` is optional) and ``concat`` make them.
``{"$object": {attribute: node}}``
    an object with these attributes and no others, for ``dag_run``.
``{"$artifact": node, "as": type}``
    an artifact's object, from a node whose value is a dict of ``uri``, ``type`` and ``metadata`` or an
    address, or of a list of such; the input of a component's artifact is an artifact in the executor input.
``{"$output": name, "as": type}``
    the object of an artifact that the task is to leave.
``{"$value": true}``
    the task's own value; in ``expand`` alone.

Configuration
-------------
A *configuration* says what the container runs. :func:`python_config`, :func:`bash_config`,
:func:`gate_config` and :func:`mark_config` build it; what the compiler adds for the place a task has in the
pipeline it writes into the dict itself. All of this is optional:

``packages``: [requirement, ...], ``pip_index_urls``: [url, ...], ``pip_no_deps``: bool, ``wheel_cache``: uri
    what is installed before the author's code, and how; the others only beside ``packages``. Of the cache, a
    ``gs://`` folder, a task uses a folder of its own Python and platform.
``skips``: bool
    an AirflowSkipException or a skip exit code writes the outputs of a skipped task: ``Output`` is
    :data:`SKIPPED`, ``Text`` is ``null``, a loop's items are ``[]``, a typed output is its type's zero.
    Without it a skip is a failure.
``gate``: {"rule", "states", "setup_states", "setups", "follow"}
    decides first of all, by :func:`decide`, whether the task runs. All but ``rule`` are lists of inputs:
    the direct upstream tasks; those of them that are setups; the indirect setups; texts ``run`` and
    ``skip``. The decision of a gate task is a state too, and in place of an input that tells a state may
    stand another such gate, for a task that runs nothing; with ``of``, an input, for one that runs if that
    gate says so, so that upstream_failed is told from failed. *skip* writes the outputs of a skipped task;
    *fail* ends the task with an error of type ``UpstreamFailed``.
``follow``: {output: {"keep": [id, ...] or null, "if_skipped": "run" or "skip"}}
    STRING outputs ``run`` or ``skip`` for the followers of a branch (run if it chose one of ``keep``) or of
    a short circuit (``keep`` null: run if the value is true). ``if_skipped`` is written when the task
    itself is skipped.
``branch``: bool, ``ids``: [id, ...]
    the value is a branch's choice, of these ids and no others: an error as Airflow's if it is not.
``silent``: bool
    ``Output`` tells the state alone and holds no value, as with ``do_xcom_push=False``.
``multiple_outputs``: bool
    the value must be ``None`` or a dict whose keys are text: an error as Airflow's if it is not.
``writers``: {serialiser: "<class name> ... <extension>"}
    what writes objects of the value that JSON cannot carry, in the order in which they are tried.
``readers``: [serialiser, ...]
    what may read objects of the inputs.
``serializers``: {serialiser: {"write": function, "read": function}}
    those of other packages among both; a function is ``function``, ``source``, ``file``, ``line`` and
    ``postponed`` as a task's own.
``value_limit``: int
    characters of text above which the value goes into a file, where ``inline_limit`` would not say so.
``mapped_over``: bool
    tasks are mapped over the value: an error if it is not a list, tuple or dict.
``expand``: {output: {"form": "product", "fields": [[name, node], ...], "text": [name, ...]}}
    LIST outputs: the items of a loop, see :func:`expand_items`. Or {"form": "kwargs", "field": name,
    "node": node}, for expand_kwargs whose keys are not known, with "rendered": true where Airflow renders the
    dicts once more: what that would do to a template is refused. No field may be called ``index``.
``typed``: {output: type}
    outputs that hold the value as a component takes it: NUMBER_INTEGER, NUMBER_DOUBLE, BOOLEAN, LIST,
    STRUCT. A value that is not such a thing in plain JSON is an error.
``artifacts``: {name: type}
    artifacts that the task leaves: what the author's code made of them goes into the executor output, and
    as protocol text into the STRING outputs ``Artifact_<name>``. ``linked`` lists those whose metadata other
    tasks get in their executor input.
``artifact_types``: bool
    the author's code may import the names of artifacts, of kfp or of this package, though the image has
    neither.
``handoff``: bool, ``name``: text
    writes ``Output`` to ``airflow_handoff/<name>.json`` in the job's folder too. A task that hands over so
    must not be cached.
``from_handoff``: {input: name}
    inputs that come from such files; :data:`FAILED` where there is none.
``bundle``: {"uri", "sha256", "size", "roots": [folder, ...]}
    a zip of the author's modules, unpacked before they are imported; ``roots`` are the folders in it that go
    onto ``sys.path``, ``""`` is the zip itself. Bytes of another size or digest are an error.

Kind ``gate`` runs no code: its outputs are ``Decision`` (``run`` or ``skip``), those of ``relay``
({output: input}, copied) and those of ``expand``. Kind ``mark`` writes ``outputs`` and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_vertex_provider.exceptions import VertexValueError
from airflow_vertex_provider.runtime import entrypoint
from airflow_vertex_provider.runtime.embedding import embedded_source

__all__ = [
    "ABSENT",
    "CONFIG_VERSION",
    "DEFAULT_INLINE_LIMIT",
    "ERROR_FILE",
    "FAILED",
    "RULES",
    "SKIPPED",
    "TOLERANT_RULES",
    "VALUE_FILE",
    "Reference",
    "argument_cost",
    "bash_config",
    "config_text",
    "constant",
    "decide",
    "decode",
    "embedded_source",
    "encode",
    "escape_literal",
    "expand_items",
    "from_input",
    "gate_config",
    "is_reference",
    "known_object",
    "mapping",
    "mark_config",
    "python_config",
    "seal",
    "spec_items",
    "state_of",
]

#: Version of the configuration; the entry point refuses another one.
CONFIG_VERSION = 2
#: Before sealed data, so that Jinja's native rendering sees no Python literal in it.
_SEAL = "airflow-vertex:"
#: How many bytes of :func:`argument_cost` one value may have before it travels by file. Linux allows
#: 131072 bytes for one argument, and several values may have to share it.
DEFAULT_INLINE_LIMIT = 24_000
#: File beside the executor output that holds a failed task's error: type, message, traceback, skipped.
ERROR_FILE = "airflow_error.json"
#: File beside the executor output that holds a value too large to be an argument.
VALUE_FILE = "airflow_value.json"

#: Output of a task that was skipped.
SKIPPED = entrypoint.SKIPPED
#: Default of an input from a task that may have failed.
FAILED = entrypoint.FAILED
#: Every trigger rule of Airflow, under its name there.
RULES = frozenset(
    {
        "all_success",
        "all_failed",
        "all_done",
        "all_done_min_one_success",
        "all_done_setup_success",
        "always",
        "none_failed",
        "none_failed_min_one_success",
        "none_skipped",
        "one_done",
        "one_failed",
        "one_success",
        "all_skipped",
    }
)
#: Trigger rules that can run a task though something before it failed.
TOLERANT_RULES = RULES - {"all_success", "none_failed", "none_failed_min_one_success", "always"}

_TOO_DEEP = "the value is nested too deeply to be written as JSON"
#: As a keyword argument of the author's function: leave it out, so that the function's default holds.
ABSENT = entrypoint.ABSENT

argument_cost = entrypoint.argument_cost
escape_literal = entrypoint.escape_literal
state_of = entrypoint.state_of

#: A JSON tree that the entry point turns into a value; see the module's docstring.
Node = Any


def encode(value: object) -> str:
    """Write ``value`` as protocol text. Runs at parse, in the worker and in the triggerer.

    :raises VertexValueError: the value holds something that would not come back as it was; the message
        names its type and where in the value it sits.
    """
    try:
        return entrypoint.encode(value)
    except entrypoint.ProtocolError as error:
        raise VertexValueError(str(error)) from None


def decode(text: str, read: Callable[[str], bytes] | None = None) -> Any:
    """Read protocol text. Runs in the worker and in the triggerer, which open no object's file.

    :param read: fetches the bytes of a ``gs://`` file; needed only when ``text`` is a reference.
    :raises VertexValueError: the text is damaged, or the file is not the one that was written.
    """
    try:
        return entrypoint.decode(text, read, entrypoint.outside)
    except entrypoint.ProtocolError as error:
        raise VertexValueError(str(error)) from None


def decide(
    rule: str,
    states: Sequence[str],
    setup_states: Sequence[str] = (),
    setups: Sequence[str] = (),
    follow: Sequence[str] = (),
) -> str:
    """Return ``run``, ``skip`` or ``fail``: what Airflow decides for a task once all before it have ended.

    Runs in the worker, the triggerer and the container. The states are ``success``, ``skipped``, ``failed``
    and ``upstream_failed``; *fail* is Airflow's upstream_failed.

    :param rule: one of :data:`RULES`.
    :param states: of the direct upstream tasks, setups among them.
    :param setup_states: those of ``states`` that come from setup tasks.
    :param setups: states of the setups that stand indirectly before the task.
    :param follow: ``run`` or ``skip`` of each branch or short circuit before the task.
    :raises VertexValueError: ``rule`` is unknown.
    """
    if rule not in RULES:
        raise VertexValueError(f"trigger rule: found {rule!r}; allowed: {', '.join(sorted(RULES))}")
    return entrypoint.decide(rule, states, setup_states, setups, follow)


def expand_items(
    form: str, fields: Sequence[tuple[str, Any]], text: Collection[str], keep: Callable[[str, str], str]
) -> list[dict[str, str]]:
    """Return the items of a loop in Airflow's order: ``index`` and each field's protocol text.

    Runs in the worker at submit, for values that are known there; tasks use the same function.

    :param form: ``product`` (``expand``: every combination, the last field changing fastest) or ``kwargs``
        (``expand_kwargs``: one field, whose items are dicts of arguments).
    :param fields: names and values; of a dict the pairs are the items.
    :param text: fields wanted as bare text too, under their name with ``__text`` behind it.
    :param keep: takes a protocol text and a hint for a file's name, unique within the call, and returns
        the text or the reference to the file it wrote.
    :raises VertexValueError: a value has no items, or an item cannot be carried.
    """
    if any(name == "index" for name, _ in fields):
        raise VertexValueError("expand_items: found a field called 'index'; allowed: any other name")
    try:
        return entrypoint.expand_items(form, fields, text, keep)
    except entrypoint.VertexRuntimeError as error:
        raise VertexValueError(str(error)) from None


def seal(data: object) -> str:
    """Write JSON-ready data as text that Airflow renders to itself, even to native objects. Runs at parse."""
    text = entrypoint.dump(data)
    return _SEAL + text.replace("{%", "{\\u0025").replace("{#", "{\\u0023")


def spec_items(
    sealed: str, inputs: Mapping[str, object], keep: Callable[[str, str], str]
) -> list[dict[str, str]]:
    """Return the items of a loop whose expand spec is known at parse. Runs in the worker, at submit.

    :param sealed: the spec, see :func:`seal`.
    :param inputs: the values of the spec's inputs.
    :param keep: see :func:`expand_items`.
    :raises VertexValueError: a value has no items, or an item cannot be carried.
    """
    spec = json.loads(sealed.removeprefix(_SEAL))
    texts = {name: encode(value) for name, value in inputs.items()}
    given = spec["fields"] if spec["form"] == "product" else [[spec["field"], spec["node"]]]
    try:
        fields = [(name, entrypoint.resolve(node, texts)) for name, node in given]
        if spec.get("rendered"):
            fields = [(name, entrypoint.as_rendered(found)) for name, found in fields]
    except entrypoint.VertexRuntimeError as error:
        raise VertexValueError(str(error)) from None
    return expand_items(spec["form"], fields, spec["text"], keep)


def is_reference(text: str) -> bool:
    """Say whether ``text`` stands for a file that holds the value; JSON never begins with ``@``."""
    return text.startswith("@")


@dataclass(frozen=True)
class Reference:
    """A value that lies in a file: ``@gs://bucket/path#sha256=<hex>&size=<bytes>``.

    :param uri: ``gs://`` address of the file, which holds protocol text.
    :param sha256: digest of the file in hexadecimal.
    :param size: size of the file in bytes.
    """

    uri: str
    sha256: str
    size: int

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read the text form; :class:`VertexValueError` if it is damaged."""
        try:
            return cls(*entrypoint.parse_reference(text))
        except entrypoint.ProtocolError as error:
            raise VertexValueError(str(error)) from None

    @classmethod
    def to(cls, uri: str, text: str) -> Reference:
        """Return the reference to the file ``uri`` that holds the protocol text ``text``."""
        return cls.parse(entrypoint.reference(uri, text.encode("ascii")))

    def __str__(self) -> str:
        return f"@{self.uri}#sha256={self.sha256}&size={self.size}"


def from_input(name: str, *, get: str | None = None, text: bool = False, raw: bool = False) -> Node:
    """Return the node for an input parameter's value.

    :param get: take this item of the value, a dict; a missing one is ``None``, as for a missing XCom.
    :param text: take the parameter's text as it is, without decoding.
    :param raw: take the parameter's JSON as it is: an output of a component.
    """
    node: dict[str, Any] = {"$in": name}
    if get is not None:
        node["get"] = get
    if text:
        node["text"] = True
    if raw:
        node["raw"] = True
    return node


def known_object(attributes: Mapping[str, Node]) -> Node:
    """Return the node for an object of Airflow's context of which these attributes are known."""
    return {"$object": dict(attributes)}


def constant(value: object) -> Node:
    """Return the node for a value of the author's code, with its dict keys as they are.

    :raises VertexValueError: as :func:`encode` does.
    """
    try:
        return _with_keys(value, "")
    except RecursionError:
        # A container inside itself, which tagging names; else one that is nested too deeply.
        _literal(value, "")
        raise VertexValueError(_TOO_DEEP) from None


def mapping(pairs: Iterable[tuple[object, Node]]) -> Node:
    """Return the node for a dict of the author's code: its keys, which are constants, and their nodes.

    :raises VertexValueError: a key cannot be carried.
    """
    pairs = list(pairs)
    if all(type(key) is str and not key.startswith("$") for key, _ in pairs):
        return dict(pairs)
    return {"$dict": [[_literal(key, f"key {key!r}"), node] for key, node in pairs]}


def _literal(value: object, where: str) -> Node:
    try:
        return {"$lit": json.loads(entrypoint.dump(entrypoint.tag(value, where, [])))}
    except entrypoint.ProtocolError as error:
        raise VertexValueError(str(error)) from None
    except RecursionError:
        raise VertexValueError(_TOO_DEEP) from None


def _has_other_keys(value: object) -> bool:
    """Say whether there is a dict in ``value`` whose keys are not all plain text."""
    if isinstance(value, dict):
        return any(type(key) is not str or _has_other_keys(item) for key, item in value.items())
    return isinstance(value, list | tuple) and any(map(_has_other_keys, value))


def _with_keys(value: object, where: str) -> Node:
    if not _has_other_keys(value):
        return _literal(value, where)
    if isinstance(value, dict):
        return mapping(
            (key, _with_keys(item, f"{where}.{key}" if where else str(key))) for key, item in value.items()
        )
    # Only lists and tuples are left: nothing else holds a dict.
    items = [_with_keys(item, f"{where}[{number}]") for number, item in enumerate(value)]  # type: ignore[arg-type, var-annotated]
    return {"$tuple": items} if isinstance(value, tuple) else items


def python_config(
    *,
    task: str,
    function: str,
    source: str = "",
    file: str = "",
    line: int = 1,
    postponed: bool = True,
    reached: Sequence[Sequence[Any]] = (),
    closure: Mapping[str, Node] | None = None,
    package: str | None = None,
    module: str | None = None,
    args: Sequence[Node] | Mapping[str, Node] = (),
    kwargs: Mapping[str, Node] | None = None,
    spread: Node = None,
    takes: Sequence[str] | None = None,
    context: Mapping[str, Node] | None = None,
    objects: Mapping[str, Mapping[str, Node]] | None = None,
    branch: bool = False,
    artifacts: Mapping[str, str] | None = None,
    artifact_types: bool = False,
    output: bool = True,
    text_output: bool = False,
    inline_limit: int = DEFAULT_INLINE_LIMIT,
    packages: Sequence[str] = (),
    pip_index_urls: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the configuration of a task that calls a function.

    :param task: Airflow task id, for the log.
    :param function: name of the function that ``source`` defines, or its qualified name in ``module``.
    :param source: text of the function, as :func:`airflow_vertex_provider.graph.code.carry_function` gives
        it (a nested one indented). It runs last.
    :param file: the author's file, as tracebacks shall name it.
    :param line: line of ``file`` that ``source`` begins at, counted from 1.
    :param reached: pairs of line and text: the statements of ``file`` that the function needs, in the order
        they run in.
    :param closure: a node per variable of an enclosing function that the text names.
    :param package: name of the package that relative imports in the texts start from.
    :param module: dotted name of a module that the image or the bundle has. The function is imported from it,
        and no text travels.
    :param postponed: leave all annotations unevaluated. With ``False`` only those of the function's own
        signature; those of functions and classes inside it are evaluated as in the author's file.
    :param args: a node per positional argument, or one node of their list.
    :param kwargs: a node per keyword argument.
    :param spread: node of a dict whose items are keyword arguments too, as expand_kwargs gives them.
    :param takes: the only names to take of ``spread``; ``None`` takes all.
    :param context: for a function with ``**context``: a node per known key of Airflow's context, an object
        as :func:`known_object`. :data:`ABSENT` ones are left out, and ``kwargs`` go before them.
    :param objects: keyword arguments that are objects of Airflow's context, as ``dag_run``: a node per
        attribute.
    :param branch: the value is a branch's choice; the compiler adds ``ids`` and ``follow``.
    :param artifacts: name to type of the artifacts it leaves, see the module's docstring.
    :param artifact_types: its annotations name artifacts.
    :param output: the task declares the output ``Output``; otherwise its value is dropped.
    :param text_output: write the output ``Text`` too: a ``str`` as it is, other values as JSON.
    :param inline_limit: :func:`argument_cost` above which the value goes into a file.
    :param packages: requirements to install before the function is loaded.
    :param pip_index_urls: index to take them from, then further ones; empty means pip's own default.
    """
    return {
        **_common("python", task, output, text_output, inline_limit, packages, pip_index_urls),
        **_function(function, args, kwargs, objects),
        **_code(source, file, line, postponed, reached, closure, package, module),
        **_context(spread, takes, context),
        **({"branch": True} if branch else {}),
        **({"artifacts": dict(artifacts)} if artifacts else {}),
        **({"artifact_types": True} if artifact_types else {}),
    }


def bash_config(
    *,
    task: str,
    command: Node = None,
    function: str | None = None,
    source: str = "",
    file: str = "",
    line: int = 1,
    postponed: bool = True,
    reached: Sequence[Sequence[Any]] = (),
    closure: Mapping[str, Node] | None = None,
    package: str | None = None,
    module: str | None = None,
    args: Sequence[Node] | Mapping[str, Node] = (),
    kwargs: Mapping[str, Node] | None = None,
    spread: Node = None,
    takes: Sequence[str] | None = None,
    context: Mapping[str, Node] | None = None,
    objects: Mapping[str, Mapping[str, Node]] | None = None,
    artifact_types: bool = False,
    env: Node = None,
    append_env: bool = False,
    cwd: Node = None,
    skip_exit_codes: Sequence[int] = (99,),
    output: bool = True,
    text_output: bool = False,
    inline_limit: int = DEFAULT_INLINE_LIMIT,
    packages: Sequence[str] = (),
    pip_index_urls: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the configuration of a task that runs a shell command, as Airflow's BashOperator does.

    Give either ``command`` or ``function`` with what belongs to it, which then returns the command.
    Parameters not listed here are those of :func:`python_config`.

    :param command: node of the command.
    :param env: node of the command's environment, a dict of strings; ``None`` inherits the container's.
    :param append_env: add ``env`` to the container's environment instead of replacing it.
    :param cwd: node of the folder to run in; ``None`` is a fresh temporary folder.
    :param skip_exit_codes: exit codes that ask for a skip; see ``skips``.
    :raises ValueError: neither or both of ``command`` and ``function`` are given.
    """
    if (command is None) == (function is None):
        raise ValueError("bash_config: found both or neither of command and function; allowed: one of them")
    what = (
        {"command": command}
        if function is None
        else {
            **_function(function, args, kwargs, objects),
            **_code(source, file, line, postponed, reached, closure, package, module),
            **_context(spread, takes, context),
        }
    )
    return {
        **_common("bash", task, output, text_output, inline_limit, packages, pip_index_urls),
        **what,
        "env": env,
        "append_env": append_env,
        "cwd": cwd,
        "skip_exit_codes": list(skip_exit_codes),
        **({"artifact_types": True} if artifact_types else {}),
    }


def gate_config(
    *,
    task: str,
    gate: Mapping[str, Any] | None = None,
    relay: Mapping[str, str] | None = None,
    expand: Mapping[str, Mapping[str, Any]] | None = None,
    inline_limit: int = DEFAULT_INLINE_LIMIT,
) -> dict[str, Any]:
    """Return the configuration of a task that decides for others, copies texts and makes items of loops.

    It needs nothing but the standard library.

    :param task: Airflow task id it decides for, for the log.
    :param gate: what decides, see the module's docstring; ``None`` says ``run``.
    :param relay: outputs that are copies of inputs.
    :param expand: outputs that are the items of loops; empty when the decision is ``skip``.
    :param inline_limit: :func:`argument_cost` above which an item goes into a file.
    """
    optional = {"gate": gate, "relay": relay, "expand": expand}
    return {
        "v": CONFIG_VERSION,
        "kind": "gate",
        "task": task,
        "inline_limit": inline_limit,
        **{key: dict(value) for key, value in optional.items() if value},
    }


def mark_config(*, task: str, outputs: Mapping[str, object]) -> dict[str, Any]:
    """Return the configuration of a task that stands for one that is not run.

    It needs nothing but the standard library.

    :param task: Airflow task id it stands for, for the log.
    :param outputs: its outputs, each a JSON value of the output's type.
    """
    return {"v": CONFIG_VERSION, "kind": "mark", "task": task, "outputs": dict(outputs)}


def config_text(config: Mapping[str, Any]) -> str:
    """Return a configuration as the text of a command's argument: JSON that holds no placeholder."""
    return entrypoint.dump(config)


def _common(
    kind: str,
    task: str,
    output: bool,
    text_output: bool,
    inline_limit: int,
    packages: Sequence[str],
    pip_index_urls: Sequence[str],
) -> dict[str, Any]:
    return {
        "v": CONFIG_VERSION,
        "kind": kind,
        "task": task,
        "output": output,
        "text_output": text_output,
        "inline_limit": inline_limit,
        **({"packages": list(packages)} if packages else {}),
        **({"pip_index_urls": list(pip_index_urls)} if packages and pip_index_urls else {}),
    }


def _function(
    function: str,
    args: Sequence[Node] | Mapping[str, Node],
    kwargs: Mapping[str, Node] | None,
    objects: Mapping[str, Mapping[str, Node]] | None,
) -> dict[str, Any]:
    known = {name: known_object(attributes) for name, attributes in (objects or {}).items()}
    return {
        "function": function,
        "args": args if isinstance(args, Mapping) else list(args),
        "kwargs": {**(kwargs or {}), **known},
    }


def _code(
    source: str,
    file: str,
    line: int,
    postponed: bool,
    reached: Sequence[Sequence[Any]],
    closure: Mapping[str, Node] | None,
    package: str | None,
    module: str | None,
) -> dict[str, Any]:
    """Say where the function comes from: a module that is there, or text."""
    if module is not None:
        return {"module": module}
    return {
        "source": source,
        "file": file,
        "line": line,
        "postponed": postponed,
        **({"reached": [list(piece) for piece in reached]} if reached else {}),
        **({"closure": dict(closure)} if closure else {}),
        **({"package": package} if package else {}),
    }


def _context(spread: Node, takes: Sequence[str] | None, context: Mapping[str, Node] | None) -> dict[str, Any]:
    return {
        **({"takes": list(takes)} if takes is not None else {}),
        **({"spread": spread} if spread is not None else {}),
        **({"context": dict(context)} if context else {}),
    }
