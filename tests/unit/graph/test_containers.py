"""VertexContainerOperator: placeholders and outputs in; what the pipeline gets, or a refusal by name, out."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, task

from airflow_vertex_provider import (
    Joined,
    OutputFile,
    VertexComponentOperator,
    VertexContainerOperator,
    VertexTaskGroup,
    compile_group,
)
from airflow_vertex_provider.exceptions import VertexGroupError
from tests.unit import component_samples as samples


@task
def give(value: Any = None) -> Any:
    return value


@task
def outer() -> str:
    return "x"


def compiled(fill: Callable[[], object]) -> dict[str, Any]:
    with DAG("d", schedule=None):
        with VertexTaskGroup(
            "g", location="europe-west4", pipeline_root="gs://bucket/root", image="i"
        ) as group:
            fill()
    return compile_group(group, project_id="acme")


def box(task_id: str = "box", **options: Any) -> Any:
    given: dict[str, Any] = {"command": ["x", OutputFile("score")], "outputs": {"score": float}}
    return VertexContainerOperator(task_id=task_id, **{**given, **options})


def shell(command: Any) -> BashOperator:
    return BashOperator(task_id="b", bash_command=command)


def test_what_the_pipeline_gets() -> None:
    def fill() -> None:
        box(
            arguments=[Joined("--rows=", give(), "/{{ ds }}", 3), Joined("to:", OutputFile("score"))],
            env={"OUT": OutputFile("report"), "ROWS": Joined("n=", give())},
            outputs={"score": float, "report": str},
        )

    spec = compiled(fill)
    assert spec["components"]["comp-box"]["outputDefinitions"] == {
        "parameters": {"report": {"parameterType": "STRING"}, "score": {"parameterType": "NUMBER_DOUBLE"}}
    }
    container = spec["deploymentSpec"]["executors"]["exec-box"]["container"]
    path = "{{$.outputs.parameters['score'].output_file}}"
    assert container["command"] == ["x", path]
    given = r"\{\{\$\.inputs\.parameters\['\w+'\]\}\}"
    assert re.fullmatch(f"--rows=({given}){{2}}3", container["args"][0])
    assert container["args"][1] == f"to:{path}"
    env = {item["name"]: item["value"] for item in container["env"]}
    assert env["OUT"] == "{{$.outputs.parameters['report'].output_file}}"
    assert re.fullmatch(f"n={given}", env["ROWS"])
    # An output in a joined part is an edge, as anywhere else.
    assert spec["root"]["dag"]["tasks"]["box"]["dependentTasks"] == ["give", "give-1"]


def test_a_joined_output_from_outside_is_an_edge_of_the_group() -> None:
    with DAG("d", schedule=None) as dag:
        rows = outer()
        with VertexTaskGroup("g", location="europe-west4", pipeline_root="gs://bucket/root", image="i"):
            box(arguments=[Joined("--rows=", rows)])
    assert dag.get_task("g.submit_pipeline").upstream_task_ids == {"outer"}


def refused(fill: Callable[[], object]) -> list[tuple[str, str, str]]:
    with pytest.raises(VertexGroupError) as caught:
        compiled(fill)
    return [(problem.field, problem.found, problem.allowed) for problem in caught.value.problems]


CASES: list[tuple[str, Callable[[], Any], str, str, str]] = [
    ("no mapping", lambda: box(outputs=["score"]), "outputs", "score", "a dict of output name to type"),
    ("a type", lambda: box(outputs={"score": bytes}), "outputs['score']", "bytes", "str, int, float"),
    ("a type's name", lambda: box(outputs={"score": "float"}), "outputs['score']", "'float'", "float"),
    ("a name", lambda: box(outputs={"score": float, "a-b": str}), "outputs", "a-b", "letters, digits"),
    ("a taken name", lambda: box(outputs={"score": int, "vertex_url": str}), "outputs", "vertex_url", "none"),
    ("no file", lambda: box(command=["x"]), "outputs['score']", "no place", "OutputFile('score')"),
    (
        "undeclared",
        lambda: box(arguments=[OutputFile("scor")]),
        "arguments[0]",
        "OutputFile('scor')",
        "score",
    ),
    (
        "undeclared in a part",
        lambda: box(arguments=[Joined("a", OutputFile("b"))]),
        "arguments[0].parts[1]",
        "OutputFile('b')",
        "score",
    ),
    (
        "a file in an f-string",
        lambda: box(arguments=[f"--out={OutputFile('score')}"]),
        "arguments[0]",
        "OutputFile('score') made part of a text",
        "Joined(",
    ),
    (
        "parts in an f-string",
        lambda: box(env={"A": f"x{Joined('a', 'b')}"}),
        "env['A']",
        "Joined('a', 'b') made part of a text",
        "Joined(",
    ),
    (
        "an output in an f-string",
        lambda: box(arguments=[f"--rows={give()}"]),
        "arguments[0]",
        "xcom_pull",
        "a part of Joined(...)",
    ),
    (
        "a file in an f-string for a function",
        lambda: give(f"to {OutputFile('score')}"),
        "value",
        "OutputFile('score') made part of a text",
        "of a container",
    ),
    (
        "parts in an f-string for a command",
        lambda: BashOperator(task_id="b", bash_command=f"echo {Joined('x', give())}"),
        "bash_command",
        "made part of a text",
        "of a container",
    ),
    (
        "parts in an f-string for a component",
        lambda: VertexComponentOperator(
            task_id="c", component=samples.shell, arguments={"x": f"{Joined('a')}"}
        ),
        "arguments['x']",
        "Joined('a') made part of a text",
        "of a container",
    ),
    (
        "a file as a command",
        lambda: shell(OutputFile("score")),
        "bash_command",
        "OutputFile('score')",
        "values that can travel",
    ),
    (
        "parts as a command",
        lambda: shell(Joined("echo ", "a")),
        "bash_command",
        "Joined('echo ', 'a')",
        "containers alone",
    ),
    ("no command", lambda: shell(None), "bash_command", "None", "a text"),
    ("an empty variable", lambda: box(env={"A": ""}), "env['A']", "''", "not empty"),
    ("a variable of no parts", lambda: box(env={"A": Joined()}), "env['A']", "Joined()", "not empty"),
    (
        "a variable of empty parts",
        lambda: box(env={"A": Joined("", Joined(""))}),
        "env['A']",
        "Joined('', Joined(''))",
        "not empty",
    ),
    ("a NUL", lambda: box(env={"A": Joined("a\0")}), "env['A'].parts[0]", "a\\x00", "NUL"),
    (
        "parts that make a placeholder of the service",
        lambda: box(arguments=[Joined("{", "{$}}")]),
        "arguments[0]",
        "{{$}}",
        "which Vertex AI would replace",
    ),
    (
        "parts that make a structure of KFP",
        lambda: box(arguments=[Joined('{"Con', 'cat": []}')]),
        "arguments[0]",
        '{"Concat": []}',
        "does not begin with",
    ),
    ("parts for a function", lambda: give(Joined("a", give())), "value", "Joined('a', ", "containers"),
    (
        "parts for a component",
        lambda: VertexComponentOperator(
            task_id="c", component=samples.shell, arguments={"x": Joined("a", "b")}
        ),
        "arguments['x']",
        "Joined('a', 'b')",
        "containers",
    ),
    (
        "parts in a list for a component",
        lambda: VertexComponentOperator(
            task_id="c",
            component=samples.every_type,
            arguments={
                "text": "a",
                "number": 1,
                "share": 0.5,
                "flag": True,
                "table": {},
                "items": [Joined("a")],
            },
        ),
        "arguments['items']",
        "Joined('a')",
        "containers",
    ),
    (
        "an unknown output",
        lambda: give(box().output["rows"]),
        "value",
        "XCom 'rows' of container",
        "score",
    ),
    (
        "a container without outputs",
        lambda: give(box(command=["x"], outputs={}).output),
        "value",
        "XCom 'return_value' of container",
        "outputs={name: type}: none",
    ),
    (
        "another type",
        lambda: VertexComponentOperator(
            task_id="c", component=samples.add, arguments={"a": box().output["score"], "b": 1}
        ),
        "arguments['a']",
        "output 'score' of 'g.box': NUMBER_DOUBLE",
        "NUMBER_INTEGER",
    ),
    (
        "an output that may be missing",
        lambda: give.override(trigger_rule="all_done")(box().output["score"]),
        "inputs.",
        "an output of 'g.box', which may be missing",
        "all_success",
    ),
]


@pytest.mark.parametrize(
    ("fill", "field", "found", "allowed"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_what_is_refused(fill: Callable[[], Any], field: str, found: str, allowed: str) -> None:
    ((where, what, way_out),) = refused(fill)
    assert where.startswith(field)
    assert found in what
    assert allowed in way_out
