"""Airflow's context in a member: its value, its absence, or an error that says what would do."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.definitions.param import ParamsDict

from airflow_vertex_provider.exceptions import VertexConfigurationError
from airflow_vertex_provider.graph.context import OPTIONAL, context_value
from airflow_vertex_provider.runtime.protocol import ABSENT


def test_a_value_of_the_run() -> None:
    assert context_value("ds", {"ds": "2025-01-02"}) == "2025-01-02"
    assert context_value("ds" + OPTIONAL, {"ds": "2025-01-02"}) == "2025-01-02"
    # A run without a logical date has the key, with nothing in it.
    assert context_value("logical_date" + OPTIONAL, {"logical_date": None}) is None


@pytest.mark.parametrize("params", [{"n": 1}, ParamsDict({"n": 1})])
def test_params_are_plain_data(params: Any) -> None:
    value = context_value("params", {"params": params})
    assert (type(value), value) == (dict, {"n": 1})


def test_a_missing_value_leaves_the_default_of_the_function() -> None:
    assert context_value("ds" + OPTIONAL, {}) is ABSENT


def test_a_missing_value_without_a_default_is_named() -> None:
    with pytest.raises(VertexConfigurationError, match=r"ds: found no value in this run.*ds=None"):
        context_value("ds", {})
