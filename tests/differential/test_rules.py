"""Every trigger rule over every mix of states above, and what the rules are used for."""

from __future__ import annotations

from itertools import combinations

import pytest

from tests.differential.cases import Case, cases, check
from tests.differential.laboratory import Laboratory

pytestmark = pytest.mark.integration

#: Kinds of states above: success, failed, skipped, upstream_failed; each mix is one task.
KINDS = "sfku"
MIXES = ["".join(mix) for size in range(1, 5) for mix in combinations(KINDS, size)]

#: Rule to the mixes that let the task run, and to those that skip it; all others make it upstream_failed.
RULES = {
    "all_success": ("s", "k sk"),
    "all_failed": ("f u fu", "s k sf sk su fk ku sfk sfu sku fku sfku"),
    "all_done": (" ".join(MIXES), ""),
    "one_success": ("s sf sk su sfk sfu sku sfku", "k"),
    "one_failed": (" ".join(mix for mix in MIXES if set(mix) & set("fu")), "s k sk"),
    "one_done": (" ".join(mix for mix in MIXES if set(mix) & set("sf")), "k u ku"),
    "none_failed": ("s k sk", ""),
    "none_failed_min_one_success": ("s sk", "k"),
    "none_skipped": (
        " ".join(mix for mix in MIXES if "k" not in mix),
        " ".join(m for m in MIXES if "k" in m),
    ),
    "all_skipped": ("k", " ".join(mix for mix in MIXES if mix != "k")),
    "all_done_min_one_success": ("s sf su sfu", " ".join(mix for mix in MIXES if "k" in mix)),
    "always": (" ".join(MIXES), ""),
}


def rule(name: str, machine: str = "") -> Case:
    """Return the case of one rule over all mixes."""
    runs, skips = (texts.split() for texts in RULES[name])
    broken = [mix for mix in MIXES if mix not in runs and mix not in skips]
    return Case(
        f"rule {name}{' on machines of their own' if machine else ''}",
        f"""
        with Group("g"):
            above = {{"s": t(ok, "s"), "f": t(bad, "f"), "k": t(skip, "k")}}
            above["u"] = t(ok, "u", above["f"])
            for mix in {MIXES if not machine else [mix for mix in MIXES if len(mix) < 3]}:
                [above[kind] for kind in mix] >> t(ok, "r_" + mix, trigger_rule="{name}"{machine})
        """,
        failed="g.f",
        skipped=" ".join(["g.k", *(f"g.r_{mix}" for mix in skips if not machine or len(mix) < 3)]),
        upstream_failed=" ".join(["g.u", *(f"g.r_{mix}" for mix in broken if not machine or len(mix) < 3)]),
        patient=True,
    )


MACHINE = ', executor_config={"vertex": {"custom_job": {"machine_type": "n1-standard-4"}}}'

CASES = [
    *(rule(name) for name in RULES),
    *(
        rule(name, MACHINE)
        for name in ("all_done", "one_success", "one_failed", "none_failed_min_one_success", "all_skipped")
    ),
    Case(
        "rule one_done below tasks with nothing above them",
        """
        with Group("g"):
            s, f, k = t(ok, "s"), t(bad, "f"), t(skip, "k")
            mixes = {"s": [s], "f": [f], "k": [k], "sf": [s, f], "fk": [f, k], "sfk": [s, f, k]}
            for name, mix in mixes.items():
                mix >> t(ok, "r_" + name, trigger_rule="one_done")
        """,
        failed="g.f",
        skipped="g.k g.r_k",
    ),
    Case(
        "cleanup after a failure",
        """
        with Group("g"):
            work = t(ok, "work", t(bad, "broken"))
            t(ok, "cleanup", work, trigger_rule="all_done")
        """,
        failed="g.broken",
        upstream_failed="g.work",
        xcoms={"g.cleanup": ["cleanup", None]},
    ),
    Case(
        "cleanup that fails after a success",
        """
        with Group("g") as g:
            t(bad, "cleanup", trigger_rule="all_done") << t(ok, "work")
        g >> t(ok, "after")
        """,
        failed="g.cleanup",
        upstream_failed="after",
    ),
    Case(
        "alarm after a failure",
        """
        with Group("g"):
            a, b = t(ok, "a"), t(bad, "b")
            [a, b] >> t(ok, "alarm", trigger_rule="one_failed") >> t(ok, "after_alarm")
            [a, b] >> t(ok, "end")
        """,
        failed="g.b",
        upstream_failed="g.end",
    ),
    Case(
        "alarm without a failure",
        """
        with Group("g"):
            a, b = t(ok, "a"), t(ok, "b")
            [a, b] >> t(ok, "alarm", trigger_rule="one_failed") >> t(ok, "after_alarm")
            [a, b] >> t(ok, "end")
        """,
        skipped="g.alarm g.after_alarm",
    ),
    Case(
        "rules in a row",
        """
        with Group("g"):
            a = t(bad, "a")
            b = t(ok, "b", a)
            c = t(ok, "c", b, trigger_rule="all_failed")
            d = t(skip, "d", c, trigger_rule="all_success")
            e = t(ok, "e", d, trigger_rule="none_failed")
            f = t(ok, "f", e, trigger_rule="all_skipped")
            t(ok, "h", f, trigger_rule="all_done")
        """,
        failed="g.a",
        upstream_failed="g.b",
        skipped="g.d g.f",
    ),
    Case(
        "values of failed tasks",
        """
        with Group("g"):
            a, b, c = t(ok, "a"), t(bad, "b"), t(skip, "c")
            t(plain, "all", {"a": a, "b": b, "c": c, "list": [b, a]}, trigger_rule="all_done")
        """,
        failed="g.b",
        skipped="g.c",
        xcoms={"g.all": {"a": ["a", None], "b": None, "c": None, "list": [None, ["a", None]]}},
    ),
    Case(
        "values of several outputs of a failed task",
        """
        @task(multiple_outputs=True)
        def pair():
            raise ValueError("no")

        with Group("g"):
            both = pair()
            t(plain, "left", both["left"], trigger_rule="all_done")
        """,
        failed="g.pair",
    ),
    Case(
        "always below a failure and an outer task",
        """
        with Group("g"):
            always = t(ok, "always", trigger_rule="always")
            t(bad, "a") >> always >> t(ok, "after")
        t(ok, "outer") >> always
        """,
        failed="g.a",
        refused="outside the group",
    ),
    Case(
        "rules of outer tasks",
        """
        with Group("g") as g:
            a, b = t(bad, "a"), t(ok, "b")
        a >> t(ok, "alarm", trigger_rule="one_failed")
        a >> t(ok, "all_failed", trigger_rule="all_failed")
        b >> t(ok, "one_success", trigger_rule="one_success")
        [a, b] >> t(ok, "done", trigger_rule="all_done_min_one_success")
        [a, b] >> t(ok, "strict", trigger_rule="none_failed")
        """,
        failed="g.a",
        upstream_failed="strict",
    ),
    Case(
        "a failure that is taken care of",
        """
        with Group("g") as g:
            t(ok, "saved", trigger_rule="one_failed") << t(bad, "a")
            t(ok, "b")
        g >> t(ok, "after")
        """,
        failed="g.a",
    ),
    Case(
        "rules over a nested group",
        """
        with Group("g"):
            with TaskGroup("inner") as inner:
                t(ok, "a"), t(bad, "b"), t(skip, "c")
            inner >> [t(ok, "done", trigger_rule="all_done"), t(ok, "one", trigger_rule="one_success")]
        """,
        failed="g.inner.b",
        skipped="g.inner.c",
    ),
    Case(
        "outer task above a rule",
        """
        given = t(skip, "given")
        with Group("g"):
            t(ok, "a", given, trigger_rule="none_failed") >> t(ok, "b")
        """,
        skipped="given",
    ),
    Case(
        "outer failure above a tolerant member",
        """
        given = t(bad, "given")
        with Group("g"):
            t(ok, "a", given, trigger_rule="all_done") >> t(ok, "b")
        """,
        failed="given",
    ),
]


@cases(CASES)
def test_rules(case: Case, laboratory: Laboratory) -> None:
    check(case, laboratory)
