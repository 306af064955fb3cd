"""Compile a closed task group without submitting it: a ``VertexTaskGroup`` in, its PipelineSpec out."""

from __future__ import annotations

from typing import Any

from airflow_vertex_provider.bundle import dag_folder
from airflow_vertex_provider.compiler.code import pack_bundles, placed_bundles
from airflow_vertex_provider.compiler.job_settings import job_settings
from airflow_vertex_provider.compiler.pipeline_spec import compile_graph
from airflow_vertex_provider.exceptions import VertexConfigurationError
from airflow_vertex_provider.graph.model import Graph
from airflow_vertex_provider.settings import ConnectionSettings


def compile_group(
    group: Any, *, project_id: str | None = None, connection: ConnectionSettings | None = None
) -> dict[str, Any]:
    """Return the PipelineSpec that submitting ``group`` would send.

    For tests, reviews and other tools that take a compiled pipeline; text for a file comes from
    :func:`~airflow_vertex_provider.compiler.pipeline_spec.dump_spec`. Values that only a run of Airflow
    knows are run parameters of the pipeline. Bundles are made, to know their digests, but not uploaded.

    :param group: a ``VertexTaskGroup`` whose ``with`` block has ended.
    :param project_id: project of the custom jobs; the group's, or else the job's own, if ``None``.
    :param connection: what the connection would say, as ``VertexPipelineHook.defaults`` gives it; nothing if
        ``None``.
    :raises VertexSettingsError: a setting is not allowed, or neither group nor connection say it.
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
    merged = job_settings(
        graph,
        pipeline=submit.pipeline,
        group_settings=submit.group_settings,
        task_settings=submit.task_settings,
        connection=connection or ConnectionSettings(),
        project_id=project_id or submit.pipeline.get("project_id"),
    )
    settings, pipeline = merged.tasks, merged.pipeline
    packed = pack_bundles(graph, settings, lambda: dag_folder(group.dag.fileloc, group.dag.relative_fileloc))
    return compile_graph(graph, settings, pipeline, placed_bundles(graph, packed, pipeline))
