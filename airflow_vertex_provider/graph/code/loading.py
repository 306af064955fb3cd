"""How a function gets into its container: the function and its mode in, module name or text out."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass
from pathlib import Path

from airflow_vertex_provider.bundle import dag_folder
from airflow_vertex_provider.graph.code.origin import Origin, is_dag_file, origin_of
from airflow_vertex_provider.graph.code.project import airflow_import


@dataclass(frozen=True)
class Loading:
    """How one function is loaded.

    :param module: dotted name of the module it is imported from in the container; ``None``: its text travels.
    :param own_modules: its text may import the author's own modules, because the container has them.
    """

    module: str | None = None
    own_modules: bool = False


def how_to_load(function: types.FunctionType, mode: str) -> Loading:
    """Decide how ``function`` gets into its container. Runs at parse; the only place that decides.

    ``inline``: its text. ``image``: by the name of its module. ``bundle``: by the name of its module if
    that is a module of the author's own which is no DAG file and can be imported without Airflow; else
    its text, which may then import own modules.

    :param mode: the setting ``code``.
    """
    if mode == "image":
        return Loading(module=module_name(function))
    if mode == "bundle":
        name = function.__module__
        by_name = (
            "<" not in function.__qualname__
            and not is_dag_file(name)
            and name != "__main__"
            and vars(sys.modules.get(name, object())).get("__name__") == name
            and origin_of(name) is Origin.OWN
            and airflow_import(name) is None
        )
        return Loading(module=name if by_name else None, own_modules=True)
    return Loading()


def module_name(function: types.FunctionType) -> str:
    """Return the name that the function's module has where it can be imported.

    That of a DAG file, which has no name in Airflow, is its path below the DAG folder.
    """
    name = function.__module__
    if not is_dag_file(name):
        return name
    file = Path(function.__code__.co_filename)
    below = file.relative_to(dag_folder(str(file)))
    return ".".join(below.with_suffix("").parts)
