"""A group with components of KFP between functions, inside and outside.

Annotations are not postponed in this file: kfp reads them.
"""

from typing import Any

from airflow.sdk import DAG, task, task_group
from kfp import dsl

from airflow_vertex_provider import (
    Joined,
    OutputFile,
    VertexComponentOperator,
    VertexContainerOperator,
    VertexTaskGroup,
)

#: Writes a number and the last argument to the files named first.
WRITE = 'mkdir -p "$(dirname "$1")" "$(dirname "$2")"; printf 0.5 > "$1"; printf "%s" "$3" > "$2"'


@dsl.container_component
def shell(x: str, times: int, result: dsl.OutputPath(str), count: dsl.OutputPath(int)):  # type: ignore[no-untyped-def, valid-type]
    return dsl.ContainerSpec(
        image="alpine",
        command=["sh", "-c", 'printf "%s" "$0" > "$2"; printf "%s" "$1" > "$3"'],
        args=[x, times, result, count],
    )


@dsl.container_component
def copy(x: dict, y: dsl.OutputPath(dict)):  # type: ignore[no-untyped-def, valid-type, type-arg]
    return dsl.ContainerSpec(image="alpine", command=["sh", "-c", 'printf "%s" "$0" > "$1"'], args=[x, y])


@dsl.pipeline(name="only")
def only(x: dict) -> dict:  # type: ignore[type-arg]
    return copy(x=x).outputs["y"]  # type: ignore[no-any-return]


@dsl.container_component
def silent():  # type: ignore[no-untyped-def]
    return dsl.ContainerSpec(image="alpine", command=["true"])


@task
def make(value: Any = 4) -> Any:
    return value


@task
def gather(one: Any, two: Any, three: Any) -> Any:
    return [one, two, three]


for worker in (False, True):
    with DAG("vertex_components_on_workers" if worker else "vertex_components", params={"n": 3}) as dag:
        table = make.override(task_id="table")({"a": [1, 0.5, None, 'it is "quoted"']})
        with VertexTaskGroup(
            "g",
            location="europe-west4",
            pipeline_root="gs://bucket/root",
            image="python:3.11",
            poll_interval=0.2,
            deferrable=not worker,
        ):
            text = make.override(task_id="text")("5")
            both = VertexComponentOperator(
                task_id="both", component=shell, arguments={"x": text, "times": "{{ params.n }}"}
            )
            one = VertexComponentOperator(task_id="one", component=only, arguments={"x": table})
            none = VertexComponentOperator(task_id="none", component=silent)
            box = VertexContainerOperator(
                task_id="box",
                command=["sh", "-c", WRITE, "-", OutputFile("score"), OutputFile("report")],
                arguments=[Joined("n=", both.output["count"])],
                outputs={"score": float, "report": str},
            )

            @task_group
            def each(word: Any) -> Any:
                return VertexComponentOperator(
                    task_id="word", component=shell, arguments={"x": word, "times": make()}
                ).output

            words: Any = each.expand(word=["a", "b"])
            inside = gather(one.output, both.output, words["result"])
        gather.override(task_id="outside")(one.output, both.output["result"], words["count"])
        gather.override(task_id="boxed")(box.output, box.output["score"], box.output["report"])
