"""The compiler's public functions: a graph in, a PipelineSpec out; loaded when first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_vertex_provider.compiler.pipeline_spec import compile_graph, dump_spec

__all__ = ["compile_graph", "dump_spec"]


def __getattr__(name: str) -> Any:
    """Load a public function from its module (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("airflow_vertex_provider.compiler.pipeline_spec"), name)
