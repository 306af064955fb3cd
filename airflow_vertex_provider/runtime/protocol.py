"""The Airflow side of the task container: values and configurations in, the texts the container reads out.

The container's side is :mod:`airflow_vertex_provider.runtime.entrypoint`. What both ends must agree on is
written there once and imported here; this module adds what only the client and the compiler need.

A value travels as *protocol text*: compact ASCII JSON in which every type that JSON lacks is a dict with
one tag as its key: ``$tuple``, ``$set``, ``$frozenset``, ``$bytes`` (base64), ``$datetime`` (ISO 8601,
with ``[zone]`` behind it for a named zone), ``$date``, ``$timedelta`` (days, seconds, microseconds),
``$int`` (hexadecimal, for integers of thousands of digits), ``$dict`` (pairs, for a dict that would
look like a tag) and ``$absent`` (no value, see :data:`ABSENT`). Dict keys become ``str``, enum members that
are also ``int``, ``float`` or ``str`` become their value, named tuples become tuples: as in Airflow's own
XComs. A value too large to be an argument travels as a reference to a file, see :class:`Reference`.

A *configuration* says what the container runs; :func:`python_config` and :func:`bash_config` build it.
Where it needs a value it holds a *node*: JSON in which ``{"$in": input}`` stands for the value of an
input parameter (with ``"get": key`` for one item of a dict, with ``"text": true`` for the undecoded
text) and ``{"$lit": data}`` for a constant in tagged form. ``{"$tuple": [node, ...]}`` is a tuple of nodes,
``{"$dict": [[key, value], ...]}`` a dict of nodes: an argument in the author's code keeps its keys as they
are, as in Airflow. :func:`from_input`, :func:`constant` and :func:`mapping` make them.
"""

from __future__ import annotations

import ast
import functools
import importlib.resources
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_vertex_provider.exceptions import VertexValueError
from airflow_vertex_provider.runtime import entrypoint

__all__ = [
    "ABSENT",
    "CONFIG_VERSION",
    "DEFAULT_INLINE_LIMIT",
    "ERROR_FILE",
    "VALUE_FILE",
    "Reference",
    "argument_cost",
    "bash_config",
    "config_text",
    "constant",
    "decode",
    "embedded_source",
    "encode",
    "escape_literal",
    "from_input",
    "is_reference",
    "mapping",
    "python_config",
]

#: Version of the configuration; the entry point refuses another one.
CONFIG_VERSION = 1
#: How many bytes of :func:`argument_cost` one value may have before it travels by file. Linux allows
#: 131072 bytes for one argument, and several values may have to share it.
DEFAULT_INLINE_LIMIT = 24_000
#: File beside the executor output that holds a failed task's error: type, message, traceback, skipped.
ERROR_FILE = "airflow_error.json"
#: File beside the executor output that holds a value too large to be an argument.
VALUE_FILE = "airflow_value.json"

_TOO_DEEP = "the value is nested too deeply to be written as JSON"
#: As a keyword argument of the author's function: leave it out, so that the function's default holds.
ABSENT = entrypoint.ABSENT

argument_cost = entrypoint.argument_cost
escape_literal = entrypoint.escape_literal

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
    """Read protocol text. Runs in the worker and in the triggerer.

    :param read: fetches the bytes of a ``gs://`` file; needed only when ``text`` is a reference.
    :raises VertexValueError: the text is damaged, or the file is not the one that was written.
    """
    try:
        return entrypoint.decode(text, read)
    except entrypoint.ProtocolError as error:
        raise VertexValueError(str(error)) from None


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


def from_input(name: str, *, get: str | None = None, text: bool = False) -> Node:
    """Return the node for an input parameter's value.

    :param get: take this item of the value, a dict; a missing one is ``None``, as for a missing XCom.
    :param text: take the parameter's text as it is, without decoding.
    """
    node: dict[str, Any] = {"$in": name}
    if get is not None:
        node["get"] = get
    if text:
        node["text"] = True
    return node


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
    source: str,
    file: str,
    line: int,
    postponed: bool = True,
    args: Sequence[Node] = (),
    kwargs: Mapping[str, Node] | None = None,
    output: bool = True,
    text_output: bool = False,
    inline_limit: int = DEFAULT_INLINE_LIMIT,
    packages: Sequence[str] = (),
    pip_index_urls: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the configuration of a task that calls a function.

    :param task: Airflow task id, for the log.
    :param function: name of the function that ``source`` defines.
    :param source: text of the function without decorators, as
        :func:`airflow_vertex_provider.graph.source.carry_function` gives it (a nested one indented).
    :param file: the author's file, as tracebacks shall name it.
    :param line: line of ``file`` that ``source`` begins at, counted from 1.
    :param postponed: leave all annotations unevaluated. With ``False`` only those of the function's own
        signature; those of functions and classes inside it are evaluated as in the author's file.
    :param args: a node per positional argument.
    :param kwargs: a node per keyword argument.
    :param output: the task declares the output ``Output``; otherwise its value is dropped.
    :param text_output: write the output ``Text`` too: a ``str`` as it is, other values as JSON.
    :param inline_limit: :func:`argument_cost` above which the value goes into a file.
    :param packages: requirements to install before the function is loaded.
    :param pip_index_urls: index to take them from, then further ones; empty means pip's own default.
    """
    return {
        **_common("python", task, output, text_output, inline_limit, packages, pip_index_urls),
        **_function(function, source, file, line, postponed, args, kwargs),
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
    args: Sequence[Node] = (),
    kwargs: Mapping[str, Node] | None = None,
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
    :param skip_exit_codes: exit codes that ask for a skip; the task's error then says so.
    :raises ValueError: neither or both of ``command`` and ``function`` are given.
    """
    if (command is None) == (function is None):
        raise ValueError("bash_config: found both or neither of command and function; allowed: one of them")
    what = (
        {"command": command}
        if function is None
        else _function(function, source, file, line, postponed, args, kwargs)
    )
    return {
        **_common("bash", task, output, text_output, inline_limit, packages, pip_index_urls),
        **what,
        "env": env,
        "append_env": append_env,
        "cwd": cwd,
        "skip_exit_codes": list(skip_exit_codes),
    }


def config_text(config: Mapping[str, Any]) -> str:
    """Return a configuration as the text of a command's argument: JSON that holds no placeholder."""
    return entrypoint.dump(config)


@functools.cache
def embedded_source() -> str:
    """Return the entry point as the text that goes into a container's command.

    Docstrings, comments, annotations and imports for type checkers are gone and indentation is one
    space; the text depends on nothing but the entry point's own code.
    """
    source = importlib.resources.files("airflow_vertex_provider.runtime").joinpath("entrypoint.py")
    tree = _Stripper().visit(ast.parse(source.read_text(encoding="utf-8")))
    lines = ast.unparse(ast.fix_missing_locations(tree)).split("\n")
    # No string of the entry point spans lines, so every leading blank is indentation.
    indents = (len(line) - len(line.lstrip(" ")) for line in lines)
    return "\n".join(" " * (i // 4) + line[i:] for i, line in zip(indents, lines, strict=True) if line) + "\n"


class _Stripper(ast.NodeTransformer):
    """Removes from a module all that matters to readers and type checkers only."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        body = getattr(node, "body", None)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            assert_free = [item for item in node.body if not _is_bare_text(item)]
            node.body = assert_free or [ast.Pass()]
        elif isinstance(body, list) and not body:
            node.body = [ast.Pass()]  # type: ignore[attr-defined]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        return ast.Assign(targets=[node.target], value=node.value)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return None if node.module == "__future__" else node

    def visit_If(self, node: ast.If) -> ast.AST | None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return None
        return self.generic_visit(node)


def _is_bare_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


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
        "packages": list(packages),
        "pip_index_urls": list(pip_index_urls),
    }


def _function(
    function: str,
    source: str,
    file: str,
    line: int,
    postponed: bool,
    args: Sequence[Node],
    kwargs: Mapping[str, Node] | None,
) -> dict[str, Any]:
    return {
        "function": function,
        "source": source,
        "file": file,
        "line": line,
        "postponed": postponed,
        "args": list(args),
        "kwargs": dict(kwargs or {}),
    }
