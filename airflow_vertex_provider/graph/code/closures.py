"""Functions and classes defined inside functions: what they hold of the function around them in, texts out.

In the container everything lies in one module, so a variable of an enclosing function becomes a name of that
module: a literal by its value, a function or class by its text, what can be imported by an import.
"""

from __future__ import annotations

import ast
import builtins
import datetime
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

from airflow_vertex_provider.graph.code.constants import Expressions
from airflow_vertex_provider.graph.code.files import Place, Statement, bound_by, first_line
from airflow_vertex_provider.graph.code.imports import is_of_airflow
from airflow_vertex_provider.graph.code.names import line_of, names_read, names_read_at_once
from airflow_vertex_provider.graph.code.problems import airflows, finding_problems
from airflow_vertex_provider.graph.code.reach import Piece, Reach
from airflow_vertex_provider.graph.code.written import NotWritable, Writer
from airflow_vertex_provider.runtime import protocol

_ATOMS = (type(None), bool, int, float, str, bytes)
_DATES = (datetime.datetime, datetime.date, datetime.timedelta)
_AS_ARGUMENT = "pass it as an argument, or make it inside the function"
#: What runs in which order: the file's statements, imports of enclosing functions, what is defined in them,
#: values made of it.
_IMPORTS, _NESTED, _WRITTEN = 1, 2, 3


class Closures:
    """Adds to what a function reaches what it holds of the functions around it.

    :param reach: collects it.
    """

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._scope = reach.scope
        self._file = reach.scope.file
        #: Names that stand for values, as nodes.
        self.values: dict[str, Any] = {}
        #: Names of objects that can be changed, by id; the objects are kept, so that no other gets theirs.
        self._held: dict[int, tuple[str, object]] = {}
        self._past_end = len(self._file.lines)

    def definition(
        self, place: Place, raw: types.FunctionType, wrapped: bool
    ) -> tuple[str, int, types.CodeType]:
        """Return text, line and code of a function's definition, and follow what it names.

        :param wrapped: decorators made something else of ``raw``; those that are not Airflow's stay.
        """
        node = place.node
        kept = self._kept(node) if wrapped else []
        first = min([node.lineno, *(item.lineno for item in kept)])
        text = self._file.text(node, first)
        args = node.args if not isinstance(node, ast.ClassDef) else None
        fixed = not place.top
        if args is not None:
            text, left = _with_values(text, first, args, raw if fixed else None)
            look = Expressions(self._scope.module)
            for default in left:
                self._reach.problems.extend(finding_problems(f"{node.name}()", look.strict(default)))
            for decorator in kept:
                self._reach.problems.extend(finding_problems(node.name, look.relaxed(decorator)))
        code = self._scope.compiled(text, first)
        self.follow(code, dict(zip(raw.__code__.co_freevars, raw.__closure__ or (), strict=True)), place)
        return text, first, code

    def follow(self, code: types.CodeType, cells: Mapping[str, types.CellType], place: Place | None) -> None:
        """Follow the names that a text looks up: variables of functions around it, and the module's names."""
        at_once = names_read_at_once(code)
        around = self._file.around(place.outer).variables if place is not None else frozenset()
        for name in sorted(names_read(code)):
            if name in cells:
                self._cell(name, cells[name], code, place)
            elif name in around and name in at_once and not self._import(name, place):
                self._reach.refuse(
                    name,
                    line_of(code, name),
                    "is a variable of the enclosing function, read as the function is defined",
                    _AS_ARGUMENT,
                )
        self._reach.read(code, without=set(cells) | (around & at_once))

    def _kept(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> list[ast.expr]:
        """Return the decorators under those of Airflow, which are what makes a task of a function."""
        kept: list[ast.expr] = []
        for decorator in node.decorator_list:
            kept = [] if self._is_airflows(decorator) else [*kept, decorator]
        return kept

    def _is_airflows(self, decorator: ast.expr) -> bool:
        named = decorator.func if isinstance(decorator, ast.Call) else decorator
        while isinstance(named, ast.Attribute):
            known, found = Expressions(self._scope.module).named(named)
            if known and isinstance(found, types.ModuleType):
                break
            named = named.value
        if not isinstance(named, ast.Name):
            return False
        if named.id not in self._scope.module:
            # Imported inside a function, as in many a DAG's.
            return any(
                isinstance(item, ast.ImportFrom)
                and is_of_airflow(item.module or "")
                and any(bound_by(alias) == named.id for alias in item.names)
                for statement in self._file.statements
                for item in ast.walk(statement.node)
            )
        found = self._scope.module[named.id]
        found = getattr(found, "func", found)
        owners = (
            str(getattr(found, "__module__", "")),
            type(found).__module__,
            getattr(found, "__name__", ""),
        )
        return any(str(owner).partition(".")[0] in ("airflow", "airflow_vertex_provider") for owner in owners)

    def _cell(self, name: str, cell: types.CellType, code: types.CodeType, place: Place | None) -> None:
        reach = self._reach
        line = line_of(code, name)
        try:
            value = cell.cell_contents
        except ValueError:
            reach.refuse(name, line, "has no value yet", "bind it before the group ends")
            return
        if name in reach.meaning:
            known = reach.meaning[name]
            if known is not None and known is not value:
                reach.refuse(name, line, "two different things have this name", "give one another name")
            return
        reach.meaning[name] = value
        what = airflows(value)
        if what is not None:
            reach.refuse(name, line, *what)
        elif id(value) in self._held:
            # One object under two names stays one: what is done to it under one shows under the other.
            self._line_past_end(f"{name} = {self._held[id(value)][0]}", _WRITTEN)
        elif _is_literal(value):
            self._hold(name, value)
            self.values[name] = protocol.constant(value)
        elif not (
            self._import(name, place) or self._by_text(name, value, line) or self._by_import(name, value)
        ):
            self._write(name, value, line)

    def _write(self, name: str, value: Any, line: int) -> None:
        """Take an expression that makes the value again, or refuse."""

        def refer(item: Any) -> str | None:
            own = str(getattr(item, "__name__", "")).rpartition(".")[2]
            if not own.isidentifier():
                return None
            if self._scope.module.get(own, getattr(builtins, own, None)) is item:
                self._reach.want(own, self._scope.compiled(own, line))
                return own
            known = own == name or not self._claim(own, name, item, line)
            return (
                None if known or not (self._by_text(own, item, line) or self._by_import(own, item)) else own
            )

        try:
            text = Writer(str(self._scope.module.get("__name__")), refer).text(value)
        except NotWritable as found:
            kind, inner = type(value), type(found.value)
            part = "" if found.value is value else f", which holds one of {_type_name(inner)}"
            self._reach.refuse(
                name,
                line,
                f"is a live object of the enclosing function, of type {_type_name(kind)}{part}",
                _AS_ARGUMENT,
            )
            return
        self._hold(name, value)
        self._line_past_end(f"{name} = {text}", _WRITTEN)

    def _hold(self, name: str, value: object) -> None:
        """Remember the name of an object that can be changed."""
        if getattr(type(value), "__hash__", None) is None:
            self._held[id(value)] = (name, value)

    def _import(self, name: str, place: Place | None) -> bool:
        """Take the import of an enclosing function that binds a name, if there is just one."""
        found = self._file.around(place.outer).imports.get(name, ()) if place is not None else ()
        if len(found) != 1:
            return False
        self._reach.take_import(Statement(found[0], 0, frozenset(), frozenset()), found[0], name, _IMPORTS)
        return True

    def _by_text(self, name: str, value: Any, line: int) -> bool:
        """Take the text of a function or class of this file."""
        raw = value
        while hasattr(raw, "__wrapped__"):
            raw = raw.__wrapped__
        if isinstance(raw, types.FunctionType) and raw.__code__.co_filename == self._file.name:
            if raw.__name__ == "<lambda>":
                return self._lambda(name, raw)
            place = self._file.functions.get((raw.__code__.co_name, raw.__code__.co_firstlineno))
            if place is None:
                return False
            own = raw.__code__.co_name
            if not place.outer and self._scope.module.get(own) is value:
                self._reach.want(own, raw.__code__)
            else:
                if not self._claim(own, name, value, line):
                    return True
                text, first, code = self.definition(place, raw, raw is not value)
                self._reach.pieces.add(Piece(_NESTED, first, 0, text, code))
            return self._alias(name, own)
        if isinstance(value, type) and value.__module__ == self._scope.module.get("__name__"):
            return self._class(name, value, line)
        return False

    def _class(self, name: str, kind: type, line: int) -> bool:
        places = self._file.classes.get(kind.__qualname__, [])
        if len(places) != 1:
            return False
        place = places[0]
        own = place.node.name
        if not place.outer:
            if self._scope.module.get(own) is not kind:
                return False
            self._reach.want(own, self._scope.compiled(own, line))
        else:
            if not self._claim(own, name, kind, line):
                return True
            text, first = self._file.text(place.node), first_line(place.node)
            look = Expressions(self._scope.module)
            self._reach.problems.extend(finding_problems(own, look.relaxed(place.node)))
            code = self._scope.compiled(text, first)
            cells = {base.__name__: types.CellType(base) for base in kind.__bases__}
            cells |= {name: cell for name, cell in _cells_of(kind) if name not in (own, "__class__")}
            # What stands at the top of the file is no variable of a function.
            variables = self._file.around(place.outer).variables
            cells = {name: cell for name, cell in cells.items() if name in variables}
            self.follow(code, cells, place)
            self._reach.pieces.add(Piece(_NESTED, first, 0, text, code))
        return self._alias(name, own)

    def _claim(self, own: str, name: str, value: object, line: int) -> bool:
        """Let a definition's own name mean it, unless it means something else."""
        if own == name:
            return True
        if own in self._reach.meaning and self._reach.meaning[own] is not value:
            self._reach.refuse(own, line, "two different things have this name", "give one another name")
            return False
        self._reach.meaning[own] = value
        return True

    def _alias(self, name: str, own: str) -> bool:
        return name == own or self._line_past_end(f"{name} = {own}", _NESTED)

    def _lambda(self, name: str, raw: types.FunctionType) -> bool:
        line = raw.__code__.co_firstlineno
        found = [
            item
            for statement in self._file.statements
            if statement.line <= line <= (statement.node.end_lineno or line) and not statement.under
            for item in ast.walk(statement.node)
            if isinstance(item, ast.Lambda) and item.lineno == line
        ]
        if len(found) != 1:
            return False
        text = f"{name} = {ast.unparse(found[0])}"
        code = self._scope.compiled(text, line)
        self.follow(code, dict(zip(raw.__code__.co_freevars, raw.__closure__ or (), strict=True)), None)
        self._reach.pieces.add(Piece(_NESTED, line, 0, text, code))
        return True

    def _by_import(self, name: str, value: Any) -> bool:
        """Import a module, or what a module has under its own name."""
        if isinstance(value, types.ModuleType):
            module, text = value.__name__, f"import {value.__name__} as {name}"
            names: list[str] = []
        else:
            module, own = str(getattr(value, "__module__", "")), str(getattr(value, "__qualname__", "."))
            if "." in own or getattr(sys.modules.get(module), own, None) is not value:
                return False
            if module == builtins.__name__:
                return self._line_past_end(f"{name} = {own}", _IMPORTS)
            text, names = f"from {module} import {own} as {name}", [own]
        problem = self._reach.import_problem(name, module, 0, self._file.statements[0].line, names)
        if problem is not None:
            self._reach.problems.append(problem)
            return True
        return self._line_past_end(text, _IMPORTS)

    def _line_past_end(self, text: str, rank: int) -> bool:
        """Add a statement that is not in the file, on a line that is not either."""
        self._past_end += 1
        code = self._scope.compiled(text, self._past_end)
        self._reach.pieces.add(Piece(rank, self._past_end, 0, text, code))
        return True


def _type_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _is_literal(value: object) -> bool:
    """Say whether a value can be written as a node, to the last of its parts."""
    try:
        return _is_plain(value)
    except RecursionError:
        return False  # it is inside itself


def _is_plain(value: object) -> bool:
    if isinstance(value, dict) and type(value) is dict:
        return all(_is_plain(key) and _is_plain(item) for key, item in value.items())
    if type(value) in (list, tuple, set, frozenset):
        return all(map(_is_plain, value))  # type: ignore[call-overload]
    return type(value) in (*_ATOMS, *_DATES)


def _cells_of(kind: type) -> Iterator[tuple[str, types.CellType]]:
    """Yield the variables that the methods of a class hold of the functions around it."""
    for item in vars(kind).values():
        for function in (item, *(getattr(item, name, None) for name in ("__func__", "fget", "fset", "fdel"))):
            if isinstance(function, types.FunctionType):
                yield from zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)


def _with_values(
    text: str, first: int, args: ast.arguments, raw: types.FunctionType | None
) -> tuple[str, list[ast.expr]]:
    """Write the values of default arguments in place of what made them, where they are literals.

    The definition ran in a function or a loop, whose variables are gone.

    :return: the text, and the defaults that stay as they are.
    """
    positional = [*args.posonlyargs, *args.args]
    named = dict(
        zip(
            (arg.arg for arg in positional[len(positional) - len(args.defaults) :]),
            args.defaults,
            strict=True,
        )
    )
    named |= {arg.arg: node for arg, node in zip(args.kwonlyargs, args.kw_defaults, strict=True) if node}
    left, spans = [], []
    values: dict[str, Any] = {}
    if raw is not None:
        with_default = [arg.arg for arg in positional][len(positional) - len(raw.__defaults__ or ()) :]
        values = dict(zip(with_default, raw.__defaults__ or (), strict=True)) | (raw.__kwdefaults__ or {})
    for name, node in named.items():
        if isinstance(node, ast.Constant):
            continue
        value = values.get(name, ...)
        if value is ... or not _is_literal(value) or type(value) in _DATES or not _reads_back(value):
            left.append(node)
            continue
        spans.append((node, repr(value)))
    rows = text.split("\n")
    for node, shown in sorted(spans, key=lambda item: (item[0].lineno, item[0].col_offset), reverse=True):
        begin, end = node.lineno - first, (node.end_lineno or node.lineno) - first
        before = rows[begin].encode()[: node.col_offset].decode()
        after = rows[end].encode()[node.end_col_offset :].decode()
        rows[begin : end + 1] = (
            [before + shown, *[""] * (end - begin - 1), after] if end > begin else [before + shown + after]
        )
    return "\n".join(rows), left


def _reads_back(value: object) -> bool:
    try:
        return repr(ast.literal_eval(repr(value))) == repr(value)
    except (SyntaxError, ValueError):
        return False
