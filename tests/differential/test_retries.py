"""Retries: how often a task runs, and what ends it."""

from __future__ import annotations

import pytest

from tests.differential.cases import Case, cases, check
from tests.differential.laboratory import Laboratory

pytestmark = pytest.mark.integration

RETRIES = "retries=2, retry_delay=timedelta(0)"

CASES = [
    Case(
        "success at the second try",
        f"""
        @task({RETRIES})
        def flaky():
            import os

            MARK("flaky")
            if os.path.getsize("$MARKS/flaky") < 2:
                raise ValueError("again")
            return "at last"

        with Group("g"):
            t(plain, "after", flaky())
        """,
        xcoms={"g.after": "at last"},
    ),
    Case(
        "no success at all",
        f"""
        with Group("g"):
            broken = t(bad, "broken", {RETRIES})
            t(ok, "after", broken)
            t(ok, "done", broken, trigger_rule="all_done")
        """,
        failed="g.broken",
        upstream_failed="g.after",
    ),
    Case(
        "a failure that no retry can mend",
        f"""
        @task({RETRIES})
        def hopeless():
            from airflow.exceptions import AirflowFailException

            MARK("hopeless")
            raise AirflowFailException("give up")

        with Group("g"):
            t(ok, "after", hopeless())
        """,
        failed="g.hopeless",
        upstream_failed="g.after",
    ),
    Case(
        "hopeless at the second try",
        f"""
        @task({RETRIES})
        def hopeless():
            import os
            from airflow.exceptions import AirflowFailException

            MARK("hopeless")
            if os.path.getsize("$MARKS/hopeless") > 1:
                raise AirflowFailException("give up")
            raise ValueError("again")

        with Group("g"):
            hopeless()
        """,
        failed="g.hopeless",
    ),
    Case(
        "skip at the second try",
        f"""
        @task({RETRIES})
        def undecided():
            import os
            from airflow.exceptions import AirflowSkipException

            MARK("undecided")
            if os.path.getsize("$MARKS/undecided") > 1:
                raise AirflowSkipException("not now")
            raise ValueError("again")

        with Group("g"):
            t(ok, "after", undecided())
        """,
        skipped="g.undecided g.after",
    ),
    Case(
        "bash at the third try",
        f"""
        with Group("g"):
            flaky = BashOperator(
                task_id="flaky",
                bash_command='echo x >> $MARKS/flaky; test $(wc -l < $MARKS/flaky) -gt 2 && echo fine',
                {RETRIES},
            )
            t(plain, "after", flaky.output)
        """,
        xcoms={"g.after": "fine"},
    ),
    Case(
        "retries that are not needed",
        f"""
        with Group("g"):
            t(ok, "a", {RETRIES}) >> t(skip, "b", {RETRIES})
        """,
        skipped="g.b",
    ),
    Case(
        "retries on a machine of its own",
        f"""
        with Group("g"):
            t(bad, "broken", {RETRIES},
              executor_config={{"vertex": {{"custom_job": {{"machine_type": "n1-standard-4"}}}}}})
        """,
        failed="g.broken",
    ),
    Case(
        "branch at the second try",
        f"""
        @task.branch({RETRIES})
        def choose():
            import os

            MARK("choose")
            if os.path.getsize("$MARKS/choose") < 2:
                raise ValueError("again")
            return "g.left"

        with Group("g"):
            choose() >> [t(ok, "left"), t(ok, "right")]
        """,
        skipped="g.right",
    ),
]


@cases(CASES)
def test_retries(case: Case, laboratory: Laboratory) -> None:
    check(case, laboratory)
