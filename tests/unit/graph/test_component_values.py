"""A component in a group, read: what its arguments become, and which are refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, task

from airflow_vertex_provider import VertexComponentOperator
from airflow_vertex_provider.exceptions import Problem, VertexValueError
from airflow_vertex_provider.graph.component_values import (
    component_of,
    literal_problem,
    node_of,
    part_of,
    read_native,
)
from airflow_vertex_provider.graph.converters import component as converter
from airflow_vertex_provider.graph.converters.base import Conversion
from airflow_vertex_provider.graph.model import (
    Encoding,
    FromConstant,
    FromOutput,
    FromParameter,
    Parameter,
    Source,
    TaskKind,
)
from airflow_vertex_provider.graph.values import ParameterTable, Values
from tests.unit import component_samples as samples

EVERY = {"text": "t", "number": 1, "share": 0.5, "flag": True, "items": [1, "a"], "table": {"k": [True]}}


@task
def make(value: Any = 1) -> Any:
    return value


@task(multiple_outputs=True)
def several() -> dict[str, Any]:
    return {"x": 1}


class Read:
    """One component operator, converted.

    :param outer: ids of tasks that stand outside the group.
    """

    def __init__(self, operator: Any, *outer: str) -> None:
        members = {item.task_id: item for item in operator.dag.tasks if item.task_id not in outer}
        silent = {name for name, item in members.items() if isinstance(item, EmptyOperator)}
        self.table = ParameterTable()
        self.values = Values(operator, members, silent, self.table)
        self.conversion: Conversion = converter.convert(operator, self.values)

    @property
    def inputs(self) -> Mapping[str, Source]:
        assert self.values.problems == []
        return self.values.inputs

    @property
    def problem(self) -> Problem:
        (problem,) = self.values.problems
        return problem


@pytest.fixture
def dag() -> Any:
    with DAG("d") as made:
        yield made


def component(kind: Any = samples.add, arguments: Any = None, task_id: str = "c", **options: Any) -> Any:
    return VertexComponentOperator(task_id=task_id, component=kind, arguments=arguments, **options)


def one(name: str, value: Any) -> Any:
    """Return a component whose argument ``name`` is ``value``, the others being literals."""
    return component(samples.every_type, {**EVERY, name: value})


class TestLiterals:
    def test_every_type(self, dag: DAG) -> None:
        read = Read(component(samples.every_type, EVERY))
        assert read.inputs == {
            "text": FromConstant("t"),
            "number": FromConstant("1"),
            "share": FromConstant("0.5"),
            "flag": FromConstant("true"),
            "items": FromConstant('[1, "a"]'),
            "table": FromConstant('{"k": [true]}'),
        }
        assert read.conversion.kind is TaskKind.COMPONENT
        assert read.conversion.input_types == {
            "number": "NUMBER_INTEGER",
            "share": "NUMBER_DOUBLE",
            "flag": "BOOLEAN",
            "items": "LIST",
            "table": "STRUCT",
        }
        assert read.conversion.output_types == {"Output": "STRUCT"}
        assert read.conversion.payload["name"] == "every-type"

    def test_a_whole_number_for_a_double(self, dag: DAG) -> None:
        assert Read(one("share", 2)).inputs["share"] == FromConstant("2")

    def test_what_the_service_fills_in(self, dag: DAG) -> None:
        text = "{{$.pipeline_root}}/tmp/{{$.pipeline_job_name}}"
        read = Read(component(samples.every_type, {**EVERY, "text": text, "items": [text]}))
        assert read.inputs["text"] == FromConstant(text)
        assert read.inputs["items"] == FromConstant(f'["{text}"]')

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("text", 5),
            ("text", None),
            ("text", b"x"),
            ("text", "\0"),
            ("text", "\ud800"),
            ("number", "5"),
            ("number", 5.0),
            ("number", True),
            ("number", 2**53 + 1),
            ("share", float("nan")),
            ("share", "0.5"),
            ("share", False),
            ("flag", 1),
            ("flag", "true"),
            ("items", (1, 2)),
            ("items", {}),
            ("items", [object()]),
            ("items", [{"a": {1}}]),
            ("items", [2**60]),
            ("table", [1]),
            ("table", {1: 2}),
            ("table", {"a": [None]}),
            ("table", {"a": float("inf")}),
            ("table", {"a": "\ud800"}),
        ],
    )
    def test_wrong_types(self, dag: DAG, name: str, value: Any) -> None:
        problem = Read(one(name, value)).problem
        kind = component_of(dag.get_task("c")).inputs[name].type  # type: ignore[union-attr]
        assert (problem.where, problem.field) == ("c", f"arguments[{name!r}]")
        assert problem.allowed.endswith(f"the input is {kind}")

    def test_unknown_and_missing_names(self, dag: DAG) -> None:
        problems = Read(component(arguments={"c": 1, "b": 2})).values.problems
        assert [problem.found for problem in problems] == ["'c'", "no 'a'"]
        assert "a (NUMBER_INTEGER), b (NUMBER_INTEGER)" in problems[0].allowed
        assert "NUMBER_INTEGER" in problems[1].allowed

    def test_none_is_not_the_same_as_leaving_out(self, dag: DAG) -> None:
        assert "int" in Read(component(arguments={"a": 1, "b": None})).problem.allowed
        assert list(Read(component(arguments={"a": 1}, task_id="d")).inputs) == ["a"]

    @pytest.mark.parametrize("arguments", [[1], "{{ params.all }}", 5])
    def test_arguments_that_are_no_dict(self, dag: DAG, arguments: Any) -> None:
        problem = Read(component(samples.silent, arguments)).problem
        assert problem.field == "arguments"

    def test_arguments_that_are_an_output(self, dag: DAG) -> None:
        assert Read(component(samples.silent, make())).problem.found == "a value that only a run knows"

    def test_a_component_that_cannot_be_read(self, dag: DAG) -> None:
        operator = component("nowhere.yaml")
        assert Read(operator).problem.field == "component"
        assert component_of(operator) is None


class TestRunTime:
    def test_a_template(self, dag: DAG) -> None:
        read = Read(component(samples.every_type, {**EVERY, "text": "{{ ds }}", "number": "{{ params.n }}"}))
        assert read.inputs["text"] == FromParameter("ds")
        assert read.inputs["number"] == FromParameter("c_arguments_number")
        assert read.table.parameters == [
            Parameter("ds", Encoding.TEXT, "template"),
            Parameter("c_arguments_number", Encoding.NATIVE, "template", "NUMBER_INTEGER"),
        ]
        assert read.table.values == {"ds": "{{ ds }}", "c_arguments_number": "{{ params.n }}"}

    def test_one_template_for_two_inputs(self, dag: DAG) -> None:
        same = {"number": "{{ params.n }}", "share": "{{ params.n }}", "text": "{{ params.n }}"}
        read = Read(component(samples.every_type, {**EVERY, **same, "note": "{{ params.n }}"}))
        types = [parameter.type for parameter in read.table.parameters]
        assert sorted(types) == ["NUMBER_DOUBLE", "NUMBER_INTEGER", "STRING"]
        assert read.inputs["text"] == read.inputs["note"]

    def test_templates_inside(self, dag: DAG) -> None:
        outside = make.override(task_id="outside")()
        pools = [{"container_spec": {"args": ["--day", "{{ ds }}", outside]}}]
        read = Read(component(samples.every_type, {**EVERY, "items": pools}), "outside")
        assert read.inputs["items"] == FromParameter("c_arguments_items")
        assert read.table.values == {"c_arguments_items": pools}
        assert dag.get_task("c").upstream_task_ids == {"outside"}

    def test_an_outer_task(self, dag: DAG) -> None:
        outside = make.override(task_id="outside")()
        read = Read(component(samples.every_type, {**EVERY, "text": outside, "table": outside}), "outside")
        assert read.inputs["text"] == FromParameter("outside")
        assert read.inputs["table"] == FromParameter("outside_2")
        assert [(p.encoding, p.type) for p in read.table.parameters] == [
            (Encoding.TEXT, "STRING"),
            (Encoding.NATIVE, "STRUCT"),
        ]

    @pytest.mark.parametrize(
        ("value", "allowed"),
        [
            ("{{ ti.xcom_pull('make') }}", "passed as an argument"),
            ("{{ nope", "Jinja"),
            (["{{ task.task_id }}"], "submit_pipeline"),
            ({"{{ ds }}": 1}, "plain text"),
            (["{{ ds }}", object()], "JSON"),
            ("{{$.inputs.parameters['x']}}", "Jinja"),
        ],
    )
    def test_templates_that_are_refused(self, dag: DAG, value: Any, allowed: str) -> None:
        make()
        name = "table" if isinstance(value, dict) else "items"
        assert allowed in Read(one(name, value)).problem.allowed

    def test_a_member_inside_a_list(self, dag: DAG) -> None:
        problem = Read(one("items", [make(), "{{ ds }}"])).problem
        assert "make" in problem.found
        assert "a task of its own" in problem.allowed

    def test_a_changed_output_of_a_member(self, dag: DAG) -> None:
        assert "a task of its own" in Read(one("items", make().map(str))).problem.allowed


class TestMembers:
    def test_a_function(self, dag: DAG) -> None:
        made = make()
        read = Read(
            component(
                samples.every_type, {**EVERY, "text": made, "number": made, "items": made, "flag": made}
            )
        )
        assert read.inputs["text"] == FromOutput("make", "Text")
        assert read.inputs["number"] == FromOutput("make", "Value_NUMBER_INTEGER")
        assert read.inputs["items"] == FromOutput("make", "Value_LIST")
        assert read.inputs["flag"] == FromOutput("make", "Value_BOOLEAN")
        assert read.table.parameters == []

    def test_bash(self, dag: DAG) -> None:
        line = BashOperator(task_id="line", bash_command="echo x")
        assert Read(one("text", line.output)).inputs["text"] == FromOutput("line", "Text")

    def test_another_component(self, dag: DAG) -> None:
        first = component(arguments={"a": 1}, task_id="first")
        read = Read(component(arguments={"a": first.output, "b": first.output["Output"]}))
        assert read.inputs == {"a": FromOutput("first", "Output"), "b": FromOutput("first", "Output")}

    def test_artifacts(self, dag: DAG) -> None:
        written = component(samples.write, {"text": "x"}, "written")
        read = Read(component(samples.read, {"data": written.output["data"]}))
        assert read.inputs == {"data": FromOutput("written", "data")}
        assert read.conversion.input_types == {"data": "ARTIFACT system.Dataset@0.0.1"}
        assert Read(dag.get_task("written")).conversion.output_types == {
            "data": "ARTIFACT system.Dataset@0.0.1"
        }

    @pytest.mark.parametrize(
        ("build", "allowed"),
        [
            (lambda: (samples.read, {"data": "gs://bucket/data"}), "an artifact system.Dataset"),
            (lambda: (samples.read, {"data": "{{ ds }}"}), "an artifact system.Dataset"),
            (lambda: (samples.read, {"data": make()}), "an artifact system.Dataset"),
            (lambda: (samples.read, {}), "an output of another component"),
            (
                lambda: (
                    samples.judge,
                    {"model": component(samples.write, {"text": "x"}, "w").output["data"]},
                ),
                "an artifact system.Model@0.0.1, as the input is",
            ),
            (
                lambda: (samples.add, {"a": component(samples.write, {"text": "x"}, "w").output["data"]}),
                "NUMBER_INTEGER, as the input is",
            ),
            (
                lambda: (samples.add, {"a": component(samples.shell, {"x": "x"}, "s").output["result"]}),
                "NUMBER_INTEGER, as the input is",
            ),
            (
                lambda: (samples.add, {"a": component(samples.shell, {"x": "x"}, "s").output["none"]}),
                'output["count"], output["result"]',
            ),
            (
                lambda: (samples.add, {"a": component(samples.shell, {"x": "x"}, "s").output}),
                'output["count"], output["result"]',
            ),
            (lambda: (samples.add, {"a": component(samples.silent, {}, "s").output}), "no outputs"),
            (lambda: (samples.add, {"a": cast("Any", several())["x"]}), "whole return value"),
            (lambda: (samples.add, {"a": EmptyOperator(task_id="e").output}), "leaves a value"),
            (lambda: (samples.add, {"a": make.expand(value=[1, 2])}), "join them"),
        ],
    )
    def test_what_does_not_fit(self, dag: DAG, build: Callable[[], Any], allowed: str) -> None:
        kind, arguments = build()
        problem = Read(component(kind, arguments)).problem
        assert allowed in problem.allowed

    def test_several_outputs_have_xcoms_of_their_own(self, dag: DAG) -> None:
        operators = {
            name: component(kind, arguments, name)
            for name, kind, arguments in [
                ("one", samples.add, {"a": 1}),
                ("two", samples.shell, {"x": "x"}),
                ("named", samples.write, {"text": "x"}),
                ("none", samples.silent, {}),
            ]
        }
        for operator in operators.values():
            assert Read(operator).values.problems == []
        assert {name: operator.multiple_outputs for name, operator in operators.items()} == {
            "one": False,
            "two": True,
            "named": True,
            "none": False,
        }


class TestTakers:
    """What a function or a container gets of a component."""

    def take(self, kind: Any, arguments: Any, key: str | None) -> tuple[Values, Any, Any]:
        producer = component(kind, arguments, "p")
        value = producer.output if key is None else producer.output[key]
        taker = cast("Any", make(value)).operator
        values = Values(taker, {"p": producer, "make": taker}, set(), ParameterTable())
        found = component_of(producer)
        assert found is not None
        return values, node_of(values, "value", found, value), part_of(values, "value", found, value)

    @pytest.mark.parametrize("key", [None, "Output"])
    def test_the_only_output(self, dag: DAG, key: str | None) -> None:
        values, (node, types), (part, also) = self.take(samples.add, {"a": 1}, key)
        assert values.problems == []
        assert values.inputs == {"value_Output": FromOutput("p", "Output")}
        assert node == {"$in": "value_Output", "raw": True}
        assert part == [{"$in": "value_Output"}]
        assert types == also == {"value_Output": "NUMBER_INTEGER"}

    def test_one_of_several(self, dag: DAG) -> None:
        _, (node, types), (part, _) = self.take(samples.shell, {"x": "x"}, "count")
        assert node == {"$in": "value_count", "raw": True}
        assert part == [{"$in": "value_count"}]
        assert types == {"value_count": "NUMBER_INTEGER"}

    def test_all_of_several(self, dag: DAG) -> None:
        values, (node, types), (part, _) = self.take(samples.shell, {"x": "x"}, None)
        assert node == {
            "count": {"$in": "value_count", "raw": True},
            "result": {"$in": "value_result", "raw": True},
        }
        assert types == {"value_count": "NUMBER_INTEGER", "value_result": "STRING"}
        assert part == []
        assert "count" in values.problems[0].allowed

    @pytest.mark.parametrize(
        ("kind", "arguments", "key"),
        [
            (samples.shell, {"x": "x"}, "none"),
            (samples.silent, {}, None),
        ],
    )
    def test_what_cannot_be_taken(self, dag: DAG, kind: Any, arguments: Any, key: str | None) -> None:
        values, (node, _), (part, _) = self.take(kind, arguments, key)
        assert (node, part, values.inputs) == (None, [], {})
        assert len(values.problems) == 2
        assert values.problems[0].allowed.startswith("one of its outputs: ")

    @pytest.mark.parametrize("key", [None, "data"])
    def test_an_artifact_goes_to_functions_and_its_address_to_containers(
        self, dag: DAG, key: str | None
    ) -> None:
        values, (node, types), (part, _) = self.take(samples.write, {"text": "x"}, key)
        artifact = {"$artifact": {"$in": "value_data"}}
        assert node == ({"data": artifact} if key is None else artifact)
        assert types == {"value_data": "ARTIFACT system.Dataset@0.0.1"}
        assert part == ([] if key is None else [{"$uri": "value_data"}])
        assert [problem.allowed for problem in values.problems] == (
            ['one of its outputs: output["data"]'] if key is None else []
        )


class TestSettings:
    @pytest.mark.parametrize("name", ["custom_job", "image", "packages"])
    def test_what_a_component_has_of_its_own(self, dag: DAG, name: str) -> None:
        operator = component(arguments={"a": 1}, executor_config={"vertex": {name: ["x"]}})
        problem = Read(operator).problem
        assert name in problem.field
        assert problem.allowed.startswith("none")

    def test_a_container_takes_resources_and_variables(self, dag: DAG) -> None:
        settings = {"resources": {"cpu_limit": "4"}, "env": {"A": "1"}, "enable_caching": True}
        assert Read(component(arguments={"a": 1}, executor_config={"vertex": settings})).inputs

    def test_a_pipeline_does_not(self, dag: DAG) -> None:
        settings = {"resources": {"cpu_limit": "4"}, "env": {"A": "1"}, "enable_caching": True}
        operator = component(samples.inner, {"n": 1}, executor_config={"vertex": settings}, retries=2)
        fields = [problem.field for problem in Read(operator).values.problems]
        assert fields == [
            "executor_config[\"vertex\"]['resources']",
            "executor_config[\"vertex\"]['env']",
            "retries",
        ]


class TestRendered:
    @pytest.mark.parametrize(
        ("kind", "rendered", "value"),
        [
            ("STRING", "5", "5"),
            ("NUMBER_INTEGER", " 5 ", 5),
            ("NUMBER_INTEGER", 5, 5),
            ("NUMBER_DOUBLE", "5", 5),
            ("NUMBER_DOUBLE", "1e-3", 0.001),
            ("BOOLEAN", "True", True),
            ("BOOLEAN", "False", False),
            ("BOOLEAN", "false", False),
            ("LIST", '["a"]', ["a"]),
            ("LIST", ["a"], ["a"]),
            ("LIST", range(2), [0, 1]),
            ("STRUCT", '{"a": null}', {"a": None}),
        ],
    )
    def test_it_takes_the_inputs_type(self, kind: str, rendered: Any, value: Any) -> None:
        read = read_native(kind, rendered)
        assert read == value
        assert type(read) is type(value)

    @pytest.mark.parametrize(
        ("kind", "rendered", "words"),
        [
            ("STRING", 5, "a str"),
            ("STRING", None, "found None"),
            ("NUMBER_INTEGER", "five", "JSON"),
            ("NUMBER_INTEGER", "5.0", "an int"),
            ("NUMBER_INTEGER", "True", "JSON"),
            ("NUMBER_INTEGER", "true", "an int"),
            ("NUMBER_INTEGER", None, "found None"),
            ("NUMBER_DOUBLE", "NaN", "finite"),
            ("BOOLEAN", "yes", "JSON"),
            ("BOOLEAN", 1, "True or False"),
            ("LIST", "['a']", "tojson"),
            ("LIST", (1, 2), "a list"),
            ("STRUCT", "[1]", "a dict"),
        ],
    )
    def test_what_is_not_of_that_type(self, kind: str, rendered: Any, words: str) -> None:
        with pytest.raises(VertexValueError, match=words):
            read_native(kind, rendered)

    def test_an_error_is_short(self) -> None:
        with pytest.raises(VertexValueError) as caught:
            read_native("NUMBER_INTEGER", "x" * 10_000)
        assert len(str(caught.value)) < 400


def test_numbers_up_to_what_a_double_holds() -> None:
    assert literal_problem("NUMBER_INTEGER", -(2**53)) == ""
    assert literal_problem("NUMBER_INTEGER", -(2**53) - 1) != ""
