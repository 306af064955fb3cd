"""An author's function in, its text with file and line out: what the container needs to run it.

Only the function's own text travels, so it must stand on its own: every name it looks up is a builtin or
bound inside it. That is checked here, at parse time, on the very code the container will compile.
"""

from __future__ import annotations

import ast
import builtins
import dis
import functools
import linecache
import types
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from airflow_vertex_provider.graph.code.errors import CarryError
from airflow_vertex_provider.graph.code.loading import how_to_load
from airflow_vertex_provider.runtime import entrypoint

#: What a function may look up without bringing it along. ``__name__`` is there too, as ``"__main__"``.
_PROVIDED = frozenset(vars(builtins)) | {"__name__", "__builtins__", "__annotations__"}
_READS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
#: Airflow's function that gives the running task's context, wherever it is called.
CONTEXT_GETTER = "get_current_context"
#: Parsed files kept; the DAG processor reads one file at a time.
_FILES_KEPT = 32


@dataclass(frozen=True)
class CarriedFunction:
    """A self-contained function as text.

    :param name: the function's name.
    :param source: its lines without decorators, with the indentation they have in the file.
    :param file: name of the author's file, without folders: those differ from host to host.
    :param line: line of the file that ``source`` begins at, counted from 1.
    :param postponed: the file says ``from __future__ import annotations``.
    :param uses: what the body names of Airflow: exception classes, for example ``AirflowSkipException``, and
        ``get_current_context``.
    :param module: where the container imports it from, by ``qualname``; ``None``: the text travels.
    """

    name: str
    source: str
    file: str
    line: int
    postponed: bool = False
    uses: frozenset[str] = frozenset()
    module: str | None = None
    qualname: str = ""

    def to_config(self) -> dict[str, Any]:
        """Return the keyword arguments that ``python_config`` and ``bash_config`` take for a function."""
        if self.module is not None:
            return {"function": self.qualname, "module": self.module}
        return {
            "function": self.name,
            "source": self.source,
            "file": self.file,
            "line": self.line,
            "postponed": self.postponed,
        }


def carry_function(func: object, mode: str = "inline") -> CarriedFunction:
    """Return the text of a self-contained function. Runs at parse time; the function is not called.

    :param func: a function, or Airflow's ``@task`` object around one.
    :raises CarryError: it is no plain function, has no source, or uses names from outside itself.
    """
    function = _plain_function(func)
    loading = how_to_load(function, mode)
    if loading.module is not None:
        if "<" in function.__qualname__:
            raise CarryError(
                function.__name__,
                function.__code__.co_filename,
                f"with code={mode!r} it is imported from {loading.module!r}, and it is defined inside a "
                "function; define it at the top of the module, or use code='inline' or code='bundle'",
            )
        carried = _carry(function, check=False)
        return replace(carried, module=loading.module, qualname=function.__qualname__)
    code = function.__code__
    known = _carried.get(code)
    # Equal code objects may come from different files.
    if known is not None and known[0] == code.co_filename:
        return known[1]
    carried = _carry(function)
    _carried[code] = (code.co_filename, carried)
    return carried


_carried: weakref.WeakKeyDictionary[types.CodeType, tuple[str, CarriedFunction]] = weakref.WeakKeyDictionary()


def _plain_function(func: object) -> types.FunctionType:
    """Return the function that the author wrote, or refuse."""
    kind = type(func)
    if kind.__module__ == "airflow.sdk.bases.decorator" and hasattr(func, "function"):
        func = func.function
    name = getattr(func, "__name__", kind.__name__)
    file = _file_of(func)
    if isinstance(func, functools.partial):
        inner = getattr(func.func, "__name__", repr(func.func))
        raise CarryError(
            inner, _file_of(func.func), "it is a functools.partial; pass the arguments in the call"
        )
    if isinstance(func, types.MethodType):
        raise CarryError(name, file, "it is a method; use a function outside of classes")
    if not isinstance(func, types.FunctionType):
        raise CarryError(
            name, file, f"it is no function written in Python but {kind.__module__}.{kind.__qualname__}"
        )
    if name == "<lambda>":
        raise CarryError(
            name, file, f"it is a lambda (line {func.__code__.co_firstlineno}); write it with def"
        )
    if hasattr(func, "__wrapped__"):
        raise CarryError(
            name,
            file,
            "it is wrapped by a decorator, which would be lost; call the wrapping code in its body",
        )
    parent = func.__qualname__.rpartition(".")[0]
    if parent and not parent.endswith("<locals>"):
        raise CarryError(name, file, f"it belongs to class {parent!r}; use a function outside of classes")
    return func


def _file_of(func: object) -> str:
    code = getattr(func, "__code__", None)
    return code.co_filename if isinstance(code, types.CodeType) else "(no file)"


class _Place(NamedTuple):
    """Where a function stands in its file: the ``def`` line and the last line."""

    first: int
    last: int


class _File(NamedTuple):
    """A parsed file: its lines, and its functions by name and first line, decorators included."""

    lines: list[str]
    places: dict[tuple[str, int], _Place]
    postponed: bool


_files: dict[str, _File] = {}


def _read_file(function: types.FunctionType) -> _File:
    """Return the parsed file of ``function``; a file is parsed once, until it changes."""
    name = function.__code__.co_filename
    linecache.checkcache(name)
    lines = linecache.getlines(name, function.__globals__)
    known = _files.get(name)
    # linecache hands out the same list until the file changes.
    if known is not None and known.lines is lines:
        return known
    if not lines:
        raise CarryError(function.__name__, name, "its source cannot be read; define it in a file")
    try:
        tree = ast.parse("".join(lines))
    except (SyntaxError, ValueError) as error:
        raise CarryError(function.__name__, name, f"its file cannot be parsed any more: {error}") from None
    places = {
        (node.name, min([node.lineno, *(item.lineno for item in node.decorator_list)])): _Place(
            node.lineno, node.end_lineno or node.lineno
        )
        for node in _functions(tree)
    }
    postponed = any(
        isinstance(node, ast.ImportFrom)
        and node.module == "__future__"
        and any(alias.name == "annotations" for alias in node.names)
        for node in tree.body
    )
    while len(_files) >= _FILES_KEPT:
        del _files[next(iter(_files))]
    _files[name] = _File(lines, places, postponed)
    return _files[name]


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function definition; expressions are not entered, since they cannot hold any."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        if isinstance(node, ast.stmt | ast.excepthandler | ast.match_case):
            yield from _functions(node)


def _carry(function: types.FunctionType, *, check: bool = True) -> CarriedFunction:
    code = function.__code__
    name, path = function.__name__, code.co_filename
    file = _read_file(function)
    place = file.places.get((code.co_name, code.co_firstlineno))
    if place is None or name != code.co_name:
        raise CarryError(
            name, path, f"its source is not found at line {code.co_firstlineno}; the file has changed since"
        )
    source = "".join(file.lines[place.first - 1 : place.last]).rstrip("\n")
    try:
        compiled = entrypoint.compiled(source, Path(path).name, place.first, file.postponed)
    except SyntaxError as error:
        outside = [(free, place.first) for free in code.co_freevars if free != name]
        reason = _names_reason(outside) if outside else f"its text alone is no valid Python: {error}"
        raise CarryError(name, path, reason, outside) from None
    outside = _names_from_outside(compiled, name, function.__globals__)
    if outside and check:
        raise CarryError(name, path, _names_reason(outside), outside)
    uses = frozenset(
        used
        for part in _code_objects(compiled)
        for used in part.co_names
        if used == CONTEXT_GETTER or (used.startswith("Airflow") and used.endswith("Exception"))
    )
    return CarriedFunction(name, source, Path(path).name, place.first, file.postponed, uses)


def _names_reason(names: Sequence[tuple[str, int]]) -> str:
    listed = ", ".join(f"{name!r} (line {line})" for name, line in names)
    return (
        f"it uses names from outside itself: {listed}. Only its own text is sent: "
        "import modules inside the function, define helpers inside it, pass values as arguments"
    )


def _code_objects(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield ``code`` and all code inside it: nested functions, classes, comprehensions, lambdas."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _code_objects(constant)


def _names_from_outside(code: types.CodeType, own: str, module: dict[str, Any]) -> list[tuple[str, int]]:
    """Return the global names that ``code`` reads but neither binds nor finds among the builtins.

    :param own: the function's name, which it may use to call itself.
    :param module: the author's module; a builtin that it redefines is not the builtin.
    """
    parts = list(_code_objects(code))
    used = set().union(*(_names_read(part) for part in parts))
    wanted = {name for name in used if name != own and (name in module or name not in _PROVIDED)}
    wanted -= {"__name__", "__builtins__"}
    if not wanted:
        return []
    # Disassembling costs a millisecond for a middling function, so only what looks wrong gets that far.
    found: dict[str, int] = {}
    bound: set[str] = set()
    for part in parts:
        local = set()
        for step in dis.get_instructions(part):
            name = step.argval
            if step.opname == "STORE_GLOBAL" and name not in module:
                bound.add(name)
            elif step.opname == "STORE_NAME":
                local.add(name)
            elif step.opname in _READS and name in wanted and name not in local:
                line = (step.positions.lineno if step.positions else None) or part.co_firstlineno
                found[name] = min(line, found.get(name, line))
    return sorted(
        ((name, line) for name, line in found.items() if name not in bound),
        key=lambda item: (item[1], item[0]),
    )


def _names_read(code: types.CodeType) -> set[str]:
    """Return the names that ``code`` itself looks up by name: globals, and names of a class body.

    Reads the bytecode as CPython 3.11 to 3.13 write it: pairs of operation and argument, where the
    argument of ``LOAD_GLOBAL`` is twice the index of the name, plus a flag.
    """
    operations, arguments = code.co_code[::2], code.co_code[1::2]
    names = set()
    for opname in _READS:
        operation = dis.opmap.get(opname)
        position = -1 if operation is None else operations.find(operation)
        while position >= 0 and operation is not None:
            index, before, shift = arguments[position], position - 1, 8
            while before >= 0 and operations[before] == dis.EXTENDED_ARG:
                index |= arguments[before] << shift
                before, shift = before - 1, shift + 8
            names.add(code.co_names[index >> 1 if opname == "LOAD_GLOBAL" else index])
            position = operations.find(operation, position + 1)
    return names
