"""What of ``code`` and ``code_paths`` can be known to be wrong at parse: a group's tasks in, problems out.

No file is read here; bundles are made at submit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from airflow_vertex_provider.bundle import dag_folder, is_installed, missing_paths
from airflow_vertex_provider.exceptions import Problem, VertexSettingsError
from airflow_vertex_provider.graph.model import Task, TaskKind
from airflow_vertex_provider.settings import code_mode

_KEYS = ("code", "code_paths")


def code_problems(
    dag: Any, group_id: str, tasks: Iterable[Task], group_level: Mapping[str, Any]
) -> Iterator[Problem]:
    """Find settings that say nothing where they stand, and paths that lead nowhere. Runs at parse.

    :param dag: the DAG, for the folder of its file.
    :param tasks: the group's; :param group_level: its own task settings.
    """
    bundled = False
    paths: dict[str, list[str]] = {}
    for task in tasks:
        own = task.settings
        if task.kind not in (TaskKind.PYTHON, TaskKind.BASH):
            for key in _KEYS:
                if own.get(key):
                    yield Problem(
                        task.id, key, repr(own[key]), "none: this task runs nothing of the DAG's code"
                    )
            continue
        if code_mode([own, group_level]) == "bundle":
            bundled = True
            if own.get("code_paths"):
                paths[task.id] = own["code_paths"]
        elif own.get("code_paths"):
            yield _without_bundle(task.id, own["code_paths"])
    if group_level.get("code_paths"):
        if bundled:
            paths[group_id] = group_level["code_paths"]
        else:
            yield _without_bundle(group_id, group_level["code_paths"])
    if bundled:
        yield from _path_problems(dag, group_id, paths)


def _path_problems(dag: Any, group_id: str, paths: Mapping[str, list[str]]) -> Iterator[Problem]:
    # A factory in an installed package made the DAG; whose file it is Airflow tells after parsing it.
    folder: Path | None = None
    if not is_installed(dag.fileloc):
        try:
            folder = dag_folder(dag.fileloc, dag.relative_fileloc)
        except VertexSettingsError as error:
            yield error.as_problem(group_id)
            return
    for where, texts in paths.items():
        if folder is not None:
            yield from (Problem(where, *problem) for problem in missing_paths(folder, texts))


def _without_bundle(where: str, paths: list[str]) -> Problem:
    return Problem(where, "code_paths", repr(paths), 'none, or code="bundle" where they are to count')
