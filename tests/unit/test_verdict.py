"""Whether a failed job is a failed group, judged by the group's last tasks as Airflow judges a run."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from airflow_vertex_provider.graph.model import (
    DECISION_OUTPUT,
    FromOutput,
    FromParameter,
    Graph,
    Loop,
    Task,
    TaskKind,
)
from airflow_vertex_provider.outputs import job_outcome
from airflow_vertex_provider.runtime import protocol
from airflow_vertex_provider.verdict import last_tasks, leaf_rules, leaf_states
from tests.unit.api_jobs import entry, job, loop

FAILED = "PIPELINE_STATE_FAILED"
NOT_RUN = "UpstreamFailed: not run: trigger rule"


def task(name: str, *upstream: str, rule: str = "all_success", **facts: Any) -> Task:
    kind = facts.pop("kind", TaskKind.PYTHON)
    return Task(name, name.replace(":", "-"), kind, {}, upstream=upstream, rule=rule, **facts)


def graph(*tasks: Task, loops: tuple[Loop, ...] = ()) -> Graph:
    return Graph("d", "g", "d-g", tasks, loops=loops)


def states(group: Graph, *entries: dict[str, Any]) -> dict[str, list[str]]:
    rules = json.loads(json.dumps(leaf_rules(group)))
    assert rules, "the group has nothing that takes care of failures"
    return leaf_states(job(*entries, state=FAILED), rules)


def test_without_tolerant_rules_there_is_nothing_to_judge() -> None:
    assert leaf_rules(graph(task("a"), task("b", "a", rule="none_failed"))) == {}


class TestStates:
    def test_of_tasks_that_ran(self) -> None:
        group = graph(
            task("bad"), task("after", "bad", rule="all_done"), task("skips"), task("fails"), task("silent")
        )
        found = states(
            group,
            entry(1, "bad", state="FAILED"),
            entry(2, "after", output__Output="1"),
            entry(3, "skips", state="SKIPPED", output__Output=protocol.SKIPPED),
            entry(4, "fails", state="FAILED"),
            entry(5, "silent"),
        )
        assert found == {
            "after": ["success"],
            "skips": ["skipped"],
            "fails": ["failed"],
            "silent": ["success"],
        }

    def test_by_the_names_the_service_uses(self) -> None:
        group = graph(task("a", display_name="First try"), task("b", "a", rule="all_done"))
        found = states(
            group, entry(1, "First try", state="FAILED"), entry(2, "b-gate", output__Decision="skip")
        )
        assert found == {"b": ["skipped"]}
        assert last_tasks(graph(task("a", display_name="First try"))) == {"a": "First try"}

    @pytest.mark.parametrize(
        ("rule", "expected"),
        [
            ("all_success", "upstream_failed"),
            ("one_success", "failed"),  # it should have run, and did not
            ("none_skipped", "failed"),
            ("all_failed", "skipped"),
            ("all_skipped", "skipped"),
        ],
    )
    def test_of_tasks_that_did_not_run(self, rule: str, expected: str) -> None:
        group = graph(
            task("bad"), task("good"), task("last", "bad", "good", rule=rule), task("t", rule="all_done")
        )
        entries = [entry(1, "bad", state="FAILED"), entry(2, "good", output__Output="1")]
        for shown in ([], [entry(3, "last", state="NOT_TRIGGERED")]):
            assert states(group, *entries, *shown)["last"] == [expected]

    def test_of_tasks_that_say_why_they_did_not_run(self) -> None:
        group = graph(
            task("bad"), task("gated", "bad", rule="one_success"), task("own", "bad", rule="one_done")
        )
        found = states(
            group,
            entry(1, "bad", state="FAILED"),
            entry(2, "gated-gate", output__Decision="skip"),
            entry(3, "gated", state="NOT_TRIGGERED"),
            {**entry(4, "own", state="FAILED"), "error": {"message": NOT_RUN}},
        )
        assert found == {"gated": ["skipped"], "own": ["upstream_failed"]}

    def test_of_what_a_branch_skipped(self) -> None:
        group = graph(
            task("branch"),
            task("bad"),
            task("kept", "branch", "bad", skipped_by=(("branch", "Follow_1"),), rule="all_done"),
            task("left", "branch", "bad", skipped_by=(("branch", "Follow_2"),), rule="one_failed"),
        )
        found = states(
            group,
            entry(1, "branch", output__Output='"kept"', output__Follow_1="run", output__Follow_2="skip"),
            entry(2, "bad", state="FAILED"),
            entry(3, "kept", output__Output="1"),
        )
        assert found == {"kept": ["success"], "left": ["skipped"]}

    def test_through_tasks_that_run_nothing(self) -> None:
        group = graph(
            task("bad"),
            task("join", "bad", kind=TaskKind.EMPTY, rule="all_done"),
            task("end", "bad", kind=TaskKind.EMPTY),
        )
        assert states(group, entry(1, "bad", state="FAILED")) == {
            "join": ["success"],
            "end": ["upstream_failed"],
        }

    def test_with_setups_far_above(self) -> None:
        group = graph(
            task("create", setup=True),
            task("work", "create"),
            task("late", "work", rule="all_done", setups=("create",)),
        )
        assert states(group, entry(1, "create", state="FAILED"))["late"] == ["upstream_failed"]


class TestLoops:
    MANY = FromOutput("give", "Items_many")

    def group(self, items: Any = MANY, *more: Task) -> Graph:
        return graph(
            task("give"),
            task("many", "give", loop="many"),
            task("after", "many", rule="all_done", loop="many"),
            task("end", "after", rule="one_success"),
            *more,
            loops=(Loop("many", items),),
        )

    def test_each_iteration_sees_its_own(self) -> None:
        found = states(
            graph(
                task("one", loop="l", rule="all_done"),
                task("two", "one", loop="l"),
                task("all", "two", rule="all_done"),
                task("two_more", "one", loop="l"),
                loops=(Loop("l", FromParameter("p")),),
            ),
            loop(),
            entry(2, "one", 1, "FAILED", input__item_index="0"),
            entry(3, "one", 1, input__item_index="1", output__Output=protocol.SKIPPED),
            entry(4, "one", 1, input__item_index="2", output__Output="1"),
            entry(5, "two_more", 1, input__item_index="2", output__Output="1"),
            entry(6, "all", output__Output="1"),
        )
        assert found == {"two_more": ["upstream_failed", "skipped", "success"], "all": ["success"]}

    @pytest.mark.parametrize("items", [[], "[]"])
    def test_over_nothing_is_skipped(self, items: Any) -> None:
        found = states(self.group(), entry(1, "give", output__Output="[]", output__Items_many=items))
        assert found == {"end": ["skipped"]}

    def test_over_nothing_at_submit_is_skipped(self) -> None:
        group = self.group(FromParameter("p"))
        assert states(group, entry(1, "give", output__Output="1")) == {"end": ["skipped"]}

    def test_that_should_have_run(self) -> None:
        found = states(self.group(), entry(1, "give", output__Output="[1]", output__Items_many=["{}"]))
        assert found == {"end": ["upstream_failed"]}

    def test_that_their_gate_skips(self) -> None:
        gate = Task("many:items", "many-items", TaskKind.GATE, {}, outputs=(DECISION_OUTPUT, "Items"))
        group = graph(
            task("bad"),
            gate,
            task("many", "many:items", loop="many"),
            task("end", "many", rule="all_done"),
            loops=(Loop("many", FromOutput("many:items", "Items")),),
        )
        found = states(
            group,
            entry(1, "bad", state="FAILED"),
            entry(2, "many-items", output__Decision="skip", output__Items=[]),
            entry(3, "end", output__Output="1"),
        )
        assert found == {"bad": ["failed"], "end": ["success"]}


class TestLeaves:
    GROUP = graph(
        task("create", setup=True),
        task("work", "create"),
        task("delete", "work", "create", rule="all_done_setup_success", teardown=True),
    )

    def entries(self, work: str, delete: str) -> list[dict[str, Any]]:
        return [entry(1, "create"), entry(2, "work", state=work), entry(3, "delete", state=delete)]

    def test_teardowns_do_not_count(self) -> None:
        assert states(self.GROUP, *self.entries("SUCCEEDED", "FAILED")) == {"work": ["success"]}

    def test_nothing_but_teardowns(self) -> None:
        group = graph(task("delete", rule="all_done_setup_success", teardown=True))
        assert states(group, entry(1, "delete", state="FAILED")) == {"delete": ["failed"]}
        assert last_tasks(group) == {"delete": "delete"}

    def test_last_tasks_of_the_pipeline(self) -> None:
        group = graph(
            task("a"),
            task("join", "a", kind=TaskKind.EMPTY),
            task("b", "join"),
            task("end", "b", kind=TaskKind.EMPTY),
            task("down", "b", teardown=True, rule="all_done_setup_success"),
        )
        assert last_tasks(group) == {"b": "b"}


class TestJob:
    GROUP = graph(task("bad"), task("after", "bad", rule="all_done"))

    @pytest.mark.parametrize(("after", "succeeded"), [("SUCCEEDED", True), ("FAILED", False)])
    def test_failures_that_were_taken_care_of(self, after: str, succeeded: bool) -> None:
        ended = job(
            {**entry(1, "bad", state="FAILED"), "error": {"message": "ValueError: boom"}},
            entry(2, "after", state=after),
            state=FAILED,
        )
        outcome = job_outcome(ended, {"bad": "g.bad", "after": "g.after"}, leaf_rules(self.GROUP))
        assert outcome is not None
        assert outcome.succeeded is succeeded
        assert outcome.state == FAILED
        assert ("taken care of" in outcome.message) is succeeded
        assert "Failed task 'g.bad' (Vertex task 'bad'): ValueError: boom" in outcome.message

    def test_a_group_whose_last_tasks_were_skipped(self) -> None:
        group = graph(task("first"), replace(task("last", "first"), may_skip=True))
        ended = job(entry(1, "first"), entry(2, "last", output__Output=protocol.SKIPPED))
        outcome = job_outcome(ended, {}, leaf_rules(group))
        assert outcome is not None
        assert outcome.skipped
        assert not outcome.succeeded
        ended = job(entry(1, "first"), entry(2, "last", output__Output="1"))
        outcome = job_outcome(ended, {}, leaf_rules(group))
        assert outcome is not None
        assert outcome.succeeded

    def test_a_cancelled_job_is_never_a_success(self) -> None:
        ended = job(entry(1, "bad"), entry(2, "after"), state="PIPELINE_STATE_CANCELLED")
        outcome = job_outcome(ended, {}, leaf_rules(self.GROUP))
        assert outcome is not None
        assert not outcome.succeeded
