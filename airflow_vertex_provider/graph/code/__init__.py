"""The author's code: a member's function in, what its container needs to have that function out.

:mod:`~airflow_vertex_provider.graph.code.origin` tells whose a module is,
:mod:`~airflow_vertex_provider.graph.code.loading` how a function gets to its container,
:mod:`~airflow_vertex_provider.graph.code.carry` makes the text that travels. docs/code.md tells authors.
"""

from airflow_vertex_provider.graph.code.carry import (
    CarriedFunction,
    carry_function,
)
from airflow_vertex_provider.graph.code.errors import CarryError
from airflow_vertex_provider.graph.code.loading import Loading, how_to_load
from airflow_vertex_provider.graph.code.reach import CONTEXT_GETTER

__all__ = [
    "CONTEXT_GETTER",
    "CarriedFunction",
    "CarryError",
    "Loading",
    "carry_function",
    "how_to_load",
]
