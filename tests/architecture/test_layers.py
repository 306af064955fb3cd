"""Who may import whom, where import-linter cannot see it: it takes all of ``airflow`` for one package."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import airflow_vertex_provider

PACKAGE = Path(airflow_vertex_provider.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))


def imported(source: Path) -> Iterator[str]:
    """Yield the dotted name of every import of a file, inside functions too."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}:{node.lineno}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_only_the_hooks_use_googles_provider() -> None:
    users = {
        source.relative_to(PACKAGE).parts[0]
        for source in SOURCES
        if any(name.startswith("airflow.providers.google") for name in imported(source))
    }
    assert users == {"hooks"}


@pytest.mark.parametrize("folder", ["runtime/entrypoint.py", "emulator"])
def test_what_runs_without_airflow_never_imports_it(folder: str) -> None:
    for source in SOURCES:
        if source.is_relative_to(PACKAGE / folder):
            assert not [name for name in imported(source) if name.split(".")[0] == "airflow"], source


def test_the_entry_point_needs_the_standard_library_only() -> None:
    names = {name.split(".")[0] for name in imported(PACKAGE / "runtime" / "entrypoint.py")}
    assert names <= sys.stdlib_module_names


def test_the_entry_point_is_python_38() -> None:
    ast.parse((PACKAGE / "runtime" / "entrypoint.py").read_text(encoding="utf-8"), feature_version=(3, 8))
