"""Modules of the author's own: a name in, what is imported with it out. Nothing is imported or run to tell.

Runs at parse, and at submit for what a bundle must hold. A file is read once, until it changes.
"""

from __future__ import annotations

import ast
import importlib.machinery
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from airflow_vertex_provider.graph.code.imports import imports_of, is_of_airflow, offered
from airflow_vertex_provider.graph.code.origin import Origin, origin_of


@dataclass(frozen=True)
class Import:
    """One import at the top of a module.

    :param module: what is imported, by its whole name. :param names: of it, for ``from ... import ...``.
    :param file: name of the file with the import. :param line: of it.
    """

    module: str
    names: tuple[str, ...]
    file: str
    line: int

    def __str__(self) -> str:
        """Say what is imported where."""
        return f"{self.module!r} ({self.file}, line {self.line})"

    def modules(self) -> Iterator[str]:
        """Yield all modules that run with it: the packages around it, and names that are modules."""
        parts = self.module.split(".")
        yield from (".".join(parts[:count]) for count in range(1, len(parts) + 1))
        for name in self.names:
            if file_of(f"{self.module}.{name}") is not None:
                yield f"{self.module}.{name}"


def airflow_import(module: str, names: Iterable[str] = ()) -> Import | None:
    """Return the import of Airflow that importing a module of the author's own leads to, if there is one.

    :param names: what is imported from it.
    """
    return next((found for found in _all(Import(module, tuple(names), "", 0)) if _needs_airflow(found)), None)


def own_modules(wanted: Import) -> Iterator[tuple[str, Import]]:
    """Yield the author's own modules that an import needs, to any depth, each with the import of it."""
    seen: set[str] = set()
    for found in _all(wanted):
        for module in found.modules():
            if module not in seen and _is_own(module) and file_of(module) is not None:
                seen.add(module)
                yield module, found


def imports_in(body: Iterable[ast.stmt], file: str, package: str = "", offset: int = 0) -> Iterator[Import]:
    """Yield the imports that run with these statements; those in ``try`` are taken to be cared for.

    :param package: what relative imports begin at. :param offset: lines of the file before them.
    """
    for statement in body:
        if isinstance(statement, ast.Try):
            continue
        for node in imports_of(statement):
            line = node.lineno + offset
            if isinstance(node, ast.Import):
                yield from (Import(alias.name, (), file, line) for alias in node.names)
                continue
            names = tuple(alias.name for alias in node.names if alias.name != "*")
            yield Import(absolute(node, package), names, file, line)


def absolute(node: ast.ImportFrom, package: str) -> str:
    """Return the whole name of the module that an import names."""
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])


def file_of(module: str) -> Path | None:
    """Return the file of a module's text; ``None`` for one without, and for none."""
    spec: importlib.machinery.ModuleSpec | None = None
    path: list[str] | None = None
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        spec = importlib.machinery.PathFinder.find_spec(".".join(parts[:count]), path)
        if spec is None or (count < len(parts) and spec.submodule_search_locations is None):
            return None
        path = list(spec.submodule_search_locations or ())
    found = Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None
    return found if found is not None and found.suffix == ".py" else None


def _all(wanted: Import) -> Iterator[Import]:
    """Yield an import and all that own modules import because of it."""
    seen: set[str] = set()
    waiting = [wanted]
    while waiting:
        found = waiting.pop()
        yield found
        if not _is_own(found.module):
            continue
        for module in found.modules():
            if module not in seen:
                seen.add(module)
                waiting.extend(_imports_of(module))


def _is_own(module: str) -> bool:
    return origin_of(module) is Origin.OWN


def _needs_airflow(found: Import) -> bool:
    return is_of_airflow(found.module) and not offered(found.module, found.names)


_read: dict[Path, tuple[int, str, tuple[Import, ...]]] = {}


def _imports_of(module: str) -> tuple[Import, ...]:
    file = file_of(module)
    if file is None:
        return ()
    try:
        changed = file.stat().st_mtime_ns
        known = _read.get(file)
        if known is None or known[:2] != (changed, module):
            package = module if file.name == "__init__.py" else module.rpartition(".")[0]
            found = tuple(imports_in(ast.parse(file.read_bytes()).body, file.name, package))
            known = _read[file] = (changed, module, found)
    except (OSError, SyntaxError, ValueError):
        return ()  # importing it tells what is wrong with it
    return known[2]
