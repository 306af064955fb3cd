"""Reruns on the emulator: a group in which a task failed in, what runs the second time out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import task, task_group

from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.emulator.guesses import GUESSES
from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
from airflow_vertex_provider.outputs import read_value
from tests.support.processes import wait_until
from tests.unit.emulated import LOCATION, ROOT
from tests.unit.reruns.reruns import MACHINE, Rig, member, skipping, work

# Structure


def chain(at: str) -> None:
    a = member("a")(at, "a")
    b = member("b")(at, "b", a)
    c = member("c")(at, "c", b)
    member("d")(at, "d", c, a)


@pytest.mark.parametrize("machine", [None, MACHINE])
def test_chain(hook: VertexPipelineHook, tmp_path: Path, machine: Any) -> None:
    rig = Rig(hook, tmp_path, chain, machine["vertex"] if machine else {})
    assert rig.first("c") == {"a", "b", "c"}
    assert rig.second() == {"c", "d"}
    assert {"a", "b"} <= set(rig.again.reused)
    assert rig.again.reasons == {}
    assert rig.value("d") == ["d", ["c", ["b", ["a"]]], ["a"]]


def test_a_failed_first_task_leaves_nothing_to_reuse(hook: VertexPipelineHook, tmp_path: Path) -> None:
    rig = Rig(hook, tmp_path, chain)
    rig.first("a")
    assert rig.rerun().spec == rig.spec
    assert rig.again.parameter_values == rig.values
    assert rig.again.reused == ()
    assert rig.second() == {"a", "b", "c", "d"}


def diamond(at: str) -> None:
    a = member("a")(at, "a")
    left, right = member("left")(at, "left", a), member("right")(at, "right", a)
    member("join")(at, "join", left, right)


@pytest.mark.parametrize(
    ("failed", "again"),
    [("left", {"left", "join"}), ("right", {"right", "join"}), ("join", {"join"})],
)
def test_diamond(hook: VertexPipelineHook, tmp_path: Path, failed: str, again: set[str]) -> None:
    rig = Rig(hook, tmp_path, diamond)
    rig.first(failed)
    assert rig.second() == again
    assert rig.value("join") == ["join", ["left", ["a"]], ["right", ["a"]]]


def test_fan_in_by_edges_and_values(hook: VertexPipelineHook, tmp_path: Path) -> None:
    def fill(at: str) -> None:
        many = [member(f"m{number}")(at, f"m{number}") for number in range(4)]
        last = member("last")(at, "last", many[0], many[3])
        many[1] >> last
        many[2] >> member("other")(at, "other")

    rig = Rig(hook, tmp_path, fill)
    rig.first("m1")
    assert rig.second() == {"m1", "last"}
    assert rig.again.spec["root"]["dag"]["tasks"]["last"]["dependentTasks"] == ["m1"]
    assert rig.value("last") == ["last", ["m0"], ["m3"]]


def test_nested_groups(hook: VertexPipelineHook, tmp_path: Path) -> None:
    def fill(at: str) -> None:
        @task_group
        def inner(value: Any) -> Any:
            return member("two")(at, "inner-two", member("one")(at, "inner-one", value))

        @task_group
        def outer() -> Any:
            return inner(member("start")(at, "outer-start"))

        member("end")(at, "end", outer())

    rig = Rig(hook, tmp_path, fill)
    rig.first("inner-two")
    assert rig.second() == {"inner-two", "end"}
    assert rig.value("end") == ["end", ["inner-two", ["inner-one", ["outer-start"]]]]


def test_large_values_stay_in_their_files(hook: VertexPipelineHook, tmp_path: Path) -> None:
    @task
    def large() -> str:
        return "é" * 300_000

    def fill(at: str) -> None:
        member("b")(at, "b", large())

    rig = Rig(hook, tmp_path, fill)
    rig.first("b")
    assert rig.second() == {"b"}
    assert len(rig.again.parameter_values["reused_large_Output"]) < 500
    entry = rig.job.task("b")
    assert entry is not None
    assert read_value(str(entry.outputs["Output"]), hook.read_gcs) == ["b", "é" * 300_000]


def test_a_chain_of_reruns_needs_only_what_the_jobs_hold(hook: VertexPipelineHook, tmp_path: Path) -> None:
    rig = Rig(hook, tmp_path, chain)
    rig.first("b")
    assert rig.second("c") == {"b", "c"}
    assert rig.second("d") == {"c", "d"}
    assert rig.second() == {"d"}
    assert rig.again.reused == ("a", "b", "c")
    assert set(rig.job.tasks) >= {"a", "b", "c", "d"}
    assert rig.value("d") == ["d", ["c", ["b", ["a"]]], ["a"]]


def test_in_a_chain_a_change_is_seen_in_what_was_reused_before(
    hook: VertexPipelineHook, tmp_path: Path
) -> None:
    def changed(at: str) -> None:
        a = member("a", retries=1)(at, "a")
        b = member("b")(at, "b", a)
        c = member("c")(at, "c", b)
        member("d")(at, "d", c, a)

    rig = Rig(hook, tmp_path, chain)
    rig.first("b")
    rig.second("d")
    rig.spec, _ = rig.compiled(changed)
    assert rig.second() == {"a", "b", "c", "d"}
    assert rig.again.reasons == {
        "a": "its code or settings changed",
        "b": "follows 'a', which runs again",
        "c": "follows 'b', which runs again",
    }


def test_a_job_in_which_all_succeeded_runs_one_task(hook: VertexPipelineHook, tmp_path: Path) -> None:
    rig = Rig(hook, tmp_path, diamond)
    rig.first()
    assert rig.second() == {"join"}
    assert rig.again.reasons == {"join": "a pipeline has at least one task"}


# What changed


def test_changed_code_runs_again_with_what_follows(hook: VertexPipelineHook, tmp_path: Path) -> None:
    @task(task_id="left")
    def better(at: str, above: Any) -> Any:
        from pathlib import Path

        (Path(at) / "better").write_text("x")
        return ["better", above]

    def changed(at: str) -> None:
        a = member("a")(at, "a")
        member("join")(at, "join", better(at, a), member("right")(at, "right", a))

    rig = Rig(hook, tmp_path, diamond)
    rig.first("join")
    rig.spec, _ = rig.compiled(changed)
    assert rig.second() == {"better", "join"}
    assert rig.again.reused == ("a", "right")
    assert rig.again.reasons == {"left": "its code or settings changed"}
    assert rig.value("join") == ["join", ["better", ["a"]], ["right", ["a"]]]


def test_a_changed_machine_runs_again(hook: VertexPipelineHook, tmp_path: Path) -> None:
    def fill(machine: str) -> Any:
        def inside(at: str) -> None:
            options = {"vertex": {"custom_job": {"machine_type": machine}}}
            a = member("a", executor_config=options)(at, "a")
            member("b")(at, "b", member("c")(at, "c"), a)

        return inside

    rig = Rig(hook, tmp_path, fill("n1-standard-4"))
    rig.first("b")
    rig.spec, _ = rig.compiled(fill("n1-standard-8"))
    assert rig.second() == {"a", "b"}


def test_a_new_task_and_one_that_is_gone(hook: VertexPipelineHook, tmp_path: Path) -> None:
    def changed(at: str) -> None:
        a = member("a")(at, "a")
        member("join")(at, "join", member("left")(at, "left", a), member("new")(at, "new", a))

    rig = Rig(hook, tmp_path, diamond)
    rig.first("join")
    rig.spec, _ = rig.compiled(changed)
    assert rig.second() == {"new", "join"}


def test_a_changed_run_parameter_runs_again_what_takes_it(hook: VertexPipelineHook, tmp_path: Path) -> None:
    def fill(at: str) -> None:
        member("c")(at, "c", member("a")(at, "a"), member("b")(at, "b", "{{ ds }}"))

    rig = Rig(hook, tmp_path, fill)
    rig.values["ds"] = '"2026-01-01"'
    rig.first("c")
    rig.values = {**rig.values, "ds": '"2026-01-02"'}
    assert rig.second() == {"b", "c"}
    assert rig.again.reasons == {"b": "takes run parameter 'ds', whose value changed"}
    assert rig.value("c") == ["c", ["a"], ["b", "2026-01-02"]]


# Rules and branches


def test_a_tolerant_task_follows_what_runs_again(hook: VertexPipelineHook, tmp_path: Path) -> None:
    def fill(at: str) -> None:
        a, b = member("a")(at, "a"), member("b")(at, "b")
        clean = member("clean", trigger_rule="all_done")(at, "clean", a)
        b >> clean

    rig = Rig(hook, tmp_path, fill)
    assert rig.first("b") == {"a", "b", "clean"}
    assert rig.second() == {"b", "clean"}
    assert rig.again.reasons == {"clean": "follows 'b', which runs again"}
    assert rig.value("clean") == ["clean", ["a"]]


def test_a_tolerant_task_whose_upstream_is_reused(hook: VertexPipelineHook, tmp_path: Path) -> None:
    def fill(at: str) -> None:
        a, b = member("a")(at, "a"), member("b")(at, "b")
        [a, b] >> member("one", trigger_rule="one_success")(at, "one", b)

    rig = Rig(hook, tmp_path, fill)
    rig.first("one")
    assert rig.second() == {"one"}
    assert "triggerPolicy" not in rig.again.spec["root"]["dag"]["tasks"]["one"]


@task.branch
def choose(at, names):  # type: ignore[no-untyped-def]
    from pathlib import Path

    (Path(at) / "choose").write_text("x")
    return names


def branches(at: str, machine: Any) -> None:
    chosen = choose(at, ["g.left"])
    left = member("left", executor_config=machine)(at, "left")
    right = member("right", executor_config=machine)(at, "right")
    chosen >> [left, right]
    join = member("join", trigger_rule="none_failed_min_one_success")(at, "join", left, right)
    member("end")(at, "end", join)
    alone = member("alone", executor_config=machine)(at, "alone")
    chosen >> alone >> EmptyOperator(task_id="nothing")


@pytest.mark.parametrize("machine", [{}, MACHINE])
@pytest.mark.parametrize(
    ("failed", "again"),
    [("left", {"left", "join", "end"}), ("join", {"join", "end"}), ("end", {"end"})],
)
def test_branches(
    hook: VertexPipelineHook, tmp_path: Path, machine: Any, failed: str, again: set[str]
) -> None:
    rig = Rig(hook, tmp_path, lambda at: branches(at, machine))
    rig.first(failed)
    assert rig.second() == again
    assert "choose" in rig.again.reused
    assert rig.value("end") == ["end", ["join", ["left"], None]]
    if failed != "left":
        assert "left" in rig.again.reused


def test_a_branch_that_fails_runs_again_with_all_below(hook: VertexPipelineHook, tmp_path: Path) -> None:
    def fill(at: str) -> None:
        start = member("start")(at, "start")
        chosen = choose(member("where")(at, "where"), "g.left")  # fails: no folder
        start >> chosen >> member("left", executor_config=MACHINE)(at, "left")

    rig = Rig(hook, tmp_path, fill)
    rig.fail("nothing")
    ran, rig.job = rig.submit(rig.spec, rig.values)
    assert set(ran) == {"start", "where"}
    assert not rig.job.succeeded
    again = rig.rerun()
    assert again.reused == ("start", "where")


@pytest.mark.parametrize("machine", [{}, MACHINE])
def test_short_circuit_and_skips(hook: VertexPipelineHook, tmp_path: Path, machine: Any) -> None:
    def fill(at: str) -> None:
        @task.short_circuit
        def no(at):  # type: ignore[no-untyped-def]
            from pathlib import Path

            (Path(at) / "no").write_text("x")
            return False

        stop = no(at)
        skipped = member("skipped", executor_config=machine)(at, "skipped")
        stop >> skipped >> member("below", executor_config=machine)(at, "below")
        other = member("other")(at, "other")
        last = member("last", trigger_rule="none_failed", executor_config=machine)(at, "last", other)
        skipped >> last

    rig = Rig(hook, tmp_path, fill)
    rig.first("other")
    assert "other" in rig.second("other")
    assert {"no"} <= set(rig.again.reused)
    assert rig.second() == {"other"} if not rig.job.task("last") else {"other", "last"}


def test_a_skipped_task_is_reused_as_skipped(hook: VertexPipelineHook, tmp_path: Path) -> None:
    def fill(at: str) -> None:
        a = skipping.override(task_id="a", executor_config=MACHINE)(at, "a")
        b = member("b", executor_config=MACHINE)(at, "b", a)
        member("c", trigger_rule="all_done", executor_config=MACHINE)(at, "c", b)

    rig = Rig(hook, tmp_path, fill)
    (tmp_path / "skip-a").touch()
    assert rig.first("c") == {"a", "c"}
    assert rig.second() == {"c"}
    assert rig.value("c") == ["c", None]


# Loops


def items(count: int) -> dict[str, Any]:
    """Return the run parameter that holds a loop's items, as submit writes it."""
    return {"g_each_items": [{"index": str(n), "arg_again": str(n)} for n in range(count)]}


def each(at: str, source: Any) -> Any:
    return member("each").partial(at=at, name="each").expand(again=source)


def collected(at: str) -> None:
    member("sum")(at, "sum", each(at, [0, 1, 2]))
    member("beside")(at, "beside")


def test_a_loop_is_reused_with_what_it_collected(hook: VertexPipelineHook, tmp_path: Path) -> None:
    rig = Rig(hook, tmp_path, collected, **items(3))
    rig.first("sum")
    assert rig.second() == {"sum"}
    assert rig.again.reused == ("beside", "each")
    assert rig.value("sum") == ["sum", [["each-0"], ["each-1"], ["each-2"]]]
    assert set(rig.job.iterations("each")) == {0, 1, 2}


def test_what_two_jobs_collected_is_joined(hook: VertexPipelineHook, tmp_path: Path) -> None:
    rig = Rig(hook, tmp_path, collected, **items(3))
    rig.first("each-1")
    assert rig.second("sum") == {"each-1", "sum"}
    assert set(rig.again.reused) == {"beside"}
    assert rig.again.iterations == {"each": (0, 2)}
    assert rig.second() == {"sum"}
    assert set(rig.again.reused) == {"beside", "each"}
    assert rig.value("sum") == ["sum", [["each-0"], ["each-1"], ["each-2"]]]


def test_lists_are_joined_through_several_reruns(hook: VertexPipelineHook, tmp_path: Path) -> None:
    rig = Rig(hook, tmp_path, collected, **items(3))
    rig.first("each-0", "each-2")
    assert rig.second("each-0") == {"each-0", "each-2"}
    assert rig.second() == {"each-0", "sum"}
    assert rig.again.iterations == {"each": (1, 2)}
    assert rig.value("sum") == ["sum", [["each-0"], ["each-1"], ["each-2"]]]


def test_items_that_a_task_gives(hook: VertexPipelineHook, tmp_path: Path) -> None:
    def fill(at: str) -> None:
        @task
        def source(at: str) -> list[int]:
            from pathlib import Path

            (Path(at) / "source").write_text("x")
            return [5, 6]

        made = source(at)
        each(at, made) >> member("after")(at, "after", made)

    rig = Rig(hook, tmp_path, fill)
    rig.first("each-6")
    assert rig.second() == {"each-6", "after"}
    assert rig.again.iterations == {"each": (0,)}
    assert rig.value("after") == ["after", [5, 6]]
    assert {index: rig.value("each", index) for index in (0, 1)} == {0: ["each-5"], 1: ["each-6"]}


def test_only_failed_iterations_run_again(hook: VertexPipelineHook, tmp_path: Path) -> None:
    def fill(at: str) -> None:
        each(at, [0, 1, 2, 3]) >> member("after")(at, "after")

    rig = Rig(hook, tmp_path, fill, **items(4))
    rig.first("each-1", "each-3")
    assert rig.second("each-3") == {"each-1", "each-3"}
    assert rig.again.iterations == {"each": (0, 2)}
    assert rig.again.reused == ()
    assert rig.second() == {"each-3", "after"}
    assert rig.again.iterations == {"each": (0, 1, 2)}
    assert {index: rig.value("each", index) for index in range(4)} == {n: [f"each-{n}"] for n in range(4)}


def test_a_loop_that_a_later_version_collects_is_another_one(
    hook: VertexPipelineHook, tmp_path: Path
) -> None:
    def fill(at: str) -> None:
        each(at, [0, 1, 2]) >> member("after")(at, "after")

    rig = Rig(hook, tmp_path, fill, **items(3))
    rig.first("each-1")
    assert rig.second("after") == {"each-1", "after"}
    # A loop that hands out what it collects is another one.
    rig.spec, _ = rig.compiled(collected)
    assert rig.second() == {"each-0", "each-1", "each-2", "sum", "beside"}


def test_other_items_run_all_again(hook: VertexPipelineHook, tmp_path: Path) -> None:
    def fill(at: str) -> None:
        each(at, [0, 1, 2])
        member("beside")(at, "beside")

    rig = Rig(hook, tmp_path, fill, **items(3))
    rig.first("each-1")
    rig.values = {**rig.values, **items(4)}
    assert rig.second() == {"each-0", "each-1", "each-2", "each-3"}
    assert rig.again.iterations == {}


def test_a_mapped_group_with_machines(hook: VertexPipelineHook, tmp_path: Path) -> None:
    def fill(at: str) -> None:
        @task_group(group_id="each")
        def instance(number: int) -> Any:
            one = work.override(task_id="one")(at, "one", again=number)
            return work.override(task_id="two", executor_config=MACHINE)(at, "two", one, again=number)

        member("last", trigger_rule="none_failed")(at, "last", instance.expand(number=[0, 1]))
        member("beside")(at, "beside")

    rig = Rig(hook, tmp_path, fill)
    rig.values["g_each_items"] = [{"index": str(n), "arg_number": str(n)} for n in range(2)]
    rig.first("last")
    assert rig.second() == {"last"}
    assert rig.value("last") == ["last", [["two-0", ["one-0"]], ["two-1", ["one-1"]]]]


# Setup and teardown


def test_a_setup_runs_again_for_its_scope(hook: VertexPipelineHook, tmp_path: Path) -> None:
    def fill(at: str) -> None:
        start = member("start")(at, "start").as_setup()
        inside = member("inside")(at, "inside")
        more = member("more")(at, "more", inside)
        stop = member("stop")(at, "stop").as_teardown(setups=start)
        start >> inside >> more >> stop
        member("outside")(at, "outside")
        stop >> member("last")(at, "last")

    rig = Rig(hook, tmp_path, fill)
    assert "exit-handler-1" not in rig.spec["root"]["dag"]["tasks"]
    rig.first("more")
    assert rig.second() == {"start", "inside", "more", "stop", "last"}
    assert rig.again.reused == ("outside",)
    assert rig.needs == {"inside": ["start"], "more": ["start"], "stop": ["start"]}
    assert rig.again.reasons["start"] == "is a setup task of 'more', which runs again"
    assert rig.again.reasons["inside"] == "follows 'start', which runs again"


def test_a_setup_without_teardown_runs_again_for_all_below(hook: VertexPipelineHook, tmp_path: Path) -> None:
    def fill(at: str) -> None:
        start = member("start")(at, "start").as_setup()
        start >> member("inside")(at, "inside") >> member("more")(at, "more")

    rig = Rig(hook, tmp_path, fill)
    rig.first("more")
    # The spec alone does not tell what is a setup.
    assert rig.rerun(needs=None).reused == ("inside", "start")
    assert rig.needs == {"inside": ["start"], "more": ["start"]}
    assert rig.second() == {"start", "inside", "more"}


def test_tasks_in_an_exit_handler(hook: VertexPipelineHook, tmp_path: Path) -> None:
    def fill(at: str) -> None:
        a = member("a")(at, "a")
        b = member("b")(at, "b", a)
        [a, b] >> member("clean")(at, "clean").as_teardown()

    rig = Rig(hook, tmp_path, fill)
    assert "exit-handler-1" in rig.spec["root"]["dag"]["tasks"]
    assert rig.first("b") == {"a", "b", "clean"}
    assert rig.second("b") == {"b", "clean"}
    assert rig.again.reused == ("a",)
    assert rig.again.reasons == {"clean": "follows 'a' (with 1 more), which runs again"}
    assert rig.second() == {"b", "clean"}
    assert rig.value("b") == ["b", ["a"]]


def test_what_is_handed_to_the_exit_task_runs_again(hook: VertexPipelineHook, tmp_path: Path) -> None:
    def fill(at: str) -> None:
        start = member("start")(at, "start").as_setup()
        inside = member("inside")(at, "inside", start)
        other = member("other")(at, "other")
        last = member("last")(at, "last", other)
        [inside, last] >> member("stop")(at, "stop", start).as_teardown(setups=start)

    rig = Rig(hook, tmp_path, fill)
    assert "exit-handler-1" in rig.spec["root"]["dag"]["tasks"]
    rig.first("last")
    assert rig.second(needs=None) == {"start", "inside", "last", "stop"}
    assert rig.again.reused == ("other",)
    assert rig.again.reasons["start"] == "hands 'stop' something through the folder of the job"
    assert rig.value("stop") == ["stop", ["start"]]


def test_a_failed_exit_task_alone(hook: VertexPipelineHook, tmp_path: Path) -> None:
    def fill(at: str) -> None:
        a = member("a")(at, "a")
        a >> member("b")(at, "b") >> member("clean")(at, "clean").as_teardown()

    rig = Rig(hook, tmp_path, fill)
    rig.first("clean")
    assert rig.second() == {"b", "clean"}
    assert rig.again.reasons == {"b": "a pipeline has at least one task"}


# What the service may do


def everything(at: str) -> None:
    a = member("a")(at, "a")
    chosen = choose(at, ["g.left"])
    left = member("left", executor_config=MACHINE)(at, "left", a)
    right = member("right", executor_config=MACHINE)(at, "right")
    chosen >> [left, right]
    join = member("join", trigger_rule="none_failed_min_one_success")(at, "join", left, right)
    gathered = each(at, [0, 1])
    b = member("b")(at, "b", gathered)
    member("end")(at, "end", join, b)
    member("bad")(at, "bad", a)


@pytest.mark.slow
@pytest.mark.parametrize(
    "guess", [guess for guess in GUESSES if guess.others], ids=lambda guess: guess.switch
)
def test_no_guess_of_the_emulator_matters(
    guess: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for choice in guess.others:
        with VertexEmulator(**{guess.switch: choice}) as emulator:
            monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", emulator.connection_json())
            rig = Rig(VertexPipelineHook(), tmp_path / str(choice), everything, **items(2))
            rig.first("each-1")
            assert rig.second("b") == {"each-1", "b"}
            assert rig.second() == {"b", "end"}
            assert rig.value("end") == [
                "end",
                ["join", ["left", ["a"]], None],
                ["b", [["each-0"], ["each-1"]]],
            ]
            assert rig.value("a") == ["a"]


def test_a_cancelled_job(hook: VertexPipelineHook, tmp_path: Path) -> None:
    @task(task_id="wait")
    def waiting(at: str, above: Any) -> Any:
        import time
        from pathlib import Path

        (Path(at) / "wait").write_text("x")
        while not (Path(at) / "skip-wait").exists():
            time.sleep(0.02)
        return ["wait", above]

    def fill(at: str) -> None:
        member("end")(at, "end", waiting(at, member("a")(at, "a")), member("b")(at, "b"))

    rig = Rig(hook, tmp_path, fill)
    name, _ = hook.create_job(
        location=LOCATION,
        job_id="cancelled",
        job={
            "display_name": "d.g",
            "pipeline_spec": rig.spec,
            "runtime_config": {"gcs_output_directory": ROOT},
        },
    )
    wait_until(lambda: (tmp_path / "wait").exists() and hook.get_job(name).tasks["b"].done, 60, "wait")
    hook.cancel_job(name)
    rig.job = rig.ended(name)
    rig.request = hook.read_request(name)
    (tmp_path / "skip-wait").touch()
    assert rig.second() == {"wait", "end"}
    assert rig.again.reused == ("a", "b")
    assert rig.value("end") == ["end", ["wait", ["a"]], ["b"]]


def as_the_service_may_have_it(data: Any) -> Any:
    """Numbers are doubles, and what is empty or false has gone."""
    if isinstance(data, dict):
        found = {name: as_the_service_may_have_it(value) for name, value in data.items()}
        return {name: value for name, value in found.items() if value or name in ("constant", "defaultValue")}
    if isinstance(data, list):
        return [as_the_service_may_have_it(item) for item in data]
    return float(data) if isinstance(data, int) and not isinstance(data, bool) else data


def test_the_service_s_own_form_of_a_spec_is_no_change(hook: VertexPipelineHook, tmp_path: Path) -> None:
    def fill(at: str) -> None:
        member("before", retries=2)(at, "before", "", 0, None)
        everything(at)

    rig = Rig(hook, tmp_path, fill, **items(2))
    rig.first("b")
    again = rig.rerun()
    given = rig.request["runtime_config"]["parameter_values"]
    assert again == rig.rerun(
        earlier_spec=as_the_service_may_have_it(rig.spec), earlier_values=as_the_service_may_have_it(given)
    )
    assert set(again.reused) >= {"before", "a", "left", "each"}
    assert again.reasons == {}


def test_a_request_makes_such_a_job_again(hook: VertexPipelineHook, tmp_path: Path) -> None:
    rig = Rig(hook, tmp_path, everything, **items(2))
    rig.first()
    first = rig.request
    assert first["pipeline_spec"] == rig.spec
    name, created = hook.create_job(location=LOCATION, job_id="again", job=first)
    assert created
    assert hook.read_request(name) == first
    assert rig.ended(name).succeeded
