"""An author's function in, its text with file and line out: what the container needs to run it.

What it names of its file travels with it (:mod:`~airflow_vertex_provider.graph.code.reach`), and what it
holds of functions around it (:mod:`~airflow_vertex_provider.graph.code.closures`). All of it is found at
parse time, on the very code the container will compile; nothing of the author's is called.
"""

from __future__ import annotations

import ast
import functools
import types
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_vertex_provider.exceptions import VertexSettingsError
from airflow_vertex_provider.graph.code.closures import Closures
from airflow_vertex_provider.graph.code.errors import CarryError
from airflow_vertex_provider.graph.code.files import File, Place, read_file
from airflow_vertex_provider.graph.code.loading import how_to_load
from airflow_vertex_provider.graph.code.names import code_objects
from airflow_vertex_provider.graph.code.problems import Problem
from airflow_vertex_provider.graph.code.reach import CONTEXT_GETTER, Reach, scope_of


@dataclass(frozen=True)
class CarriedFunction:
    """A function as it gets into a container.

    :param name: the function's name, in its text.
    :param source: its lines without Airflow's decorators, with the indentation they have in the file.
    :param file: name of the author's file, without folders: those differ from host to host.
    :param line: line of the file that ``source`` begins at, counted from 1.
    :param postponed: the file says ``from __future__ import annotations``.
    :param uses: what the texts name of Airflow: exception classes, for example ``AirflowSkipException``, and
        ``get_current_context``.
    :param reached: line and text of each statement that it needs, in the order they run in.
    :param closure: a node per variable of an enclosing function.
    :param package: name of the package that relative imports start from.
    :param module: where the container imports it from, by ``qualname``; ``None``: the texts travel.
    """

    name: str
    source: str
    file: str
    line: int
    postponed: bool = False
    uses: frozenset[str] = frozenset()
    reached: tuple[tuple[int, str], ...] = ()
    closure: Mapping[str, Any] = field(default_factory=dict)
    package: str | None = None
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
            **({"reached": self.reached} if self.reached else {}),
            **({"closure": self.closure} if self.closure else {}),
            **({"package": self.package} if self.package else {}),
        }


def carry_function(func: object, mode: str = "inline") -> CarriedFunction:
    """Return how a function gets into its container. Runs at parse time; the function is not called.

    :param func: a function, what decorators made of one, or Airflow's ``@task`` object around it.
    :param mode: the setting ``code``.
    :raises CarryError: it is no plain function, has no source, or needs what cannot travel.
    """
    func = _of_a_task(func)
    function = _plain_function(func)
    file = read_file(function)
    known = _carried.get(function, {}).get(mode)
    if known is not None and known[0] is file:
        return known[1]
    carried = _carry(func, function, file, mode)
    # What it names may have other values by the time another group takes it.
    if func is function and not carried.reached and not carried.closure:
        _carried.setdefault(function, {})[mode] = (file, carried)
    return carried


#: By the function itself: equal functions may come from other files.
_carried: weakref.WeakKeyDictionary[types.FunctionType, dict[str, tuple[File, CarriedFunction]]] = (
    weakref.WeakKeyDictionary()
)


def _of_a_task(func: Any) -> Any:
    return (
        func.function
        if type(func).__module__ == "airflow.sdk.bases.decorator" and hasattr(func, "function")
        else func
    )


def _plain_function(func: Any) -> types.FunctionType:
    """Return the function that the author wrote, under its decorators, or refuse."""
    while hasattr(func, "__wrapped__"):
        func = func.__wrapped__
    kind = type(func)
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
    parent = func.__qualname__.rpartition(".")[0]
    if parent and not parent.endswith("<locals>"):
        raise CarryError(name, file, f"it belongs to class {parent!r}; use a function outside of classes")
    return func


def _file_of(func: object) -> str:
    code = getattr(func, "__code__", None)
    return code.co_filename if isinstance(code, types.CodeType) else "(no file)"


def _carry(func: Any, function: types.FunctionType, file: File, mode: str) -> CarriedFunction:
    code = function.__code__
    name = function.__name__
    place = file.functions.get((code.co_name, code.co_firstlineno))
    if place is None or name != code.co_name:
        raise CarryError(
            name,
            file.name,
            f"its source is not found at line {code.co_firstlineno}; the file has changed since",
        )
    try:
        loading = how_to_load(function, mode)
    except VertexSettingsError as error:  # the file lies in no folder
        raise CarryError(name, file.name, str(error)) from None
    if loading.module is not None and place.outer:
        raise CarryError(
            name,
            file.name,
            f"it stands inside another function, so it cannot be imported from {loading.module!r}; "
            "define it at the top of the file, or use code='inline' or code='bundle'",
        )
    scope = scope_of(file, function.__globals__)
    reach = Reach(scope, name, loading, nested=bool(place.outer))
    closures = Closures(reach)
    try:
        source, line, compiled = closures.definition(place, function, func is not function)
    except SyntaxError as error:
        raise _no_text(function, place, file, error) from None
    problems = reach.finish()
    if problems and loading.module is None:
        raise CarryError(name, file.name, _reason(problems), [(item.name, item.line) for item in problems])
    pieces = reach.ordered()
    uses = frozenset(
        used
        for whole in (compiled, *(piece.code for piece in pieces))
        for part in code_objects(whole)
        for used in part.co_names
        if used == CONTEXT_GETTER or (used.startswith("Airflow") and used.endswith("Exception"))
    )
    by_text = loading.module is None
    return CarriedFunction(
        name,
        source,
        Path(file.name).name,
        line,
        file.postponed,
        uses,
        reached=tuple((piece.line, piece.text) for piece in pieces),
        closure=closures.values if by_text else {},
        package=str(function.__globals__.get("__package__") or "") or None if reach.relative else None,
        module=loading.module,
        qualname=function.__qualname__,
    )


def _no_text(function: types.FunctionType, place: Place, file: File, error: SyntaxError) -> CarryError:
    """Explain a text that is no valid Python without what stands around it."""
    bound = {
        name: node.lineno
        for node in ast.walk(place.node)
        if isinstance(node, ast.Nonlocal)
        for name in node.names
        if name in function.__code__.co_freevars
    }
    if not bound:
        reason = f"its text alone is no valid Python: {error}"
    else:
        listed = ", ".join(f"{name!r} (line {line})" for name, line in bound.items())
        reason = f"'nonlocal' of the function around it: {listed} -> return the value instead"
    return CarryError(function.__name__, file.name, reason, list(bound.items()))


def _reason(problems: list[Problem]) -> str:
    return "; ".join(
        f"{problem.name!r} (line {problem.line}) {problem.what} -> {problem.way_out}" for problem in problems
    )
