"""What Airflow's provider manager reads: nothing in, this package's metadata out. Loads nothing else."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata, as Airflow's ``apache_airflow_provider`` entry point asks for it."""
    from airflow_vertex_provider.configuration import metadata
    from airflow_vertex_provider.hooks.fields import connection_type

    return {
        "package-name": "airflow-vertex-provider",
        "name": "Vertex AI Pipelines",
        "description": "Runs an Airflow task group as one Vertex AI pipeline, each task on its own machine.",
        "task-decorators": [
            {"name": "vertex", "class-name": "airflow_vertex_provider.decorators.vertex.vertex_task"}
        ],
        "extra-links": [
            "airflow_vertex_provider.links.pipeline_job.VertexPipelineLink",
            "airflow_vertex_provider.links.pipeline_job.VertexLogsLink",
        ],
        "connection-types": [connection_type()],
        "config": metadata(),
    }
