"""Artifacts: the annotations of a member's function that takes or leaves files which Vertex AI knows of.

``Input[Dataset]`` marks a parameter that takes an artifact, ``Output[Model]`` one that the function is to
fill; kfp's own names of the same kind mean the same. A type checker sees ``Output[Model]`` as ``Model``. The
objects a function gets in its container are of these classes too, or of kfp's where its code has loaded kfp.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

from airflow_vertex_provider.runtime.entrypoint import (
    HTML,
    Artifact,
    ClassificationMetrics,
    Dataset,
    Markdown,
    Metrics,
    Model,
)

__all__ = [
    "HTML",
    "Artifact",
    "ClassificationMetrics",
    "Dataset",
    "Input",
    "Markdown",
    "Metrics",
    "Model",
    "Output",
]

T = TypeVar("T")


class InputAnnotation:
    """Marks a parameter that takes an artifact."""


class OutputAnnotation:
    """Marks a parameter that the function is to fill with an artifact."""


Input = Annotated[T, InputAnnotation]
Output = Annotated[T, OutputAnnotation]
