"""Google's own operator, unmodified, with a pipeline file that this package compiled."""

from __future__ import annotations

import os

from airflow.providers.google.cloud.operators.vertex_ai.pipeline_job import RunPipelineJobOperator
from airflow.sdk import DAG
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform

from airflow_vertex_provider.runtime import protocol

# Where Google's SDK finds the API; its operator has no argument for it.
aiplatform.init(
    api_endpoint=os.environ["VERTEX_EMULATOR_ENDPOINT"],
    api_transport="rest",
    credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
)

with DAG("google_operator", schedule=None):
    RunPipelineJobOperator(
        task_id="run",
        project_id="emulated-project",
        region="europe-west4",
        display_name="by google's operator",
        template_path=os.environ["COMPILED_PIPELINE"],
        service_account="runner@emulated-project.iam.gserviceaccount.com",
        pipeline_root="gs://emulated-bucket/pipelines",
        parameter_values={"give": protocol.encode({"a": [1, "two"]})},
    )
