"""Compile a closed task group without submitting it: a ``VertexTaskGroup`` in, its PipelineSpec out."""

from __future__ import annotations

from typing import Any

from airflow_vertex_provider.bundle import dag_folder
from airflow_vertex_provider.compiler.code import pack_bundles, placed_bundles
from airflow_vertex_provider.compiler.pipeline_spec import compile_graph
from airflow_vertex_provider.exceptions import VertexConfigurationError
from airflow_vertex_provider.graph.model import Graph
from airflow_vertex_provider.settings import PipelineSettings, merge_task_settings


def compile_group(group: Any, *, project_id: str | None = None) -> dict[str, Any]:
    """Return the PipelineSpec that submitting ``group`` would send.

    For tests, reviews and other tools that take a compiled pipeline; text for a file comes from
    :func:`~airflow_vertex_provider.compiler.pipeline_spec.dump_spec`. Values that only a run of Airflow
    knows are run parameters of the pipeline. Bundles are made, to know their digests, but not uploaded.

    :param group: a ``VertexTaskGroup`` whose ``with`` block has ended.
    :param project_id: project of the custom jobs; the group's, or else the job's own, if ``None``.
    :raises VertexGroupError: a bundle cannot be made, or something cannot be written into a spec.
    :raises VertexConfigurationError: the block has not ended, or a setting is a template, which only a
        run can render.
    """
    submit_id = f"{group.group_id}.submit_pipeline"
    if submit_id not in group.dag.task_dict:
        raise VertexConfigurationError(
            f"{group.group_id}: found a group without {submit_id!r}; "
            "allowed: a VertexTaskGroup whose with block has ended"
        )
    submit = group.dag.get_task(submit_id)
    graph = Graph.from_dict(submit.graph)
    pipeline = PipelineSettings.from_dict(
        {**submit.pipeline, "project_id": project_id or submit.pipeline.get("project_id")}
    )
    settings = {
        task.id: merge_task_settings([submit.task_settings.get(task.id, {}), submit.group_settings], pipeline)
        for task in graph.tasks
    }
    packed = pack_bundles(graph, settings, lambda: dag_folder(group.dag.fileloc, group.dag.relative_fileloc))
    return compile_graph(graph, settings, pipeline, placed_bundles(graph, packed, pipeline))
