"""The compiler's public functions: a graph or a group in, a PipelineSpec out; loaded when first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_vertex_provider.compiler.group import compile_group as compile_group
    from airflow_vertex_provider.compiler.pipeline_spec import compile_graph as compile_graph
    from airflow_vertex_provider.compiler.pipeline_spec import dump_spec as dump_spec

_MODULES = {"compile_graph": "pipeline_spec", "compile_group": "group", "dump_spec": "pipeline_spec"}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    """Load a public function from its module (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
