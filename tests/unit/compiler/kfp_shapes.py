"""The groups of test_shapes.py in kfp's own language. Without postponed annotations: kfp reads them."""

from pathlib import Path
from typing import Any, Dict, List  # noqa: UP035 - kfp reads the old names alone

import yaml
from kfp import compiler, dsl

Items = List[Dict[str, str]]  # noqa: UP006


def _compiled(pipeline: Any, folder: Path) -> Any:
    path = folder / "kfp.yaml"
    compiler.Compiler().compile(pipeline, str(path))
    return yaml.safe_load(path.read_text())


def _spec() -> Any:
    return dsl.ContainerSpec(image="image", command=["run"])


@dsl.container_component  # type: ignore[untyped-decorator]
def choose(Value: dsl.OutputPath(str), Follow_1: dsl.OutputPath(str), Follow_2: dsl.OutputPath(str)):  # type: ignore[no-untyped-def, valid-type]
    return _spec()


@dsl.container_component  # type: ignore[untyped-decorator]
def a(Value: dsl.OutputPath(str)):  # type: ignore[no-untyped-def, valid-type]
    return _spec()


@dsl.container_component  # type: ignore[untyped-decorator]
def a_skipped(Value: dsl.OutputPath(str)):  # type: ignore[no-untyped-def, valid-type]
    return _spec()


@dsl.container_component  # type: ignore[untyped-decorator]
def c(Value: dsl.OutputPath(str)):  # type: ignore[no-untyped-def, valid-type]
    return _spec()


@dsl.container_component  # type: ignore[untyped-decorator]
def join(value: str, Value: dsl.OutputPath(str)):  # type: ignore[no-untyped-def, valid-type]
    return _spec()


@dsl.container_component  # type: ignore[untyped-decorator]
def first(Value: dsl.OutputPath(str)):  # type: ignore[no-untyped-def, valid-type]
    return _spec()


@dsl.container_component  # type: ignore[untyped-decorator]
def last(Value: dsl.OutputPath(str)):  # type: ignore[no-untyped-def, valid-type]
    return _spec()


@dsl.container_component  # type: ignore[untyped-decorator]
def source(Value: dsl.OutputPath(str), Items_each: dsl.OutputPath(Items)):  # type: ignore[no-untyped-def, valid-type]
    return _spec()


@dsl.container_component  # type: ignore[untyped-decorator]
def each(item_index: str, value: str, Value: dsl.OutputPath(str)):  # type: ignore[no-untyped-def, valid-type]
    return _spec()


@dsl.container_component  # type: ignore[untyped-decorator]
def reduce(value: list, Value: dsl.OutputPath(str)):  # type: ignore[no-untyped-def, valid-type, type-arg]
    return _spec()


@dsl.container_component  # type: ignore[untyped-decorator]
def clean(value: str = "none", Value: dsl.OutputPath(str) = None):  # type: ignore[no-untyped-def, valid-type]
    return _spec()


def branch_to_machines(folder: Path) -> Any:
    @dsl.pipeline(name="d-g")  # type: ignore[untyped-decorator]
    def pipeline() -> None:
        chosen = choose()
        with dsl.If(chosen.outputs["Follow_1"] == "run"):
            ran = a()
        with dsl.Else():
            skipped = a_skipped()
        join(value=dsl.OneOf(ran.output, skipped.output))
        with dsl.If(chosen.outputs["Follow_2"] == "run"):
            c()

    return _compiled(pipeline, folder)


def mapped_and_collected(folder: Path) -> Any:
    @dsl.pipeline(name="d-g")  # type: ignore[untyped-decorator]
    def pipeline(g_each_items: Items) -> None:
        with dsl.ParallelFor(g_each_items, parallelism=3) as item:
            one = each(item_index=item.index, value=item.arg_value)
        reduce(value=dsl.Collected(one.output))

    return _compiled(pipeline, folder)


def mapped_over_output(folder: Path) -> Any:
    @dsl.pipeline(name="d-g")  # type: ignore[untyped-decorator]
    def pipeline() -> None:
        with dsl.ParallelFor(source().outputs["Items_each"]) as item:
            each(item_index=item.index, value=item.arg_value)

    return _compiled(pipeline, folder)


@dsl.container_component  # type: ignore[untyped-decorator]
def all_a(item_index: str, Value: dsl.OutputPath(str)):  # type: ignore[no-untyped-def, valid-type]
    return _spec()


@dsl.container_component  # type: ignore[untyped-decorator]
def all_c(item_index: str, Value: dsl.OutputPath(str)):  # type: ignore[no-untyped-def, valid-type]
    return _spec()


@dsl.container_component  # type: ignore[untyped-decorator]
def all_c_skipped(Value: dsl.OutputPath(str)):  # type: ignore[no-untyped-def, valid-type]
    return _spec()


@dsl.container_component  # type: ignore[untyped-decorator]
def all_c_output(given: str, Value: dsl.OutputPath(str)):  # type: ignore[no-untyped-def, valid-type]
    return _spec()


def condition_in_loop(folder: Path) -> Any:
    @dsl.pipeline(name="d-g")  # type: ignore[untyped-decorator]
    def pipeline(g_all_items: Items) -> None:
        with dsl.ParallelFor(g_all_items) as item:
            once = all_a(item_index=item.index)
            with dsl.If(once.output != '{"$state":"skipped"}'):
                ran = all_c(item_index=item.index)
            with dsl.Else():
                skipped = all_c_skipped()
            given = all_c_output(given=dsl.OneOf(ran.output, skipped.output))
        reduce(value=dsl.Collected(given.output))

    return _compiled(pipeline, folder)


def after_failure(folder: Path) -> Any:
    @dsl.pipeline(name="d-g")  # type: ignore[untyped-decorator]
    def pipeline() -> None:
        clean(value=first().output).ignore_upstream_failure()

    return _compiled(pipeline, folder)


@dsl.container_component  # type: ignore[untyped-decorator]
def make(data: dsl.Output[dsl.Dataset], Value: dsl.OutputPath(str), Artifact_data: dsl.OutputPath(str)):  # type: ignore[no-untyped-def, valid-type]
    return _spec()


@dsl.container_component  # type: ignore[untyped-decorator]
def look(value: str, value_artifact: dsl.Input[dsl.Dataset], Value: dsl.OutputPath(str)):  # type: ignore[no-untyped-def, valid-type]
    return _spec()


@dsl.container_component  # type: ignore[untyped-decorator]
def each_inside(  # type: ignore[no-untyped-def]
    item_index: str,
    value: str,
    value_artifact: dsl.Input[dsl.Dataset],
    Value: dsl.OutputPath(str),  # type: ignore[valid-type]
):
    return _spec()


def artifacts(folder: Path) -> Any:
    @dsl.pipeline(name="d-g")  # type: ignore[untyped-decorator]
    def pipeline(g_each_items: Items) -> None:
        made = make()
        text, data = made.outputs["Artifact_data"], made.outputs["data"]
        look(value=text, value_artifact=data)
        with dsl.ParallelFor(g_each_items) as item:
            each_inside(item_index=item.index, value=text, value_artifact=data)

    return _compiled(pipeline, folder)


def exit_task(folder: Path) -> Any:
    @dsl.pipeline(name="d-g")  # type: ignore[untyped-decorator]
    def pipeline() -> None:
        with dsl.ExitHandler(last()):
            first()

    return _compiled(pipeline, folder)
