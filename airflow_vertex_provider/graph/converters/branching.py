"""Branches and short circuits: a function that decides in, a PYTHON task and what it decides about out.

For ``@task.branch`` and BranchPythonOperator the value names the tasks or groups that are followed; for
``@task.short_circuit`` and ShortCircuitOperator a falsy value skips what comes after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_vertex_provider.graph.converters import class_name, python, virtualenv
from airflow_vertex_provider.graph.converters.base import Conversion
from airflow_vertex_provider.graph.converters.settings import refuse_outputs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_vertex_provider.graph.values import Values

_SHORT_CIRCUITS = (
    "airflow.providers.standard.operators.python.ShortCircuitOperator",
    "airflow.providers.standard.decorators.short_circuit._ShortCircuitDecoratedOperator",
)
_VIRTUALENV = (
    "airflow.providers.standard.operators.python.BranchPythonVirtualenvOperator",
    "airflow.providers.standard.decorators.branch_virtualenv._BranchPythonVirtualenvDecoratedOperator",
)
CLASSES = (
    "airflow.providers.standard.operators.python.BranchPythonOperator",
    "airflow.providers.standard.decorators.branch_python._BranchPythonDecoratedOperator",
    *_SHORT_CIRCUITS,
    *_VIRTUALENV,
)
LEAVES_VALUE = True
TITLE = (
    "@task.branch, BranchPythonOperator, @task.short_circuit, ShortCircuitOperator, "
    "@task.branch_virtualenv, BranchPythonVirtualenvOperator"
)


def convert(operator: Any, values: Values) -> Conversion:
    """See :mod:`airflow_vertex_provider.graph.converters.base`."""
    name = class_name(operator)
    converted = (virtualenv if name in _VIRTUALENV else python).convert(operator, values)
    if converted.output_types:
        values.refuse(
            "python_callable",
            "an Output[...]",
            "none for a task that decides; a task of its own can leave it",
        )
    if name in _SHORT_CIRCUITS:
        refuse_outputs(operator, ("ignore_downstream_trigger_rules",), values)
        # Airflow asks for True itself: any other value respects the rules of what comes later.
        everything = operator.ignore_downstream_trigger_rules is True
        return Conversion(
            converted.kind,
            converted.payload,
            converted.settings,
            may_skip=converted.may_skip,
            skipper="all" if everything else "direct",
        )
    payload: Mapping[str, Any] = {**converted.payload, "branch": True} if converted.payload else {}
    return Conversion(
        converted.kind, payload, converted.settings, may_skip=converted.may_skip, skipper="branch"
    )
