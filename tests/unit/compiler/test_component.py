"""A component in a spec: the same as kfp makes of it, whatever else has its names."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

import pytest
from kfp import components
from kfp.dsl import pipeline_context

from airflow_vertex_provider.compiler.component import (
    constant_of,
    embed_component,
    problems_of,
)
from airflow_vertex_provider.graph.model import (
    FromConstant,
    FromItem,
    FromOutput,
    FromParameter,
    Source,
    Task,
)
from airflow_vertex_provider.settings import Resources
from tests.unit import component_samples as samples
from tests.unit.compiler.component_specs import Json, assembled, component_task, settings


def of_kfp(pipeline: Any) -> Json:
    found: Json = samples.specification(pipeline)
    return found


def loaded(spec: Json) -> Json:
    """Return the spec as kfp has it when it has loaded our text."""
    component = components.load_component_from_text(json.dumps(spec))
    return samples.specification(component)  # type: ignore[no-any-return]


class TestAsKfpDoesIt:
    @pytest.mark.parametrize(
        ("component", "inputs"),
        [
            (samples.add, {"a": FromConstant("3")}),
            (samples.installing, {"a": FromConstant("3")}),
            (samples.shell, {"x": FromConstant("it's"), "note": FromConstant("n")}),
            (
                samples.every_type,
                {
                    "text": FromConstant("t"),
                    "number": FromConstant("1"),
                    "share": FromConstant("0.5"),
                    "flag": FromConstant("true"),
                    "items": FromConstant('[1, "a"]'),
                    "table": FromConstant('{"k": [0.5, true]}'),
                },
            ),
            (samples.inner, {"n": FromConstant("3")}),
            (samples.outer_one, {"n": FromConstant("3")}),
            (samples.namesake, {"n": FromConstant("3")}),
            (samples.write, {"text": FromConstant("t")}),
            (samples.silent, {}),
        ],
    )
    def test_one_component(self, component: Any, inputs: Mapping[str, Source]) -> None:
        task = component_task(component.name, component, inputs)
        arguments = {name: constant_of(task, name) for name in inputs}
        if component is samples.namesake:
            # kfp's own names for the two things called "add" are the other way round.
            assert set(loaded(assembled(task))["components"]) == {"comp-add", "comp-add-2"}
            return
        assert loaded(assembled(task)) == of_kfp(pipeline_of((component, arguments)))

    def test_components_that_pass_values_and_artifacts(self) -> None:
        tasks = [
            component_task("write", samples.write, {"text": FromParameter("word")}),
            component_task("read", samples.read, {"data": FromOutput("g.write", "data")}),
            component_task("shell", samples.shell, {"x": FromOutput("g.read", "Output")}),
        ]
        spec = loaded(assembled(*tasks, parameters={"word": "STRING"}))
        assert spec == of_kfp(samples.passing)

    def test_one_pipeline_twice(self) -> None:
        tasks = [
            component_task("inner", samples.inner, {"n": FromConstant("1")}),
            component_task("inner-2", samples.inner, {"n": FromOutput("g.inner", "Output")}),
        ]
        ours, theirs = loaded(assembled(*tasks)), of_kfp(samples.twice)
        assert sorted(ours["deploymentSpec"]["executors"]) == sorted(theirs["deploymentSpec"]["executors"])
        assert shape(ours) == shape(theirs)

    def test_names_that_meet(self) -> None:
        names = ["add", "add-2", "inner", "condition-1"]
        tasks = [component_task(name, samples.inner, {"n": FromConstant("1")}) for name in names]
        spec = loaded(assembled(*tasks))
        for name in names:
            assert shape_of(spec, spec["components"][f"comp-{name}"]) == shape(of_kfp(samples.inner))
        # Every sub-component is there once for each use of the pipeline.
        assert len(spec["components"]) == len(names) * (1 + len(of_kfp(samples.inner)["components"]))


def pipeline_of(*calls: tuple[Any, Mapping[str, Any]]) -> Any:
    from kfp import dsl

    def dag_g():  # type: ignore[no-untyped-def]
        for component, arguments in calls:
            component(**arguments)

    return dsl.pipeline(name="dag-g")(dag_g)


def shape(spec: Json) -> Any:
    """Return a spec's tasks as a tree, with what each one runs in the place of its names."""
    return shape_of(spec, spec["root"])


def shape_of(spec: Json, component: Json) -> Any:
    if "executorLabel" in component:
        rest = {name: value for name, value in component.items() if name != "executorLabel"}
        return rest, spec["deploymentSpec"]["executors"][component["executorLabel"]]
    tree = copy.deepcopy(component)
    for task in tree["dag"]["tasks"].values():
        task["componentRef"] = shape_of(spec, spec["components"][task["componentRef"]["name"]])
    return tree


class TestGoogle:
    def test_components_of_google(self) -> None:
        from google_cloud_pipeline_components.v1.bigquery import BigqueryQueryJobOp
        from google_cloud_pipeline_components.v1.custom_job import CustomTrainingJobOp

        pools = [{"machine_spec": {"machine_type": "n1-standard-4"}, "replica_count": 1}]
        arguments = {"display_name": "d", "worker_pool_specs": pools}
        tasks = [
            component_task(
                "custom-training-job",
                CustomTrainingJobOp,
                {"display_name": FromConstant("d"), "worker_pool_specs": FromConstant(json.dumps(pools))},
            ),
            component_task("bigquery-query-job", BigqueryQueryJobOp, {"query": FromConstant("SELECT 1")}),
        ]
        theirs = pipeline_of((CustomTrainingJobOp, arguments), (BigqueryQueryJobOp, {"query": "SELECT 1"}))
        assert loaded(assembled(*tasks)) == of_kfp(theirs)


class TestSettings:
    def container(self, component: Any, **options: Any) -> Json:
        task = component_task("c", component)
        (item,) = embed_component(task, settings(**options), ()).executors.values()
        found: Json = item["container"]
        return found

    def test_resources_and_variables(self) -> None:
        resources = Resources(cpu_limit="4", memory_limit="16G")
        plain = self.container(samples.silent)
        found = self.container(samples.silent, resources=resources, env={"B": "2", "A": "1"})
        assert found == {
            **plain,
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            "resources": {
                "cpuLimit": 4.0,
                "memoryLimit": 16.0,
                "resourceCpuLimit": "4",
                "resourceMemoryLimit": "16G",
            },
        }
        assert "env" not in plain
        assert "resources" not in plain

    def test_a_pipeline_keeps_its_own(self) -> None:
        task = component_task("c", samples.inner)
        found = embed_component(task, settings(env={"A": "1"}, resources=Resources(cpu_limit="4")), ())
        assert found.executors == embed_component(task, settings(), ()).executors
        assert list(problems_of(task, settings(env={f"V{n}": "1" for n in range(200)}))) == []

    def test_the_component_itself_stays_as_it_is(self) -> None:
        task = component_task("c", samples.inner)
        before = json.dumps(task.payload)
        made = embed_component(task, settings(), {"comp-add", "exec-add"})
        made.component["dag"]["tasks"].clear()
        assert json.dumps(task.payload) == before

    def test_too_many_variables(self) -> None:
        task = component_task("c", samples.silent)
        (problem,) = problems_of(task, settings(env={f"V{n}": "1" for n in range(101)}))
        assert problem.found == "101 variables"
        assert list(problems_of(task, settings(env={"A": "1"}))) == []

    def test_constants_that_no_argument_can_hold(self) -> None:
        for component, name in ((samples.shell, "x"), (samples.every_type, "text")):
            for size, count in ((120_000, 0), (140_000, 1)):
                task = component_task("c", component, {name: FromConstant("x" * size)})
                found = list(problems_of(task, settings()))
                assert len(found) == count
        assert found[0].field == "arguments"
        assert "bytes of one argument" in found[0].found


def test_an_input_that_only_the_loop_needs_is_declared() -> None:
    for component in (samples.add, samples.inner, samples.silent):
        task = component_task("c", component)
        task = Task(**{**vars(task), "inputs": {"item_index": FromItem("index")}})
        made = embed_component(task, settings(), ())
        declared = made.component["inputDefinitions"]["parameters"]
        assert declared["item_index"] == {"parameterType": "STRING"}


def test_only_a_constant_is_one() -> None:
    task = component_task("c", samples.add, {"a": FromParameter("p")})
    with pytest.raises(TypeError, match=r"inputs\.a"):
        constant_of(task, "a")


def test_no_pipeline_is_left_open() -> None:
    assert pipeline_context.Pipeline.get_default_pipeline() is None
