"""The neutral model: JSON both ways without loss, and only of its own schema version."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_vertex_provider.graph.model import (
    SCHEMA_VERSION,
    Encoding,
    FromConstant,
    FromOutput,
    FromParameter,
    Graph,
    Parameter,
    Retry,
    Task,
    TaskKind,
)

texts = st.text(max_size=20)
names = st.text(min_size=1, max_size=10)
#: JSON as it comes back from JSON: no NaN, no integer keys.
json_data: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
sources = st.one_of(
    st.builds(FromParameter, names), st.builds(FromOutput, names, names), st.builds(FromConstant, texts)
)
seconds = st.floats(0, 1e6)
retries = st.builds(Retry, st.integers(0, 100), seconds, st.floats(1, 10), seconds)
tasks = st.builds(
    Task,
    id=names,
    name=names,
    kind=st.sampled_from(TaskKind),
    payload=st.dictionaries(texts, json_data, max_size=4),
    inputs=st.dictionaries(names, sources, max_size=4),
    outputs=st.lists(names, max_size=2).map(tuple),
    upstream=st.lists(names, max_size=3).map(tuple),
    settings=st.dictionaries(texts, json_data, max_size=3),
    retry=st.none() | retries,
    timeout=st.none() | seconds,
)
graphs = st.builds(
    Graph,
    dag_id=names,
    group_id=names,
    name=names,
    tasks=st.lists(tasks, max_size=3).map(tuple),
    parameters=st.lists(st.builds(Parameter, names, st.sampled_from(Encoding), texts), max_size=3).map(tuple),
)


@given(graphs)
def test_a_graph_survives_json(graph: Graph) -> None:
    assert Graph.from_dict(json.loads(json.dumps(graph.to_dict()))) == graph


@given(graphs)
def test_the_json_form_is_stable(graph: Graph) -> None:
    written = json.dumps(graph.to_dict())
    assert json.dumps(Graph.from_dict(json.loads(written)).to_dict()) == written


def graph_of(*tasks: Task) -> Graph:
    return Graph("dag", "group", "dag--group", tasks)


def test_the_json_form_says_its_version_and_every_source() -> None:
    task = Task(
        "g.fit",
        "fit",
        TaskKind.PYTHON,
        {},
        inputs={"a": FromParameter("p"), "b": FromOutput("g.load"), "c": FromConstant("1")},
    )
    data = graph_of(task).to_dict()
    assert data["schema_version"] == SCHEMA_VERSION
    assert data["tasks"][0]["inputs"] == {
        "a": {"from": "parameter", "parameter": "p"},
        "b": {"from": "output", "task": "g.load", "output": "Output"},
        "c": {"from": "constant", "text": "1"},
    }


@pytest.mark.parametrize("version", [None, 0, SCHEMA_VERSION + 1, "1"])
def test_another_schema_version_is_refused(version: object) -> None:
    data = {**graph_of().to_dict(), "schema_version": version}
    with pytest.raises(ValueError, match=f"schema version {version!r}; this package reads {SCHEMA_VERSION}"):
        Graph.from_dict(data)


def test_an_unknown_source_is_not_written() -> None:
    task = Task("g.fit", "fit", TaskKind.PYTHON, {}, inputs={"a": "p"})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="not a source of a value: 'p'"):
        graph_of(task).to_dict()


def test_tasks_are_found_by_their_airflow_id() -> None:
    fit = Task("g.fit", "fit", TaskKind.PYTHON, {})
    graph = graph_of(Task("g.load", "load", TaskKind.BASH, {}), fit)
    assert graph.task("g.fit") is fit
    assert graph.vertex_names() == {"g.load": "load", "g.fit": "fit"}
    with pytest.raises(KeyError, match="fit"):
        graph.task("fit")
