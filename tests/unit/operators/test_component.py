"""VertexComponentOperator outside a group, and what Airflow sees of its fields."""

from __future__ import annotations

import copy
from typing import Any, cast

import pytest
from airflow.sdk import DAG, task

from airflow_vertex_provider import VertexComponentOperator
from airflow_vertex_provider.exceptions import VertexConfigurationError
from tests.unit import component_samples as samples


def test_it_runs_in_a_group_only() -> None:
    with pytest.raises(VertexConfigurationError, match=r"^c: VertexComponentOperator: .* VertexTaskGroup"):
        VertexComponentOperator(task_id="c", component=samples.add).execute({})


def test_arguments_make_edges() -> None:
    @task
    def make() -> int:
        return 1

    with DAG("d") as dag:
        operator = VertexComponentOperator(
            task_id="c", component=samples.every_type, arguments={"items": [{"a": make()}]}
        )
        cast("Any", make()) >> operator
    assert operator.upstream_task_ids == {"make", "make__1"}
    assert dag.task_dict["c"] is operator


def test_no_arguments() -> None:
    assert VertexComponentOperator(task_id="c", component=samples.silent).arguments == {}


def test_a_copy_of_the_dag_keeps_the_component() -> None:
    with DAG("d") as dag:
        VertexComponentOperator(task_id="c", component=samples.outer_one, arguments={"n": 1})
    made: Any = copy.deepcopy(dag).get_task("c")
    assert made.component.name == "outer-one"


def test_it_goes_through_serialisation() -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    with DAG("d", schedule=None) as dag:
        VertexComponentOperator(task_id="c", component=samples.add, arguments={"a": 1})
    written = DagSerialization.to_dict(dag)
    (stored,) = written["dag"]["tasks"]
    assert stored["__var"]["arguments"] == {"a": 1}
    assert "component" not in stored["__var"]
