"""Bundles of a group: its tasks' settings in, what each takes along out.

Runs on a worker, at submit or for :func:`~airflow_vertex_provider.compiler.compile_group`. Reads the author's
files and sends nothing.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from airflow_vertex_provider import checks
from airflow_vertex_provider.bundle import Bundle, BundleError, Packed, pack
from airflow_vertex_provider.exceptions import Problem, VertexGroupError
from airflow_vertex_provider.graph.code.project import Import, imports_in, own_modules
from airflow_vertex_provider.graph.model import Graph, Task, TaskKind
from airflow_vertex_provider.settings import PipelineSettings, TaskSettings

#: What a group without ``code="bundle"`` takes along.
NO_BUNDLES: Mapping[str, Bundle] = MappingProxyType({})
#: Tasks that one message names.
_NAMED = 3
_LET_IN = "code_paths, and ignore files, that let it in"


def pack_bundles(
    graph: Graph, settings: Mapping[str, TaskSettings], folder: Callable[[], Path]
) -> dict[str, Packed]:
    """Return the bundle of every task that takes one; each set of paths is packed once.

    :param settings: Airflow task id to merged settings, templates rendered.
    :param folder: finds the DAG folder; not called for a group without bundles.
    :raises VertexGroupError: bundles cannot be made; names all that is wrong with them.
    :raises VertexSettingsError: the DAG lies in no folder.
    """
    wanted: dict[tuple[str, ...], list[str]] = {}
    for task in graph.tasks:
        if takes_bundle(task, settings[task.id]):
            wanted.setdefault(settings[task.id].code_paths, []).append(task.id)
    packed: dict[str, Packed] = {}
    problems: list[Problem] = []
    for paths, task_ids in wanted.items():
        try:
            made = pack(folder(), paths)
        except BundleError as error:
            rest = len(task_ids) - _NAMED
            where = ", ".join(task_ids[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
            problems.extend(Problem(where, *problem) for problem in error.problems)
            continue
        packed |= dict.fromkeys(task_ids, made)
        for task_id in task_ids:
            problems.extend(_module_problems(graph.task(task_id), made))
    if problems:
        raise VertexGroupError(graph.dag_id, graph.group_id, problems)
    return packed


def _module_problems(task: Task, packed: Packed) -> Iterator[Problem]:
    """Find modules of the author's own that a function needs and its bundle does not hold."""
    payload = task.payload
    module, function = payload.get("module"), payload.get("function")
    if module is not None and not packed.holds(module):
        found = f"{function} of module {module!r}, which is not in the bundle"
        yield Problem(task.id, "python_callable", found, _LET_IN)
        return
    wanted = [] if module is None else [Import(module, (), "", 0)]
    for line, text in payload.get("reached") or ():
        body = ast.parse(textwrap.dedent(text)).body
        wanted += imports_in(body, str(payload.get("file")), str(payload.get("package") or ""), line - 1)
    missing = {name: found for item in wanted for name, found in own_modules(item) if not packed.holds(name)}
    for name, by in missing.items():
        needs = f"{function}, which needs {name!r} ({by.file}, line {by.line}), which is not in the bundle"
        yield Problem(task.id, "python_callable", needs, _LET_IN)


def placed_bundles(
    graph: Graph, packed: Mapping[str, Packed], pipeline: PipelineSettings
) -> dict[str, Bundle]:
    """Return where the bundles lie, under the job's folder.

    :raises VertexGroupError: that folder is a template; the pipeline holds the addresses.
    """
    root = str(pipeline.pipeline_root)
    if packed and checks.is_template(root):
        allowed = 'a rendered one with code="bundle": the pipeline holds the bundle\'s address'
        problem = Problem(graph.group_id, "pipeline_root", repr(root), allowed)
        raise VertexGroupError(graph.dag_id, graph.group_id, [problem])
    return {task_id: bundle.under(root) for task_id, bundle in packed.items()}


def missing_bundles(
    graph: Graph, settings: Mapping[str, TaskSettings], bundles: Mapping[str, Bundle]
) -> Iterator[Problem]:
    """Find tasks that would be compiled without the bundle their settings ask for."""
    for task in graph.tasks:
        own = settings.get(task.id)
        if own is not None and takes_bundle(task, own) and task.id not in bundles:
            yield Problem(task.id, "code", "'bundle', and no bundle", "one for every task that takes one")


def takes_bundle(task: Task, settings: TaskSettings) -> bool:
    """Tell whether a task's container unpacks a bundle: one that runs our entry point, if told to."""
    return task.kind in (TaskKind.PYTHON, TaskKind.BASH) and settings.code == "bundle"
