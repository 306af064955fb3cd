"""A group as an author writes it in, its compiled pipeline out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow.sdk import DAG

from airflow_vertex_provider import VertexTaskGroup, compile_group


def compiled(fill: Callable[[], object], **settings: Any) -> dict[str, Any]:
    with (
        DAG("d", schedule=None),
        VertexTaskGroup(
            "g",
            location="europe-west4",
            project_id="my-proj",
            pipeline_root="gs://bucket/root",
            **settings,
        ) as group,
    ):
        fill()
    return compile_group(group)
