"""Data frames, a model and its metrics, handed from task to task as Python objects and as artifacts.

A function returns a data frame and the next one takes it: it travels as a Parquet file in Cloud Storage.
The model is an artifact that Vertex AI knows of, and so are its metrics: the console shows them beside the
run. Helpers, constants and the data class stand at the top of this file and travel with the functions that
use them. The data is the breast cancer set that ships inside scikit-learn; the image has scikit-learn, pandas
and pyarrow.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass

from airflow.sdk import dag, task

from airflow_vertex_provider import VertexTaskGroup
from airflow_vertex_provider.artifacts import ClassificationMetrics, Input, Metrics, Model, Output

BUCKET = os.environ.get("EXAMPLE_BUCKET", "example-bucket")
LOCATION = os.environ.get("EXAMPLE_LOCATION", "europe-west4")
IMAGE = os.environ.get("EXAMPLE_IMAGE", "europe-docker.pkg.dev/vertex-ai/training/sklearn-cpu.1-6:latest")

TARGET = "target"
NAMES = ["malignant", "benign"]


@dataclass
class Score:
    """What is compared from run to run."""

    accuracy: float
    malignant_found: float


def features_of(frame):
    """Return the columns to learn from."""
    return frame.drop(columns=[TARGET])


@task(multiple_outputs=True)
def split(seed):
    """Make two data frames: patients to learn from and patients to be tested on."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import train_test_split

    frame = load_breast_cancer(as_frame=True).frame
    train, test = train_test_split(frame, test_size=0.25, random_state=int(seed), stratify=frame[TARGET])
    print(f"{len(train)} rows to learn from, {len(test)} to test on")
    return {"train": train, "test": test}


@task.vertex
def fit(rows, model: Output[Model]):
    """Learn from a data frame; leave the model as a file, and what it is made of as its metadata."""
    import joblib
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fitted = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    fitted.fit(features_of(rows), rows[TARGET])
    joblib.dump(fitted, model.path)
    model.metadata["framework"] = "scikit-learn"
    model.metadata["features"] = len(features_of(rows).columns)


@task.vertex
def evaluate(rows, model: Input[Model], metrics: Output[Metrics], confusion: Output[ClassificationMetrics]):
    """Say how good the model is, to Airflow by the value and to Vertex AI by the metrics."""
    import joblib
    from sklearn.metrics import accuracy_score, confusion_matrix, recall_score

    truth = rows[TARGET]
    predicted = joblib.load(model.path).predict(features_of(rows))
    score = Score(
        accuracy=round(float(accuracy_score(truth, predicted)), 4),
        # In this set 0 is a malignant tumour: the class that must not be missed.
        malignant_found=round(float(recall_score(truth, predicted, pos_label=0)), 4),
    )
    for name, value in asdict(score).items():
        metrics.log_metric(name, value)
    confusion.log_confusion_matrix(NAMES, confusion_matrix(truth, predicted).tolist())
    return asdict(score)


@task
def report(score, model):
    """Say, in Airflow, what came out and where the model lies."""
    print(f"accuracy {score['accuracy']}, malignant found {score['malignant_found']}: {model['uri']}")
    return {"score": score, "model": model}


@dag(schedule=None, params={"seed": 7}, tags=["example", "vertex"])
def example_frames_and_model():
    with VertexTaskGroup(
        "train",
        location=LOCATION,
        pipeline_root=f"gs://{BUCKET}/pipelines",
        image=IMAGE,
        poll_interval=float(os.environ.get("EXAMPLE_POLL_INTERVAL", "30")),
    ):
        rows = split("{{ params.seed }}")
        fitted = fit(rows["train"])
        score = evaluate(rows["test"], fitted["model"])
    report(score, fitted["model"])


example_frames_and_model()
