"""A Vertex AI Pipelines of one's own: a state directory in, Google's REST API on loopback out.

For tests, demonstrations and local work; never for production. See docs/emulator.md for what it does and
what it guesses.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_vertex_provider.emulator.server import VertexEmulator

__all__ = ["VertexEmulator"]


def __getattr__(name: str) -> Any:
    """Load the server only when somebody asks for it."""
    if name == "VertexEmulator":
        return importlib.import_module("airflow_vertex_provider.emulator.server").VertexEmulator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
