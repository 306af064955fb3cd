"""DAGs that run Vertex task groups on the emulator, each for one file of tests."""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import dag, task

from airflow_vertex_provider import (
    CustomJob,
    VertexContainerOperator,
    VertexPipelineJobSensor,
    VertexTaskGroup,
)

OPTIONS: dict[str, Any] = {
    "location": "europe-west4",
    "pipeline_root": "gs://emulated-bucket/pipelines",
    "poll_interval": 0.5,
}

HARD_VALUES: dict[str, Any] = {
    "quotes": 'it\'s "quoted"',
    "jinja": "{{ not jinja }} {% nor this %} {# this #}",
    "placeholder": "{{$.inputs.parameters['value']}} {{$}}",
    "newlines": "a\nb\r\nc\td",
    "backslashes": "\\ \\n \\\\ C:\\temp\\",
    "emoji": "snowman ☃ rocket 🚀 flag 🇪🇺",
    "command": "$(touch x)",
    "semicolon": "a;rm -rf /tmp/nothing; `id` && false | cat > y",
    "long": "0123456789" * 10_000,
    "empty_dict": {},
    "empty_list": [],
    "empty_text": "",
    "null": None,
    "nested": {"a": [{"b": [None, True, False, {}]}, []], "": [[]]},
    "tenth": 0.1,
    "huge": 1e308,
    "big_integer": 2**53 + 1,
    # The largest that Airflow's own XComs carry; within a pipeline there is no limit.
    "bigger_integer": 2**64 - 1,
    "negative": -(2**63),
    "true": True,
    "text_true": "true",
    "text_number": "1",
}


def values_dag(dag_id: str, **options: Any) -> None:
    """Send every hard value from an outer task through a plain task and a custom job and back."""

    @task
    def give() -> Any:
        from vertex_dags import HARD_VALUES

        return HARD_VALUES

    @task
    def plain(value: dict[str, Any] | None, literal):  # type: ignore[no-untyped-def]
        return {"value": value, "literal": literal}

    @task
    def machine(value: Any) -> Any:
        return value["value"]

    @task
    def one(value, name):  # type: ignore[no-untyped-def]
        return value[name]

    @task
    def collect(value: Any, single: Any) -> Any:
        return {"value": value, "single": single}

    @dag(dag_id=dag_id, schedule=None)
    def build() -> None:
        given = give()
        with VertexTaskGroup("g", **{**OPTIONS, **options}):
            first = plain(given, {"fixed": [1, "two", {"three": 3.0}]})
            second = machine.override(
                executor_config={"vertex": {"custom_job": {"machine_type": "n1-standard-4"}}}
            )(first)
            single = one(second, name="quotes")
        collect(second, single)

    build()


values_dag("vertex_values")
values_dag("vertex_values_on_workers", deferrable=False)


@dag(dag_id="vertex_kinds", schedule=None, params={"n": 3})
def kinds() -> None:
    """Every kind of member, edges without data, templates and context."""

    def classic(a, b, *, ds, params, run_id):  # type: ignore[no-untyped-def]
        return {"a": a, "b": b, "ds": ds, "params": params, "run_id": run_id}

    @task.bash
    def written(name):  # type: ignore[no-untyped-def]
        return f"echo first; echo hello {name}"

    @task.vertex(custom_job=CustomJob(machine_type="n1-highmem-2"), env={"GREETING": "hi"})
    def own_machine(said: Any, logical_date: Any = None) -> Any:
        import os

        return [os.environ["GREETING"], said, logical_date.year]

    @task(multiple_outputs=True)
    def pair(values):  # type: ignore[no-untyped-def]
        return {"left": values[0], "right": values[1]}

    @task
    def take(left):  # type: ignore[no-untyped-def]
        return left

    @task
    def outside(right: Any) -> Any:
        return right

    @task
    def square(number: int) -> int:
        return number * number

    @task
    def total(numbers, pair_of):  # type: ignore[no-untyped-def]
        return [sum(numbers), list(pair_of), type(pair_of).__name__]

    squares = square.expand(number=[1, 2, 3])
    with VertexTaskGroup("g", **OPTIONS):
        total(squares, ("{{ params.n }}", squares))
        operator = PythonOperator(
            task_id="classic",
            python_callable=classic,
            op_args=["{{ ds_nodash }}"],
            op_kwargs={"b": ["{{ params.n }}", 2]},
        )
        bash = BashOperator(
            task_id="bash",
            bash_command='echo ignored; echo "$WHO {{ run_id }}"',
            env={"WHO": "{{ dag.dag_id }}"},
            append_env=True,
        )
        nothing = EmptyOperator(task_id="nothing")
        said = written("world")
        box = VertexContainerOperator(
            task_id="box",
            image="python:3.11-slim",
            command=["python3", "-c", "import sys; print(sys.argv[1:]); assert sys.argv[1] == 'hello world'"],
            arguments=[said, "--day={{ ds }}", 'it\'s $HOME; "quoted"'],
            env={"DAY": "{{ ds }}"},
        )
        halves = pair(own_machine(said))
        operator >> nothing >> [bash, box]
        take(halves["left"])
    outside(halves["right"])


kinds()


def lookup(names):  # type: ignore[no-untyped-def]
    return names["rows"]  # the line that looks


@dag(dag_id="vertex_failing", schedule=None)
def failing() -> None:
    """A member raises between two that run well and two that must not run."""

    @task
    def well():  # type: ignore[no-untyped-def]
        return "fine"

    @task
    def breaks(value):  # type: ignore[no-untyped-def]
        def inner(text):  # type: ignore[no-untyped-def]
            raise ValueError(f"cannot use {text!r}")

        return inner(value)

    @task
    def after(value):  # type: ignore[no-untyped-def]
        return value

    @task
    def beside():  # type: ignore[no-untyped-def]
        return "also fine"

    @task
    def outside(value):  # type: ignore[no-untyped-def]
        return value

    @task
    def several():  # type: ignore[no-untyped-def]
        try:
            lookup({})
        except KeyError as error:
            raise ExceptionGroup("two of them", [ValueError("the first"), TypeError("the second")]) from error

    with VertexTaskGroup("g", **OPTIONS):
        last = after(breaks(well()))
        beside()
        several()
        BashOperator(task_id="command", bash_command="echo 'no such table: rows' >&2; exit 3")
    outside(last)


failing()


@dag(dag_id="vertex_gate", schedule=None, params={"gate": "", "fail": False})
def gated() -> None:
    """Wait in the container until the file named by the run exists; fail if the run says so."""

    @task
    def waits(gate, params):  # type: ignore[no-untyped-def]
        import time
        from pathlib import Path

        while not Path(gate).exists():
            time.sleep(0.1)
        if params["fail"] or Path(gate + ".fail").exists():
            raise RuntimeError("told to fail")
        return gate

    with VertexTaskGroup("g", **OPTIONS):
        waits("{{ params.gate }}")


gated()


@dag(dag_id="vertex_sensor", schedule=None, params={"job": ""})
def sensing() -> None:
    """Wait for a job that somebody else submitted."""
    options: dict[str, Any] = {"job_name": "{{ params.job }}", "poll_interval": 0.5}
    VertexPipelineJobSensor(task_id="deferred", **options)
    VertexPipelineJobSensor(task_id="poking", deferrable=False, **options)


sensing()


def leave_mark(context: Any) -> None:
    """Success callback of a member: write its task id where the run says."""
    from pathlib import Path

    Path(context["params"]["marks"], context["ti"].task_id).touch()


@dag(dag_id="vertex_readers", schedule=None, params={"marks": "/tmp", "connection": "google_cloud_default"})
def readers() -> None:
    """Values that are read in unusual ways, or not at all; a connection that only the run knows."""

    @task
    def numbers():  # type: ignore[no-untyped-def]
        return [1, 2, 3]

    @task
    def square(number: int) -> int:
        return number * number

    @task
    def hidden():  # type: ignore[no-untyped-def]
        return {"password": "hunter2"}

    @task
    def beyond():  # type: ignore[no-untyped-def]
        return 2**70

    @task
    def marked():  # type: ignore[no-untyped-def]
        return "marked"

    with VertexTaskGroup("g", **{**OPTIONS, "gcp_conn_id": "{{ params.connection }}"}):
        listed = numbers()
        hidden.override(do_xcom_push=False)()
        beyond.override(do_xcom_push=False)()
        marked.override(on_success_callback=leave_mark)()
    square.expand(number=listed)


readers()


@dag(dag_id="vertex_wrong_values", schedule=None)
def wrong_values() -> None:
    """Members whose Vertex tasks succeed with values that Airflow refuses."""

    @task(multiple_outputs=True)
    def no_dict():  # type: ignore[no-untyped-def]
        return [1, 2]

    @task
    def beyond():  # type: ignore[no-untyped-def]
        return 2**70

    with VertexTaskGroup("g", **OPTIONS):
        no_dict()
        beyond()


wrong_values()
