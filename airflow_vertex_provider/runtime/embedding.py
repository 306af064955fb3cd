"""The entry point as text: a configuration in, the code that its container needs out.

Every task of a pipeline carries this text in its command, beside what its author wrote, so each byte counts.
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_vertex_provider.runtime import container, entrypoint


def embedded_source(config: Mapping[str, Any] | None = None) -> str:
    """Return the entry point as the text that goes into a container's command.

    Docstrings, comments, annotations and imports for type checkers are gone and indentation is one
    space; the text depends on nothing but the entry point's own code and on what ``config`` uses.

    :param config: the complete configuration the text will run; parts it does not need are left out.
        ``None`` leaves nothing out.
    """
    names = {name for part in _parts() for name in part.names}
    if config is None:
        return _joined(frozenset(names))
    used = {f"run_{config.get('kind')}", *(f"use_{key}" for key, value in config.items() if value)}
    for verb, key in (("write", "writers"), ("read", "readers")):
        used.update(f"{verb}_{name}" for name in config.get(key) or ())
    # Node forms are few; one that only looks like one costs its text and no more.
    used.update(f"node_{form}" for form in re.findall(r'"\$(\w+)":', entrypoint.dump(config)))
    return _joined(frozenset(names & used))


@dataclass(frozen=True)
class _Part:
    """One statement of the entry point: the names it defines, those it needs, and its text."""

    names: frozenset[str]
    needs: frozenset[str]
    text: str


@functools.cache
def _parts() -> tuple[_Part, ...]:
    parts: list[_Part] = []
    for statement in _statements():
        lines = ast.unparse(statement).split("\n")
        # No string of the entry point spans lines, so every leading blank is indentation.
        indents = (len(line) - len(line.lstrip(" ")) for line in lines)
        text = "\n".join(" " * (i // 4) + line[i:] for i, line in zip(indents, lines, strict=True) if line)
        names = (
            {statement.name}
            if isinstance(statement, ast.FunctionDef | ast.ClassDef)
            else {item.id for item in statement.targets if isinstance(item, ast.Name)}
            if isinstance(statement, ast.Assign)
            else set()
        )
        needs = {item.id for item in ast.walk(statement) if isinstance(item, ast.Name)}
        found = _Part(frozenset(names), frozenset(needs), text)
        # Several modules import the same.
        if found not in parts:
            parts.append(found)
    return tuple(parts)


def _statements() -> Iterator[ast.stmt]:
    """Yield the statements of all modules, without what only readers and type checkers need."""
    for module in entrypoint.MODULES:
        tree = _Stripper().visit(ast.parse(inspect.getsource(module)))
        yield from ast.fix_missing_locations(tree).body


@functools.cache
def _joined(wanted: frozenset[str]) -> str:
    """Return the text of the parts that define ``wanted`` and of all that they and the rest need."""
    parts = _parts()
    needed = set(wanted)
    chosen: set[int] = set()
    while True:
        found = {
            number
            for number, part in enumerate(parts)
            if number not in chosen and (not part.names or part.names & needed)
        }
        if not found:
            return "".join(part.text + "\n" for number, part in enumerate(parts) if number in chosen)
        chosen |= found
        needed |= {name for number in found for name in parts[number].needs}


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
        ours = str(node.module).startswith(f"{container.__name__}.")
        return None if ours or node.module == "__future__" else node

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
