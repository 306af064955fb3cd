"""Who may import whom, where import-linter cannot see it: it takes all of ``airflow`` for one package."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import airflow_vertex_provider
from airflow_vertex_provider.runtime import entrypoint
from airflow_vertex_provider.runtime.embedding import embedded_source

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


@pytest.mark.parametrize("folder", ["runtime/container", "emulator"])
def test_what_runs_without_airflow_never_imports_it(folder: str) -> None:
    for source in SOURCES:
        if source.is_relative_to(PACKAGE / folder):
            assert not [name for name in imported(source) if name.split(".")[0] == "airflow"], source


#: What a serialiser's two functions may import besides, when an object of that library is written or read.
LIBRARIES = {
    "numpy": "numpy",
    "pandas": "pandas",
    "polars": "polars",
    "pyarrow": "pyarrow",
    "joblib": "joblib",
}
VERBS = ("write", "read")
CONTAINER = sorted((PACKAGE / "runtime" / "container").glob("*.py"))


def container_side() -> ast.Module:
    """Return all that may run in a container, without what its modules import of each other."""
    body = [
        statement
        for source in CONTAINER
        for statement in ast.parse(source.read_text(encoding="utf-8"), feature_version=(3, 8)).body
        if not (
            isinstance(statement, ast.ImportFrom)
            and str(statement.module).startswith("airflow_vertex_provider.runtime.container.")
        )
    ]
    return ast.Module(body, [])


def foreign_imports(tree: ast.Module) -> set[tuple[str, str]]:
    """Return outermost statement, by its name, and top-level package of all imports beyond Python's own."""
    found = set()
    for statement in tree.body:
        for node in ast.walk(statement):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "__import__":
                names += [str(item.value) for item in node.args[:1] if isinstance(item, ast.Constant)]
            packages = {name.split(".")[0] for name in names} - sys.stdlib_module_names
            found |= {(getattr(statement, "name", "the module itself"), package) for package in packages}
    return found


def test_the_entry_point_needs_the_standard_library_only() -> None:
    tree = container_side()
    allowed = {(f"{verb}_{name}", library) for name, library in LIBRARIES.items() for verb in VERBS}
    # kfp.dsl is the entry point's own stand-in there.
    assert foreign_imports(tree) <= allowed | {("ArtifactTypes", "kfp")}


def test_who_imports_a_library_is_reached_by_a_serialisers_name_alone() -> None:
    """A function that other code names is text of every task, and may run in any."""
    tree = container_side()
    importers = {name for name, package in foreign_imports(tree) if package != "kfp"}
    serializers = {f"{verb}_{name}" for name in LIBRARIES for verb in VERBS}
    for statement in tree.body:
        name = getattr(statement, "name", "")
        named = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
        assert name in serializers or not named & importers, name


def test_a_task_without_objects_carries_no_library() -> None:
    text = embedded_source({"kind": "python", "source": "def f(): ...", "args": [], "kwargs": {}})
    assert foreign_imports(ast.parse(text)) == set()
    numpy = embedded_source({"kind": "python", "args": [], "kwargs": {}, "readers": ["numpy"]})
    assert foreign_imports(ast.parse(numpy)) == {("read_numpy", "numpy")}


def test_the_entry_point_is_python_38() -> None:
    ast.parse(embedded_source(None), feature_version=(3, 8))
    assert len(container_side().body) > 100


def test_no_two_things_of_the_container_have_one_name() -> None:
    """Its modules are joined to one text."""
    names = [str(getattr(node, "name", "")) for node in container_side().body if hasattr(node, "name")]
    assert len(names) == len(set(names))


def test_every_module_of_the_container_is_in_the_text() -> None:
    assert {f"{module.__name__.rpartition('.')[2]}.py" for module in entrypoint.MODULES} == {
        source.name for source in CONTAINER if source.name != "__init__.py"
    }
