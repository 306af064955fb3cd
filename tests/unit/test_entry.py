"""Trigger rules of a closed group: what mirrors and submit get, what is refused, late edges included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup, setup, task, teardown

from airflow_vertex_provider import VertexTaskGroup
from airflow_vertex_provider.exceptions import VertexGroupError

SUBMIT = "train.submit_pipeline"
WAIT = "train.wait_for_pipeline"


@task
def give(value: Any = 1) -> Any:
    return value


def member(name: str, rule: str = "all_success", **options: Any) -> Any:
    return give.override(task_id=name, trigger_rule=rule, **options)()


def group(**options: Any) -> VertexTaskGroup:
    return VertexTaskGroup("train", location="europe-west4", pipeline_root="gs://bucket/root", **options)


def get(dag: DAG, task_id: str) -> Any:
    return dag.get_task(task_id)


def rules(dag: DAG) -> dict[str, str]:
    return {
        item.task_id.removeprefix("train."): str(item.trigger_rule.value)
        for item in dag.tasks
        if item.task_id != WAIT
    }


def above(dag: DAG, task_id: str) -> set[str]:
    return {item.removeprefix("train.") for item in get(dag, f"train.{task_id}").upstream_task_ids}


def refused(build: Callable[[], Any]) -> list[tuple[str, str]]:
    with DAG("d"), pytest.raises(VertexGroupError) as caught:
        build()
    return [(problem.where, problem.field) for problem in caught.value.problems]


class TestInside:
    def test_mirrors_keep_their_rules(self) -> None:
        with DAG("d") as dag, group():
            a, b = member("a"), member("b")
            [a, b] >> member("c", "one_success") >> member("e", "all_done")
        assert rules(dag) == {
            "a": "all_success",
            "b": "all_success",
            "c": "one_success",
            "e": "all_done",
            "submit_pipeline": "all_success",
        }
        assert above(dag, "c") == {"a", "b"}

    def test_a_rule_with_nothing_above_says_nothing(self) -> None:
        with DAG("d") as dag, group():
            member("a", "one_failed")
            EmptyOperator(task_id="nothing", trigger_rule="all_skipped")
        assert rules(dag) == dict.fromkeys(["a", "nothing", "submit_pipeline"], "all_success")
        assert above(dag, "a") == above(dag, "nothing") == {"submit_pipeline"}

    def test_always_waits_for_nobody(self) -> None:
        with DAG("d") as dag, group():
            a = member("a")
            a >> member("b", "always") >> member("c")
        assert above(dag, "b") == {"a"}
        assert rules(dag)["b"] == "all_done"
        assert above(dag, "c") == {"b"}

    def test_always_with_nothing_above(self) -> None:
        with DAG("d") as dag, group():
            member("b", "always")
        assert above(dag, "b") == {"submit_pipeline"}
        assert rules(dag)["b"] == "all_success"

    def test_always_cannot_be_mapped_over_a_member(self) -> None:
        def build() -> None:
            with group():
                over = give.override(task_id="a")(["true"])
                BashOperator.partial(task_id="b", trigger_rule="always").expand(bash_command=over)

        assert ("train.b", "trigger_rule") in refused(build)

    def test_setup_and_teardown(self) -> None:
        with DAG("d") as dag:
            with group():

                @setup
                def create() -> int:
                    return 1

                @teardown(on_failure_fail_dagrun=True)  # type: ignore[untyped-decorator]
                def delete() -> None: ...

                create() >> member("work") >> delete()
        create_task, delete_task = get(dag, "train.create"), get(dag, "train.delete")
        assert (create_task.is_setup, delete_task.is_teardown) == (True, True)
        assert delete_task.on_failure_fail_dagrun is True
        assert delete_task.trigger_rule.value == "all_done_setup_success"
        dag.validate_setup_teardown()
        assert WAIT not in create_task.get_flat_relative_ids(upstream=False)
        assert get(dag, WAIT).rules["leaves"] == ["train.work"]


class TestOutside:
    def test_the_usual_rule(self) -> None:
        with DAG("d") as dag:
            one, two = member("one"), member("two")
            with group():
                a = member("a")
                one >> a >> member("b", "all_done")
                two >> member("c")
        assert above(dag, "submit_pipeline") == {"one", "two"}
        assert rules(dag)["submit_pipeline"] == "all_success"

    @pytest.mark.parametrize("rule", ["all_done", "one_success", "none_failed", "always", "one_failed"])
    def test_one_rule_for_all_first_tasks_is_submit_s(self, rule: str) -> None:
        with DAG("d") as dag:
            outside = [member("one"), member("two")]
            with group():
                a, b = member("a", rule), member("b", rule)
                for item in outside:
                    item >> [a, b]
                a >> member("c", "all_done")
        assert rules(dag) == {
            "one": "all_success",
            "two": "all_success",
            "a": "all_success",
            "b": "all_success",
            "c": "all_done",
            "submit_pipeline": rule,
        }
        assert above(dag, "submit_pipeline") == {"one", "two"}

    def test_edges_to_a_group_while_it_was_empty(self) -> None:
        with DAG("d") as dag:
            outside = member("one")
            whole = group()
            outside >> whole
            with whole:
                member("a", "all_done") >> member("b")
        assert rules(dag)["submit_pipeline"] == "all_done"

    def test_edges_to_an_inner_group_while_it_was_empty(self) -> None:
        def build() -> None:
            outside = member("one")
            with group():
                member("a")
                inner = TaskGroup("inner")
                outside >> inner
                with inner:
                    member("b", "all_done") >> member("c", "one_success")

        assert refused(build) == [("train.inner.b", "trigger_rule")]

    @pytest.mark.parametrize(
        ("build", "where"),
        [
            (lambda one, two: (one >> member("a", "all_done"), member("b")), {"a"}),
            (lambda one, two: (one >> member("a", "all_done"), one >> member("b")), {"a"}),
            (lambda one, two: (one >> member("a", "all_done"), two >> member("b", "all_done")), {"a", "b"}),
            (lambda one, two: (one >> member("a", "all_done"), one >> member("b", "one_done")), {"a", "b"}),
            (lambda one, two: [one, member("a")] >> member("b", "all_done"), {"b"}),
            (lambda one, two: [member("a"), one] >> member("b", "none_failed"), {"b"}),
            (
                lambda one, two: (
                    (a := member("a", "all_done")).__rrshift__([one]),
                    [a, two] >> member("b"),
                ),
                {"a"},
            ),
        ],
    )
    def test_anything_else_is_refused(self, build: Callable[[Any, Any], Any], where: set[str]) -> None:
        def whole() -> None:
            outside = member("one"), member("two")
            with group():
                build(*outside)

        assert refused(whole) == [(f"train.{name}", "trigger_rule") for name in sorted(where)]

    def test_a_teardown_of_a_setup_outside_is_refused(self) -> None:
        def build() -> None:
            @setup
            def create() -> int:
                return 1

            @teardown
            def delete() -> None: ...

            created = create()
            with group():
                created >> delete()

        assert ("train.delete", "trigger_rule") in refused(build)


class TestLate:
    def test_edges_to_the_group_take_the_rule_of_its_first_tasks(self) -> None:
        with DAG("d") as dag:
            outside = member("one")
            with group() as whole:
                member("a", "all_done") >> member("b")
            assert rules(dag)["submit_pipeline"] == "all_success"
            outside >> whole
        assert rules(dag)["submit_pipeline"] == "all_done"
        assert above(dag, "submit_pipeline") == {"one"}

    def test_edges_to_a_group_of_several_rules_are_refused(self) -> None:
        def build() -> None:
            outside = member("one")
            with group() as whole:
                member("a", "all_done")
                member("b")
            outside >> whole

        assert refused(build) == [("train.a", "trigger_rule")]

    def test_edges_to_a_member(self) -> None:
        with DAG("d") as dag:
            outside = member("one")
            with group():
                a, b = member("a"), member("b", "one_success")
                a >> b
            outside >> a
            with pytest.raises(VertexGroupError, match="'one_success' below one outside"):
                outside >> b
        assert above(dag, "submit_pipeline") == {"one"}
        assert rules(dag)["submit_pipeline"] == "all_success"

    def test_an_edge_that_would_break_submit_s_rule(self) -> None:
        with DAG("d"):
            outside, other = member("one"), member("two")
            with group():
                a = member("a", "all_done")
                outside >> a
                b = a >> member("b")
            with pytest.raises(VertexGroupError, match=r"train\.a: trigger_rule"):
                other >> b

    def test_edges_between_members_change_what_a_failed_job_is_judged_by(self) -> None:
        with DAG("d") as dag:
            with group():
                member("a") >> member("b", "all_done")
                c, e = member("c"), member("e")
            assert get(dag, WAIT).rules["leaves"] == ["train.b", "train.c", "train.e"]
            c >> e
        wait = get(dag, WAIT)
        assert wait.rules["leaves"] == ["train.b", "train.e"]
        assert wait.rules["tasks"]["train.e"]["upstream"] == ["train.c"]
        if wait.start_from_trigger:
            assert wait.start_trigger_args.trigger_kwargs["rules"] == wait.rules

    @pytest.mark.parametrize("kind", ["rule", "branch", "mapped", "setup"])
    def test_edges_between_members_that_would_change_more_are_refused(self, kind: str) -> None:
        with DAG("d"):
            with group():
                a, b = member("a"), member("b", "one_success" if kind == "rule" else "all_success")
                if kind == "branch":

                    @task.branch
                    def choose() -> str:
                        return "train.c"

                    choose()
                if kind == "mapped":
                    give.override(task_id="many").expand(value=[1])
                if kind == "setup":
                    member("s").as_setup() >> member("w")
            with pytest.raises(VertexGroupError, match="drawn after the with block"):
                a >> b

    def test_a_branch_may_choose_what_follows_it_late(self) -> None:
        with DAG("d") as dag:
            with group():

                @task.branch
                def choose() -> str:
                    return "late"

                chosen = choose()
                chosen >> member("c")
            chosen >> member("late")
        ids = next(item for item in get(dag, SUBMIT).graph["tasks"] if item["id"] == "train.choose")
        assert {"late", "train.c"} <= set(ids["payload"]["ids"])


class TestOuterBranch:
    """A branch outside that chooses a member would skip the task that starts the group."""

    @staticmethod
    def choose() -> Any:
        @task.branch
        def choose() -> str:
            return "train"

        return choose()

    def test_above_a_member_is_refused(self) -> None:
        def build() -> None:
            chosen = self.choose()
            with group():
                chosen >> member("a")

        assert refused(build) == [("train.a", "upstream")]

    def test_above_a_member_is_refused_after_the_block(self) -> None:
        def build() -> None:
            with group():
                a = member("a")
            self.choose() >> a

        assert refused(build) == [("train.a", "upstream")]

    def test_above_a_nested_group_is_refused(self) -> None:
        def build() -> None:
            chosen = self.choose()
            with group():
                with TaskGroup("inner") as inner:
                    member("a")
                chosen >> inner

        assert refused(build) == [("train.inner.a", "upstream")]

    @pytest.mark.parametrize("when", ["before", "inside", "after"])
    def test_above_the_group_is_taken(self, when: str) -> None:
        with DAG("d") as dag:
            chosen, train = self.choose(), group()
            if when == "before":
                chosen >> train
            with train:
                member("a")
                if when == "inside":
                    chosen >> train
            if when == "after":
                chosen >> train
        assert get(dag, SUBMIT).upstream_task_ids == {"choose"}

    def test_above_a_group_around_it_is_taken(self) -> None:
        with DAG("d") as dag:
            with TaskGroup("outer") as outer:
                with group():
                    member("a")
            self.choose() >> outer
        assert get(dag, "outer.train.submit_pipeline").upstream_task_ids == {"choose"}

    def test_as_the_last_task_of_a_group_is_taken(self) -> None:
        with DAG("d") as dag:
            with TaskGroup("first") as first:
                self.choose()
            train = group()
            first >> train
            with train:
                member("a")
        assert get(dag, SUBMIT).upstream_task_ids == {"first.choose"}

    def test_a_short_circuit_may_stand_above_a_member(self) -> None:
        @task.short_circuit
        def check() -> bool:
            return True

        with DAG("d") as dag:
            with group():
                a = member("a")
            check() >> a
        assert get(dag, SUBMIT).upstream_task_ids == {"check"}
