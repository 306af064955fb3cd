"""Import statements as trees: what they import of Airflow, and which are there for type checkers alone."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from airflow_vertex_provider import artifacts
from airflow_vertex_provider.runtime import entrypoint

#: Modules of Airflow that the container offers where Airflow is absent, and what they hold there.
SHIM_MODULES = frozenset(module.rstrip(".") for module in entrypoint.AirflowShim.offers)
SHIM_NAMES = frozenset({"AirflowException", "AirflowFailException", "AirflowSkipException"})
#: What the container offers of this provider, and where.
ARTIFACT_MODULES = frozenset({"airflow_vertex_provider", "airflow_vertex_provider.artifacts"})
ARTIFACT_NAMES = frozenset(artifacts.__all__)
_AIRFLOW = frozenset({"airflow", "airflow_vertex_provider"})


def is_type_checking(test: ast.expr) -> bool:
    """Say whether a condition is ``TYPE_CHECKING``, which only type checkers find true."""
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def is_of_airflow(module: str) -> bool:
    """Say whether a module is Airflow's or this provider's."""
    return module.partition(".")[0] in _AIRFLOW


def offered(module: str, names: Iterable[str] = ()) -> bool:
    """Say whether the container has a module of Airflow's, and these names of it, without Airflow."""
    names = list(names)
    if module in ARTIFACT_MODULES and names:
        return ARTIFACT_NAMES.issuperset(names)
    return module in SHIM_MODULES and SHIM_NAMES.issuperset(names)


def imports_of(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports that run with a statement: not those of functions and for type checkers."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield node
    elif isinstance(node, ast.If) and is_type_checking(node.test):
        for item in node.orelse:
            yield from imports_of(item)
    elif isinstance(node, ast.stmt | ast.excepthandler | ast.match_case) and not isinstance(
        node, ast.FunctionDef | ast.AsyncFunctionDef
    ):
        for child in ast.iter_child_nodes(node):
            yield from imports_of(child)
