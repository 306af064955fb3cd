"""Outputs of a DAG: how its tasks ended in, the values and artifacts it hands on out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from airflow_vertex_provider.emulator.guesses import Switches
from airflow_vertex_provider.emulator.inputs import Scope
from airflow_vertex_provider.emulator.plan import Component
from airflow_vertex_provider.emulator.run_context import Outcome
from airflow_vertex_provider.states import SUCCESSFUL_TASK_STATES, TaskState

Json = dict[str, Any]


def of_dag(scope: Scope) -> tuple[Json, dict[str, list[Json]]]:
    """Return the outputs of a DAG; one whose tasks did not make it is left out.

    Of several sources (``dsl.OneOf``) the first whose task ran gives the value.
    """
    parameters: Json = {}
    artifacts: dict[str, list[Json]] = {}
    for name, sources in scope.dag.output_parameters.items():
        for task, key in sources:
            if _ran(scope, task) and key in scope.results[task].parameters:
                parameters[name] = scope.results[task].parameters[key]
                break
    for name, sources in scope.dag.output_artifacts.items():
        for task, key in sources:
            if _ran(scope, task) and key in scope.results[task].artifacts:
                artifacts[name] = scope.results[task].artifacts[key]
                break
    return parameters, artifacts


def _ran(scope: Scope, task: str) -> bool:
    result = scope.results.get(task)
    return result is not None and result.state in (*SUCCESSFUL_TASK_STATES, TaskState.FAILED)


def of_loop(
    component: Component, iterations: Sequence[Outcome], switches: Switches
) -> tuple[Json, dict[str, list[Json]]]:
    """Return the outputs of a loop: those of its iterations, in the order of the items.

    Lists of artifacts that a loop within makes are joined; lists of values are kept as they are.
    """
    parameters: Json = {
        name: list(_values(name, iterations, gaps=switches.collected_gaps == "null"))
        for name in component.output_parameters
    }
    artifacts = {
        name: [item for outcome in iterations for item in outcome.artifacts.get(name, [])]
        for name in component.output_artifacts
    }
    return parameters, artifacts


def _values(name: str, iterations: Iterable[Outcome], *, gaps: bool) -> Iterable[Any]:
    for outcome in iterations:
        if name in outcome.parameters:
            yield outcome.parameters[name]
        elif gaps:
            yield None
