"""DAGs of compiled pipelines, for a real scheduler: a job that fails once, a wait for several, a cancel."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, task

from airflow_vertex_provider import (
    CancelVertexPipelineJobOperator,
    DeleteVertexPipelineJobOperator,
    RunVertexPipelineOperator,
    VertexPipelineJobSensor,
)

OPTIONS: dict[str, Any] = {
    "location": "europe-west4",
    "pipeline_root": "gs://emulated-bucket/pipelines",
    "poll_interval": 0.5,
}


def shell(name: str, command: str) -> dict[str, Any]:
    """Return a pipeline of one container with one parameter, which the command has as ``$0``."""
    parameter = {"parameters": {"path": {"parameterType": "STRING"}}}
    value = "{{$.inputs.parameters['path']}}"
    return {
        "schemaVersion": "2.1.0",
        "sdkVersion": "kfp-2.16.1",
        "pipelineInfo": {"name": name},
        "components": {"comp-do": {"executorLabel": "exec-do", "inputDefinitions": parameter}},
        "deploymentSpec": {
            "executors": {
                "exec-do": {"container": {"image": "bash", "command": ["sh", "-c", command], "args": [value]}}
            }
        },
        "root": {
            "inputDefinitions": parameter,
            "dag": {
                "tasks": {
                    "do": {
                        "componentRef": {"name": "comp-do"},
                        "taskInfo": {"name": "do"},
                        "inputs": {"parameters": {"path": {"componentInputParameter": "path"}}},
                    }
                }
            },
        },
    }


#: Fails the first time, since it makes the file only then.
ONCE = shell("once", 'test -e "$0" || { touch "$0"; exit 1; }')
#: Runs until the file is there.
UNTIL = shell("until", 'while ! test -e "$0"; do sleep 0.1; done')


with DAG("run_retried", schedule=None, params={"path": ""}):
    RunVertexPipelineOperator(
        task_id="run",
        template=ONCE,
        parameter_values={"path": "{{ params.path }}"},
        retries=2,
        retry_delay=timedelta(seconds=1),
        **OPTIONS,
    )

with DAG("run_many", schedule=None, params={"path": ""}):

    @task
    def paths(params: Any) -> list[str]:
        return [f"{params['path']}-{name}" for name in ("a", "b")]

    @task
    def arguments(found: Any) -> list[dict[str, str]]:
        return [{"path": path} for path in found]

    many = RunVertexPipelineOperator.partial(
        task_id="start", template=UNTIL, wait_for_completion=False, **OPTIONS
    ).expand(parameter_values=arguments(paths()))

    @task
    def names(started: Any) -> list[str]:
        return [job["job_name"] for job in started]

    found = names(many.output)
    stop = CancelVertexPipelineJobOperator(
        task_id="stop", job_name=found, wait_for_completion=True, poll_interval=0.5
    )
    see = VertexPipelineJobSensor(task_id="see", job_name=found, soft_fail=True, poll_interval=0.5)
    stop >> see
    see >> DeleteVertexPipelineJobOperator.partial(
        task_id="forget", missing_ok=True, trigger_rule="all_done"
    ).expand(job_name=found)
