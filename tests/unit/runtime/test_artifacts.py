"""Artifacts in the container: what a function is given, what it leaves, with kfp in the image and without."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from airflow_vertex_provider import Dataset, Model
from airflow_vertex_provider.graph.code import carry_function
from airflow_vertex_provider.runtime import entrypoint
from airflow_vertex_provider.runtime.protocol import encode, python_config
from tests.unit.runtime.container import BARE_PYTHON, PYTHONS, Container, Ended, artifact, find_python

FOLDER = "bucket/job/task_1"

BODY = """
import os

def train(data, model, metrics, curve, page):
    assert type(data).__name__ == "Dataset", type(data)
    os.mkdir(model.path)
    with open(data.path) as source, open(model.path + "/weights", "w") as target:
        target.write(source.read().upper())
    model.metadata["framework"] = "none"
    model.metadata["shape"] = (1, 2)
    metrics.log_metric("accuracy", 0.75)
    curve.log_roc_curve([0.0, 0.5], [0.1, 0.6], [0.9, 0.4])
    curve.log_roc_data_point(1.0, 1.0, 0.0)
    curve.log_confusion_matrix(["cat", "dog"], [[1, 2], [3, 4]])
    curve.log_confusion_matrix_cell("dog", "cat", 5)
    page.uri = "gs://elsewhere/page.html"
    return [type(model).__module__, data.metadata, data.name, model.schema_title, page.path]
"""
OUTPUTS = {
    "model": "system.Model",
    "metrics": "system.Metrics",
    "curve": "system.ClassificationMetrics",
    "page": "system.HTML",
}
#: What an author's module may say at its top; the container has it if a name of it is reached.
IMPORTS = {
    "nothing": "",
    "kfp": "from kfp import dsl\nfrom kfp.dsl import Input, Dataset\nKinds = [Input[Dataset], dsl.Model]",
    "ours": "from airflow_vertex_provider import Input, Dataset\nKind = Input[Dataset]",
}


def config(
    imports: str = "nothing", body: str = BODY, outputs: dict[str, str] | None = None
) -> dict[str, Any]:
    outputs = OUTPUTS if outputs is None else outputs
    made = {name: {"$output": name, "as": title} for name, title in outputs.items()}
    return python_config(
        task="g.train",
        function="train",
        source=body.replace("import os\n", "").strip("\n"),
        file="dag.py",
        line=20,
        reached=[[1, IMPORTS[imports]], [10, "import os"]],
        kwargs={"data": {"$artifact": {"$in": "data"}, "as": "system.Dataset"}, **made},
        artifacts=outputs,
        artifact_types=True,
    )


DATA = {"uri": "gs://bucket/data.txt", "type": "system.Dataset", "metadata": {"rows": 3}}


def run(container: Container, task: dict[str, Any], data: Any = DATA, **more: Any) -> Ended:
    (container.root / "bucket").mkdir(exist_ok=True)
    (container.root / "bucket" / "data.txt").write_text("abc")
    return container.run(task, {"data": encode(data)}, folder=FOLDER, **more)


def left(ended: Ended) -> dict[str, Any]:
    assert ended.code == 0, ended.stderr
    found: dict[str, Any] = json.loads((ended.folder / "executor_output.json").read_text())
    return found


def cases() -> list[Any]:
    """Every Python without kfp, and this one with it."""
    known = [
        pytest.param(version, imports, False, id=f"{version}-{imports}")
        for version in PYTHONS
        for imports in (IMPORTS if version in ("3.8", "3.12") else ("kfp",))
    ]
    return [*known, pytest.param(None, "kfp", True, id="with kfp"), pytest.param(None, "nothing", False)]


@pytest.mark.parametrize(("version", "imports", "with_kfp"), cases())
def test_what_a_function_leaves(tmp_path: Path, version: str | None, imports: str, with_kfp: bool) -> None:
    python = find_python(version) if version else sys.executable
    if python is None:
        pytest.skip(f"no Python {version} here")
    container = Container(tmp_path, python)
    linked = {
        "data_artifact": artifact("gs://bucket/data.txt", "system.Dataset", name="projects/1/artifacts/7")
    }
    found = left(run(container, config(imports), artifacts=linked))
    value = json.loads(found["parameterValues"]["Output"])
    assert value == [
        "kfp.dsl.types.artifact_types" if with_kfp else "__main__",
        {"rows": 3},
        "projects/1/artifacts/7",
        "system.Model",
        f"{'/gcs' if with_kfp else tmp_path}/elsewhere/page.html",
    ]
    assert (tmp_path / FOLDER / "model" / "weights").read_text() == "ABC"
    metadata = {
        "model": {"framework": "none", "shape": [1, 2]},
        "metrics": {"accuracy": 0.75},
        "curve": {
            "confidenceMetrics": [
                {"confidenceThreshold": 0.9, "recall": 0.1, "falsePositiveRate": 0.0},
                {"confidenceThreshold": 0.4, "recall": 0.6, "falsePositiveRate": 0.5},
                {"confidenceThreshold": 0.0, "recall": 1.0, "falsePositiveRate": 1.0},
            ],
            "confusionMatrix": {
                "annotationSpecs": [{"displayName": "cat"}, {"displayName": "dog"}],
                "rows": [{"row": [1, 2]}, {"row": [5, 4]}],
            },
        },
        "page": {},
    }
    uris = {name: f"gs://{FOLDER}/{name}" for name in OUTPUTS} | {"page": "gs://elsewhere/page.html"}
    assert found["artifacts"] == {
        name: {
            "artifacts": [
                {"name": f"projects/1/artifacts/{name}", "uri": uris[name], "metadata": metadata[name]}
            ]
        }
        for name in OUTPUTS
    }
    texts = {name: json.loads(found["parameterValues"][f"Artifact_{name}"]) for name in OUTPUTS}
    assert texts == {
        name: {"uri": uris[name], "type": OUTPUTS[name], "metadata": metadata[name]} for name in OUTPUTS
    }


def kinds_of(data: Dataset, other: Any) -> list[bool]:
    return [isinstance(data, Dataset), isinstance(other, dsl.Model), isinstance(other, dsl.Dataset)]


def telling(data: Dataset, model: Model) -> list[bool]:
    return kinds_of(data, model)


@pytest.mark.parametrize("python", [BARE_PYTHON, find_python("3.8"), sys.executable])
def test_helpers_name_the_classes(tmp_path: Path, python: str | None) -> None:
    if python is None:
        pytest.skip("no Python 3.8 here")
    task = python_config(
        task="g.t",
        **carry_function(telling).to_config(),
        kwargs={
            "data": {"$artifact": {"$in": "data"}, "as": "system.Dataset"},
            "model": {"$output": "model", "as": "system.Model"},
        },
        artifacts={"model": "system.Model"},
        artifact_types=True,
    )
    repository = str(Path(entrypoint.__file__).parents[2])
    found = left(
        run(Container(tmp_path, python), task, PYTHONPATH=repository if python == sys.executable else "")
    )
    # With kfp in the image, this package's names are ours, and the objects kfp's.
    ours = python != sys.executable
    assert json.loads(found["parameterValues"]["Output"]) == [ours, True, False]


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path)


SHOW = """
def train(data):
    if isinstance(data, list):
        return [item.uri for item in data]
    return data and [data.uri, data.path, data.schema_title, data.metadata, data.name]
"""


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (DATA, ["gs://bucket/data.txt", "{root}/bucket/data.txt", "system.Dataset", {"rows": 3}, ""]),
        ("gs://b/c", ["gs://b/c", "{root}/b/c", "system.Dataset", {}, ""]),
        ({"uri": "https://h/x"}, ["https://h/x", "https://h/x", "system.Dataset", {}, ""]),
        ({**DATA, "type": "system.Artifact"}, ["gs://bucket/data.txt", "{root}/bucket/data.txt",
                                               "system.Dataset", {"rows": 3}, ""]),
        ([DATA, "gs://b/c"], ["gs://bucket/data.txt", "gs://b/c"]),
        (None, None),
    ],
)  # fmt: skip
def test_what_becomes_an_artifact(container: Container, data: Any, shown: Any) -> None:
    found = left(run(container, config(body=SHOW, outputs={}), data))
    expected = json.loads(json.dumps(shown).replace("{root}", str(container.root)))
    assert json.loads(found["parameterValues"]["Output"]) == expected
    assert set(found) == {"parameterValues"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (5, "input 'data': an artifact is wanted: a dict with uri, type and metadata, or an address"),
        ([DATA, "text"], "input 'data'[1]: an artifact is wanted"),
        ({"url": "x"}, "found {'url': 'x'}"),
        (
            {**DATA, "type": "system.Model"},
            "input 'data': found an artifact of type system.Model; allowed: system.Dataset",
        ),
    ],
)
def test_what_is_no_artifact(container: Container, data: Any, message: str) -> None:
    error = run(container, config(body=SHOW, outputs={}), data).error()
    assert error["type"] == "VertexRuntimeError"
    assert message in error["message"]


def test_an_artifact_of_a_component_comes_without_text(container: Container) -> None:
    task = config(body=SHOW, outputs={})
    given = {"data": artifact("gs://b/c", "system.Dataset", name="projects/1/artifacts/9", rows=4)}
    found = left(container.run(task, {}, artifacts=given))
    assert json.loads(found["parameterValues"]["Output"]) == [
        "gs://b/c",
        f"{container.root}/b/c",
        "system.Dataset",
        {"rows": 4},
        "projects/1/artifacts/9",
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('metrics.log_metric("loss", float("inf"))', "metrics.metadata.loss: found inf, of type float"),
        ('metrics.metadata["a"] = [1, {"b": object}]', "metrics.metadata.a[1].b: found <class 'object'>"),
        ('metrics.metadata["a"] = b"x"', "metrics.metadata.a: found b'x', of type bytes"),
        ("return {'metrics': 1}", "found keys of the value that artifacts have too: ['metrics']; allowed"),
        ("metrics.metadata = [1]", "metrics: found uri 'gs://bucket/job/task_1/metrics' and metadata [1]"),
        ("metrics.uri = None", "metrics: found uri None and metadata {}; allowed: a text and a dict"),
    ],
)
def test_what_cannot_be_left(container: Container, line: str, message: str) -> None:
    body = f"\ndef train(data, metrics):\n    {line}\n"
    task = {**config(body=body, outputs={"metrics": "system.Metrics"}), "multiple_outputs": True}
    assert message in run(container, task).error()["message"]


def test_large_metadata_lie_in_a_file_unless_others_get_them_as_arguments(container: Container) -> None:
    body = "\ndef train(data, model):\n    model.metadata['text'] = 'x' * 30000\n"
    task = config(body=body, outputs={"model": "system.Model"})
    text = left(run(container, task))["parameterValues"]["Artifact_model"]
    assert text.startswith(f"@gs://{FOLDER}/airflow_artifact_model.json#")
    error = run(container, {**task, "linked": ["model"]}).error()
    assert "model.metadata: found 30" in error["message"]
    assert "write them to a file" in error["message"]


def test_a_skipped_task_leaves_none(container: Container) -> None:
    body = """
def train(data, model):
    from airflow.exceptions import AirflowSkipException
    raise AirflowSkipException()
"""
    found = left(run(container, {**config(body=body, outputs={"model": "system.Model"}), "skips": True}))
    assert found["parameterValues"]["Artifact_model"] == entrypoint.SKIPPED
    assert found.get("artifacts", {}) == {}


def test_only_the_chief_says_what_it_left(container: Container) -> None:
    cluster = json.dumps({"task": {"type": "workerpool1", "index": 0}})
    ended = run(container, config(), CLUSTER_SPEC=cluster)
    assert ended.code == 0, ended.stderr
    assert os.listdir(ended.folder) == ["model"]  # noqa: PTH208 - names alone


def test_wrong_matrices() -> None:
    curve: Any = entrypoint.ClassificationMetrics()
    calls: list[tuple[Any, str]] = [
        (lambda: curve.log_roc_curve([1], [1], []), "of one length, found 1, 1 and 0"),
        (lambda: curve.log_confusion_matrix(["a"], []), "found 0 rows; allowed: 1"),
        (lambda: curve.log_confusion_matrix(["a"], [[1, 2]]), "found a row of 2; allowed: 1"),
        (lambda: curve.log_confusion_matrix_cell("b", "a", 1), "found category 'b'; allowed: a"),
    ]
    for call, message in calls:
        with pytest.raises(ValueError, match=message):
            call()


def test_numpy_and_paths() -> None:
    numpy = pytest.importorskip("numpy")
    found = entrypoint.plain({"a": numpy.float32(0.5), "b": numpy.arange(2)}, "metadata")
    assert found == {"a": 0.5, "b": [0, 1]}
    made = entrypoint.Model(uri="gs://bucket/x")
    made.framework = "torch"
    assert (made.path, made.framework) == ("/gcs/bucket/x", "torch")
    made.path = "/gcs/bucket/y"
    assert made.uri == "gs://bucket/y"
