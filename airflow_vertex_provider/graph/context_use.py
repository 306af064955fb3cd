"""How a function uses Airflow's context: its text in, the keys it reads and the uses that cannot be out.

A pipeline is given its values at submit, so what a function reads of the context must be seen at parse: a
``**context`` only by constant keys, ``dag_run`` only by the attributes that travel. Everything else (the
whole dict passed on, a key made at run time, a live object) is found here with its line.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from airflow_vertex_provider.graph.code import CONTEXT_GETTER, CarriedFunction
from airflow_vertex_provider.graph.context import CARRIED_KEYS, RUN, RUN_ATTRIBUTES, RUN_ENUMS

#: Builtins that reach a variable without naming it.
_REACHING = frozenset({"eval", "exec", "locals", "vars"})
_RUN_ALLOWED = f"{RUN}.<attribute>, the attribute one of " + ", ".join(sorted(RUN_ATTRIBUTES))
_KEYS_ALLOWED = 'context["key"] or context.get("key"), the key written out'


@dataclass
class ContextUse:
    """What a function reads.

    :param keys: keys of the context.
    :param run: attributes of the run's object, or ``None`` if it is not used.
    :param problems: pairs of what was found, with its line, and what is allowed.
    """

    keys: set[str] = field(default_factory=set)
    run: set[str] | None = None
    problems: list[tuple[str, str]] = field(default_factory=list)


def uses_of_context(
    carried: CarriedFunction, name: str, live: Collection[str], *, with_run: bool
) -> ContextUse:
    """Find what a function reads of its ``**name`` argument. Runs at parse.

    :param live: keys whose values live in Airflow's process and cannot travel.
    :param with_run: the key ``dag_run`` gives the run's object.
    """
    reader = _Reader(carried, name)
    for node in reader.names():
        reader.read_context(node, live, with_run=with_run)
    return reader.use


def uses_of_run(carried: CarriedFunction, name: str) -> ContextUse:
    """Find what a function reads of its argument ``name``, the run's object. Runs at parse."""
    reader = _Reader(carried, name)
    reader.use.run = set()
    for node in reader.names():
        reader.read_run(node)
    return reader.use


def first_use(carried: CarriedFunction, name: str) -> int:
    """Return the line of an argument's first use; without any, of the function's beginning."""
    return next((node.lineno for node in _Reader(carried, name).names()), carried.line)


def getter_lines(carried: CarriedFunction) -> list[int]:
    """Return the lines in which a function, or what it reaches, names Airflow's ``get_current_context``."""
    if CONTEXT_GETTER not in carried.uses:
        return []
    return sorted(
        node.lineno
        for line, source in ((carried.line, carried.source), *carried.reached)
        for node in ast.walk(_tree(line, source))
        if (isinstance(node, ast.Attribute) and node.attr == CONTEXT_GETTER)
        or (
            isinstance(node, ast.ImportFrom)
            and (node.module or "").partition(".")[0] == "airflow"
            and any(alias.name == CONTEXT_GETTER for alias in node.names)
        )
    )


def _function(carried: CarriedFunction) -> ast.FunctionDef | ast.AsyncFunctionDef:
    """Return the function's tree, with the line numbers of the author's file."""
    tree = _tree(carried.line, carried.source)
    return next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _tree(line: int, source: str) -> ast.Module:
    indented = source[:1].isspace()
    before = "\n" * (line - 2) + "if 1:\n" if indented else "\n" * (line - 1)
    return ast.parse(before + source)


class _Reader:
    """Looks at each place where a function names one of its arguments."""

    def __init__(self, carried: CarriedFunction, name: str) -> None:
        self.use = ContextUse()
        self._file = carried.file
        self._name = name
        self._function = _function(carried)
        self._parents = {
            child: parent for parent in ast.walk(self._function) for child in ast.iter_child_nodes(parent)
        }

    def names(self) -> Iterator[ast.Name]:
        """Yield the places that mean the argument, and note those that reach it without its name."""
        for statement in self._function.body:
            yield from self._names(statement)

    def _names(self, node: ast.AST) -> Iterator[ast.Name]:
        if isinstance(node, ast.Name):
            if node.id == self._name:
                yield node
            elif node.id in _REACHING:
                self._refuse(node, f"no {node.id}() beside {self._name!r}")
            return
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and self._shadowed(
            node.args
        ):
            # Defaults belong to the outer function; in the body the name means the inner argument.
            for default in [*node.args.defaults, *node.args.kw_defaults]:
                if default is not None:
                    yield from self._names(default)
            return
        for child in ast.iter_child_nodes(node):
            yield from self._names(child)

    def _shadowed(self, args: ast.arguments) -> bool:
        every = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
        return any(arg is not None and arg.arg == self._name for arg in every)

    def read_context(self, node: ast.Name, live: Collection[str], *, with_run: bool) -> None:
        """Note what one use of the context's dict reads."""
        key, value = self._key_of(node)
        if key is None:
            self._refuse(node, _KEYS_ALLOWED)
        elif key == RUN and with_run:
            self.use.run = self.use.run or set()
            if value is None:
                self._refuse(node, _RUN_ALLOWED)
            else:
                self.read_run(value)
        elif key in live:
            self._refuse(node, "a key known at submit: " + ", ".join(sorted({*CARRIED_KEYS, RUN})))
        else:
            self.use.keys.add(key)

    def _key_of(self, node: ast.Name) -> tuple[str | None, ast.expr | None]:
        """Return the constant key of a use, and the expression that gives the key's value."""
        parent = self._parents[node]
        if isinstance(parent, ast.Subscript) and parent.value is node and isinstance(parent.ctx, ast.Load):
            return _text(parent.slice), parent
        if isinstance(parent, ast.Attribute) and parent.attr == "get":
            call = self._parents[parent]
            if isinstance(call, ast.Call) and call.func is parent and not call.keywords:
                return (_text(call.args[0]) if len(call.args) in (1, 2) else None), call
        if (
            isinstance(parent, ast.Compare)
            and len(parent.ops) == 1
            and isinstance(parent.ops[0], ast.In | ast.NotIn)
            and parent.comparators[0] is node
        ):
            return _text(parent.left), None
        return None, None

    def read_run(self, node: ast.expr) -> None:
        """Note what one use of the run's object reads: an attribute, or whether there is one at all."""
        parent = self._parents[node]
        if isinstance(parent, ast.Attribute) and isinstance(parent.ctx, ast.Load):
            if parent.attr not in RUN_ATTRIBUTES:
                self._refuse(node, _RUN_ALLOWED)
            elif parent.attr in RUN_ENUMS and not isinstance(self._parents[parent], ast.Compare):
                self._refuse(node, f'a comparison, such as {RUN}.{parent.attr} == "manual"')
            elif self.use.run is not None:
                self.use.run.add(parent.attr)
        elif not _asks_for_truth(node, parent):
            self._refuse(node, _RUN_ALLOWED)

    def _refuse(self, node: ast.expr, allowed: str) -> None:
        shown: ast.AST = node
        while isinstance(self._parents[shown], ast.expr | ast.keyword):
            shown = self._parents[shown]
        self.use.problems.append((f"{ast.unparse(shown)} ({self._file}, line {node.lineno})", allowed))


def _text(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _asks_for_truth(node: ast.expr, parent: ast.AST) -> bool:
    """Tell whether only the truth of an object is asked for: the object goes nowhere."""
    if isinstance(parent, ast.If | ast.IfExp | ast.While | ast.Assert):
        return parent.test is node
    if isinstance(parent, ast.UnaryOp):
        return isinstance(parent.op, ast.Not)
    if isinstance(parent, ast.BoolOp):
        return isinstance(parent.op, ast.And) and parent.values[-1] is not node
    if isinstance(parent, ast.Compare) and len(parent.ops) == 1:
        others = [item for item in (parent.left, *parent.comparators) if item is not node]
        return isinstance(parent.ops[0], ast.Is | ast.IsNot) and all(
            isinstance(item, ast.Constant) and item.value is None for item in others
        )
    return False
