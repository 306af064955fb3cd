"""A DAG file in, what its Vertex task groups ask of Google Cloud out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from airflow_vertex_provider.cli.target import Target
from airflow_vertex_provider.exceptions import VertexConfigurationError


def targets_of(file: Path, dag_id: str | None = None) -> Iterator[Target]:
    """Read a DAG file as Airflow does, and yield what each Vertex task group in it says of itself.

    :param dag_id: only of this DAG.
    :raises VertexConfigurationError: the file cannot be read, or has no such DAG or group.
    """
    from airflow_vertex_provider.operators.pipeline_job import SubmitVertexPipelineOperator

    if not file.is_file():
        raise VertexConfigurationError(f"--dag-file: found {str(file)!r}; allowed: a file that is there")
    bag = _bag(file)
    if bag.import_errors:
        raise VertexConfigurationError(f"{file}: {next(iter(bag.import_errors.values())).strip()}")
    dags = [dag for name, dag in sorted(bag.dags.items()) if dag_id in (None, name)]
    if dag_id is not None and not dags:
        raise VertexConfigurationError(
            f"--dag-id: found {dag_id!r}; allowed: one of {', '.join(sorted(bag.dags)) or 'none'} in {file}"
        )
    submits = [task for dag in dags for task in dag.tasks if isinstance(task, SubmitVertexPipelineOperator)]
    if not submits:
        raise VertexConfigurationError(f"{file}: found no Vertex task group; allowed: at least one")
    for submit in submits:
        said = submit.pipeline
        yield Target(
            name=f"{submit.dag.dag_id}.{submit.graph['group_id']}",
            conn_id=submit.gcp_conn_id,
            impersonation_chain=submit.impersonation_chain,
            project=said.get("project_id"),
            location=said.get("location"),
            pipeline_root=said.get("pipeline_root"),
            workload=said.get("service_account"),
        )


def _bag(file: Path) -> Any:
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow 3.1
        from airflow.models.dagbag import DagBag  # type: ignore[no-redef]

    return DagBag(str(file))
