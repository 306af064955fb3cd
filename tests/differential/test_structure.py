"""Edges and groups: who runs after whom, under which id."""

from __future__ import annotations

import pytest

from tests.differential.cases import Case, cases, check
from tests.differential.laboratory import Laboratory

pytestmark = pytest.mark.integration

CASES = [
    Case(
        "nested groups",
        """
        with Group("g"):
            with TaskGroup("one") as one:
                first = t(ok, "a")
                with TaskGroup("two"):
                    with TaskGroup("three"):
                        deep = t(ok, "b", first)
            t(ok, "c", deep)
        """,
        xcoms={"g.c": ["c", ["b", ["a", None]]]},
    ),
    Case(
        "edges between groups",
        """
        with Group("g"):
            with TaskGroup("one") as one:
                t(ok, "a") >> t(ok, "b")
                t(bad, "x")
            with TaskGroup("two") as two:
                t(ok, "c") >> t(ok, "d")
                t(ok, "y", trigger_rule="all_done")
            one >> two
        """,
        failed="g.one.x",
        upstream_failed="g.two.c g.two.d",
    ),
    Case(
        "edges between a group and a task",
        """
        with Group("g"):
            with TaskGroup("one") as one:
                t(ok, "a")
                t(skip, "b")
            before, after, late = t(ok, "before"), t(ok, "after"), t(ok, "late", trigger_rule="none_failed")
            before >> one >> [after, late]
        """,
        skipped="g.one.b g.after",
    ),
    Case(
        "empty inner group",
        """
        with Group("g"):
            with TaskGroup("one") as one:
                pass
            t(ok, "a") >> one >> t(ok, "b")
        """,
    ),
    Case(
        "labels",
        """
        with Group("g"):
            t(ok, "a") >> Label("then") >> t(bad, "b") >> Label("last") >> t(ok, "c")
        """,
        failed="g.b",
        upstream_failed="g.c",
    ),
    Case(
        "chain",
        """
        with Group("g"):
            chain(t(ok, "a"), [t(ok, "b"), t(bad, "c")], [t(ok, "d"), t(ok, "e")], t(ok, "f"))
        """,
        failed="g.c",
        upstream_failed="g.e g.f",
    ),
    Case(
        "cross_downstream",
        """
        with Group("g"):
            cross_downstream([t(ok, "a"), t(bad, "b")], [t(ok, "c"), t(ok, "d", trigger_rule="one_failed")])
        """,
        failed="g.b",
        upstream_failed="g.c",
    ),
    Case(
        "ids without a prefix",
        """
        with Group("g", prefix_group_id=False):
            a = t(ok, "a")
            with TaskGroup("inner", prefix_group_id=False):
                b = t(ok, "b", a)
            with TaskGroup("other"):
                t(ok, "c", b)
        t(ok, "d", b)
        """,
    ),
    Case(
        "several groups in a DAG",
        """
        with Group("g"):
            a = t(ok, "a")
        with Group("h"):
            b = t(ok, "a", a)
            t(bad, "x")
        with Group("i"):
            t(ok, "a", b)
        """,
        failed="h.x",
    ),
    Case(
        "a group inside a plain group",
        """
        with TaskGroup("outer") as outer:
            before = t(ok, "before")
            with Group("g"):
                inner = t(ok, "inner", before)
            after = t(ok, "after", inner)
        outer >> t(ok, "last")
        """,
    ),
    Case(
        "outer task that fails above the group",
        """
        with Group("g"):
            inner = t(ok, "inner")
        t(bad, "before") >> inner
        inner >> t(ok, "after")
        t(ok, "late", trigger_rule="all_done") << inner
        """,
        failed="before",
        upstream_failed="g.inner after",
    ),
    Case(
        "outer task that fails above the whole group",
        """
        with Group("g") as g:
            t(ok, "a") >> t(ok, "b")
        t(bad, "before") >> g >> t(ok, "after")
        """,
        failed="before",
        upstream_failed="g.a g.b after",
    ),
    Case(
        "outer task that is skipped above the whole group",
        """
        with Group("g") as g:
            t(ok, "a") >> t(ok, "b")
        t(skip, "before") >> g >> t(ok, "after")
        """,
        skipped="before g.a g.b after",
    ),
    Case(
        "the group's own failure",
        """
        with Group("g") as g:
            t(ok, "a") >> t(bad, "b")
        g >> [t(ok, "after"), t(ok, "late", trigger_rule="all_done")]
        g >> t(ok, "alarm", trigger_rule="one_failed")
        """,
        failed="g.b",
        upstream_failed="after",
    ),
    Case(
        "a group whose last task is skipped",
        """
        with Group("g") as g:
            t(ok, "a") >> t(skip, "b")
        g >> [
            t(ok, "after"),
            t(ok, "late", trigger_rule="none_failed"),
            t(ok, "join", trigger_rule="none_failed_min_one_success"),
            t(ok, "all_skipped", trigger_rule="all_skipped"),
        ]
        """,
        skipped="g.b after join",
    ),
    Case(
        "diamond",
        """
        with Group("g"):
            top = t(ok, "top")
            t(ok, "end", [t(ok, "left", top), t(ok, "right", top)])
        """,
    ),
    Case(
        "decorated inner group",
        """
        @task_group
        def inner(value):
            return t(ok, "b", t(ok, "a", value))

        with Group("g"):
            t(ok, "last", inner(t(ok, "first")))
        """,
    ),
    Case(
        "names that need care",
        """
        with Group("g"):
            a = t(ok, "With-Dash.and_dot")
            b = t(ok, "with-dash.and.dot", a)
            with TaskGroup("9numbers"):
                t(ok, "x" * 120, b)
        """,
    ),
]


@cases(CASES)
def test_structure(case: Case, laboratory: Laboratory) -> None:
    check(case, laboratory)
