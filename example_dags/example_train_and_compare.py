"""Train three models on three kinds of machines, as one Vertex AI pipeline, and keep the best.

A plain Airflow task chooses the split, the group prepares the data, trains and compares, and a plain
Airflow task reports. The data is the breast cancer set that ships inside scikit-learn, so the image only
has to have scikit-learn. Needs a connection ``google_cloud_default`` and a bucket of yours; `make demo`
runs it on the emulator without either.
"""

from __future__ import annotations

import os

from airflow.sdk import dag, task

from airflow_vertex_provider import CustomJob, Resources, VertexTaskGroup

BUCKET = os.environ.get("EXAMPLE_BUCKET", "example-bucket")
LOCATION = os.environ.get("EXAMPLE_LOCATION", "europe-west4")
IMAGE = os.environ.get("EXAMPLE_IMAGE", "europe-docker.pkg.dev/vertex-ai/training/sklearn-cpu.1-6:latest")


@task
def choose_split(params: dict) -> dict:
    """Decide, in Airflow, how the data will be split."""
    return {"seed": params["seed"], "test_share": 0.25}


@task
def prepare(split, run):
    """Split the patients into those to learn from and those to be tested on."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import train_test_split

    data = load_breast_cancer()
    rows = list(range(len(data.target)))
    train, test = train_test_split(
        rows, test_size=split["test_share"], random_state=split["seed"], stratify=data.target
    )
    print(f"{len(train)} rows to learn from, {len(test)} to test on, in run {run}")
    return {"train": sorted(train), "test": sorted(test), "seed": split["seed"]}


# A plain task: Vertex picks a machine with at least this much.
@task.vertex(resources=Resources(cpu_limit="2", memory_limit="4G"))
def train_linear(rows):
    """Logistic regression on standardised features."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data = load_breast_cancer()
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(data.data[rows["train"]], data.target[rows["train"]])
    return {"model": "logistic regression", "predicted": model.predict(data.data[rows["test"]]).tolist()}


# A machine of its own with much memory.
@task.vertex(custom_job=CustomJob(machine_type="n1-highmem-8", boot_disk_size_gb=200))
def train_forest(rows):
    """A random forest."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import RandomForestClassifier

    data = load_breast_cancer()
    model = RandomForestClassifier(n_estimators=200, random_state=rows["seed"])
    model.fit(data.data[rows["train"]], data.target[rows["train"]])
    return {"model": "random forest", "predicted": model.predict(data.data[rows["test"]]).tolist()}


# A machine with a GPU. scikit-learn does not use it; your training code would.
@task.vertex(
    custom_job=CustomJob(
        machine_type="n1-standard-8", accelerator_type="NVIDIA_TESLA_T4", accelerator_count=1
    )
)
def train_network(rows):
    """A small neural network."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data = load_breast_cancer()
    network = MLPClassifier(hidden_layer_sizes=(32,), max_iter=800, random_state=rows["seed"])
    model = make_pipeline(StandardScaler(), network)
    model.fit(data.data[rows["train"]], data.target[rows["train"]])
    return {"model": "neural network", "predicted": model.predict(data.data[rows["test"]]).tolist()}


@task
def evaluate(rows, candidates):
    """Compare what the models predicted with what was the case."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.metrics import accuracy_score, recall_score

    truth = load_breast_cancer().target[rows["test"]]
    return [
        {
            "model": candidate["model"],
            "accuracy": round(accuracy_score(truth, candidate["predicted"]), 4),
            # In this set 0 is a malignant tumour: the class that must not be missed.
            "malignant_found": round(recall_score(truth, candidate["predicted"], pos_label=0), 4),
        }
        for candidate in candidates
    ]


@task
def pick_best(scores):
    """Keep the most accurate model; of equals, the one that misses fewer tumours."""
    return max(scores, key=lambda score: (score["accuracy"], score["malignant_found"]))


@task
def report(scores, best):
    """Say, in Airflow, what came out."""
    lines = [
        f"{score['model']:<20} accuracy {score['accuracy']:.4f}   "
        f"malignant found {score['malignant_found']:.4f}{'   <- best' if score == best else ''}"
        for score in scores
    ]
    print("\n".join(lines))
    return lines


@dag(schedule=None, params={"seed": 7}, tags=["example", "vertex"])
def example_train_and_compare():
    split = choose_split()
    with VertexTaskGroup(
        "train",
        location=LOCATION,
        pipeline_root=f"gs://{BUCKET}/pipelines",
        image=IMAGE,
        labels={"team": "examples"},
        poll_interval=float(os.environ.get("EXAMPLE_POLL_INTERVAL", "30")),
    ):
        rows = prepare(split, run="{{ run_id }}")
        scores = evaluate(rows, [train_linear(rows), train_forest(rows), train_network(rows)])
        best = pick_best(scores)
    report(scores, best)


example_train_and_compare()
