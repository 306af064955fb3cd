"""Mapped tasks and groups: over what, how often, what comes back in which order."""

from __future__ import annotations

import pytest

from tests.differential.cases import Case, cases, check
from tests.differential.laboratory import Laboratory

pytestmark = pytest.mark.integration

#: Tasks for mapping; a mark tells the item.
MAPPED = """
@task
def each(x, name="each"):
    MARK(f"{name}[{x}]")
    return [x, name]

@task
def total(values):
    MARK("total")
    return list(values)

@task
def make(values):
    MARK("make")
    return values

@task
def odd_only(x):
    from airflow.exceptions import AirflowSkipException

    MARK(f"odd_only[{x}]")
    if x % 2 == 0:
        raise AirflowSkipException("even")
    return x

@task
def positive_only(x):
    MARK(f"positive_only[{x}]")
    if x < 0:
        raise ValueError("negative")
    return x
"""


def mapped(name: str, body: str, **expected: object) -> Case:
    """Return a case whose body may use the tasks above."""
    lines = [line[8:] if line.startswith(" " * 8) else line for line in body.strip("\n").splitlines()]
    return Case(name, MAPPED + "\n" + "\n".join(lines) + "\n", **expected)  # type: ignore[arg-type]


CASES = [
    mapped(
        "over a literal list",
        """
        with Group("g"):
            total(each.expand(x=[1, "two", None, {"k": 3}]))
        """,
        xcoms={"g.total": [[1, "each"], ["two", "each"], [None, "each"], [{"k": 3}, "each"]]},
    ),
    mapped(
        "over the output of a member",
        """
        with Group("g"):
            total(each.expand(x=make([3, 1, 2])))
        """,
        xcoms={"g.total": [[3, "each"], [1, "each"], [2, "each"]]},
    ),
    mapped(
        "over an outer value",
        """
        given = make([3, 1, 2])
        with Group("g"):
            values = each.expand(x=given)
            total(values)
        total.override(task_id="outside")(values)
        """,
        xcoms={"outside": [[3, "each"], [1, "each"], [2, "each"]]},
    ),
    mapped(
        "over a literal dict",
        """
        with Group("g"):
            total(each.expand(x={"a": 1, "b": [2]}))
        """,
    ),
    mapped(
        "over a dict that a member gives",
        """
        with Group("g"):
            total(each.expand(x=make({"a": 1, "b": [2]})))
        """,
    ),
    mapped(
        "partial",
        """
        with Group("g"):
            total(each.partial(name=t(plain, "named", "given")).expand(x=[1, 2]))
            each.override(task_id="fixed").partial(name="fixed").expand(x=make([3]))
        """,
        xcoms={"g.total": [[1, "given"], [2, "given"]]},
    ),
    mapped(
        "product of two",
        """
        with Group("g"):
            total(each.expand(x=[1, 2], name=make(["a", "b", "c"])))
        """,
        xcoms={"g.total": [[1, "a"], [1, "b"], [1, "c"], [2, "a"], [2, "b"], [2, "c"]]},
    ),
    mapped(
        "expand_kwargs over a literal",
        """
        with Group("g"):
            total(each.expand_kwargs([{"x": 1, "name": "a"}, {"x": 2}]))
        """,
    ),
    mapped(
        "expand_kwargs over a member",
        """
        with Group("g"):
            total(each.expand_kwargs(make([{"x": 1, "name": "a"}, {"x": 2}])))
        """,
        xcoms={"g.total": [[1, "a"], [2, "each"]]},
    ),
    mapped(
        "expand_kwargs over an outer value",
        """
        given = make([{"x": 1, "name": "a"}, {"x": 2}])
        with Group("g"):
            total(each.expand_kwargs(given))
        """,
    ),
    mapped(
        "mapped bash",
        """
        with Group("g"):
            said = BashOperator.partial(task_id="said").expand(
                bash_command=["echo x >> '$MARKS/said[1]'; echo one", "echo two", "exit 99"]
            )
            total(said.output)
        """,
        skipped="g.said[2] g.total",
    ),
    mapped(
        "mapped operator with templates",
        """
        def take(a, b):
            return [a, b]

        with Group("g"):
            partial = PythonOperator.partial(
                task_id="take", python_callable=take, op_kwargs={"b": "{{ params.n }}"}
            )
            partial.expand(op_args=[["{{ params.n }}"], ["2"]])
        """,
        options="params={'n': 7}",
        xcoms={"g.take[0]": ["7", "7"]},
    ),
    mapped(
        "templates in mapped items",
        """
        with Group("g"):
            each.expand(x=["{{ params.n }}", "plain"])
        """,
        options="params={'n': 7}",
    ),
    mapped(
        "over an empty literal list",
        """
        with Group("g"):
            values = each.expand(x=[])
            total(values)
            t(ok, "done", trigger_rule="all_done") << values
        """,
        skipped="g.each g.total",
    ),
    mapped(
        "over an empty list of a member",
        """
        with Group("g"):
            values = each.expand(x=make([]))
            total(values)
            t(ok, "done", trigger_rule="none_failed") << values
        """,
        skipped="g.each g.total",
    ),
    mapped(
        "over an empty outer list",
        """
        given = make([])
        with Group("g"):
            values = each.expand(x=given)
            total(values)
        total.override(task_id="outside")(values)
        """,
        skipped="g.each g.total outside",
    ),
    mapped(
        "some instances skipped",
        """
        with Group("g"):
            values = odd_only.expand(x=[1, 2, 3, 4])
            total(values)
            total.override(task_id="any", trigger_rule="none_failed_min_one_success")(values)
        """,
        skipped="g.odd_only[1] g.odd_only[3] g.total",
        xcoms={"g.any": [1, 3]},
    ),
    mapped(
        "all instances skipped",
        """
        with Group("g"):
            values = odd_only.expand(x=make([2, 4]))
            total.override(task_id="any", trigger_rule="none_failed_min_one_success")(values)
            total(values)
        """,
        skipped="g.odd_only[0] g.odd_only[1] g.any g.total",
    ),
    mapped(
        "one instance fails",
        """
        with Group("g"):
            values = positive_only.expand(x=[1, -2, 3])
            total(values)
            t(ok, "done", trigger_rule="all_done") << values
            t(ok, "alarm", trigger_rule="one_failed") << values
        """,
        failed="g.positive_only[1]",
        upstream_failed="g.total",
    ),
    mapped(
        "one instance fails and the rest is collected",
        """
        with Group("g"):
            total.override(trigger_rule="all_done")(positive_only.expand(x=[1, -2, 3]))
        """,
        failed="g.positive_only[1]",
        refused="takes the outputs of the mapped",
        xcoms={"g.total": [1, 3]},
    ),
    mapped(
        "instances that return nothing",
        """
        @task
        def sometimes(x):
            return x or None

        with Group("g"):
            total(sometimes.expand(x=[1, 0, 3]))
        """,
        xcoms={"g.total": [1, 3]},
    ),
    mapped(
        "no instance returns anything",
        """
        @task
        def never(x):
            MARK(f"never[{x}]")

        with Group("g"):
            total(never.expand(x=[1, 0]))
        """,
        xcoms={"g.total": []},
    ),
    mapped(
        "mapped over what mapped tasks gave",
        """
        with Group("g"):
            first = each.expand(x=[1, 2, 3])
            second = each.override(task_id="second").partial(name="second").expand(x=first)
            total(second)
        """,
    ),
    mapped(
        "mapped over a mapped task with skips",
        """
        with Group("g"):
            first = odd_only.expand(x=[1, 2, 3])
            each.override(task_id="second", trigger_rule="none_failed").expand(x=first)
        """,
        skipped="g.odd_only[1]",
        refused="for a task mapped over the output",
    ),
    mapped(
        "mapped then reduced then mapped",
        """
        with Group("g"):
            reduced = total(each.expand(x=[1, 2]))
            total.override(task_id="end")(each.override(task_id="again").expand(x=reduced))
        """,
    ),
    mapped(
        "the order of many",
        """
        with Group("g"):
            total(each.expand(x=list(range(12))))
        """,
    ),
    mapped(
        "one at a time",
        """
        with Group("g"):
            total(each.override(max_active_tis_per_dagrun=1).expand(x=[1, 2, 3]))
        """,
    ),
    mapped(
        "a failure above a mapped task",
        """
        with Group("g"):
            total(each.expand(x=t(bad, "broken")))
            each.override(task_id="literal").expand(x=[1, 2]) << t(bad, "other")
        """,
        failed="g.broken g.other",
        upstream_failed="g.each g.total g.literal[0] g.literal[1]",
    ),
    mapped(
        "a skip above a mapped task",
        """
        with Group("g"):
            total(each.expand(x=t(skip, "left")))
        """,
        skipped="g.left g.each g.total",
    ),
    mapped(
        "over a value that is no list",
        """
        with Group("g"):
            each.expand(x=make("text"))
            each.override(task_id="nothing").expand(x=make.override(task_id="none")(None))
        """,
        failed="g.make g.none",
        upstream_failed="g.each g.nothing",
    ),
    mapped(
        "mapped group over a literal",
        """
        @task_group
        def pair(x):
            return t(ok, "b", t(ok, "a", x))

        with Group("g"):
            total(pair.expand(x=["one", "two"]))
        """,
        xcoms={"g.total": [["b", ["a", "one"]], ["b", ["a", "two"]]]},
    ),
    mapped(
        "mapped group over a member",
        """
        @task_group
        def pair(x):
            first = each(x)
            other = positive_only(x)
            return total([first, other])

        with Group("g"):
            t(plain, "end", pair.expand(x=make([5, 6])))
        """,
    ),
    mapped(
        "mapped group over an outer value",
        """
        given = make([5, 6])

        @task_group
        def pair(x):
            return t(ok, "b", each(x))

        with Group("g"):
            values = pair.expand(x=given)
        total(values)
        """,
    ),
    mapped(
        "mapped group with a failure in one instance",
        """
        @task_group
        def pair(x):
            first = positive_only(x)
            t(ok, "b", first)
            t(ok, "c", trigger_rule="all_done") << first

        with Group("g"):
            values = pair.expand(x=[1, -2, 3])
            t(ok, "after") << values
            t(ok, "done", trigger_rule="all_done") << values
        """,
        failed="g.pair.positive_only[1]",
        upstream_failed="g.pair.b[1] g.after",
    ),
    mapped(
        "mapped group with skips in some instances",
        """
        @task_group
        def pair(x):
            return t(ok, "b", odd_only(x))

        with Group("g"):
            values = pair.expand(x=[1, 2, 3])
            total(values)
            total.override(task_id="any", trigger_rule="none_failed")(values)
        """,
        skipped="g.pair.odd_only[1] g.pair.b[1] g.total",
    ),
    mapped(
        "mapped group of nothing",
        """
        @task_group
        def pair(x):
            return t(ok, "b", each(x))

        with Group("g"):
            total(pair.expand(x=make([])))
        """,
        skipped="g.pair.each g.pair.b g.total",
    ),
    mapped(
        "branch in a mapped group",
        """
        @task.branch
        def choose(x):
            MARK(f"choose[{x}]")
            return "g.pair.left" if x > 1 else "g.pair.right"

        @task_group
        def pair(x):
            left, right = each.override(task_id="left")(x, "left"), each.override(task_id="right")(x, "right")
            end = total.override(trigger_rule="none_failed_min_one_success")([left, right])
            choose(x) >> [left, right] >> end
            return end

        with Group("g"):
            total.override(task_id="all")(pair.expand(x=[1, 2, 3]))
        """,
        refused="mapped",  # Airflow 3.3 lets every task run whatever the branch says (its issue 67265)
    ),
    mapped(
        "zip",
        """
        with Group("g"):
            a, b = make([1, 2, 3]), make.override(task_id="b")(["x", "y"])
            total(each.expand(x=a.zip(b)))
            each.override(task_id="filled").expand(x=a.zip(b, fillvalue="?"))
        """,
    ),
    mapped(
        "concat",
        """
        with Group("g"):
            a, b = make([1, 2, 3]), make.override(task_id="b")(["x", "y"])
            total(each.expand(x=a.concat(b)))
        """,
    ),
    mapped(
        "zip and concat of outer values",
        """
        a, b = make([1, 2, 3]), make.override(task_id="b")(["x", "y"])
        with Group("g"):
            total(each.expand(x=a.zip(b)))
            each.override(task_id="joined").expand(x=a.concat(b))
        """,
    ),
    mapped(
        "map on an output",
        """
        with Group("g"):
            total(each.expand(x=make([1, 2]).map(lambda x: x * 10)))
        """,
        refused="map",
    ),
    mapped(
        "dict items that change the order",
        """
        with Group("g"):
            total(each.expand(x={"z": 1, "a": 2, "m": 3}, name=["n"]))
        """,
    ),
    mapped(
        "mapped task below another of the same length",
        """
        with Group("g"):
            first = positive_only.expand(x=[1, -1])
            second = each.override(task_id="second").expand(x=[1, 2])
            first >> second
            third = each.override(task_id="third", trigger_rule="all_done").expand(x=[3, 4])
            first >> third
        """,
        failed="g.positive_only[1]",
        upstream_failed="g.second[0] g.second[1]",
    ),
    mapped(
        "hard values in items",
        """
        with Group("g"):
            values = [(1, [2]), {"a": ("b",)}, "it's \\"q\\" {x}", "", [], {}, 0, False, "null", "é ☃"]
            total(each.expand(x=make(values)))
            each.override(task_id="literal").expand(x=values)
        """,
    ),
    mapped(
        "mapped short circuit",
        """
        @task.short_circuit
        def only(x):
            MARK(f"only[{x}]")
            return x > 1

        @task_group
        def pair(x):
            only(x) >> each(x)

        with Group("g"):
            pair.expand(x=[1, 2])
        """,
        refused="mapped",  # for the same reason
    ),
    mapped(
        "mapped task retried",
        """
        @task(retries=2, retry_delay=timedelta(0))
        def flaky(x):
            import os

            MARK(f"flaky[{x}]")
            if x == 2 and os.path.getsize("$MARKS/flaky[2]") < 2:
                raise ValueError("again")
            return x

        with Group("g"):
            total(flaky.expand(x=[1, 2]))
        """,
    ),
    mapped(
        "a key of what a mapped group gives",
        """
        @task(multiple_outputs=True)
        def two(v):
            return {"left": v if v > 1 else None, "right": v} if v < 3 else None if v == 4 else {"right": v}

        @task_group
        def pair(v):
            return two(v)

        with Group("g"):
            total(pair.expand(v=[1, 2, 3, 4])["left"])
            each_of = two.override(task_id="each_of").expand(v=[1, 2, 3, 4])
            total.override(task_id="of_tasks")(each_of["left"])
        """,
        xcoms={"g.total": [None, 2], "g.of_tasks": [None, 2]},
    ),
    mapped(
        "mapped over a task of a mapped group",
        """
        @task
        def several(v):
            MARK(f"several[{v}]")
            return [None, {"a": 1}, "text", None][v]

        @task_group
        def pair(v):
            return several(v)

        with Group("g"):
            total(each.expand(x=pair.expand(v=[1, 2, 3])))
        """,
        failed="g.pair.several[1] g.pair.several[2]",
        upstream_failed="g.each g.total",
    ),
    mapped(
        "outputs as items of a literal list",
        """
        with Group("g"):
            total(each.expand(x=[make(5), 6, make.override(task_id="none")(None)]))
        """,
        xcoms={"g.total": [[5, "each"], [6, "each"], [None, "each"]]},
    ),
    mapped(
        "texts in mapped arguments",
        """
        given = make(["1\\n", "7"])
        entry = make.override(task_id="entry")({"x": 4, "name": 5})

        def take(a, b=None):
            return [a, b]

        with Group("g"):
            texts = ["a\\n\\n", "7", "{{ 7 }}\\n", ["2\\n", "{{ params.n }}"], {"k\\n": "v\\n"}, ("t\\n",)]
            each.override(task_id="listed").expand(x=texts)
            each.override(task_id="pairs").expand(x={"k\\n": "v\\n", "{{ 5 }}": "{{ 6 }}"})
            each.override(task_id="dicts").expand_kwargs([{"x": "a\\n", "name": "{{ 7 }}"}, entry])
            each.override(task_id="outer").expand(x=given)
            each.override(task_id="mixed").expand(x=[given, "1\\n"])
            each.override(task_id="own").expand(x=make(["3\\n"]), name=["4\\n"])
            each.override(task_id="gated").expand(x=make(["3\\n"]), name=["{{ params.n }}\\n"])
            given_by_position = PythonOperator.partial(task_id="positions", python_callable=take)
            given_by_position.expand(op_args=[["1\\n", "{{ 2 }}"]])
            commands = ["echo 1\\n", "echo '{{ 2 }}'", "x.sh", "y.sh"]
            BashOperator.partial(task_id="bash").expand(bash_command=commands)
        """,
        options="params={'n': 7}",
        files={"x.sh": "echo {{ params.n }}\n", "y.sh": "echo yes\n\n"},
    ),
    mapped(
        "native texts in mapped arguments",
        """
        with Group("g"):
            each.expand(x=["7", "{{ 7 }}", "['a']", ["{{ params.n }}", "b\\n"]])
            each.override(task_id="own").expand(x=make([3]), name=["4"])
        """,
        options="params={'n': 7}, render_template_as_native_obj=True",
    ),
    mapped(
        "texts in the arguments of mapped groups stay as they are",
        """
        entry = make({"x": 4, "y": 5})

        @task_group
        def pair(x):
            return each(x)

        @task_group
        def named(x, y):
            return each.override(task_id="of_named")(x, [y])

        with Group("g"):
            pair.expand(x=["a\\n", "7", "{{ 7 }}", ["2\\n"], {"{% b": "{# c #}"}, "no.sh"])
            named.expand_kwargs([{"x": "{{ 7 }}", "y": "1\\n"}, entry])
        """,
    ),
]


@cases(CASES)
def test_mapping(case: Case, laboratory: Laboratory) -> None:
    check(case, laboratory)
