"""A project of several modules: the DAG's file says what runs, the package beside it how.

With `code="bundle"` the modules travel as a zip that submit puts into the bucket, once for all runs of the
same code; the image only has to have scikit-learn. Modules that import heavy libraries are imported inside
the tasks, so that Airflow does not load those to parse the file. A function of a module can be a task as it
is.
"""

from __future__ import annotations

import os

from airflow.sdk import dag, task
from wine_project.scores import best

from airflow_vertex_provider import CustomJob, VertexTaskGroup

BUCKET = os.environ.get("EXAMPLE_BUCKET", "example-bucket")
LOCATION = os.environ.get("EXAMPLE_LOCATION", "europe-west4")
IMAGE = os.environ.get("EXAMPLE_IMAGE", "europe-docker.pkg.dev/vertex-ai/training/sklearn-cpu.1-6:latest")


@task
def split(params):
    from wine_project import data

    return data.split(params["seed"], test_share=0.3)


@task
def neighbours(rows):
    from wine_project.models import predict

    return predict("neighbours", rows)


# The same code on a machine of its own.
@task.vertex(custom_job=CustomJob(machine_type="n1-standard-8"))
def linear(rows):
    from wine_project.models import predict

    return predict("linear", rows)


@task
def evaluate(rows, predictions):
    from wine_project import data
    from wine_project.scores import accuracy

    _, cultivars = data.load()
    truth = cultivars[rows["test"]].tolist()
    print("cultivars:", ", ".join(data.names().values()))
    return {name: round(accuracy(truth, predicted), 4) for name, predicted in predictions.items()}


@task
def report(scores, chosen):
    """Say, in Airflow, what came out."""
    lines = [f"{name:<12} {score:.4f}{'  <- best' * (name == chosen)}" for name, score in scores.items()]
    print("\n".join(lines))
    return lines


@dag(schedule=None, params={"seed": 7}, tags=["example", "vertex"])
def example_project():
    with VertexTaskGroup(
        "wines",
        location=LOCATION,
        pipeline_root=f"gs://{BUCKET}/pipelines",
        image=IMAGE,
        code="bundle",
        code_paths=["wine_project"],
        poll_interval=float(os.environ.get("EXAMPLE_POLL_INTERVAL", "30")),
    ):
        rows = split()
        predictions = {"neighbours": neighbours(rows), "linear": linear(rows)}
        scores = evaluate(rows, predictions)
        chosen = task(best)(scores)
    report(scores, chosen)


example_project()
