"""Branches, short circuits and skips: what they leave out, and what joins behind them."""

from __future__ import annotations

import pytest

from tests.differential.cases import Case, cases, check
from tests.differential.laboratory import Laboratory

pytestmark = pytest.mark.integration

JOIN = "none_failed_min_one_success"


def branch(name: str, choice: str, **expected: object) -> Case:
    """Return a case with a branch before two tasks and a join; ``choice`` is what the branch returns."""
    return Case(
        name,
        f"""
        @task.branch
        def choose():
            MARK("choose")
            return {choice}

        with Group("g"):
            left, right = t(ok, "left"), t(ok, "right")
            choose() >> [left, right]
            t(ok, "below", left)
            t(ok, "join", [left, right], trigger_rule="{JOIN}")
            t(ok, "strict", [left, right])
        """,
        **expected,  # type: ignore[arg-type]
    )


def short_circuit(name: str, value: str, *, settings: str = "", **expected: object) -> Case:
    """Return a case with a short circuit above a task, one below that and a join."""
    return Case(
        name,
        f"""
        @task.short_circuit{settings}
        def check():
            MARK("check")
            return {value}

        with Group("g"):
            first, beside = t(ok, "first"), t(ok, "beside")
            check() >> first >> t(ok, "second")
            t(ok, "join", [first, beside], trigger_rule="{JOIN}")
            t(ok, "done", trigger_rule="all_done") << first
        """,
        **expected,  # type: ignore[arg-type]
    )


CASES = [
    branch("branch to a task", "'g.left'", skipped="g.right g.strict"),
    branch("branch to the other task", "'g.right'", skipped="g.left g.below g.strict"),
    branch("branch to a list", "['g.left', 'g.right']"),
    branch("branch to an empty list", "[]", skipped="g.left g.right g.below g.join g.strict"),
    branch("branch to nothing", "None", skipped="g.left g.right g.below g.join g.strict"),
    branch(
        "branch to a task that is not there",
        "'g.nowhere'",
        failed="g.choose",
        upstream_failed="g.left g.right g.below g.join g.strict",
    ),
    branch(
        "branch to a number",
        "7",
        failed="g.choose",
        upstream_failed="g.left g.right g.below g.join g.strict",
    ),
    branch(
        "branch to a task that is not below", "'g.below'", skipped="g.left g.right g.below g.join g.strict"
    ),
    branch(
        "branch that raises",
        "1 / 0",
        failed="g.choose",
        upstream_failed="g.left g.right g.below g.join g.strict",
    ),
    Case(
        "branch by a value",
        """
        @task.branch
        def choose(value):
            return "g.big" if value["n"] > 3 else "g.small"

        given = t(plain, "given", {"n": 5})
        with Group("g"):
            choose(given) >> [t(ok, "big"), t(ok, "small")]
        """,
        skipped="g.small",
    ),
    Case(
        "branch to a group",
        """
        @task.branch
        def choose():
            return "g.two"

        with Group("g"):
            with TaskGroup("one") as one:
                t(ok, "b", t(ok, "a"))
            with TaskGroup("two") as two:
                t(ok, "d", t(ok, "c"))
                t(ok, "e")
            choose() >> [one, two] >> t(ok, "join", trigger_rule="none_failed_min_one_success")
        """,
        skipped="g.one.a g.one.b",
    ),
    Case(
        "branch operator",
        """
        def choose(day):
            return ["g.a", "g.c"] if day else None

        with Group("g"):
            chosen = BranchPythonOperator(task_id="choose", python_callable=choose, op_args=["{{ ds }}"])
            chosen >> [t(ok, "a"), t(ok, "b"), t(ok, "c")]
        """,
        skipped="g.b",
    ),
    Case(
        "empty branch",
        """
        @task.branch
        def choose():
            return "g.join"

        with Group("g"):
            chosen, extra = choose(), t(ok, "extra")
            join = t(ok, "join", trigger_rule="none_failed_min_one_success")
            chosen >> extra >> join
            chosen >> join
        """,
        skipped="g.extra",
    ),
    Case(
        "empty branch not taken",
        """
        @task.branch
        def choose():
            return "g.extra"

        with Group("g"):
            chosen, extra = choose(), t(ok, "extra")
            join = t(ok, "join", trigger_rule="none_failed_min_one_success")
            chosen >> extra >> join
            chosen >> join
        """,
    ),
    Case(
        "nested branches",
        """
        @task.branch
        def outer_choice():
            return "g.inner_choice"

        @task.branch
        def inner_choice():
            return "g.b"

        with Group("g"):
            inner = inner_choice()
            a, b, other = t(ok, "a"), t(ok, "b"), t(ok, "other")
            outer_choice() >> [inner, other]
            inner >> [a, b]
            inner_join = t(ok, "inner_join", [a, b], trigger_rule="none_failed_min_one_success")
            t(ok, "outer_join", [inner_join, other], trigger_rule="none_failed_min_one_success")
        """,
        skipped="g.a g.other",
    ),
    Case(
        "nested branches not taken",
        """
        @task.branch
        def outer_choice():
            return "g.other"

        @task.branch
        def inner_choice():
            return "g.b"

        with Group("g"):
            inner = inner_choice()
            a, b, other = t(ok, "a"), t(ok, "b"), t(ok, "other")
            outer_choice() >> [inner, other]
            inner >> [a, b]
            inner_join = t(ok, "inner_join", [a, b], trigger_rule="none_failed_min_one_success")
            t(ok, "outer_join", [inner_join, other], trigger_rule="none_failed_min_one_success")
        """,
        skipped="g.inner_choice g.a g.b g.inner_join",
    ),
    Case(
        "branch then failure",
        """
        @task.branch
        def choose():
            return "g.left"

        with Group("g"):
            left, right = t(bad, "left"), t(ok, "right")
            choose() >> [left, right]
            t(ok, "join", trigger_rule="none_failed_min_one_success") << [left, right]
            t(ok, "done", trigger_rule="all_done") << [left, right]
        """,
        failed="g.left",
        skipped="g.right",
        upstream_failed="g.join",
    ),
    Case(
        "branch past the group",
        """
        @task.branch
        def choose():
            return ["g.inside"]

        with Group("g"):
            chosen = choose()
            chosen >> [t(ok, "inside"), t(ok, "aside")]
        chosen >> t(ok, "outside")
        """,
        skipped="g.aside outside",
    ),
    Case(
        "value of a branch not taken",
        """
        @task.branch
        def choose():
            return "g.left"

        with Group("g"):
            left, right = t(ok, "left"), t(ok, "right")
            choose() >> [left, right]
            t(plain, "join", {"left": left, "right": right}, trigger_rule="none_failed_min_one_success")
        """,
        skipped="g.right",
        xcoms={"g.join": {"left": ["left", None], "right": None}},
    ),
    Case(
        "two branches above one task",
        """
        @task.branch
        def one():
            return "g.a"

        @task.branch
        def two():
            return "g.c"

        with Group("g"):
            a, b, c = t(ok, "a"), t(ok, "b"), t(ok, "c")
            one() >> [a, b]
            two() >> [b, c]
        """,
        skipped="g.b",
    ),
    short_circuit("short circuit lets through", "'yes'"),
    short_circuit("short circuit by an empty list", "[]", skipped="g.first g.second g.join g.done"),
    short_circuit("short circuit by nothing", "None", skipped="g.first g.second g.join g.done"),
    short_circuit(
        "short circuit of the next tasks only",
        "False",
        settings="(ignore_downstream_trigger_rules=False)",
        skipped="g.first g.second",
    ),
    short_circuit(
        "short circuit that raises",
        "1 / 0",
        failed="g.check",
        upstream_failed="g.first g.second g.join",
    ),
    Case(
        "short circuit operator",
        """
        with Group("g"):
            def never():
                return 0

            cut = ShortCircuitOperator(task_id="cut", python_callable=never)
            cut >> t(ok, "a") >> t(ok, "b")
        """,
        skipped="g.a g.b",
    ),
    Case(
        "short circuit with the join directly below",
        """
        @task.short_circuit
        def check(value):
            return value

        with Group("g"):
            t(ok, "join", trigger_rule="one_success") << [check(t(plain, "value", False)), t(ok, "a")]
        """,
        patient=True,
        skipped="g.join",
    ),
    Case(
        "short circuit past the group",
        """
        @task.short_circuit
        def check():
            return False

        with Group("g"):
            inner = t(ok, "inner")
            check() >> inner
        inner >> t(ok, "after") >> t(ok, "last", trigger_rule="all_done")
        """,
        skipped="g.inner after last",
    ),
    Case(
        "short circuit of a group",
        """
        @task.short_circuit(ignore_downstream_trigger_rules=False)
        def check():
            return False

        with Group("g"):
            with TaskGroup("inner") as inner:
                t(ok, "b", t(ok, "a"))
                t(ok, "c")
            check() >> inner >> t(ok, "join", trigger_rule="all_done")
        """,
        skipped="g.inner.a g.inner.b g.inner.c",
    ),
    Case(
        "skip through two levels",
        """
        with Group("g"):
            t(ok, "c", t(ok, "b", t(skip, "a")))
            t(ok, "beside")
        """,
        skipped="g.a g.b g.c",
    ),
    Case(
        "skip and values",
        """
        with Group("g"):
            a = t(skip, "a")
            t(ok, "b", [a, t(ok, "c")], trigger_rule="none_failed")
            t(ok, "d", a, trigger_rule="all_done")
            t(ok, "e", a, trigger_rule="all_skipped")
        t(ok, "outside", a, trigger_rule="all_done")
        """,
        skipped="g.a",
        xcoms={"g.b": ["b", [None, ["c", None]]], "outside": ["outside", None]},
    ),
    Case(
        "skip of a task with several outputs",
        """
        @task(multiple_outputs=True)
        def pair():
            from airflow.exceptions import AirflowSkipException

            raise AirflowSkipException("none")
            return {"left": 1}

        with Group("g"):
            both = pair()
            t(ok, "left", both["left"])
            t(ok, "any", trigger_rule="none_failed") << both
        """,
        skipped="g.pair g.left",
    ),
    Case(
        "skip of a branch",
        """
        @task.branch
        def choose():
            from airflow.exceptions import AirflowSkipException

            MARK("choose")
            raise AirflowSkipException("no choice")

        with Group("g"):
            choose() >> [t(ok, "a"), t(ok, "b", trigger_rule="none_failed")]
        """,
        skipped="g.choose g.a",
    ),
    Case(
        "skip on its own machine",
        """
        with Group("g"):
            a = t(skip, "a")
            t(ok, "b", a, executor_config={"vertex": {"custom_job": {"machine_type": "n1-standard-4"}}})
            t(ok, "c", trigger_rule="none_failed",
              executor_config={"vertex": {"custom_job": {"machine_type": "n1-standard-4"}}}) << a
        """,
        skipped="g.a g.b",
    ),
    Case(
        "branch before machines of their own",
        """
        MACHINE = {"vertex": {"custom_job": {"machine_type": "n1-standard-4"}}}

        @task.branch
        def choose():
            return "g.left"

        with Group("g"):
            left, right = t(ok, "left", executor_config=MACHINE), t(ok, "right", executor_config=MACHINE)
            choose() >> [left, right]
            rule = "none_failed_min_one_success"
            t(plain, "join", [left, right], trigger_rule=rule, executor_config=MACHINE)
        """,
        skipped="g.right",
        xcoms={"g.join": [["left", None], None]},
    ),
    Case(
        "skip by a condition",
        """
        @task
        def even(x):
            from airflow.exceptions import AirflowSkipException

            MARK("even")
            if x % 2:
                raise AirflowSkipException
            return x

        with Group("g"):
            t(ok, "a", even(4))
            t(ok, "b", even.override(task_id="odd")(3))
        """,
        skipped="g.odd g.b",
    ),
    Case(
        "branch over empty operators",
        """
        @task.branch
        def choose():
            return "g.yes"

        with Group("g"):
            yes, no = EmptyOperator(task_id="yes"), EmptyOperator(task_id="no")
            join = EmptyOperator(task_id="join", trigger_rule="none_failed_min_one_success")
            choose() >> [yes, no] >> join
            yes >> t(ok, "a")
            no >> t(ok, "b")
            join >> t(ok, "c")
        """,
        skipped="g.no g.b",
    ),
]


@cases(CASES)
def test_branches(case: Case, laboratory: Laboratory) -> None:
    check(case, laboratory)
