"""Members one by one: what arrives in each kind of task, and what leaves it."""

from __future__ import annotations

import pytest

from tests.differential.cases import Case, cases, check
from tests.differential.laboratory import Laboratory

pytestmark = pytest.mark.integration

CASES = [
    Case(
        "values through three tasks",
        """
        with Group("g"):
            t(ok, "c", t(ok, "b", t(ok, "a")))
        """,
        xcoms={"g.c": ["c", ["b", ["a", None]]]},
    ),
    Case(
        "outer producer and outer consumer",
        """
        given = t(ok, "before", {"a": [1]})
        with Group("g"):
            inner = t(ok, "inner", given)
        t(ok, "after", inner)
        """,
        xcoms={"after": ["after", ["inner", ["before", {"a": [1]}]]]},
    ),
    Case(
        "multiple outputs",
        """
        @task(multiple_outputs=True)
        def pair():
            MARK("pair")
            return {"left": [1], "right": {"deep": None}}

        with Group("g"):
            both = pair()
            t(plain, "left", both["left"])
            t(plain, "right", both["right"])
            t(plain, "whole", both)
        t(plain, "outer", both["right"])
        """,
        xcoms={"g.left": [1], "outer": {"deep": None}},
    ),
    Case(
        "multiple outputs from an annotation",
        """
        @task
        def pair() -> dict[str, int]:
            return {"left": 1, "right": 2}

        with Group("g"):
            both = pair()
            t(plain, "left", both["left"])
        """,
        xcoms={"g.left": 1},
    ),
    Case(
        "multiple outputs that are no dict",
        """
        @task(multiple_outputs=True)
        def pair():
            MARK("pair")
            return [1, 2]

        with Group("g"):
            t(plain, "after", pair())
        """,
        failed="g.pair",
        upstream_failed="g.after",
    ),
    Case(
        "op_args and op_kwargs",
        """
        def add(a, b, *rest, ds, **more):
            MARK("add")
            return [a, b, rest, more.get("extra"), bool(ds)]

        with Group("g"):
            first = t(plain, "first", 5)
            added = PythonOperator(
                task_id="add", python_callable=add, op_args=[1, first, 3], op_kwargs={"extra": [first]}
            )
        t(plain, "after", added.output)
        """,
    ),
    Case(
        "keyword arguments that the function does not take",
        """
        def take(a):
            return a

        with Group("g"):
            PythonOperator(task_id="take", python_callable=take, op_kwargs={"a": 1, "b": 2})
        """,
        xcoms={"g.take": 1},
    ),
    Case(
        "templates_dict",
        """
        def show(templates_dict):
            return templates_dict

        with Group("g"):
            PythonOperator(
                task_id="show",
                python_callable=show,
                templates_dict={"dag": "{{ dag.dag_id[:3] }}", "deep": ["{{ params.n }}", 3]},
            )
        """,
        options="params={'n': 7}",
        xcoms={"g.show": {"dag": "dag", "deep": ["7", 3]}},
    ),
    Case(
        "params",
        """
        @task
        def read(params):
            return [params["n"], dict(params)]

        with Group("g"):
            read()
            t(plain, "rendered", "n is {{ params.n }}")
        """,
        options="params={'n': 7, 's': 'x'}",
        conf={"n": 8},
        xcoms={"g.read": [8, {"n": 8, "s": "x"}], "g.rendered": "n is 8"},
    ),
    Case(
        "conf of the run in a template",
        """
        with Group("g"):
            t(plain, "read", "{{ dag_run.conf['day'] }}")
        """,
        conf={"day": '2026-01-01 "quoted"'},
        xcoms={"g.read": '2026-01-01 "quoted"'},
    ),
    Case(
        "conf of the run in the function",
        """
        @task
        def read(dag_run):
            return dag_run.conf["day"]["deep"]

        with Group("g"):
            read()
        """,
        conf={"day": {"deep": [1, None]}},
        xcoms={"g.read": [1, None]},
    ),
    Case(
        "dates and ids of the context",
        """
        @task
        def read(ds, ds_nodash, ts, run_id, logical_date, data_interval_start, data_interval_end):
            same = ds == ds_nodash[:4] + "-" + ds_nodash[4:6] + "-" + ds_nodash[6:]
            same = same and ts.startswith(ds) and logical_date.isoformat() == ts
            same = same and run_id.startswith("manual__")
            return [same, data_interval_start == logical_date, data_interval_end.year > 2000]

        with Group("g"):
            read()
        """,
        xcoms={"g.read": [True, True, True]},
    ),
    Case(
        "the context as one dict",
        """
        @task
        def read(**context):
            return [context["ds"] == context["logical_date"].strftime("%Y-%m-%d"), dict(context["params"])]

        def classic(**context):
            return context["run_id"][:6]

        with Group("g"):
            read()
            PythonOperator(task_id="classic", python_callable=classic)
        """,
        options="params={'n': 7}",
        xcoms={"g.read": [True, {"n": 7}], "g.classic": "manual"},
    ),
    Case(
        "context argument that has a default",
        """
        @task
        def read(ds=None, params=None):
            return [len(ds), dict(params)]

        with Group("g"):
            read()
        """,
        xcoms={"g.read": [10, {}]},
    ),
    Case(
        "templates in nested arguments",
        """
        with Group("g"):
            first = t(plain, "first", ["{{ params.n }}", {"k": ("{{ params.n }}", 1)}, {"{{ params.n }}": 2}])
            t(plain, "second", first)
        """,
        options="params={'n': 7}",
    ),
    Case(
        "xcom_pull of an outer task in a template",
        """
        given = t(plain, "given", {"a": ["x"]})
        with Group("g"):
            pulled = t(plain, "pulled", "{{ ti.xcom_pull(task_ids='given')['a'][0] }}")
        given >> pulled
        """,
        xcoms={"g.pulled": "x"},
    ),
    Case(
        "macros and filters of the DAG",
        """
        with Group("g"):
            t(plain, "shout", "{{ shout('a') }} {{ 'b' | twice }}")
        """,
        options="user_defined_macros={'shout': str.upper}, user_defined_filters={'twice': lambda s: s * 2}",
        xcoms={"g.shout": "A bb"},
    ),
    Case(
        "asynchronous function",
        """
        @task
        async def later():
            import asyncio

            await asyncio.sleep(0)
            return "later"

        with Group("g"):
            later()
        """,
        xcoms={"g.later": "later"},
    ),
    Case(
        "virtualenv without requirements",
        """
        @task.virtualenv(serializer="pickle", system_site_packages=True)
        def apart(value):
            MARK("apart")
            return {"got": value}

        with Group("g"):
            t(plain, "after", apart(t(plain, "before", [1, "two"])))
        """,
        xcoms={"g.after": {"got": [1, "two"]}},
    ),
    Case(
        "PythonVirtualenvOperator",
        """
        def apart(value, day):
            return [value, len(day)]

        with Group("g"):
            PythonVirtualenvOperator(
                task_id="apart",
                python_callable=apart,
                op_kwargs={"value": 3, "day": "{{ ds }}"},
                system_site_packages=True,
            )
        """,
        xcoms={"g.apart": [3, 10]},
    ),
    Case(
        "last line of bash",
        """
        with Group("g"):
            said = BashOperator(
                task_id="said", bash_command="echo x >> $MARKS/said; echo one; echo 'two  \\"'"
            )
            silent = BashOperator(task_id="silent", bash_command="echo x >> $MARKS/silent")
            t(plain, "after", [said.output, silent.output])
        """,
        xcoms={"g.said": 'two  "', "g.after": ['two  "', ""]},
    ),
    Case(
        "bash with an environment",
        """
        with Group("g"):
            BashOperator(
                task_id="alone",
                bash_command='echo "$A|$B|${HOME:-none}"',
                env={"A": "{{ params.n }}", "B": "it's \\"b\\" $A"},
            )
            BashOperator(
                task_id="added", bash_command='echo "$A|${PATH:+path}"', env={"A": "1"}, append_env=True
            )
        """,
        options="params={'n': 7}",
        xcoms={"g.added": "1|path"},
    ),
    Case(
        "bash decorator",
        """
        @task.bash
        def say(what):
            MARK("say")
            return f"echo first; echo {what}"

        with Group("g"):
            t(plain, "after", say(t(plain, "before", "hello")))
        """,
        xcoms={"g.after": "hello"},
    ),
    Case(
        "bash from a file",
        """
        with Group("g"):
            BashOperator(task_id="script", bash_command="script.sh", env={"A": "1"}, append_env=True)
        """,
        options="params={'n': 7}",
        files={"script.sh": "echo x >> $MARKS/nothing 2>/dev/null\necho '{{ params.n }}' $A\n"},
        xcoms={"g.script": "7 1"},
    ),
    Case(
        "bash that fails",
        """
        with Group("g"):
            broken = BashOperator(task_id="broken", bash_command="echo x >> $MARKS/broken; exit 3")
            t(ok, "after", broken.output)
        """,
        failed="g.broken",
        upstream_failed="g.after",
    ),
    Case(
        "bash exit code 99",
        """
        with Group("g"):
            left = BashOperator(task_id="left", bash_command="echo x >> $MARKS/left; exit 99")
            t(ok, "after", left.output)
        """,
        skipped="g.left g.after",
    ),
    Case(
        "other exit codes that skip",
        """
        with Group("g"):
            BashOperator(task_id="one", bash_command="exit 4", skip_on_exit_code=[3, 4])
            BashOperator(task_id="two", bash_command="exit 99", skip_on_exit_code=[3, 4])
            BashOperator(task_id="three", bash_command="exit 5", skip_on_exit_code=5)
            BashOperator(task_id="four", bash_command="exit 99", skip_on_exit_code=None)
        """,
        skipped="g.one g.three",
        failed="g.two g.four",
    ),
    Case(
        "empty operators",
        """
        with Group("g"):
            start = EmptyOperator(task_id="start")
            middle = EmptyOperator(task_id="middle")
            end = EmptyOperator(task_id="end")
            start >> [t(ok, "a"), t(ok, "b")] >> middle >> t(ok, "c") >> end
        """,
    ),
    Case(
        "empty operator below a failure",
        """
        with Group("g"):
            middle = EmptyOperator(task_id="middle")
            end = EmptyOperator(task_id="end", trigger_rule="all_done")
            t(bad, "a") >> middle >> t(ok, "b") >> end >> t(ok, "c")
        """,
        failed="g.a",
        upstream_failed="g.middle g.b",
    ),
    Case(
        "group of empty operators",
        """
        with Group("g"):
            EmptyOperator(task_id="start") >> EmptyOperator(task_id="end")
        """,
        refused="no task that runs anything",
    ),
    Case(
        "a value that nobody may see",
        """
        with Group("g"):
            hidden = t(ok, "hidden", do_xcom_push=False)
            hidden >> t(ok, "after")
        """,
    ),
    Case(
        "defaults and keyword arguments",
        """
        @task
        def many(a, b=2, *rest, c, d=(4,), **more):
            return [a, b, rest, c, d, more.get("e")]

        with Group("g"):
            many(1, c=3)
            many.override(task_id="full")(1, 2, 3, c=4, d=5, e=t(plain, "six", 6))
        """,
    ),
]


@cases(CASES)
def test_members(case: Case, laboratory: Laboratory) -> None:
    check(case, laboratory)
