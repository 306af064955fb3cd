"""Conditions, loops and tasks that run after failures, as kfp compiles them, run on the emulator.

Annotations are not postponed in this file: kfp reads them.
"""
# mypy: disable-error-code="untyped-decorator, no-untyped-def, type-arg, attr-defined"

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.emulator.loops import AT_ONCE
from tests.emulator import kfp_parts as parts
from tests.emulator.kfp_parts import dsl, spec
from tests.emulator.pipelines import (
    Client,
    Json,
    Pipeline,
    constant,
    output,
    outputs,
    parameter,
    say,
    states,
    tasks,
    wait_for,
)

pytestmark = pytest.mark.slow

Start = Callable[..., VertexEmulator]


@pytest.fixture(scope="module")
def emulator() -> Iterator[VertexEmulator]:
    """One emulator for all of this file: none of it minds what else has run."""
    with VertexEmulator(task_entries="at_start") as running:
        yield running


@pytest.fixture(scope="module")
def client(emulator: VertexEmulator) -> Client:
    return Client(emulator.endpoint)


def run(client: Client, function: Callable[..., Any], **options: Any) -> Json:
    return client.run(parts.uncached(spec(function)), **options)


def errors(job: Json) -> dict[str, str]:
    return {name: task["error"]["message"] for name, task in tasks(job).items() if "error" in task}


# Conditions


def branches(word: str) -> None:
    gate = parts.say(text=word)
    with dsl.If(gate.outputs["o"] == "run"):
        first = parts.say(text="one").set_display_name("first")
    with dsl.Elif(gate.outputs["o"] == "walk"):
        second = parts.say(text="two").set_display_name("second")
    with dsl.Else():
        third = parts.say(text="three").set_display_name("third")
    chosen = dsl.OneOf(first.outputs["o"], second.outputs["o"], third.outputs["o"])
    parts.either(a=chosen).set_display_name("after")


@pytest.mark.parametrize(("word", "ran"), [("run", "first"), ("walk", "second"), ("sit", "third")])
def test_one_branch_runs_and_gives_the_value(client: Client, word: str, ran: str) -> None:
    job = run(client, branches, parameters={"word": word})
    assert job["state"] == "PIPELINE_STATE_SUCCEEDED", errors(job)
    found = states(job)
    names = {"first": "condition-2", "second": "condition-3", "third": "condition-4"}
    for name, group in names.items():
        expected = "SUCCEEDED" if name == ran else "NOT_TRIGGERED"
        assert (found[name], found[group]) == (expected, expected)
    assert found["condition-branches-1"] == "SUCCEEDED"
    values = {"first": "one", "second": "two", "third": "three"}
    assert outputs(job, "after") == {"o": f"{values[ran]}/none"}
    assert "execution" not in tasks(job)[names["first" if ran != "first" else "second"]]


def comparisons(word: str, n: int, d: float, b: bool) -> None:
    whole, real, true = parts.number(value=n), parts.fraction(value=d), parts.truth(value=b)
    cases = {
        "whole-equal": whole.outputs["o"] == 3,
        "whole-unequal": whole.outputs["o"] != 3,
        "whole-less": whole.outputs["o"] < 4,
        "whole-at-least": whole.outputs["o"] >= -2,
        "whole-real": whole.outputs["o"] > 2.5,
        "real-less": real.outputs["o"] < 0.75,
        "real-whole": real.outputs["o"] <= 1,
        "real-large": real.outputs["o"] >= 1e300,
        "true": true.outputs["o"] == True,  # noqa: E712 - builds a condition
        "false": true.outputs["o"] == False,  # noqa: E712
        "two-channels": whole.outputs["o"] == n,
        "two-kinds": whole.outputs["o"] == d,
        "text": parts.say(text=word).set_display_name("word").outputs["o"] == 'a "b" é',
    }
    for name, condition in cases.items():
        with dsl.If(condition):
            parts.say(text=name).set_display_name(name)


def test_comparisons_of_every_type(client: Client) -> None:
    job = run(client, comparisons, parameters={"word": 'a "b" é', "n": 3, "d": 0.5, "b": True})
    assert job["state"] == "PIPELINE_STATE_SUCCEEDED", errors(job)
    found = {name: state == "SUCCEEDED" for name, state in states(job).items() if "condition" not in name}
    assert found == {
        "number": True, "fraction": True, "truth": True, "word": True,
        "whole-equal": True, "whole-unequal": False, "whole-less": True, "whole-at-least": True,
        "whole-real": True, "real-less": True, "real-whole": True, "real-large": False, "true": True,
        "false": False, "two-channels": True, "two-kinds": False, "text": True,
    }  # fmt: skip


def artifact_branches(word: str = "a") -> None:
    with dsl.If(word == "a"):
        one = parts.write_data(text="one")
    with dsl.Else():
        two = parts.write_data(text="two")
    parts.read_data(data=dsl.OneOf(one.outputs["data"], two.outputs["data"]))


@pytest.mark.parametrize(("word", "text"), [("a", "one"), ("b", "two")])
def test_one_of_two_artifacts(client: Client, word: str, text: str) -> None:
    job = run(client, artifact_branches, parameters={"word": word})
    assert outputs(job, "read-data") == {"o": text}, errors(job)


def failing_branch(word: str) -> None:
    gate = parts.say(text=word)
    with dsl.If(gate.outputs["o"] == "go"):
        parts.fail()
        parts.say(text="beside")
    parts.say(text="elsewhere").set_display_name("elsewhere")


def test_a_failure_inside_a_condition(client: Client) -> None:
    job = run(client, failing_branch, parameters={"word": "go"})
    assert job["state"] == "PIPELINE_STATE_FAILED"
    assert states(job) == {
        "say": "SUCCEEDED", "condition-1": "FAILED", "fail": "FAILED", "say-2": "SUCCEEDED",
        "elsewhere": "SUCCEEDED",
    }  # fmt: skip
    assert errors(job)["condition-1"].endswith("The failed tasks are: [fail].")


# Tasks that run whatever happened above them


def after_failures(word: str) -> None:
    bad = parts.say(text="fail").set_display_name("bad")
    good = parts.say(text="good").set_display_name("good")
    with dsl.If(word == "a"):
        one = parts.say(text="fail").set_display_name("one")
    with dsl.Else():
        two = parts.say(text="two").set_display_name("two")
    chosen = dsl.OneOf(one.outputs["o"], two.outputs["o"])
    with dsl.ParallelFor(["x", "fail"]) as item:
        each = parts.say(text=item).set_display_name("each")
    parts.either(a=bad.outputs["o"], b=good.outputs["o"]).ignore_upstream_failure().set_display_name("plain")
    parts.either(a=chosen, b="b").ignore_upstream_failure().set_display_name("after-branches")
    parts.gather(values=dsl.Collected(each.outputs["o"])).ignore_upstream_failure().set_display_name(
        "after-loop"
    )
    parts.say(text=bad.outputs["o"]).set_display_name("below")


def test_values_of_failed_tasks_take_their_defaults(client: Client) -> None:
    job = run(client, after_failures, parameters={"word": "a"})
    assert job["state"] == "PIPELINE_STATE_FAILED"
    assert outputs(job, "plain") == {"o": "none/good"}
    assert outputs(job, "after-branches") == {"o": "none/b"}
    assert outputs(job, "after-loop") == {"o": "[]"}
    assert states(job)["below"] == "NOT_TRIGGERED"
    job = run(client, after_failures, parameters={"word": "b"})
    assert outputs(job, "after-branches") == {"o": "two/b"}
    named = job["error"]["message"].partition("[")[2].partition("]")[0].split(", ")  # as they ended
    assert sorted(named) == ["bad", next(name for name in states(job) if name.startswith("for-loop-"))]


def behind_a_failed_gate(word: str) -> None:
    gate = parts.say(text=word).set_display_name("gate")
    with dsl.If(gate.outputs["o"] == "run"):
        one = parts.say(text="one")
    with dsl.Else():
        two = parts.say(text="two")
    with dsl.ParallelFor(["a"]) as item:
        each = parts.either(a=item, b=gate.outputs["o"])
    chosen = dsl.OneOf(one.outputs["o"], two.outputs["o"])
    first = parts.either(a=chosen, b="b").ignore_upstream_failure().set_display_name("branches")
    parts.gather(values=dsl.Collected(each.outputs["o"])).ignore_upstream_failure().set_display_name("loop")
    parts.say(text=first.outputs["o"]).set_display_name("further")


def test_groups_that_were_not_triggered_have_ended(client: Client) -> None:
    job = run(client, behind_a_failed_gate, parameters={"word": "fail"})
    found = states(job)
    assert {state for name, state in found.items() if "condition" in name or "for-loop" in name} == {
        "NOT_TRIGGERED"
    }
    assert outputs(job, "branches") == {"o": "none/b"}
    assert outputs(job, "loop") == {"o": "[]"}
    assert outputs(job, "further") == {"o": "none/b"}
    assert job["state"] == "PIPELINE_STATE_FAILED"


def test_what_hangs_on_a_condition_that_was_false(client: Client) -> None:
    # kfp does not write this, but it has a meaning.
    inner = Pipeline("inner").task("in", say("v"), outputs={"Output": "STRING"}).result("out", "in")
    pipe = Pipeline(word="STRING")
    condition = "inputs.parameter_values['word'] == 'go'"
    inner.inputs["word"] = {"parameterType": "STRING"}
    pipe.nested("group", inner, inputs={"word": parameter("word")}, condition=condition)
    pipe.task("below", inputs={"x": output("group", "out")})
    pipe.task("further", after=["below"])
    pipe.task("anyway", inputs={"x": output("group", "out")}).completed("anyway", x="default")
    job = client.run(pipe, parameters={"word": "stop"})
    assert job["state"] == "PIPELINE_STATE_SUCCEEDED"
    assert states(job) == {
        "group": "NOT_TRIGGERED", "in": "NOT_TRIGGERED", "below": "NOT_TRIGGERED",
        "further": "NOT_TRIGGERED", "anyway": "SUCCEEDED",
    }  # fmt: skip
    assert tasks(job)["anyway"]["execution"]["metadata"] == {"input:x": "default"}


def test_a_condition_that_cannot_be_asked_fails_its_task(client: Client) -> None:
    inner = Pipeline("inner", x="STRING").task("in")
    pipe = Pipeline().nested(
        "group", inner, inputs={"x": constant("a")}, condition="inputs.parameter_values['x'] < 3"
    )
    job = client.run(pipe)
    assert states(job)["group"] == "FAILED"
    assert "compares different kinds" in errors(job)["group"]


@pytest.mark.parametrize("choice", ["when_ready", "dag_key", "root", "with", "null"])
def test_every_structure_under_other_switches(start_emulator: Start, tmp_path: Path, choice: str) -> None:
    switch = {
        "when_ready": "task_entries",
        "dag_key": "task_name_source",
        "root": "top_level_parent",
        "with": "unique_name_root",
        "null": "collected_gaps",
    }[choice]
    client = Client(start_emulator(**{switch: choice}).endpoint)
    (tmp_path / "go").touch()
    job = run(client, parts.everything, parameters={"folder": str(tmp_path), "items": parts.ITEMS})
    assert job["state"] == "PIPELINE_STATE_SUCCEEDED", errors(job)
    name = "gather" if choice == "dag_key" else "all"
    assert outputs(job, name) == {"o": '["a","else","b","b","else"]'}
    ids = {task["taskId"] for task in job["jobDetail"]["taskDetails"]}
    assert {task["parentTaskId"] for task in job["jobDetail"]["taskDetails"] if "parentTaskId" in task} <= ids


# Loops


def _iterations(job: Json, loop: str) -> list[Json]:
    """Return the entries of a loop's iterations, as they are listed."""
    parent = tasks(job)[loop]["taskId"]
    return [task for task in job["jobDetail"]["taskDetails"] if task.get("parentTaskId") == parent]


def _inside(job: Json, entry: Json) -> dict[str, Json]:
    return {
        task["taskName"]: task
        for task in job["jobDetail"]["taskDetails"]
        if task.get("parentTaskId") == entry["taskId"]
    }


def static_loop() -> None:
    with dsl.ParallelFor([1, 2, 3]) as item:
        parts.number(value=item)


def test_a_loop_over_a_fixed_list(client: Client) -> None:
    job = run(client, static_loop)
    assert job["state"] == "PIPELINE_STATE_SUCCEEDED", errors(job)
    loop, iterations = tasks(job)["for-loop-2"], _iterations(job, "for-loop-2")
    assert loop["execution"]["schemaTitle"] == "system.DagExecution"
    assert [entry["taskName"] for entry in iterations] == [f"for-loop-2-{index}" for index in range(3)]
    for index, entry in enumerate(iterations):
        inputs = {"input:pipelinechannel--loop-item-param-1": index + 1}
        assert entry["execution"]["metadata"] == inputs
        assert entry["execution"]["schemaTitle"] == "system.DagExecution"
        inner = _inside(job, entry)["number"]
        assert inner["execution"]["metadata"] == {"input:value": index + 1, "output:o": index + 1}
        assert inner["taskUniqueName"] == f"for-loop-2.for-loop-2-{index}.number"
        assert inner["state"] == entry["state"] == "SUCCEEDED"


def dict_loop() -> None:
    with dsl.ParallelFor([{"a": "1", "b": "x"}, {"a": "2", "b": "y"}]) as item:
        parts.either(a=item.a, b=item.b)
        parts.show(value=item)


def test_a_loop_over_the_fields_of_items(client: Client) -> None:
    job = run(client, dict_loop)
    found = [_inside(job, entry) for entry in _iterations(job, "for-loop-2")]
    values = [entry["either"]["execution"]["metadata"]["output:o"] for entry in found]
    assert values == ["1/x", "2/y"], errors(job)
    texts = [entry["show"]["execution"]["metadata"]["output:o"] for entry in found]
    assert texts == ['{"a":"1","b":"x"}', '{"a":"2","b":"y"}']


def runtime_loop(items: list) -> None:
    with dsl.ParallelFor(items, parallelism=2) as item:
        said = parts.say(text=item)
    parts.gather(values=dsl.Collected(said.outputs["o"])).set_display_name("all")


@pytest.mark.parametrize(
    ("items", "text"),
    [(["a", "b", "c"], '["a","b","c"]'), ([], "[]"), ([1, {"x": [True]}], '["1","{\\"x\\":[true]}"]')],
)
def test_a_loop_over_a_run_parameter_collects_in_order(client: Client, items: list, text: str) -> None:
    job = run(client, runtime_loop, parameters={"items": items})
    assert job["state"] == "PIPELINE_STATE_SUCCEEDED", errors(job)
    assert outputs(job, "all") == {"o": text}
    assert len(_iterations(job, "for-loop-1")) == len(items)
    assert outputs(job, "for-loop-1") == {"pipelinechannel--say-o": json.loads(text)}


def task_loop() -> None:
    plain = parts.make_list(value=[{"x": "p"}, {"x": "q"}])
    typed = parts.make_dicts(value=[{"x": "r"}, {"x": "s"}])
    with dsl.ParallelFor(plain.outputs["o"]) as item:
        one = parts.say(text=item.x)
    with dsl.ParallelFor(typed.outputs["o"]) as item:
        two = parts.say(text=item.x)
    parts.gather(values=dsl.Collected(one.outputs["o"])).set_display_name("plain")
    parts.gather(values=dsl.Collected(two.outputs["o"])).set_display_name("typed")


def test_a_loop_over_a_tasks_output(client: Client) -> None:
    job = run(client, task_loop)
    assert outputs(job, "plain") == {"o": '["p","q"]'}, errors(job)
    assert outputs(job, "typed") == {"o": '["r","s"]'}


def failing_loop() -> None:
    with dsl.ParallelFor(["a", "fail", "b"]) as item:
        parts.say(text=item)


def test_a_failed_iteration_fails_the_loop_after_the_others(client: Client) -> None:
    job = run(client, failing_loop)
    assert job["state"] == "PIPELINE_STATE_FAILED"
    assert [entry["state"] for entry in _iterations(job, "for-loop-2")] == [
        "SUCCEEDED",
        "FAILED",
        "SUCCEEDED",
    ]
    sentence = "The DAG failed because some tasks failed. The failed tasks are: "
    assert tasks(job)["for-loop-2-1"]["error"] == {"code": 9, "message": f"{sentence}[say]."}
    assert tasks(job)["for-loop-2"]["error"] == {"code": 9, "message": f"{sentence}[for-loop-2-1]."}
    assert "[for-loop-2]" in job["error"]["message"]


def nested_loops(items: list) -> None:
    with dsl.ParallelFor(items) as outer:
        with dsl.ParallelFor(["x", "y"]) as inner:
            pair = parts.either(a=outer, b=inner)
            data = parts.write_data(text=inner)
    parts.gather(values=dsl.Collected(pair.outputs["o"])).set_display_name("all")
    parts.read_list(items=dsl.Collected(data.outputs["data"]))


def test_nested_loops_collect_lists_of_lists_and_one_list_of_artifacts(client: Client) -> None:
    job = run(client, nested_loops, parameters={"items": ["1", "2"]})
    assert outputs(job, "all") == {"o": '[["1/x","1/y"],["2/x","2/y"]]'}, errors(job)
    assert outputs(job, "read-list") == {"Output": "x,y,x,y"}


def branch_in_loop(items: list) -> None:
    with dsl.ParallelFor(items) as item:
        gate = parts.say(text=item.mode)
        with dsl.If(gate.outputs["o"] == "run"):
            one = parts.say(text=item.x)
        with dsl.Else():
            two = parts.say(text="else")
        after = parts.say(text=dsl.OneOf(one.outputs["o"], two.outputs["o"])).set_display_name("after")
    parts.gather(values=dsl.Collected(after.outputs["o"])).set_display_name("all")


def test_a_branch_in_a_loop(client: Client) -> None:
    items = [{"mode": "run", "x": "1"}, {"mode": "no", "x": "2"}, {"mode": "run", "x": "3"}]
    job = run(client, branch_in_loop, parameters={"items": items})
    assert outputs(job, "all") == {"o": '["1","else","3"]'}, errors(job)


def gaps(items: list) -> None:
    with dsl.ParallelFor(items) as item:
        gate = parts.say(text=item).set_display_name("gate")
        with dsl.If(gate.outputs["o"] != "skip"):
            one = parts.say(text=item)
    parts.gather(values=dsl.Collected(one.outputs["o"])).set_display_name("all")


def loop_in_branch(items: list, word: str) -> None:
    with dsl.If(word == "go"):
        with dsl.ParallelFor(items) as item:
            parts.say(text=item)


@pytest.mark.parametrize(("word", "state"), [("go", "SUCCEEDED"), ("stop", "NOT_TRIGGERED")])
def test_a_loop_in_a_branch(client: Client, word: str, state: str) -> None:
    job = run(client, loop_in_branch, parameters={"items": ["a", "b"], "word": word})
    assert job["state"] == "PIPELINE_STATE_SUCCEEDED", errors(job)
    assert states(job)["for-loop-2"] == states(job)["condition-1"] == state
    assert len(_iterations(job, "for-loop-2")) == (2 if state == "SUCCEEDED" else 0)


def many(items: list) -> None:
    with dsl.ParallelFor(items) as item:
        parts.say(text=item)


def test_a_loop_of_200_iterations_needs_few_threads(client: Client) -> None:
    items = [str(number) for number in range(200)]
    name = client.create(parts.uncached(spec(many)), parameters={"items": items})["name"]
    most = 0

    def ended() -> bool:
        nonlocal most
        most = max(most, sum(thread.name == "task say" for thread in threading.enumerate()))
        return client.get(name)["state"] not in ("PIPELINE_STATE_PENDING", "PIPELINE_STATE_RUNNING")

    wait_for(ended, "the job to end")
    job = client.get(name)
    assert job["state"] == "PIPELINE_STATE_SUCCEEDED"
    assert [entry["state"] for entry in _iterations(job, "for-loop-1")] == ["SUCCEEDED"] * 200
    assert 1 < most <= AT_ONCE


# Exit handlers


def handled(folder: str, word: str) -> None:
    report = parts.report(folder=folder)
    with dsl.ExitHandler(report, name="everything"):
        gate = parts.say(text=word)
        with dsl.If(gate.outputs["o"] == "run"):
            one = parts.say(text="one")
        with dsl.Else():
            two = parts.say(text="fail")
        chosen = dsl.OneOf(one.outputs["o"], two.outputs["o"])
        with dsl.ParallelFor(["a", "b"]) as item:
            parts.either(a=item, b=chosen)


@pytest.mark.parametrize("word", ["run", "other"])
def test_an_exit_task_reads_how_its_group_ended(client: Client, tmp_path: Path, word: str) -> None:
    job = run(client, handled, parameters={"folder": str(tmp_path), "word": word})
    failed = word == "other"
    assert job["state"] == f"PIPELINE_STATE_{'FAILED' if failed else 'SUCCEEDED'}", errors(job)
    assert states(job)["report"] == "SUCCEEDED"
    assert states(job)["everything"] == ("FAILED" if failed else "SUCCEEDED")
    status = json.loads((tmp_path / "status.json").read_text())
    assert (status["state"], status["task"], status["job"]) == (
        "FAILED" if failed else "SUCCEEDED",
        "everything",
        job["name"],
    )
    given = tasks(job)["report"]["execution"]["metadata"]["input:status"]
    if failed:
        sentence = "The DAG failed because some tasks failed. The failed tasks are: [condition-branches-2]."
        assert (status["code"], status["message"]) == (9, sentence)
        assert given["error"] == {"code": 9, "message": sentence}
    else:
        assert "error" not in given
