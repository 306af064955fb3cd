"""A group whose functions and components leave artifacts, which tasks outside read.

Annotations are not postponed in this file: kfp reads them.
"""

# Calls that Airflow changes: what a task is given, and what it returns, is not what its function says.
# mypy: disable-error-code="index, call-arg, arg-type, assignment"

from typing import Any

from airflow.sdk import DAG, task
from kfp import dsl

from airflow_vertex_provider import (
    Dataset,
    Input,
    Metrics,
    Model,
    Output,
    VertexComponentOperator,
    VertexTaskGroup,
)


@dsl.container_component
def copy(data: dsl.Input[dsl.Dataset], result: dsl.Output[dsl.Dataset], size: dsl.OutputPath(int)):  # type: ignore[no-untyped-def, valid-type]
    return dsl.ContainerSpec(
        image="alpine",
        command=["sh", "-c", 'mkdir -p "$(dirname "$1")" && cp "$0" "$1" && printf 3 > "$2"'],
        args=[data.path, result.path, size],
    )


@task.vertex
def make(data: Output[Dataset]) -> None:
    from pathlib import Path

    Path(data.path).write_text("abc")
    data.metadata["rows"] = 3


@task
def train(data: Input[Dataset], model: Output[Model] = None, metrics: Output[Metrics] = None) -> str:
    from pathlib import Path

    Path(model.path).write_text(Path(data.path).read_text().upper())
    metrics.log_metric("accuracy", 0.5)
    return "trained"


@task
def read(model: Input[Model]) -> Any:
    from pathlib import Path

    return [Path(model.path).read_text(), model.metadata]


@task
def gather(*values: Any) -> Any:
    return list(values)


for worker in (False, True):
    with DAG("vertex_artifacts_on_workers" if worker else "vertex_artifacts") as dag:
        with VertexTaskGroup(
            "first",
            location="europe-west4",
            pipeline_root="gs://bucket/root",
            image="python:3.11",
            poll_interval=0.2,
            deferrable=not worker,
        ):
            copied = VertexComponentOperator(
                task_id="copy", component=copy, arguments={"data": make()["data"]}
            )
            trained = train(copied.output["result"])
        with VertexTaskGroup(
            "second",
            location="europe-west4",
            pipeline_root="gs://bucket/root",
            image="python:3.11",
            poll_interval=0.2,
            deferrable=not worker,
        ):
            read(trained["model"])
        gather(trained, trained["model"], trained["metrics"], copied.output)
