"""What stands above and below a whole group: whether it starts, and what its end means to others."""

from __future__ import annotations

import pytest

from tests.differential.cases import Case, cases, check
from tests.differential.laboratory import Laboratory

pytestmark = pytest.mark.integration

CASES = [
    Case(
        "failure above and a cleanup inside",
        """
        with Group("g") as g:
            t(ok, "first") >> t(ok, "work") >> t(ok, "cleanup", trigger_rule="all_done") >> t(ok, "last")
        t(bad, "before") >> g >> t(ok, "after")
        """,
        failed="before",
        upstream_failed="g.first g.work",
        here={"g.cleanup": "failed", "g.last": "upstream_failed", "after": "upstream_failed"},
    ),
    Case(
        "skip above and a cleanup inside",
        """
        with Group("g") as g:
            first = t(ok, "first")
            first >> t(ok, "work") >> t(ok, "cleanup", trigger_rule="all_done") >> t(ok, "last")
            first >> t(ok, "join", trigger_rule="none_failed")
        t(skip, "before") >> g >> [t(ok, "after"), t(ok, "late", trigger_rule="all_done")]
        """,
        skipped="before g.first g.work",
        here={
            "g.cleanup": "skipped",
            "g.last": "skipped",
            "g.join": "skipped",
            "after": "skipped",
            "late": "success",
        },
    ),
    Case(
        "failure above one of two first tasks",
        """
        with Group("g") as g:
            a, b = t(ok, "a"), t(ok, "b")
            t(ok, "c", [a, b], trigger_rule="one_failed")
        t(bad, "before") >> a
        """,
        failed="before",
        upstream_failed="g.a",
        here={"g.b": "upstream_failed", "g.c": "failed"},
    ),
    Case(
        "skip above one of two first tasks",
        """
        with Group("g"):
            a, b = t(ok, "a"), t(ok, "b")
        t(skip, "before") >> a
        """,
        skipped="before g.a",
        here={"g.b": "skipped"},
    ),
    Case(
        "failure above setup and teardown",
        """
        with Group("g"):
            start, work, stop = t(ok, "start"), t(ok, "work"), t(ok, "stop")
            start >> work >> stop.as_teardown(setups=start)
        t(bad, "before") >> start
        """,
        failed="before",
        upstream_failed="g.start g.work g.stop",
    ),
    Case(
        "skip above setup and teardown",
        """
        with Group("g"):
            start, work, stop = t(ok, "start"), t(ok, "work"), t(ok, "stop")
            start >> work >> stop.as_teardown(setups=start)
        t(skip, "before") >> start
        """,
        skipped="before g.start g.work g.stop",
    ),
    Case(
        "failure above an empty operator that bears it",
        """
        with Group("g"):
            a = t(ok, "a")
            a >> EmptyOperator(task_id="empty", trigger_rule="all_done") >> t(ok, "b")
        t(bad, "before") >> a
        """,
        failed="before",
        upstream_failed="g.a",
        here={"g.empty": "success", "g.b": "failed"},
    ),
    Case(
        "short circuit above the group",
        """
        @task.short_circuit
        def check():
            return False

        with Group("g") as g:
            t(ok, "a") >> t(ok, "b", trigger_rule="all_done")
        check() >> g >> t(ok, "after", trigger_rule="all_done")
        """,
        skipped="g.a g.b after",
    ),
    Case(
        "branch above to the group",
        """
        @task.branch
        def choose():
            return "g"

        with Group("g") as g:
            t(ok, "a") >> t(ok, "b")
        choose() >> [g, t(ok, "other")]
        """,
        skipped="other",
    ),
    Case(
        "branch above past the group",
        """
        @task.branch
        def choose():
            return "other"

        with Group("g") as g:
            t(ok, "a") >> t(ok, "b")
        choose() >> [g, t(ok, "other")]
        g >> t(ok, "after")
        """,
        skipped="g.a g.b after",
    ),
    Case(
        "branch above to a member",
        """
        @task.branch
        def choose():
            return "g.a"

        with Group("g"):
            a = t(ok, "a")
            a >> t(ok, "b")
        choose() >> [a, t(ok, "other")]
        """,
        skipped="other",
        refused="outside the group",
    ),
    Case(
        "branch inside to an outer group",
        """
        @task.branch
        def choose():
            return "outer"

        with Group("g"):
            chosen = choose()
            chosen >> t(ok, "inside")
        with TaskGroup("outer") as outer:
            t(ok, "a") >> t(ok, "b")
        with TaskGroup("other") as other:
            t(ok, "c")
        chosen >> [outer, other]
        """,
        skipped="g.inside other.c",
    ),
    Case(
        "failure before an empty operator that bears it",
        """
        with Group("g") as g:
            t(bad, "a") >> EmptyOperator(task_id="empty", trigger_rule="all_done") >> t(ok, "b")
        g >> t(ok, "after")
        """,
        failed="g.a",
    ),
    Case(
        "short circuit beside a failure and another last task",
        """
        @task.short_circuit
        def check():
            return False

        with Group("g") as g:
            [check(), t(bad, "a")] >> t(ok, "x")
            t(ok, "u")
        g >> t(ok, "late", trigger_rule="none_failed")
        """,
        failed="g.a",
        skipped="g.x late",
    ),
    Case(
        "short circuit of the next tasks beside a failure and another last task",
        """
        @task.short_circuit(ignore_downstream_trigger_rules=False)
        def check():
            return False

        with Group("g") as g:
            [check(), t(bad, "a")] >> t(ok, "x")
            t(ok, "u")
        g >> t(ok, "late", trigger_rule="none_failed")
        """,
        failed="g.a",
        skipped="g.x",
    ),
    Case(
        "branch beside a failure",
        """
        @task.branch
        def choose():
            return "g.y"

        with Group("g") as g:
            [choose(), t(bad, "a")] >> t(ok, "x")
            dag.get_task("g.choose") >> t(ok, "y")
        g >> [t(ok, "after"), t(ok, "late", trigger_rule="none_failed_min_one_success")]
        """,
        failed="g.a",
        skipped="g.x after",
        patient=True,
    ),
    Case(
        "always below a failure is the last task",
        """
        with Group("g") as g:
            t(bad, "a") >> t(ok, "x", trigger_rule="always")
        g >> t(ok, "after")
        """,
        failed="g.a",
    ),
    Case(
        "always above the last task",
        """
        with Group("g") as g:
            t(bad, "a") >> t(ok, "x", trigger_rule="always") >> t(ok, "y")
        g >> t(ok, "after")
        """,
        failed="g.a",
    ),
    Case(
        "one_done below tasks with others above them",
        """
        with Group("g"):
            f, k, s = t(bad, "f"), t(skip, "k"), t(ok, "s")
            u, v, w = t(ok, "u", f), t(bad, "v", s), t(ok, "w", k)
            empty = EmptyOperator(task_id="empty")
            f >> empty
            mixes = {"u": [u], "v": [v], "w": [w], "uv": [u, v], "uw": [u, w], "e": [empty], "es": [empty, s]}
            for name, mix in mixes.items():
                mix >> t(ok, "r_" + name, trigger_rule="one_done")
        """,
        failed="g.f g.v",
        skipped="g.k g.w g.r_u g.r_w g.r_uw g.r_e",
        upstream_failed="g.u g.empty",
    ),
    Case(
        "outer one_done below a group whose last task was not run",
        """
        with Group("g") as g:
            t(bad, "a") >> t(ok, "b")
        g >> t(ok, "after", trigger_rule="one_done")
        dag.get_task("g.b") >> t(ok, "exact", trigger_rule="one_done")
        """,
        failed="g.a",
        upstream_failed="g.b",
        skipped="after exact",
        here={"after": "success"},
    ),
    *(
        Case(
            f"outer {rule} below the whole group",
            f"""
            with Group("g") as g:
                a, b, c = t(ok, "a"), t(bad, "b"), t(skip, "c")
                t(ok, "d", b)
            with Group("h") as h:
                t(skip, "e")
            g >> t(ok, "one", trigger_rule="{rule}")
            h >> t(ok, "two", trigger_rule="{rule}")
            """,
            failed="g.b",
            skipped=f"g.c h.e {skipped}",
            upstream_failed=f"g.d {broken}",
            patient=True,
        )
        for rule, skipped, broken in (
            ("all_done", "", ""),
            ("all_failed", "one two", ""),
            ("all_skipped", "one", ""),
            ("none_failed", "", "one"),
            ("none_skipped", "one two", ""),
            ("one_failed", "two", ""),
            ("one_success", "two", ""),
            ("none_failed_min_one_success", "two", "one"),
            ("all_done_min_one_success", "one two", ""),
        )
    ),
]


@cases(CASES)
def test_entries(case: Case, laboratory: Laboratory) -> None:
    check(case, laboratory)
