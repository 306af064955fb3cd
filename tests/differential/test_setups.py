"""Setup and teardown: when they run, with which values, and what their failures mean."""

from __future__ import annotations

import pytest

from tests.differential.cases import Case, cases, check
from tests.differential.laboratory import Laboratory

pytestmark = pytest.mark.integration

CASES = [
    Case(
        "setup and teardown with values",
        """
        @setup
        def start():
            MARK("start")
            return {"cluster": "c1"}

        @teardown
        def stop(cluster):
            MARK("stop")
            return cluster

        with Group("g"):
            started = start()
            stop(started) << t(ok, "work", started) << started
        """,
        xcoms={"g.stop": {"cluster": "c1"}},
    ),
    Case(
        "work fails",
        """
        with Group("g") as g:
            start, work, stop = t(ok, "start"), t(bad, "work"), t(ok, "stop")
            start >> work >> t(ok, "more") >> stop.as_teardown(setups=start)
        g >> t(ok, "after")
        """,
        failed="g.work",
        upstream_failed="g.more after",
    ),
    Case(
        "work is skipped",
        """
        with Group("g") as g:
            start, work, stop = t(ok, "start"), t(skip, "work"), t(ok, "stop")
            start >> work >> t(ok, "more") >> stop.as_teardown(setups=start)
        g >> t(ok, "after")
        """,
        skipped="g.work g.more after",
    ),
    Case(
        "setup fails",
        """
        with Group("g"):
            start, work, stop = t(bad, "start"), t(ok, "work"), t(ok, "stop")
            start >> work >> stop.as_teardown(setups=start)
            t(ok, "beside")
        """,
        failed="g.start",
        upstream_failed="g.work g.stop",
    ),
    Case(
        "setup is skipped",
        """
        with Group("g"):
            start, work, stop = t(skip, "start"), t(ok, "work"), t(ok, "stop")
            start >> work >> stop.as_teardown(setups=start)
        """,
        skipped="g.start g.work g.stop",
    ),
    Case(
        "teardown fails",
        """
        with Group("g") as g:
            start, work, stop = t(ok, "start"), t(ok, "work"), t(bad, "stop")
            start >> work >> stop.as_teardown(setups=start)
        g >> t(ok, "after")
        """,
        failed="g.stop",
    ),
    Case(
        "teardown fails and counts",
        """
        with Group("g") as g:
            start, work, stop = t(ok, "start"), t(ok, "work"), t(bad, "stop")
            start >> work >> stop.as_teardown(setups=start, on_failure_fail_dagrun=True)
        g >> t(ok, "after")
        """,
        failed="g.stop",
    ),
    Case(
        "teardown as a context manager",
        """
        with Group("g"):
            with t(ok, "stop").as_teardown(setups=t(ok, "start")):
                t(ok, "b", t(ok, "a"))
                t(bad, "c")
        """,
        failed="g.c",
    ),
    Case(
        "two setups",
        """
        with Group("g"):
            one, two = t(ok, "one"), t(ok, "two")
            work, stop = t(ok, "work"), t(ok, "stop")
            [one, two] >> work >> stop.as_teardown(setups=[one, two])
        """,
    ),
    Case(
        "one of two setups fails",
        """
        with Group("g"):
            one, two = t(ok, "one"), t(bad, "two")
            work, stop = t(ok, "work"), t(ok, "stop")
            [one, two] >> work >> stop.as_teardown(setups=[one, two])
        """,
        failed="g.two",
        upstream_failed="g.work",
    ),
    Case(
        "one of two setups is skipped",
        """
        with Group("g"):
            one, two = t(ok, "one"), t(skip, "two")
            work, stop = t(ok, "work"), t(ok, "stop")
            [one, two] >> work >> stop.as_teardown(setups=[one, two])
        """,
        skipped="g.two g.work",
    ),
    Case(
        "nested setups",
        """
        with Group("g"):
            outer_start, inner_start = t(ok, "outer_start"), t(ok, "inner_start")
            outer_stop, inner_stop = t(ok, "outer_stop"), t(ok, "inner_stop")
            work = t(bad, "work")
            outer_start >> inner_start >> work >> inner_stop.as_teardown(setups=inner_start)
            inner_stop >> outer_stop.as_teardown(setups=outer_start)
            work >> outer_stop
        """,
        failed="g.work",
    ),
    Case(
        "inner setup fails",
        """
        with Group("g"):
            outer_start, inner_start = t(ok, "outer_start"), t(bad, "inner_start")
            outer_stop, inner_stop = t(ok, "outer_stop"), t(ok, "inner_stop")
            work = t(ok, "work")
            outer_start >> inner_start >> work >> inner_stop.as_teardown(setups=inner_start)
            inner_stop >> outer_stop.as_teardown(setups=outer_start)
        """,
        failed="g.inner_start",
        upstream_failed="g.work g.inner_stop",
    ),
    Case(
        "setup above by two levels with a tolerant rule",
        """
        with Group("g"):
            start, stop = t(bad, "start"), t(ok, "stop")
            a = t(ok, "a")
            start >> a >> t(ok, "b", trigger_rule="all_done") >> stop.as_teardown(setups=start)
        """,
        failed="g.start",
        upstream_failed="g.a g.b g.stop",
    ),
    Case(
        "teardown without a setup",
        """
        with Group("g") as g:
            t(ok, "work") >> t(bad, "more") >> t(ok, "stop").as_teardown()
        g >> t(ok, "after")
        """,
        failed="g.more",
        upstream_failed="after",
    ),
    Case(
        "setup without a teardown",
        """
        with Group("g"):
            start = t(ok, "start").as_setup()
            start >> t(ok, "work")
        """,
    ),
    Case(
        "two teardowns of one setup",
        """
        with Group("g"):
            start, work = t(ok, "start"), t(bad, "work")
            start >> work >> [
                t(ok, "stop").as_teardown(setups=start),
                t(ok, "other_stop").as_teardown(setups=start),
            ]
        """,
        failed="g.work",
    ),
    Case(
        "teardown over a nested group",
        """
        with Group("g"):
            start, stop = t(ok, "start"), t(ok, "stop")
            with TaskGroup("inner") as inner:
                t(ok, "b", t(bad, "a"))
                t(ok, "c")
            start >> inner >> stop.as_teardown(setups=start)
        """,
        failed="g.inner.a",
        upstream_failed="g.inner.b",
    ),
    Case(
        "setup inside a branch",
        """
        @task.branch
        def choose():
            return "g.other"

        with Group("g"):
            start, stop = t(ok, "start"), t(ok, "stop")
            start >> t(ok, "work") >> stop.as_teardown(setups=start)
            choose() >> [start, t(ok, "other")]
        """,
        skipped="g.start g.work g.stop",
    ),
    Case(
        "short circuit between setup and teardown",
        """
        @task.short_circuit
        def check():
            return False

        with Group("g"):
            start, stop = t(ok, "start"), t(ok, "stop")
            start >> check() >> t(ok, "work") >> stop.as_teardown(setups=start)
        """,
        skipped="g.work",
    ),
    Case(
        "mapped work between setup and teardown",
        """
        @task
        def each(x, given):
            MARK(f"each[{x}]")
            if x < 0:
                raise ValueError(x)
            return [x, given]

        with Group("g"):
            start, stop = t(ok, "start"), t(ok, "stop")
            start >> each.partial(given=start).expand(x=[1, -1]) >> stop.as_teardown(setups=start)
        """,
        failed="g.each[1]",
    ),
    Case(
        "teardown and an outer task below the work",
        """
        with Group("g"):
            start, work, stop = t(ok, "start"), t(ok, "work"), t(ok, "stop")
            start >> work >> stop.as_teardown(setups=start)
        t(ok, "after", work)
        """,
    ),
]


@cases(CASES)
def test_setups(case: Case, laboratory: Laboratory) -> None:
    check(case, laboratory)
