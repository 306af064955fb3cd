"""EmptyOperator: nothing to run in, nothing in the pipeline out.

It stays an Airflow task, which costs no machine; edges that pass through it join its neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_vertex_provider.graph.converters.base import Conversion

if TYPE_CHECKING:
    from airflow_vertex_provider.graph.values import Values

CLASSES = ("airflow.providers.standard.operators.empty.EmptyOperator",)
LEAVES_VALUE = False


def convert(operator: Any, values: Values) -> Conversion:
    """See :mod:`airflow_vertex_provider.graph.converters.base`."""
    return Conversion(None)
