"""Components that our compiler has put into a spec, run."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk import DAG, task, task_group

from airflow_vertex_provider import VertexComponentOperator, VertexTaskGroup, compile_group
from airflow_vertex_provider.graph.model import FromConstant, FromOutput, FromParameter
from tests.emulator.pipelines import Client, outputs, states
from tests.unit import component_samples as samples
from tests.unit.compiler.component_specs import assembled, component_task

pytestmark = pytest.mark.slow


def test_components_of_every_kind(client: Client) -> None:
    spec = assembled(
        component_task("add", samples.add, {"a": FromParameter("n")}),
        component_task("add-2", samples.inner, {"n": FromOutput("g.add", "Output")}),
        component_task("sum", samples.inner, {"n": FromOutput("g.add-2", "Output")}),
        component_task("write", samples.write, {"text": FromConstant('it\'s "quoted"')}),
        component_task("read", samples.read, {"data": FromOutput("g.write", "data")}),
        component_task("shell", samples.shell, {"x": FromOutput("g.read", "Output")}),
        component_task(
            "types",
            samples.every_type,
            {
                "text": FromOutput("g.shell", "result"),
                "number": FromOutput("g.shell", "count"),
                "share": FromConstant("0.5"),
                "flag": FromConstant("true"),
                "items": FromConstant('[1, "a"]'),
                "table": FromConstant('{"k": {"l": 2}}'),
            },
        ),
        parameters={"n": "NUMBER_INTEGER"},
    )
    job = client.run(spec, parameters={"n": 1})
    assert {name: states(job)[name] for name in ("sum", "types")} == {
        "sum": "SUCCEEDED",
        "types": "SUCCEEDED",
    }
    # A default counts as given: hence "yes" below. 1 + 2, then twice + 2 + 10 in the pipeline.
    assert outputs(job, "sum")["Output"] == 27
    text = 'it\'s "quoted"'
    assert outputs(job, "shell") == {"result": f"{text}/n=/yes", "count": 3}
    got = [f"{text}/n=/yes", 3, 0.5, True, [1, "a"], {"k": {"l": 2}}, "none"]
    assert outputs(job, "types") == {"Output": {"got": got}}


def test_a_group_with_functions_components_and_a_loop(client: Client) -> None:
    @task
    def make(value: Any = 4) -> Any:
        return value

    @task
    def gather(one: Any, two: Any, three: Any) -> Any:
        return [one, two, three]

    with DAG("d", schedule=None, params={"n": 3}):
        with VertexTaskGroup(
            "g", location="europe-west4", pipeline_root="gs://bucket/root", image="python:3.11"
        ) as group:
            added = VertexComponentOperator(
                task_id="added", component=samples.add, arguments={"a": make(), "b": "{{ params.n }}"}
            )
            printed = VertexComponentOperator(
                task_id="printed",
                component=samples.shell,
                arguments={"x": make.override(task_id="text")("é")},
            )

            @task_group
            def each(word: Any) -> Any:
                return VertexComponentOperator(
                    task_id="word", component=samples.shell, arguments={"x": word}
                ).output

            words: Any = each.expand(word=["a", "b"])
            gather(added.output, printed.output, words["result"])
    spec = compile_group(group, project_id="acme")
    items = [
        {"index": str(n), "arg_word": f'"{word}"', "arg_word__text": word} for n, word in enumerate("ab")
    ]
    job = client.run(spec, parameters={"added_arguments_b": 3, "g_each_items": items})
    assert states(job)["gather"] == "SUCCEEDED"
    assert outputs(job, "added") == {"Output": 7}
    found = json.loads(outputs(job, "gather")["Output"])
    assert found == [7, {"count": 3, "result": "é/n=/yes"}, ["a/n=/yes", "b/n=/yes"]]
