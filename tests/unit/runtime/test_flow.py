"""What decides whether and how often a task runs, in real processes: skips, gates, branches, loops."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.standard.operators.branch import BranchMixIn
from airflow.sdk import DAG, TaskGroup
from airflow.sdk.bases.operator import BaseOperator
from airflow.sdk.exceptions import AirflowException, DownstreamTasksSkipped

from airflow_vertex_provider.runtime import entrypoint
from airflow_vertex_provider.runtime.protocol import (
    FAILED,
    SKIPPED,
    Reference,
    bash_config,
    constant,
    decode,
    encode,
    from_input,
    gate_config,
    known_object,
    mark_config,
    state_of,
)
from tests.unit.runtime.container import PYTHONS, Container, config_of, find_python

OK = encode(1)


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path)


@pytest.fixture(params=PYTHONS)
def any_container(request: pytest.FixtureRequest, tmp_path: Path) -> Container:
    """A container on each supported Python, where this machine has it."""
    python = find_python(request.param)
    if python is None:
        pytest.skip(f"no Python {request.param} here")
    return Container(tmp_path, python)


# --- functions of an imagined author --------------------------------------------------------------------


def give_one(value: Any) -> Any:
    return value


def give_all(*args: Any, **kwargs: Any) -> Any:
    return [list(args), kwargs]


def give_two(a: Any, b: Any = "own") -> Any:
    return [a, b]


def skip() -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    raise AirflowSkipException("nothing to do")


def skip_in_own_way() -> None:
    from airflow.exceptions import AirflowSkipException

    class Nothing(AirflowSkipException):  # type: ignore[misc]
        pass

    raise Nothing("less than nothing")


def fail_for_good(path: str) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    with open(path, "a") as file:  # noqa: PTH123
        file.write("ran\n")
    raise AirflowFailException("no hope")


def look_at_run(dag_run: Any, key: str) -> Any:
    return getattr(dag_run, key)


def copy_run(dag_run: Any) -> Any:
    import copy

    twin = copy.deepcopy(dag_run)
    return [twin.run_id, hasattr(twin, "other")]


def look_at_context(ds: str, **context: Any) -> Any:
    return [ds, sorted(context), context["dag_run"].conf["a"]]


# --- skips ----------------------------------------------------------------------------------------------

EVERYTHING = {
    "text_output": True,
    "skips": True,
    "follow": {"F1": {"keep": None, "if_skipped": "run"}, "F2": {"keep": None, "if_skipped": "skip"}},
    "expand": {"Items": {"form": "product", "fields": [["x", {"$value": True}]]}},
    "mapped_over": True,
    "typed": {
        "I": "NUMBER_INTEGER",
        "D": "NUMBER_DOUBLE",
        "B": "BOOLEAN",
        "L": "LIST",
        "S": "STRUCT",
    },
}
ALL_SKIPPED = {
    "Output": SKIPPED,
    "Text": "null",
    "F1": "run",
    "F2": "skip",
    "Items": [],
    "I": 0,
    "D": 0.0,
    "B": False,
    "L": [],
    "S": {},
}


@pytest.mark.parametrize("function", [skip, skip_in_own_way])
def test_a_skipped_task_writes_all_its_outputs_on_every_python(
    any_container: Container, function: Any
) -> None:
    ended = any_container.run({**config_of(function), **EVERYTHING})
    assert ended.outputs() == ALL_SKIPPED
    assert "skipped: the task asked for it: " in ended.stdout
    assert state_of(ended.text()) == "skipped"
    assert ended.value() is None


def test_a_skip_that_nobody_prepared_for_is_a_failure(container: Container) -> None:
    error = container.run(config_of(skip)).error()
    assert (error["type"], error["skipped"]) == ("AirflowSkipException", True)
    assert "its code does not name AirflowSkipException" in error["message"]


def test_other_errors_are_no_skips(container: Container) -> None:
    ended = container.run({**config_of(fail_for_good, [constant("log")]), "skips": True})
    assert ended.error()["type"] == "AirflowFailException"


def test_a_skip_code_of_a_command(container: Container) -> None:
    def outcome(code: int, **options: Any) -> str:
        config = {**bash_config(task="g.b", command=f"exit {code}", **options), "skips": True}
        return state_of(container.run(config, folder=f"b/j/{code}_{len(options)}").text())

    assert outcome(99) == outcome(7, skip_exit_codes=[7]) == "skipped"
    assert outcome(0) == "success"
    config = {**bash_config(task="g.b", command="exit 98"), "skips": True}
    assert container.run(config).error()["type"] == "AirflowException"


# --- gates ----------------------------------------------------------------------------------------------


def gated(rule: str, **keys: Any) -> dict[str, Any]:
    return {"gate": {"rule": rule, **keys}}


def test_a_gate_goes_before_everything_on_every_python(any_container: Container) -> None:
    config = {
        **config_of(skip, packages=["no-such-package-anywhere"]),
        **EVERYTHING,
        **gated("none_failed_min_one_success", states=["a", "b"]),
    }
    ended = any_container.run(config, {"a": SKIPPED, "b": SKIPPED})
    assert ended.outputs() == ALL_SKIPPED
    assert "found 0 of 2 upstream tasks succeeded, 2 skipped, 0 failed" in ended.stdout
    error = any_container.run(config, {"a": OK, "b": FAILED}).error()
    assert error["type"] == "UpstreamFailed"
    assert error["message"] == (
        "not run: trigger rule 'none_failed_min_one_success' found 1 of 2 upstream tasks succeeded, "
        "0 skipped, 1 failed"
    )
    assert error["traceback"].startswith("UpstreamFailed") or "UpstreamFailed: not run" in error["traceback"]


@pytest.mark.parametrize(
    ("gate", "inputs", "expected"),
    [
        ({"rule": "all_success", "states": ["a"]}, {"a": OK}, "run"),
        ({"rule": "all_success", "states": ["a"]}, {"a": [OK, SKIPPED]}, "skip"),
        ({"rule": "all_success", "states": ["a"]}, {"a": []}, "skip"),
        ({"rule": "all_success", "states": ["a"]}, {"a": [FAILED]}, "fail"),
        ({"rule": "all_failed", "states": ["a"]}, {"a": [FAILED]}, "run"),
        (
            {"rule": "none_failed", "states": ["a", "b"], "follow": ["f"]},
            {"a": OK, "b": [], "f": "run"},
            "run",
        ),
        ({"rule": "all_done", "states": ["a"], "follow": ["f"]}, {"a": FAILED, "f": "skip"}, "skip"),
        ({"rule": "all_done", "states": ["a"], "setups": ["s"]}, {"a": OK, "s": FAILED}, "fail"),
        ({"rule": "all_done", "states": ["a"], "setups": ["s"]}, {"a": OK, "s": SKIPPED}, "skip"),
        (
            {"rule": "all_done_setup_success", "states": ["a", "s"], "setup_states": ["s"]},
            {"a": FAILED, "s": OK},
            "run",
        ),
        (
            {"rule": "all_done_setup_success", "states": ["a", "s"], "setup_states": ["s"]},
            {"a": OK, "s": FAILED},
            "fail",
        ),
        # A task that runs nothing stands in between.
        (
            {"rule": "one_success", "states": ["a", {"rule": "one_failed", "states": ["b"]}]},
            {"a": SKIPPED, "b": FAILED},
            "run",
        ),
        ({"rule": "all_success", "states": ["a"]}, {"a": "skip"}, "skip"),
        ({"rule": "all_success", "states": ["a"]}, {"a": encode("skip")}, "run"),
        ({"rule": "one_done", "states": [{"rule": "all_success", "states": ["a"]}]}, {"a": FAILED}, "skip"),
        ({"rule": "one_failed", "states": [{"rule": "all_success", "states": ["a"]}]}, {"a": FAILED}, "run"),
        # No value came of b: it failed, or what stands above it did.
        (
            {"rule": "one_done", "states": [{"rule": "all_success", "states": ["a"], "of": "b"}]},
            {"a": FAILED, "b": FAILED},
            "skip",
        ),
        (
            {"rule": "one_done", "states": [{"rule": "all_success", "states": ["a"], "of": "b"}]},
            {"a": OK, "b": FAILED},
            "run",
        ),
    ],
)
def test_gate_tasks_decide(
    container: Container, gate: Mapping[str, Any], inputs: Mapping[str, Any], expected: str
) -> None:
    config = gate_config(
        task="g.t",
        gate=gate,
        relay={"Copy": next(iter(inputs))},
        expand={"Items": {"form": "product", "fields": [["x", [1, 2]]], "text": ["x"]}},
    )
    ended = container.run(config, inputs)
    if expected == "fail":
        assert ended.error()["type"] == "UpstreamFailed"
        return
    outputs = ended.outputs()
    assert outputs.pop("Decision") == expected
    assert outputs.pop("Copy") == next(iter(inputs.values()))
    items = [{"index": "0", "x": "1", "x__text": "1"}, {"index": "1", "x": "2", "x__text": "2"}]
    assert outputs == {"Items": items if expected == "run" else []}


def test_a_state_that_did_not_come_is_no_success(container: Container) -> None:
    config = gate_config(task="g.t", gate={"rule": "all_done", "states": ["a"]})
    assert container.run(config).error()["message"] == "input 'a': expected a text, found NoneType"


def test_gate_and_mark_on_every_python(any_container: Container) -> None:
    assert any_container.run(gate_config(task="g.t")).outputs() == {"Decision": "run"}
    outputs = {"Output": SKIPPED, "Items": [], "Follow": "skip"}
    assert any_container.run(mark_config(task="g.t", outputs=outputs)).outputs() == outputs


# --- branches -------------------------------------------------------------------------------------------


class Branch(BaseOperator, BranchMixIn):
    """A branch that says what it chose."""


def branching_dag() -> DAG:
    with DAG("d") as dag:
        branch = Branch(task_id="branch")
        a, b, join = (BaseOperator(task_id=name) for name in ("a", "b", "join"))
        with TaskGroup("group"):
            one, two = BaseOperator(task_id="one"), BaseOperator(task_id="two")
            one >> BaseOperator(task_id="last")
        branch >> [a, b, join, one, two]
        a >> join
    return dag


def airflow_follows(dag: DAG, choice: Any) -> dict[str, str]:
    """Return what Airflow lets each follower of the branch do."""
    branch = dag.get_task("branch")
    assert isinstance(branch, Branch)
    instance = SimpleNamespace(task=branch, map_index=-1, xcom_push=lambda key, value: None)
    skipped: set[Any] = set()
    try:
        branch.do_branch({"ti": instance}, choice)  # type: ignore[typeddict-item]
    except DownstreamTasksSkipped as error:
        skipped = {task if isinstance(task, str) else task[0] for task in error.tasks}
    return {name: "skip" if name in skipped else "run" for name in branch.downstream_task_ids}


def keepers(dag: DAG, follower: str) -> list[str]:
    """Return the ids whose choice keeps a follower: itself, what stands above it, groups that begin so."""
    tasks = [task.task_id for task in dag.tasks]
    keep = [
        name
        for name in tasks
        if follower in {name, *dag.get_task(name).get_flat_relative_ids(upstream=False)}
    ]
    groups = dag.task_group.get_task_group_dict()
    for name, group in groups.items():
        if name and any(root.task_id in keep for root in group.roots):
            keep.append(name)
    return keep


CHOICES: list[Any] = [
    None,
    "a",
    "b",
    "join",
    "group",
    "group.one",
    [],
    ["a", "group.two"],
    ("b",),
    {"join", "b"},
    {"a": 1},
    "branch",
    ["group", "b"],
]
WRONG_CHOICES: list[Any] = ["nobody", "", ["a", "nobody"], 5, True, ["a", 5], [["a"]], b"a"]


def follow_config(dag: DAG) -> dict[str, Any]:
    followers = sorted(dag.get_task("branch").downstream_task_ids)
    return {
        "branch": True,
        "ids": [*dag.task_ids, "group"],
        "follow": {name: {"keep": keepers(dag, name), "if_skipped": "run"} for name in followers},
    }


@pytest.mark.parametrize(
    "choice", CHOICES, ids=lambda choice: str(sorted(choice) if isinstance(choice, set) else choice)
)
def test_a_choice_lets_the_same_followers_go_on_as_in_airflow(choice: Any) -> None:
    dag = branching_dag()
    assert entrypoint.use_branch(follow_config(dag), {}, choice, "") == {}
    assert entrypoint.use_follow(follow_config(dag), {}, choice, "") == airflow_follows(dag, choice)


@pytest.mark.parametrize("choice", WRONG_CHOICES, ids=str)
def test_a_wrong_choice_fails_as_in_airflow(choice: Any) -> None:
    dag = branching_dag()
    with pytest.raises((AirflowException, TypeError)) as airflow:
        airflow_follows(dag, choice)
    with pytest.raises((entrypoint.AirflowException, TypeError)) as ours:
        entrypoint.use_branch(follow_config(dag), {}, choice, "")
    assert ours.type.__name__ == airflow.type.__name__


def test_a_branch_on_every_python(any_container: Container) -> None:
    config = {**config_of(give_one, [from_input("x")]), **follow_config(branching_dag())}
    outputs = any_container.run(config, {"x": encode(["a"])}).outputs()
    assert decode(outputs.pop("Output")) == ["a"]
    assert outputs == {"a": "run", "b": "skip", "join": "run", "group.one": "skip", "group.two": "skip"}
    error = any_container.run(config, {"x": encode("nobody")}).error()
    assert (error["type"], error["message"]) == (
        "AirflowException",
        "'branch_task_ids' must contain only valid task_ids. Invalid tasks found: {'nobody'}.",
    )
    error = any_container.run({**config, "follow": {}}, {"x": encode([1])}).error()
    assert "found {1}" in error["message"]


@pytest.mark.parametrize("value", [True, False, None, [], [0], "", "x", 0, 0.5])
def test_a_short_circuit_looks_at_the_truth_of_the_value(container: Container, value: Any) -> None:
    config = {
        **config_of(give_one, [constant(value)]),
        "follow": {"F": {"keep": None, "if_skipped": "skip"}},
    }
    outputs = container.run(config).outputs()
    assert outputs == {"Output": encode(value), "F": "run" if value else "skip"}


# --- loops ----------------------------------------------------------------------------------------------


def test_a_task_makes_the_items_of_a_loop_on_every_python(any_container: Container) -> None:
    config = {
        **config_of(give_one, [from_input("own")]),
        "mapped_over": True,
        "expand": {
            "Items": {
                "form": "product",
                "fields": [["x", {"$value": True}], ["y", from_input("other")]],
                "text": ["y"],
            },
            "Zipped": {
                "form": "product",
                "fields": [["z", {"$zip": [{"$value": True}, from_input("other")], "fill": None}]],
            },
            "Given": {"form": "kwargs", "field": "kwargs", "node": from_input("dicts")},
        },
    }
    inputs = {
        "own": encode({"k": 1, "l": (2,)}),
        "other": encode(["a"]),
        "dicts": encode([{"a": {1}}]),
    }
    outputs = any_container.run(config, inputs).outputs()
    assert decode(outputs["Output"]) == {"k": 1, "l": (2,)}
    assert outputs["Items"] == [
        {"x": encode(("k", 1)), "y": '"a"', "y__text": "a", "index": "0"},
        {"x": encode(("l", (2,))), "y": '"a"', "y__text": "a", "index": "1"},
    ]
    assert [decode(item["z"]) for item in outputs["Zipped"]] == [(None, "a"), (None, None)]
    assert outputs["Given"] == [{"kwargs": encode({"a": {1}}), "index": "0"}]


def numbered_rows(count: int) -> Any:
    return dict.fromkeys(range(2), "x" * count)


def test_large_items_go_into_files_of_their_own(container: Container) -> None:
    spec = {"form": "product", "fields": [["x", {"$value": True}], ["y", [1, 2]]]}
    config = {**config_of(numbered_rows, [constant(20_000)]), "expand": {"One": spec, "Two": spec}}
    ended = container.run(config)
    items = ended.outputs()["One"]
    assert [item["y"] for item in items] == ["1", "2", "1", "2"]
    assert items[0]["x"] == items[1]["x"]
    uris = [Reference.parse(item["x"]).uri for item in items[::2]]
    assert uris == [f"gs://bucket/job/task_1/airflow_item_One_x_{number}.json" for number in range(2)]

    def read(uri: str) -> bytes:
        return (container.root / uri.removeprefix("gs://")).read_bytes()

    # With text for keys, as a reader of the value sees it.
    assert [decode(item["x"], read) for item in items[::2]] == [("0", "x" * 20_000), ("1", "x" * 20_000)]
    # A task of the loop takes it as any value.
    again = container.run(config_of(give_one, [from_input("x")]), {"x": items[3]["x"]}, folder="b/j/u_2")
    assert again.value(read) == ("1", "x" * 20_000)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "XComForMappingNotPushed"),
        ("text", "UnmappableXComTypePushed"),
        (5, "UnmappableXComTypePushed"),
    ],
)
def test_what_cannot_be_mapped_over_is_the_producer_s_error(
    container: Container, value: Any, kind: str
) -> None:
    error = container.run({**config_of(give_one, [constant(value)]), "mapped_over": True}).error()
    assert error["type"] == kind
    assert "mapped over" in error["message"]


def test_the_outputs_of_a_loop_are_a_list_without_none(any_container: Container) -> None:
    config = config_of(
        give_all, [from_input("x"), from_input("x", get="k"), from_input("none"), from_input("raw", raw=True)]
    )
    inputs = {
        "x": [encode({"k": 1}), SKIPPED, FAILED, "null", encode({"l": (2,)})],
        "none": [],
        "raw": {"a": [1]},
    }
    assert any_container.run(config, inputs).value() == [
        [[{"k": 1}, {"l": (2,)}], [1], [], {"a": [1]}],
        {},
    ]


def test_a_value_that_did_not_come_is_none(container: Container) -> None:
    config = config_of(give_all, [from_input("x"), from_input("y"), from_input("y", get="k")])
    assert container.run(config, {"x": SKIPPED, "y": FAILED}).value() == [[None, None, None], {}]


def test_a_loop_s_texts_are_no_text(container: Container) -> None:
    config = config_of(give_one, [from_input("x", text=True)])
    assert "expected a text" in container.run(config, {"x": ["1"]}).error()["message"]


# --- components -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("NUMBER_INTEGER", -(2**53)),
        ("NUMBER_DOUBLE", 0.1),
        ("NUMBER_DOUBLE", 2),
        ("BOOLEAN", True),
        ("LIST", [1, "a", None, {"b": [0.5]}]),
        ("STRUCT", {"a": {"b": []}}),
    ],
)
def test_typed_outputs(container: Container, kind: str, value: Any) -> None:
    config = {**config_of(give_one, [constant(value)]), "typed": {"T": kind}}
    outputs = container.run(config).outputs()
    assert outputs == {"Output": encode(value), "T": value}
    assert type(outputs["T"]) is (float if kind == "NUMBER_DOUBLE" else type(value))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("NUMBER_INTEGER", True),
        ("NUMBER_INTEGER", 1.0),
        ("NUMBER_INTEGER", 2**53 + 1),
        ("NUMBER_INTEGER", None),
        ("NUMBER_DOUBLE", "1"),
        ("NUMBER_DOUBLE", float("nan")),
        ("NUMBER_DOUBLE", float("inf")),
        ("BOOLEAN", 1),
        ("LIST", (1,)),
        ("LIST", [(1,)]),
        ("LIST", ["{{$}}"]),
        ("STRUCT", {1: 2}),
        ("STRUCT", {"a": b""}),
        ("STRUCT", {"a": float("nan")}),
    ],
)
def test_typed_outputs_take_nothing_else(container: Container, kind: str, value: Any) -> None:
    config = {**config_of(give_one, [constant(value)]), "typed": {"T": kind}}
    error = container.run(config).error()
    assert error["message"].startswith(f"output 'T' must be {kind} in plain JSON for a component, found ")
    assert type(value).__name__ in error["message"]


# --- what a value must be -------------------------------------------------------------------------------


def uncarriable() -> Any:
    return object()


def test_a_silent_task_tells_its_state_alone(container: Container) -> None:
    assert container.run({**config_of(uncarriable), "silent": True}).outputs() == {"Output": "null"}
    ended = container.run({**config_of(skip), "silent": True, "skips": True})
    assert ended.outputs() == {"Output": SKIPPED}
    assert container.run(config_of(uncarriable)).error()["type"] == "ProtocolError"


def test_multiple_outputs_need_a_dict(container: Container) -> None:
    def run(value: Any) -> Any:
        return container.run({**config_of(give_one, [constant(value)]), "multiple_outputs": True})

    assert run({"a": 1}).value() == {"a": 1}
    assert run(None).value() is None
    for wrong in ([1], "text", {1: 2}):
        error = run(wrong).error()
        assert error["type"] == "TypeError"
        assert "must be a dict whose keys are str, found " in error["message"]
    skipped = container.run({**config_of(skip), "multiple_outputs": True, "skips": True})
    assert state_of(skipped.text()) == "skipped"


# --- hand-overs and attempts ----------------------------------------------------------------------------


def test_hand_over_by_file_on_every_python(any_container: Container) -> None:
    giver = {**config_of(give_one, [constant({"a": 1})]), "handoff": True, "name": "setup"}
    taker = {
        **config_of(give_all, [from_input("x"), from_input("y")]),
        "from_handoff": {"x": "setup", "y": "never-run"},
    }
    assert any_container.run(giver, folder="b/j/setup_1").value() == {"a": 1}
    assert any_container.run(taker, folder="b/j/exit_2").value() == [[{"a": 1}, None], {}]
    gate = {**taker, **gated("all_done_setup_success", states=["y"], setup_states=["y"])}
    assert any_container.run(gate, folder="b/j/exit_3").error()["type"] == "UpstreamFailed"
    skipped = {**config_of(skip), "skips": True, "handoff": True, "name": "setup"}
    any_container.run(skipped, folder="b/k/setup_1").outputs()
    gate = {**taker, **gated("all_success", states=["x"])}
    assert state_of(any_container.run(gate, folder="b/k/exit_3").text()) == "skipped"


def test_a_large_value_is_handed_over_as_a_reference(container: Container) -> None:
    giver = {**config_of(numbered_rows, [constant(50_000)]), "handoff": True, "name": "setup"}
    taker = {**config_of(give_one, [from_input("x", get="1")]), "from_handoff": {"x": "setup"}}
    container.run(giver, folder="b/j/setup_1").outputs()
    (container.root / "b/j/airflow_handoff/setup.json").read_text().index(
        "@gs://b/j/setup_1/airflow_value.json"
    )
    assert container.run({**taker, "inline_limit": 300_000}, folder="b/j/exit_2").value() == "x" * 50_000


def test_no_attempt_runs_after_a_fail_exception(any_container: Container) -> None:
    log = any_container.root / "log"
    config = config_of(fail_for_good, [constant(str(log))])
    first = any_container.run(config)
    error, shown = first.error(), first.shown_error()
    assert error["type"] == "AirflowFailException"
    left = first.folder.parent / "airflow_no_retry" / f"{first.folder.name}.json"
    assert json.loads(left.read_text()) == error
    second = any_container.run(config)
    assert (second.error(), second.shown_error()) == (error, shown)
    assert "no hope" in second.stderr
    assert log.read_text() == "ran\n"
    # Another job, as after a clear in Airflow, has a folder of its own.
    assert any_container.run(config, folder="bucket/other/task_1").error() == error
    assert log.read_text() == "ran\nran\n"


def test_other_failures_are_tried_again(container: Container) -> None:
    config = {**config_of(give_one, [constant(1)]), **gated("all_success", states=["a"])}
    assert container.run(config, {"a": FAILED}).error()["type"] == "UpstreamFailed"
    assert container.run(config, {"a": OK}).value() == 1


@pytest.mark.parametrize(
    "config",
    [
        {**config_of(skip), "skips": True, "handoff": True, "name": "t"},
        {**config_of(fail_for_good, [constant("log")])},
        {**config_of(give_one, [constant(["x" * 50_000])]), "expand": EVERYTHING["expand"]},
        {**config_of(give_one, [constant(1)]), **gated("all_success", states=["bad"])},
        {**config_of(give_one, [constant(1)]), **gated("all_success", states=["skipped"])},
    ],
    ids=["skip", "fail", "expand", "gate-fail", "gate-skip"],
)
def test_replicas_beside_the_chief_write_nothing(container: Container, config: dict[str, Any]) -> None:
    inputs = {"bad": FAILED, "skipped": SKIPPED}
    cluster = {"cluster": {}, "task": {"type": "workerpool1", "index": 0}}
    ended = container.run(config, inputs, CLUSTER_SPEC=json.dumps(cluster))
    assert list(container.root.rglob("*.json")) == []
    alone = container.run(config, inputs, folder="bucket/job/task_2")
    assert ended.code == alone.code
    assert len(list(alone.folder.iterdir())) > 0


# --- arguments ------------------------------------------------------------------------------------------


def test_arguments_from_a_dict(any_container: Container) -> None:
    config = config_of(give_two, spread=from_input("more"))
    assert any_container.run(config, {"more": encode({"a": 1})}).value() == [1, "own"]
    assert any_container.run(config, {"more": encode({"a": 1, "b": (2,)})}).value() == [1, (2,)]
    error = any_container.run(config, {"more": encode({"a": 1, "c": 2})}).error()
    assert error["type"] == "TypeError"
    twice = config_of(give_two, kwargs={"a": 1}, spread=from_input("more"))
    error = any_container.run(twice, {"more": encode({"a": 1})}).error()
    assert (error["type"], error["message"]) == ("TypeError", "give_two() got argument 'a' twice")


def test_the_context_goes_behind_the_author_s_own_arguments(container: Container) -> None:
    absent = {"$lit": {"$absent": True}}
    config = config_of(
        give_all,
        kwargs={"ds": "mine"},
        spread=from_input("more"),
        context={"ds": "theirs", "run_id": "r", "ts": from_input("ts"), "params": absent},
    )
    inputs = {"more": encode({"run_id": "spread"}), "ts": encode("t")}
    assert container.run(config, inputs).value() == [[], {"ds": "mine", "run_id": "spread", "ts": "t"}]


def test_objects_of_the_context(any_container: Container) -> None:
    run = {"run_id": from_input("id"), "conf": constant({"a": 1}), "start_date": {"$lit": {"$absent": True}}}
    inputs = {"id": encode("manual")}

    def look(key: str) -> Any:
        config = config_of(look_at_run, kwargs={"key": constant(key)}, objects={"dag_run": run})
        return any_container.run(config, inputs)

    assert look("run_id").value() == "manual"
    assert look("conf").value() == {"a": 1}
    for missing in ("state", "start_date"):
        error = look(missing).error()
        assert error["type"] == "AttributeError"
        assert error["message"] == f"{missing!r} is not known inside a Vertex task; known are: run_id, conf"
    config = config_of(copy_run, objects={"dag_run": run})
    assert any_container.run(config, inputs).value() == ["manual", False]
    config = config_of(look_at_context, kwargs={"ds": "d"}, context={"dag_run": known_object(run)})
    assert any_container.run(config, inputs).value() == ["d", ["dag_run"], 1]


def test_a_node_of_an_unknown_form_is_refused() -> None:
    with pytest.raises(entrypoint.VertexRuntimeError, match="unknown node"):
        entrypoint.resolve({"$what": 1}, {})
