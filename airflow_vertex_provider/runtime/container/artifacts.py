"""Artifacts: what Vertex AI says of them in, objects for the author's function out, and back.

Part of the text that runs in a container, see :mod:`airflow_vertex_provider.runtime.entrypoint`.
"""

from __future__ import annotations

import os
import sys

from airflow_vertex_provider.runtime.container.base import ABSENT, NOT_RUN, SKIPPED, VertexRuntimeError
from airflow_vertex_provider.runtime.container.files import argument_cost, gcs_root, keep
from airflow_vertex_provider.runtime.container.loops import bare_text
from airflow_vertex_provider.runtime.container.nodes import resolve
from airflow_vertex_provider.runtime.container.values import encode, outside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any


class Artifact:
    """Something a task leaves in Cloud Storage: a file or a folder, and what is known of it.

    Where the author's code has loaded kfp, its classes take the place of these.

    :param name: its resource name in Vertex's metadata, if it is known.
    :param uri: its address, ``gs://bucket/path``.
    :param metadata: what is known of it, plain JSON.
    """

    schema_title = "system.Artifact"
    schema_version = "0.0.1"

    def __init__(
        self, name: str | None = None, uri: str | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        self.name = name or ""
        self.uri = uri or ""
        self.metadata: dict[str, Any] = metadata or {}

    @property
    def path(self) -> str:
        """Where it lies for ordinary file functions: below the folder that Cloud Storage is mounted in."""
        return gcs_root() + self.uri[4:] if self.uri[:5] == "gs://" else self.uri

    @path.setter
    def path(self, path: str) -> None:
        self.uri = address(path)


class Dataset(Artifact):
    """Data."""

    schema_title = "system.Dataset"


class Model(Artifact):
    """A model."""

    schema_title = "system.Model"

    @property
    def framework(self) -> str:
        """What it was made with; an entry of its metadata."""
        return str(self.metadata.get("framework", ""))

    @framework.setter
    def framework(self, framework: str) -> None:
        self.metadata["framework"] = framework


class Metrics(Artifact):
    """Numbers by name, which Vertex shows and compares between runs."""

    schema_title = "system.Metrics"

    def log_metric(self, metric: str, value: float) -> None:
        """Set one number."""
        self.metadata[metric] = value


class ClassificationMetrics(Artifact):
    """A confusion matrix and a ROC curve, which Vertex draws."""

    schema_title = "system.ClassificationMetrics"

    def log_roc_data_point(self, fpr: float, tpr: float, threshold: float) -> None:
        """Add one point to the ROC curve."""
        point = {"confidenceThreshold": threshold, "recall": tpr, "falsePositiveRate": fpr}
        self.metadata.setdefault("confidenceMetrics", []).append(point)

    def log_roc_curve(self, fpr: Sequence[float], tpr: Sequence[float], threshold: Sequence[float]) -> None:
        """Add points to the ROC curve; ``ValueError`` if the three are not of one length."""
        if not len(fpr) == len(tpr) == len(threshold):
            raise ValueError(
                "fpr, tpr and threshold must be of one length, found %d, %d and %d"
                % (len(fpr), len(tpr), len(threshold))
            )
        for number, value in enumerate(threshold):
            self.log_roc_data_point(fpr[number], tpr[number], value)

    def set_confusion_matrix_categories(self, categories: Iterable[str]) -> None:
        """Begin a confusion matrix, all zero."""
        names = list(categories)
        self.metadata["confusionMatrix"] = {
            "annotationSpecs": [{"displayName": name} for name in names],
            "rows": [{"row": [0] * len(names)} for _ in names],
        }

    def _place(self, category: str) -> int:
        """Return which row and column of the confusion matrix a category has."""
        specs = self.metadata.get("confusionMatrix", {}).get("annotationSpecs", ())
        names = [spec["displayName"] for spec in specs]
        if category not in names:
            raise ValueError("found category %r; allowed: %s" % (category, ", ".join(map(str, names))))
        return names.index(category)

    def log_confusion_matrix_row(self, row_category: str, row: Iterable[float]) -> None:
        """Set one row; ``ValueError`` if it does not fit the categories."""
        place, found = self._place(row_category), list(row)
        rows = self.metadata["confusionMatrix"]["rows"]
        if len(found) != len(rows):
            raise ValueError(
                "found a row of %d; allowed: %d, one for each category" % (len(found), len(rows))
            )
        rows[place] = {"row": found}

    def log_confusion_matrix_cell(self, row_category: str, col_category: str, value: float) -> None:
        """Set one cell; ``ValueError`` if a category is unknown."""
        row, column = self._place(row_category), self._place(col_category)
        self.metadata["confusionMatrix"]["rows"][row]["row"][column] = value

    def log_confusion_matrix(self, categories: Iterable[str], matrix: Iterable[Iterable[float]]) -> None:
        """Set the whole matrix; ``ValueError`` if it is not square in the categories."""
        names, rows = list(categories), list(matrix)
        if len(rows) != len(names):
            raise ValueError("found %d rows; allowed: %d, one for each category" % (len(rows), len(names)))
        self.set_confusion_matrix_categories(names)
        for number, name in enumerate(names):
            self.log_confusion_matrix_row(name, rows[number])


class HTML(Artifact):
    """A page, which Vertex shows."""

    schema_title = "system.HTML"


class Markdown(Artifact):
    """A text, which Vertex shows."""

    schema_title = "system.Markdown"


ARTIFACTS = [Artifact, Dataset, Model, Metrics, ClassificationMetrics, HTML, Markdown]


def address(path: str) -> str:
    """Return the ``gs://`` address of a path below the mounted folder; anything else as it is."""
    for root in (gcs_root() + "/", "/gcs/"):
        if path.startswith(root):
            return "gs://" + path[len(root) :]
    return path


def make_artifact(given: dict[str, Any], title: str) -> Any:
    """Return the object for an artifact, of the class that goes with its type.

    :param given: ``name``, ``uri`` and ``metadata``. :param title: its type, ``system.Model``.
    """
    uri, kinds = address(given.get("uri") or ""), {kind.schema_title: kind for kind in ARTIFACTS}
    kind = kinds.get(title, Artifact)
    names = ("kfp.dsl", "airflow_vertex_provider.artifacts")
    # What use_artifact_types offers has no file.
    theirs: list[Any] = [found for found in map(sys.modules.get, names) if hasattr(found, "__file__")]
    if theirs:
        kind = getattr(theirs[0], kind.__name__, theirs[0].Artifact)
    if kind.__module__[:4] == "kfp." and gcs_root() != "/gcs" and uri[:5] == "gs://":
        uri = gcs_root() + uri[4:]  # kfp knows no other place to mount at
    made = kind(name=given.get("name") or "", uri=uri, metadata=dict(given.get("metadata") or {}))
    if kind.schema_title != title:
        made.schema_title = title
    return made


def node_output(node: dict[str, Any], inputs: dict[str, Any]) -> Any:
    """``{"$output": name, "as": type}``: the artifact that the task is to write."""
    name, made = node["$output"], inputs["$"].setdefault("$made", {})
    if name not in made:
        (given,) = inputs["$"]["outputs"]["artifacts"][name]["artifacts"]
        made[name] = make_artifact(given, node["as"])
        os.makedirs(os.path.dirname(made[name].path), exist_ok=True)
    return made[name]


def node_artifact(node: dict[str, Any], inputs: dict[str, Any]) -> Any:
    """``{"$artifact": node, "as": type}``: an artifact, or a list of them, from what says which it is."""
    inner, wanted = node["$artifact"], node.get("as")
    name = inner.get("$in") if isinstance(inner, dict) else None
    given = inputs["$"].get("inputs", {}).get("artifacts", {})
    if name in given:  # of a component, which leaves no text
        found = [dict(item, type=title_of(item)) for item in given[name]["artifacts"]]
        return as_artifact(found if node.get("list") else found[0], wanted, "input %r" % name)
    # Another task's object in a file is an artifact too, and not opened.
    value = resolve(inner, dict(inputs, **{"$find": outside}))
    if name and name + "_artifact" in given and isinstance(value, dict):
        value = dict(given[name + "_artifact"]["artifacts"][0], **value)
    return as_artifact(value, wanted, "input %r" % name if name else "an argument")


def title_of(given: dict[str, Any]) -> str:
    """Return the type of an artifact in the executor input; some have a schema without a title."""
    kind = given.get("type") or {}
    return kind.get("schemaTitle") or kind.get("instanceSchema") or ""


def as_artifact(value: Any, wanted: str | None, where: str) -> Any:
    """Return the artifact that a dict with ``uri``, ``type`` and ``metadata``, or an address, stands for."""
    if value is None or value is ABSENT:
        return value
    if isinstance(value, list):
        return [as_artifact(item, wanted, "%s[%d]" % (where, number)) for number, item in enumerate(value)]
    if isinstance(value, str) and "://" in value:
        value = {"uri": value}
    if not isinstance(value, dict) or not isinstance(value.get("uri"), str):
        raise VertexRuntimeError(
            "%s: an artifact is wanted: a dict with uri, type and metadata, or an address such as gs://bucket/"
            "path; found %.60r" % (where, value)
        )
    anything = ("", None, "system.Artifact")
    title = value.get("type")
    if title not in anything and wanted not in anything and title != wanted:
        raise VertexRuntimeError("%s: found an artifact of type %s; allowed: %s" % (where, title, wanted))
    return make_artifact(value, wanted if title in anything else title)  # type: ignore[arg-type]


def plain(value: Any, where: str) -> Any:
    """Return metadata as Vertex can hold them: JSON alone; numbers and arrays of NumPy become that."""
    if isinstance(value, dict):
        return {str(key): plain(item, "%s.%s" % (where, key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, "%s[%d]" % (where, number)) for number, item in enumerate(value)]
    if hasattr(value, "tolist"):
        return plain(value.tolist(), where)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and value - value == 0:
        return value
    raise VertexRuntimeError(
        "%s: found %.60r, of type %s; allowed in metadata: text, finite numbers, True, False, None, lists "
        "and dicts of them" % (where, value, type(value).__name__)
    )


def use_artifacts(config: dict[str, Any], inputs: dict[str, Any], value: Any, folder: str) -> dict[str, Any]:
    """Return what is known of the task's artifacts, as texts, and leave it for the executor output too."""
    values: dict[str, Any] = {}
    names, written = config["artifacts"], {}
    if config.get("multiple_outputs") and isinstance(value, dict) and set(value) & set(names):
        raise TypeError(
            "found keys of the value that artifacts have too: %s; allowed with multiple_outputs, which a "
            "dict as return annotation switches on: other keys" % sorted(set(value) & set(names))
        )
    for name, title in names.items():
        text = SKIPPED
        if value is not NOT_RUN:
            made = inputs["$"]["$made"][name]
            if not isinstance(made.uri, str) or not isinstance(made.metadata or {}, dict):
                raise VertexRuntimeError(
                    "%s: found uri %.60r and metadata %.60r; allowed: a text and a dict"
                    % (name, made.uri, made.metadata)
                )
            found = {"uri": address(made.uri), "metadata": plain(made.metadata or {}, name + ".metadata")}
            written[name] = {"artifacts": [dict(found, name=made.name)]}
            text = encode(dict(found, type=title))
            if name in config.get("linked", ()) and argument_cost(text) > config["inline_limit"]:
                raise VertexRuntimeError(
                    "%s.metadata: found %d bytes; allowed: what fits an argument of the tasks that take it, "
                    "some %d bytes; write them to a file" % (name, len(text), config["inline_limit"] // 2)
                )
        path = "%s/airflow_artifact_%s.json" % (folder, name)
        values["Artifact_" + name] = keep(text, config, path)
        if name in config.get("uris", ()):
            values["Uri_" + name] = "null" if value is NOT_RUN else bare_text(found["uri"])
    inputs["$"]["$written"] = {"artifacts": written}
    return values


class ArtifactTypes:
    """Import hook, last in line: what annotations of artifacts are made of, where the image has it not."""

    offers = ("kfp", "kfp.dsl", "airflow_vertex_provider", "airflow_vertex_provider.artifacts")

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Answer for the modules that offer these names."""
        return type(sys.__spec__)(name, self, is_package=True) if name in self.offers else None  # type: ignore[arg-type]

    def create_module(self, spec: Any) -> None:
        """Leave the making of the module to Python."""

    def exec_module(self, module: Any) -> None:
        """Fill the module."""
        for kind in (*ARTIFACTS, Input, Output):
            setattr(module, kind.__name__, kind)
        if module.__name__ == "kfp":
            __import__("kfp.dsl")


class Input:
    """Stands for the mark of an input in annotations, which nothing reads here."""

    def __class_getitem__(cls, kind: Any) -> Any:
        return kind


class Output(Input):
    """Likewise of an output."""


def use_artifact_types() -> None:
    """Let the author's code import the names of artifacts, whatever the image has."""
    sys.meta_path.append(ArtifactTypes())
