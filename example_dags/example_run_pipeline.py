"""Run pipelines that KFP compiled elsewhere, and look after their jobs.

`pipelines/count_letters.yaml` is what kfp's compiler writes. The same operator takes such a file from Cloud
Storage (`gs://...`) or Artifact Registry (`https://<location>-kfp.pkg.dev/...`). Needs a connection
`google_cloud_default` and a bucket of yours.
"""

from __future__ import annotations

import os

from airflow.sdk import dag, task

from airflow_vertex_provider import (
    GetVertexPipelineJobOperator,
    ListVertexPipelineJobsOperator,
    RunVertexPipelineOperator,
    VertexPipelineJobSensor,
)

BUCKET = os.environ.get("EXAMPLE_BUCKET", "example-bucket")
LOCATION = os.environ.get("EXAMPLE_LOCATION", "europe-west4")


@dag(schedule=None, catchup=False, params={"word": "pipeline"}, tags=["example", "vertex"])
def example_run_pipeline():
    # Submits and waits; a retry of the task after the job has failed is a new job.
    run = RunVertexPipelineOperator(
        task_id="run",
        template="pipelines/count_letters.yaml",
        parameter_values={"word": "{{ params.word }}", "times": 3},
        location=LOCATION,
        pipeline_root=f"gs://{BUCKET}/pipelines",
        labels={"team": "letters"},
        poll_interval=5,
        retries=1,
    )

    # Leaves as soon as the job is there; a sensor waits for it later, here or in another DAG.
    start = RunVertexPipelineOperator(
        task_id="start",
        template="pipelines/count_letters.yaml",
        parameter_values={"word": "{{ params.word }}"},
        location=LOCATION,
        pipeline_root=f"gs://{BUCKET}/pipelines",
        enable_caching=False,
        wait_for_completion=False,
    )
    wait = VertexPipelineJobSensor(
        task_id="wait",
        job_name=["{{ ti.xcom_pull('start')['job_name'] }}", "{{ ti.xcom_pull('run')['job_name'] }}"],
        poll_interval=5,
        timeout=3600,
    )
    start >> wait

    look = GetVertexPipelineJobOperator(task_id="look", job_name="{{ ti.xcom_pull('start')['job_name'] }}")
    mine = ListVertexPipelineJobsOperator(
        task_id="mine",
        location=LOCATION,
        filter="labels.team=letters",
        order_by="create_time desc",
        max_results=10,
    )

    @task
    def report(value, jobs):
        print(f"{value['outputs']} from {value['url']}; {len(jobs)} jobs so far")
        return value["outputs"]

    [run, start] >> wait >> [look, mine]
    report(run.output, mine.output)


example_run_pipeline()
