"""An author's file: its text in, its top-level statements by the names they bind and its functions out."""

from __future__ import annotations

import ast
import linecache
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from airflow_vertex_provider.graph.code.errors import CarryError
from airflow_vertex_provider.graph.code.imports import imports_of, is_type_checking

#: Parsed files kept; the DAG processor reads one file at a time.
_FILES_KEPT = 32

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(eq=False)
class Statement:
    """One statement at the top of a file, or of a ``with`` block there.

    :param node: its tree. :param number: its place in the file's order.
    :param binds: names it binds. :param touches: names whose objects it changes.
    :param under: the ``with`` blocks it stands in.
    """

    node: ast.stmt
    number: int
    binds: frozenset[str]
    touches: frozenset[str]
    under: tuple[ast.With | ast.AsyncWith, ...] = ()

    @property
    def line(self) -> int:
        """Return its first line, that of its decorators."""
        return first_line(self.node)


@dataclass(frozen=True)
class Place:
    """Where a function or class is defined.

    :param node: its definition. :param outer: the functions around it, the nearest last.
    :param top: whether it stands at the top of its file, or of ``with`` blocks there.
    """

    node: _Definition
    outer: tuple[_Function, ...]
    top: bool


@dataclass(frozen=True)
class Around:
    """What functions around a definition bind.

    :param variables: their names. :param imports: by the names that imports in them bind.
    """

    variables: frozenset[str]
    imports: Mapping[str, Sequence[ast.Import | ast.ImportFrom]]


@dataclass(eq=False)
class File:
    """A parsed file.

    :param name: its path. :param lines: its text, as linecache has it.
    :param postponed: it says ``from __future__ import annotations``.
    :param statements: its statements in order. :param binders: those that bind a name, :param touchers: those
        that change what a name stands for.
    :param functions: by name and first line, decorators included. :param classes: by qualified name.
    """

    name: str
    lines: list[str]
    postponed: bool
    statements: list[Statement] = field(default_factory=list)
    binders: dict[str, list[Statement]] = field(default_factory=dict)
    touchers: dict[str, list[Statement]] = field(default_factory=dict)
    functions: dict[tuple[str, int], Place] = field(default_factory=dict)
    classes: dict[str, list[Place]] = field(default_factory=dict)
    _around: dict[tuple[_Function, ...], Around] = field(default_factory=dict)

    def around(self, outer: tuple[_Function, ...]) -> Around:
        """Return what functions bind; found out once, for many members stand in the same ones."""
        if outer not in self._around:
            self._around[outer] = _around(outer)
        return self._around[outer]

    def text(self, node: ast.stmt, first: int | None = None) -> str:
        """Return the text of a statement: whole lines where it has them for itself.

        :param first: the line to begin at, for a definition without some of its decorators.
        """
        begin, end = first or first_line(node), node.end_lineno or node.lineno
        rows = self.lines[begin - 1 : end]
        last = rows[-1].encode()
        before = rows[0].encode()[: node.col_offset] if begin == node.lineno else b""
        after = last[node.end_col_offset :].strip()
        if not before.strip() and (not after or after.startswith(b"#")):
            return "".join(rows).rstrip("\n")
        # It shares its lines with others: A = 1; B = 2.
        rows[-1] = last[: node.end_col_offset].decode()
        if before.strip():
            rows[0] = (
                rows[0].encode()[node.col_offset :].decode()
                if len(rows) > 1
                else (last[node.col_offset : node.end_col_offset].decode())
            )
        return "".join(rows)


_files: dict[str, File] = {}


def first_line(node: ast.stmt) -> int:
    """Return the first line of a statement, that of its decorators."""
    if isinstance(node, _Definition):
        return min([node.lineno, *(item.lineno for item in node.decorator_list)])
    return node.lineno


def read_file(function: types.FunctionType) -> File:
    """Return the parsed file of ``function``; a file is parsed once, until it changes. Runs at parse.

    :raises CarryError: its text cannot be had.
    """
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
    while len(_files) >= _FILES_KEPT:
        del _files[next(iter(_files))]
    _files[name] = _parsed(name, lines, tree)
    return _files[name]


def _parsed(name: str, lines: list[str], tree: ast.Module) -> File:
    postponed = any(
        isinstance(node, ast.ImportFrom)
        and node.module == "__future__"
        and any(alias.name == "annotations" for alias in node.names)
        for node in tree.body
    )
    file = File(name, lines, postponed)
    _add_statements(file, tree.body, ())
    for statement in file.statements:
        for bound in statement.binds:
            file.binders.setdefault(bound, []).append(statement)
        for touched in statement.touches:
            file.touchers.setdefault(touched, []).append(statement)
    _add_places(file, tree.body, "", (), top=True)
    return file


def _add_statements(
    file: File, body: Iterable[ast.stmt], under: tuple[ast.With | ast.AsyncWith, ...]
) -> None:
    for node in body:
        if isinstance(node, ast.With | ast.AsyncWith):
            targets = [item.optional_vars for item in node.items if item.optional_vars is not None]
            names = {name for target in targets for name in _target_names(target)}
            file.statements.append(
                Statement(node, len(file.statements), frozenset(names), frozenset(), under)
            )
            _add_statements(file, node.body, (*under, node))
            continue
        binds: set[str] = set()
        touches: set[str] = set()
        collect(node, binds, touches)
        file.statements.append(
            Statement(node, len(file.statements), frozenset(binds), frozenset(touches), under)
        )


def _add_places(
    file: File, body: Iterable[ast.AST], path: str, outer: tuple[_Function, ...], *, top: bool
) -> None:
    """Note every definition; expressions are not entered, since they cannot hold any."""
    for node in body:
        if isinstance(node, _Function):
            file.functions[node.name, first_line(node)] = Place(node, outer, top)
            _add_places(file, node.body, f"{path}{node.name}.<locals>.", (*outer, node), top=False)
        elif isinstance(node, ast.ClassDef):
            file.classes.setdefault(path + node.name, []).append(Place(node, outer, top))
            _add_places(file, node.body, f"{path}{node.name}.", outer, top=False)
        elif isinstance(node, ast.stmt | ast.excepthandler | ast.match_case):
            inside = top and isinstance(node, ast.With | ast.AsyncWith)
            _add_places(file, ast.iter_child_nodes(node), path, outer, top=inside)


def _around(outer: Iterable[_Function]) -> Around:
    variables: set[str] = set()
    imports: dict[str, list[ast.Import | ast.ImportFrom]] = {}
    for function in outer:
        args = function.args
        every = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
        variables.update(item.arg for item in every if item is not None)
        for statement in function.body:
            collect(statement, variables, set())
            for found in imports_of(statement):
                for name in {bound_by(alias) for alias in found.names}:
                    imports.setdefault(name, []).append(found)
    return Around(frozenset(variables), imports)


def collect(node: ast.AST, binds: set[str], touches: set[str]) -> None:
    """Find what a statement binds and changes when it runs, without what runs later."""
    if isinstance(node, _Definition):
        binds.add(node.name)
        for decorator in node.decorator_list:
            # @known.register, of functools.singledispatch for one, changes what it is called on.
            target = decorator.func if isinstance(decorator, ast.Call) else decorator
            touches.update(_base(target) if isinstance(target, ast.Attribute) else ())
        return
    if isinstance(node, ast.Lambda):
        return
    if isinstance(node, ast.Import | ast.ImportFrom):
        if not (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
            binds.update(bound_by(alias) for alias in node.names if alias.name != "*")
        return
    if isinstance(node, ast.If) and is_type_checking(node.test):
        for item in node.orelse:
            collect(item, binds, touches)
        return
    if isinstance(node, ast.Name):
        if not isinstance(node.ctx, ast.Load):
            (binds if isinstance(node.ctx, ast.Store) else touches).add(node.id)
        return
    if isinstance(node, ast.AnnAssign) and node.value is None:
        return
    if isinstance(node, ast.Subscript | ast.Attribute) and not isinstance(node.ctx, ast.Load):
        touches.update(_base(node))
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        touches.update(_base(node.value.func) if isinstance(node.value.func, ast.Attribute) else ())
    if isinstance(node, ast.MatchAs | ast.MatchStar | ast.MatchMapping):
        name = node.rest if isinstance(node, ast.MatchMapping) else node.name
        binds.update([name] if name else ())
    if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        # Its own variables stay inside; what := binds does not.
        binds.update(
            item.target.id
            for item in ast.walk(node)
            if isinstance(item, ast.NamedExpr) and isinstance(item.target, ast.Name)
        )
        return
    for child in ast.iter_child_nodes(node):
        collect(child, binds, touches)


def bound_by(alias: ast.alias) -> str:
    """Return the name that one part of an import binds."""
    return alias.asname or alias.name.partition(".")[0]


def _target_names(node: ast.expr) -> Iterator[str]:
    for item in ast.walk(node):
        if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Store):
            yield item.id


def _base(node: ast.expr) -> list[str]:
    """Return the name that an attribute or item belongs to."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return [node.id] if isinstance(node, ast.Name) else []
