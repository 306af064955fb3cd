"""What a function reaches in its file: names in, the statements that bind them out, in the file's order.

Names lead to statements, these to further names, to any depth. What cannot travel is collected with its name
and line; nothing is raised here.
"""

from __future__ import annotations

import ast
import builtins
import sys
import textwrap
import types
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_vertex_provider.graph.code.constants import Expressions
from airflow_vertex_provider.graph.code.files import File, Statement, bound_by
from airflow_vertex_provider.graph.code.imports import imports_of, is_of_airflow, is_type_checking, offered
from airflow_vertex_provider.graph.code.loading import Loading
from airflow_vertex_provider.graph.code.names import (
    line_of,
    names_made,
    names_read,
)
from airflow_vertex_provider.graph.code.origin import Origin, origin_of
from airflow_vertex_provider.graph.code.problems import (
    CHANGED,
    DEFAULT,
    HERE,
    LITERAL,
    LIVE,
    Problem,
    airflows,
    finding_problems,
    is_of_a_dag,
)
from airflow_vertex_provider.graph.code.project import absolute, airflow_import
from airflow_vertex_provider.graph.code.stale import changed_attributes, is_comparable, is_same, made
from airflow_vertex_provider.runtime import entrypoint

#: Airflow's function that gives the running task's context, wherever it is called.
CONTEXT_GETTER = "get_current_context"
#: Names that every main module has. ``__name__`` is ``"__main__"`` in the container.
_PROVIDED = frozenset({"__name__", "__builtins__", "__annotations__", "__debug__"})
#: Names of a module that say where it lies.
_OF_A_MODULE = frozenset({"__file__", "__spec__", "__loader__", "__package__", "__path__", "__cached__"})
#: Statements that make no value as they run: deletions, and ``type X = ...`` where Python has it.
_EVALUATED_LATER: tuple[type[ast.stmt], ...] = (ast.Delete, getattr(ast, "TypeAlias", ast.Delete))


@dataclass(frozen=True)
class Piece:
    """A statement as it travels.

    :param rank: pieces of a lower rank run first. :param line: of the file. :param order: of several in one.
    """

    rank: int
    line: int
    order: int
    text: str
    code: types.CodeType


@dataclass(eq=False)
class Scope:
    """A file and the module that was made of it; what was found out about its statements is kept.

    :param file: the file. :param module: the module's names, alive.
    """

    file: File
    module: dict[str, Any]
    #: Statements as they travel, or why they do not.
    pieces: dict[tuple[Statement, str], Piece] = field(default_factory=dict)
    faults: dict[tuple[Statement, str], list[Problem]] = field(default_factory=dict)
    #: What the statements of a constant give, to be compared with what the module holds at the time.
    made: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the file's name as the container has it, without folders: those differ from host to host."""
        return Path(self.file.name).name

    def compiled(self, text: str, line: int) -> types.CodeType:
        """Compile a text as the container will."""
        code: types.CodeType = entrypoint.compiled(text, self.name, line, self.file.postponed)
        return code


class Reach:
    """Collects what a function needs of its file.

    :param scope: the file. :param own: the function's name, by which it may call itself.
    :param loading: how the function is loaded. :param nested: it stands in another function.
    """

    def __init__(self, scope: Scope, own: str, loading: Loading, *, nested: bool) -> None:
        self.scope = scope
        self.pieces: set[Piece] = set()
        self.problems: list[Problem] = []
        self.loading = loading
        self.relative = False
        #: What a name means in all that is carried; another meaning of it is a problem.
        self.meaning: dict[str, object] = {own: None}
        self._own = own if nested else None
        self._made: set[str] = set()
        self._unbound: list[Problem] = []

    def read(self, code: types.CodeType, without: Set[str] = frozenset()) -> None:
        """Follow all names that ``code`` looks up in its module.

        :param without: names that are no names of the module.
        """
        self._made |= names_made(code)
        for name in sorted(names_read(code) - without):
            self.want(name, code)

    def finish(self) -> list[Problem]:
        """Return all problems, in the order of their lines."""
        left = [problem for problem in self._unbound if problem.name not in self._made]
        found = sorted({*self.problems, *left}, key=lambda item: (item.line, item.name))
        # One of many loops over the same variable says it all.
        told: dict[tuple[str, str], Problem] = {}
        for item in found:
            told.setdefault((item.name, item.what), item)
        return list(told.values())

    def ordered(self) -> list[Piece]:
        """Return what travels, in the order it runs in."""
        return sorted(self.pieces, key=lambda piece: (piece.rank, piece.line, piece.order))

    def refuse(self, name: str, line: int, what: str, way_out: str) -> None:
        """Note that something cannot travel."""
        self.problems.append(Problem(name, line, what, way_out))

    def want(self, name: str, code: types.CodeType) -> None:
        """Take what binds a name of the module that ``code`` looks up."""
        module = self.scope.module
        if name == self._own and name not in module and not hasattr(builtins, name):
            return
        if name in self.meaning:
            known = self.meaning[name]
            if name == self._own or (known is not None and known is not module.get(name, self)):
                self.refuse(
                    name, line_of(code, name), "two different things have this name", "give one another name"
                )
            return
        if name in _PROVIDED or (name not in module and hasattr(builtins, name)):
            return
        if name in _OF_A_MODULE:
            self.refuse(name, line_of(code, name), "differs in the container", HERE)
            return
        if name not in module:
            self._unbound.append(self._nowhere(name, line_of(code, name)))
            return
        value = module[name]
        self.meaning[name] = value
        statements = self.scope.file.binders.get(name, [])
        imported = any(isinstance(item.node, ast.Import | ast.ImportFrom) for item in statements)
        if (not imported or is_of_a_dag(value)) and self._is_airflows(name, value, code):
            return
        if not statements:
            self._take_star(name, value, code)
            return
        changed = [] if imported else self.scope.file.touchers.get(name, [])
        known = len(self.problems)
        for statement in (*statements, *changed):
            self._take(statement, name, code)
        if len(self.problems) == known and is_comparable(value) and self._is_stale(name):
            self.refuse(
                name,
                statements[-1].line,
                CHANGED,
                LITERAL,
            )

    def import_problem(
        self, name: str, module: str, level: int, line: int, names: list[str]
    ) -> Problem | None:
        """Return why a name cannot be imported in the container."""
        if level:
            self.relative = True
        if level or origin_of(module) is Origin.OWN:
            shown = "." * level + module
            if self.loading.own_modules:
                return self._airflow_problem(name, shown, line, names)
            return Problem(
                name,
                line,
                f"is imported from {shown!r}, a module of your own, which code='inline' does not send",
                "code='bundle', or code='image' if the image has it",
            )
        if is_of_airflow(module) and not offered(module, names):
            if CONTEXT_GETTER in names:
                return Problem(
                    name,
                    line,
                    "gives Airflow's context, which is not in the container",
                    "arguments by name, for example ds, params or run_id",
                )
            return Problem(
                name,
                line,
                f"is imported from {module!r}, and there is no Airflow in the container",
                "pass values as arguments; an image with Airflow can import it inside the function",
            )
        return None

    def _airflow_problem(self, name: str, shown: str, line: int, names: list[str]) -> Problem | None:
        """Return why a module of the author's own that the container has cannot be imported there."""
        module = shown
        if shown.startswith("."):
            bare = shown.lstrip(".")
            node = ast.ImportFrom(bare or None, [], len(shown) - len(bare))
            module = absolute(node, str(self.scope.module.get("__package__") or ""))
        found = airflow_import(module, names)
        if found is None:
            return None
        return Problem(
            name,
            line,
            f"is imported from {shown!r}, a module of your own that imports {found}, "
            "and there is no Airflow in the container",
            "move what is needed into a module without Airflow, or import Airflow inside its functions",
        )

    def take_import(
        self, statement: Statement, node: ast.Import | ast.ImportFrom, name: str, rank: int = 0
    ) -> None:
        """Take the part of an import that binds ``name``."""
        aliases = [alias for alias in node.names if bound_by(alias) == name]
        if isinstance(node, ast.Import):
            found = [self.import_problem(name, alias.name, 0, node.lineno, []) for alias in aliases]
        else:
            names = [alias.name for alias in aliases]
            found = [self.import_problem(name, node.module or "", node.level, node.lineno, names)]
        problems = [problem for problem in found if problem is not None]
        self.problems.extend(problems)
        if problems:
            return
        if len(aliases) == len(node.names):
            text = textwrap.dedent(self.scope.file.text(node))
        elif isinstance(node, ast.Import):
            text = ast.unparse(ast.Import(aliases))
        else:
            text = ast.unparse(ast.ImportFrom(node.module, aliases, node.level))
        self._add(statement, name, node.lineno, text, rank)

    def _add(self, statement: Statement, part: str, line: int, text: str, rank: int = 0) -> None:
        key = (statement, part)
        if key not in self.scope.pieces:
            code = self.scope.compiled(text, line)
            self.scope.pieces[key] = Piece(rank, line, statement.number, text, code)
        piece = self.scope.pieces[key]
        if piece not in self.pieces:
            self.pieces.add(piece)
            self.read(piece.code)

    def _nowhere(self, name: str, line: int) -> Problem:
        for node in self.scope.file.statements:
            if isinstance(node.node, ast.If) and is_type_checking(node.node.test):
                for item in ast.walk(node.node):
                    if isinstance(item, ast.Import | ast.ImportFrom) and name in map(bound_by, item.names):
                        return Problem(
                            name,
                            line,
                            "is imported for type checkers alone",
                            "import it outside of 'if TYPE_CHECKING:' too, or inside the function",
                        )
        later = self.scope.file.binders.get(name)
        if later:
            return Problem(
                name,
                line,
                f"has no value yet: line {later[0].line}, which binds it, runs after the group is closed",
                "move it above the group's 'with' block",
            )
        return Problem(
            name, line, "is bound nowhere", "define it before the group ends, or inside the function"
        )

    def _is_airflows(self, name: str, value: object, code: types.CodeType) -> bool:
        what = airflows(value)
        if what:
            self.refuse(name, line_of(code, name), *what)
        return bool(what)

    def _take_star(self, name: str, value: object, code: types.CodeType) -> None:
        """Take the last ``from ... import *`` whose module has this very object under this name."""
        for statement in reversed(self.scope.file.statements):
            node = statement.node
            if not isinstance(node, ast.ImportFrom) or node.names[0].name != "*":
                continue
            package = str(self.scope.module.get("__package__") or "")
            full = absolute(node, package)
            source = sys.modules.get(full)
            if source is None or not _exports(source, name) or getattr(source, name) is not value:
                continue
            problem = self.import_problem(name, node.module or "", node.level, node.lineno, [name])
            if problem is not None:
                self.problems.append(problem)
                return
            text = ast.unparse(ast.ImportFrom(node.module, [ast.alias(name)], node.level))
            self._add(statement, name, node.lineno, text)
            return
        self.refuse(
            name, line_of(code, name), "is bound at run time: no statement of the file names it", LITERAL
        )

    def _take(self, statement: Statement, name: str, code: types.CodeType) -> None:
        node = statement.node
        for block in statement.under:
            if not self._is_airflows_block(block):
                self.refuse(
                    name,
                    statement.line,
                    f"is bound in a with block (line {block.lineno}), which is not sent",
                    "define it outside of the block",
                )
                return
        if isinstance(node, ast.Import | ast.ImportFrom):
            self.take_import(statement, node, name)
            return
        if (statement, name) not in self.scope.faults:
            self.scope.faults[statement, name] = list(self._faults(statement, name))
        faults = self.scope.faults[statement, name]
        if isinstance(node, ast.If | ast.Try):
            for found in imports_of(node):
                names = [alias.name for alias in found.names]
                for alias in found.names:
                    module = alias.name if isinstance(found, ast.Import) else found.module or ""
                    level = found.level if isinstance(found, ast.ImportFrom) else 0
                    problem = self.import_problem(bound_by(alias), module, level, found.lineno, names)
                    faults = faults if problem is None else [*faults, problem]
        self.problems.extend(faults)
        if not faults:
            self._add(statement, "", statement.line, self.scope.file.text(node))

    def _is_airflows_block(self, block: ast.With | ast.AsyncWith) -> bool:
        """Say whether a ``with`` block only tells Airflow where tasks belong: a DAG or a task group."""
        for item in block.items:
            named = item.context_expr.func if isinstance(item.context_expr, ast.Call) else item.context_expr
            known, found = Expressions(self.scope.module).named(named)
            kind = found if isinstance(found, type) else type(found)
            # A function that makes one, such as those of @dag, is Airflow's too.
            owners = [*(base.__module__ for base in kind.__mro__), str(getattr(found, "__module__", ""))]
            if not known or not any(is_of_airflow(owner) for owner in owners):
                return False
        return True

    def _faults(self, statement: Statement, name: str) -> Iterator[Problem]:
        node = statement.node
        look = Expressions(self.scope.module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for default in [*node.args.defaults, *node.args.kw_defaults]:
                if default is not None:
                    yield from finding_problems(f"{name}()", look.strict(default))
            for decorator in node.decorator_list:
                yield from finding_problems(name, look.relaxed(decorator))
        elif isinstance(node, ast.ClassDef):
            yield from finding_problems(name, look.relaxed(node))
            for attribute, line in changed_attributes(node, self.scope.module.get(name)):
                if name not in self.scope.file.touchers:
                    yield Problem(f"{name}.{attribute}", line, CHANGED, LITERAL)
        elif isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            if node.value is not None:
                yield from finding_problems(name, look.strict(node.value))
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                yield from finding_problems(name, look.strict(target))
            value = self.scope.module.get(name)
            if hasattr(value, "__next__"):
                yield Problem(name, node.lineno, "is an iterator, which can be used up", LIVE)
        elif isinstance(node, ast.Expr):
            strict = is_comparable(self.scope.module.get(name))
            yield from finding_problems(name, look.strict(node) if strict else look.relaxed(node))
        elif isinstance(node, ast.If | ast.Try):
            yield from self._block_faults(node, name, look)
        elif not isinstance(node, _EVALUATED_LATER):
            kind = type(node).__name__.removeprefix("Async").lower()
            way_out = DEFAULT.format(name=name) if kind in ("for", "while") else LITERAL
            yield Problem(name, statement.line, f"is bound by a {kind!r} statement, at run time", way_out)

    def _block_faults(self, block: ast.If | ast.Try, name: str, look: Expressions) -> Iterator[Problem]:
        if isinstance(block, ast.If):
            if any(isinstance(item, ast.Name) and item.id == "__name__" for item in ast.walk(block.test)):
                yield Problem(name, block.lineno, "is bound only where the file is run as a program", LITERAL)
            yield from finding_problems(name, look.relaxed(block.test))
            parts = [*([] if is_type_checking(block.test) else block.body), *block.orelse]
        else:
            handled = [item for handler in block.handlers for item in handler.body]
            parts = [*block.body, *handled, *block.orelse, *block.finalbody]
        for number, node in enumerate(parts):
            if isinstance(node, ast.If | ast.Try):
                yield from self._block_faults(node, name, look)
            elif isinstance(node, ast.Expr):
                yield from finding_problems(name, look.relaxed(node))
            elif not isinstance(node, ast.Import | ast.ImportFrom | ast.Pass | ast.Raise):
                yield from self._faults(Statement(node, number, frozenset(), frozenset()), name)

    def _is_stale(self, name: str) -> bool:
        if name not in self.scope.made:
            statements: dict[int, Statement] = {}
            self._constants_of(name, statements)
            codes = [
                self.scope.compiled(self.scope.file.text(item.node), item.line)
                for _, item in sorted(statements.items())
            ]
            self.scope.made[name] = made(name, codes, self.scope.module)
        return not is_same(self.scope.made[name], self.scope.module.get(name))

    def _constants_of(self, name: str, statements: dict[int, Statement]) -> None:
        """Collect the assignments that make a constant and the constants it is made of."""
        file = self.scope.file
        for item in (*file.binders.get(name, ()), *file.touchers.get(name, ())):
            if item.number in statements or not isinstance(
                item.node, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Expr | ast.Delete
            ):
                continue
            statements[item.number] = item
            for other in {node.id for node in ast.walk(item.node) if isinstance(node, ast.Name)}:
                if is_comparable(self.scope.module.get(other)):
                    self._constants_of(other, statements)


def _exports(module: types.ModuleType, name: str) -> bool:
    if not hasattr(module, name):
        return False
    names = getattr(module, "__all__", None)
    return not name.startswith("_") if names is None else name in names


_scopes: dict[str, Scope] = {}


def scope_of(file: File, module: Mapping[str, Any]) -> Scope:
    """Return what is known of a file and the module made of it; kept as long as both are the same."""
    known = _scopes.get(file.name)
    if known is not None and known.file is file and known.module is module:
        return known
    while len(_scopes) >= 32:
        del _scopes[next(iter(_scopes))]
    _scopes[file.name] = Scope(file, module)  # type: ignore[arg-type]
    return _scopes[file.name]
