"""Containers of the author's with placeholders and outputs, compiled and run."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk import DAG, task, task_group

from airflow_vertex_provider import (
    Joined,
    OutputFile,
    VertexComponentOperator,
    VertexContainerOperator,
    VertexTaskGroup,
    compile_group,
)
from airflow_vertex_provider.runtime import protocol
from tests.emulator.pipelines import Client, outputs, states, tasks
from tests.unit import component_samples as samples

pytestmark = pytest.mark.slow

MACHINE = {"vertex": {"custom_job": {"machine_type": "n1-standard-4"}}}
#: Writes its arguments as JSON to the file named first.
ARGUMENTS = """
import json, os, sys
os.makedirs(os.path.dirname(sys.argv[1]), exist_ok=True)
with open(sys.argv[1], "w") as file:
    json.dump(sys.argv[2:], file)
"""
#: Writes one file for each variable OUT_<name>, with the text of the variable <name>.
VARIABLES = """
import os
for name, path in os.environ.items():
    if name.startswith("OUT_"):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(os.environ[name[4:]])
"""
AWKWARD = 'it\'s "two"\n{braces} \\ $(HOME) ü'


@task
def give(value: Any) -> Any:
    return value


@task
def gather(*values: Any) -> Any:
    return list(values)


@task.branch
def choose() -> str:
    return "g.yes"


def compiled(fill: Any, **options: Any) -> dict[str, Any]:
    with DAG("d", schedule=None, **options):
        with VertexTaskGroup(
            "g", location="europe-west4", pipeline_root="gs://bucket/root", image="python:3.11"
        ) as group:
            fill()
    return compile_group(group, project_id="acme")


def echo(task_id: str, *arguments: Any, **options: Any) -> VertexContainerOperator:
    """Return a container whose value is the list of its arguments."""
    return VertexContainerOperator(
        task_id=task_id,
        command=["python3", "-c", ARGUMENTS],
        arguments=[OutputFile("Output"), *arguments],
        outputs={"Output": list},
        **options,
    )


@pytest.mark.parametrize("config", [{}, MACHINE], ids=["plain", "custom job"])
def test_arguments_arrive_one_by_one_and_unchanged(client: Client, config: dict[str, Any]) -> None:
    def fill() -> None:
        text = give.override(task_id="text")(AWKWARD)
        rows = give.override(task_id="rows")([1, {"a": None}])
        first = echo(
            "first", Joined("--text=", text), rows, Joined("a", 1, "b", rows), executor_config=config
        )
        second = echo("second", Joined("{{ params.n }}", ":", first.output), executor_config=config)
        gather(first.output, second.output)

    spec = compiled(fill, params={"n": 3})
    (parameter,) = spec["root"]["inputDefinitions"]["parameters"]
    job = client.run(spec, parameters={parameter: "3"})
    expected = [f"--text={AWKWARD}", '[1,{"a":null}]', 'a1b[1,{"a":null}]']
    found = protocol.decode(outputs(job, "gather")["Output"])
    assert found[0] == expected
    assert found[1][0][:2] == "3:"
    assert json.loads(found[1][0][2:]) == expected


@pytest.mark.parametrize("config", [{}, MACHINE], ids=["plain", "custom job"])
def test_outputs_of_every_type(client: Client, config: dict[str, Any]) -> None:
    texts = {"s": AWKWARD, "i": "3", "f": "0.5", "b": "true", "l": '[1, "a"]', "d": '{"k": {"l": 2}}'}
    types: Any = {"s": str, "i": int, "f": float, "b": bool, "l": list, "d": dict}
    values = {"s": AWKWARD, "i": 3, "f": 0.5, "b": True, "l": [1, "a"], "d": {"k": {"l": 2}}}

    def fill() -> None:
        made: Any = VertexContainerOperator(
            task_id="made",
            command=["python3", "-c", VARIABLES],
            env={**{f"OUT_{name}": OutputFile(name) for name in types}, **texts},
            outputs=types,
            executor_config=config,
        )
        gather(made.output, *(made.output[name] for name in types))
        VertexComponentOperator(
            task_id="added", component=samples.add, arguments={"a": made.output["i"], "b": 4}
        )
        echo("said", made.output["i"], Joined("x=", made.output["s"]))

    job = client.run(compiled(fill))
    assert protocol.decode(outputs(job, "gather")["Output"]) == [values, *values.values()]
    assert outputs(job, "added")["Output"] == 7
    assert outputs(job, "said")["Output"] == ["3", f"x={AWKWARD}"]


def test_outputs_in_a_loop_below_a_branch_and_mapped_over(client: Client) -> None:
    def fill() -> None:
        yes, no = echo("yes", "1", "2"), echo("no", "3")
        choose() >> [yes, no]
        give.override(task_id="after-no")(no.output)
        give.override(task_id="after-yes")(yes.output)

        @task_group
        def each(word: Any) -> Any:
            return echo("word", Joined("<", word, ">")).output

        words: Any = each.expand(word=["a", "b"])
        gather.override(task_id="words")(words)
        twice = give.override(task_id="item").expand(value=echo("items", "x", "y").output)
        gather.override(task_id="items-again")(twice)

    spec = compiled(fill)
    (name,) = spec["root"]["inputDefinitions"]["parameters"]
    items = [
        {"index": str(n), "arg_word": f'"{word}"', "arg_word__text": word} for n, word in enumerate("ab")
    ]
    job = client.run(spec, parameters={name: items})
    found = states(job)
    assert job["state"] == "PIPELINE_STATE_SUCCEEDED", found
    assert {name: found[name] for name in ("yes", "no")} == {"yes": "SUCCEEDED", "no": "NOT_TRIGGERED"}
    assert protocol.decode(outputs(job, "after-yes")["Output"]) == ["1", "2"]
    assert outputs(job, "after-no")["Output"] == protocol.SKIPPED
    assert protocol.decode(outputs(job, "words")["Output"]) == [[["<a>"], ["<b>"]]]
    assert protocol.decode(outputs(job, "items-again")["Output"]) == [["x", "y"]]


def test_an_output_that_is_missing_or_of_another_type_fails_its_task_by_name(client: Client) -> None:
    wrong: dict[str, tuple[Any, str]] = {
        "int": (int, "abc"),
        "share": (int, "3.7"),
        "float": (float, "NaN"),
        "bool": (bool, "yes"),
        "list": (list, '{"a":1}'),
        "dict": (dict, "[1]"),
    }

    def fill() -> None:
        for name, (kind, text) in wrong.items():
            VertexContainerOperator(
                task_id=name,
                command=["python3", "-c", VARIABLES],
                env={"OUT_o": OutputFile("o"), "o": text},
                outputs={"o": kind},
            )
        missing: Any = VertexContainerOperator(
            task_id="missing", command=["true", OutputFile("o")], outputs={"o": int}
        )
        give.override(task_id="after")(missing.output["o"])

    job = client.run(compiled(fill))
    assert states(job) == {**dict.fromkeys([*wrong, "missing"], "FAILED"), "after": "NOT_TRIGGERED"}
    errors = {name: entry.get("error", {}).get("message", "") for name, entry in tasks(job).items()}
    for name, (_, text) in wrong.items():
        assert f"Task '{name}': output parameter 'o'" in errors[name]
        assert text in errors[name]
    assert errors["missing"] == "Task 'missing' did not write its output parameter(s) o."
