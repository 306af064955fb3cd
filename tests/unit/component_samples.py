"""Components of every kind that kfp makes. Without postponed annotations: kfp reads them."""
# mypy: disable-error-code="untyped-decorator,misc,type-arg"

from typing import Any

from kfp import dsl


@dsl.component(base_image="python:3.11", packages_to_install=["numpy"])
def installing(a: int) -> int:
    """Has a command that installs first."""
    return a


@dsl.component(base_image="python:3.11")
def add(a: int, b: int = 2) -> int:
    return a + b


@dsl.component(base_image="python:3.11")
def every_type(
    text: str, number: int, share: float, flag: bool, items: list, table: dict, note: str = "none"
) -> dict:
    return {"got": [text, number, share, flag, items, table, note]}


@dsl.component(base_image="python:3.11")
def write(data: dsl.Output[dsl.Dataset], text: str) -> None:
    with open(data.path, "w") as file:  # noqa: PTH123 - the component's own source code
        file.write(text)
    data.metadata["length"] = len(text)


@dsl.component(base_image="python:3.11")
def read(data: dsl.Input[dsl.Dataset]) -> str:
    with open(data.path) as file:  # noqa: PTH123
        return file.read()


@dsl.component(base_image="python:3.11")
def judge(model: dsl.Input[dsl.Model], anything: dsl.Input[dsl.Artifact] = None) -> bool:
    return model is not None and anything is not None


@dsl.container_component
def shell(x: str, result: dsl.OutputPath(str), count: dsl.OutputPath(int), note: str = ""):  # type: ignore[no-untyped-def, valid-type]
    """Prints what it is given."""
    return dsl.ContainerSpec(
        image="alpine",
        command=["sh", "-c", 'printf "%s/%s/%s" "$0" "$3" "$4" > "$1"; printf 3 > "$2"'],
        args=[
            x,
            result,
            count,
            dsl.ConcatPlaceholder(["n=", note]),
            dsl.IfPresentPlaceholder("note", ["yes"], ["no"]),
        ],
    )


@dsl.container_component
def silent():  # type: ignore[no-untyped-def]
    return dsl.ContainerSpec(image="alpine", command=["true"])


@dsl.component(base_image="python:3.11")
def farewell(status: dsl.PipelineTaskFinalStatus) -> None:
    print(status)


@dsl.pipeline(name="inner")
def inner(n: int, word: str = "none") -> int:
    first = add(a=n)
    with dsl.If(first.output > 100):
        installing(a=first.output)
    return add(a=first.output, b=10).output  # type: ignore[no-any-return]


@dsl.pipeline(name="outer-one")
def outer_one(n: int) -> int:
    """Has a pipeline in it, an importer and a loop."""
    dsl.importer(artifact_uri="gs://bucket/data", artifact_class=dsl.Dataset)
    with dsl.ParallelFor([1, 2]) as item:
        add(a=item)
    return inner(n=inner(n=n).output).output  # type: ignore[no-any-return]


@dsl.pipeline(name="add")
def namesake(n: int) -> int:
    """Is called as the only component in it, with another interface."""
    return add(a=n).output  # type: ignore[no-any-return]


@dsl.pipeline(name="dag-g")
def passing(word: str):  # type: ignore[no-untyped-def]
    written = write(text=word)
    shell(x=read(data=written.outputs["data"]).output)


@dsl.pipeline(name="dag-g")
def twice():  # type: ignore[no-untyped-def]
    inner(n=inner(n=1).output)


def a_call() -> Any:
    """Return what a component gives when it is called in a pipeline."""
    calls = []

    @dsl.pipeline
    def pipeline():  # type: ignore[no-untyped-def]
        calls.append(add(a=1))

    return calls[0]


def specification(component: Any) -> Any:
    """Return what kfp compiles of a component, as plain data."""
    from google.protobuf import json_format

    return json_format.MessageToDict(component.pipeline_spec)
