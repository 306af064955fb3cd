"""Components for the tests of reruns, which leave traces. Without postponed annotations: kfp reads them."""
# mypy: disable-error-code="untyped-decorator,valid-type,no-untyped-def"

from pathlib import Path
from typing import Any, NamedTuple

import yaml
from kfp import compiler, dsl

from airflow_vertex_provider import Dataset, Input, Metrics, Model, Output

WRITE = """\
printf x >> "$0/write"
mkdir -p "$(dirname "$1")"
printf abc > "$1"
printf 3 > "$2"
printf 'it is "quoted"\\n' > "$3"
"""
EVERY_TYPE = """\
printf x >> "$0/every_type"
printf 3.0 > "$1"
printf true > "$2"
printf '[1, "a", {"b": 2.5}]' > "$3"
printf '{"k": [4, null]}' > "$4"
"""
TAKE_TYPES = """\
printf x >> "$0/take_types"
test ! -e "$0/fail-take_types"
printf "%s|%s|%s|%s" "$1" "$2" "$3" "$4" > "$5"
"""


@dsl.container_component
def write(at: str, data: dsl.Output[dsl.Dataset], size: dsl.OutputPath(int), note: dsl.OutputPath(str)):
    return dsl.ContainerSpec(
        image="alpine",
        command=["sh", "-ec"],
        args=[
            WRITE,
            at,
            data.path,
            size,
            note,
        ],
    )


@dsl.container_component
def every_type(
    at: str,
    number: dsl.OutputPath(float),
    flag: dsl.OutputPath(bool),
    items: dsl.OutputPath(list),
    table: dsl.OutputPath(dict),
):
    return dsl.ContainerSpec(
        image="alpine",
        command=["sh", "-ec"],
        args=[
            EVERY_TYPE,
            at,
            number,
            flag,
            items,
            table,
        ],
    )


@dsl.container_component
def take_types(
    at: str,
    number: float,
    flag: bool,
    items: list,  # type: ignore[type-arg]
    table: dict,  # type: ignore[type-arg]
    result: dsl.OutputPath(str),
):
    return dsl.ContainerSpec(
        image="alpine",
        command=["sh", "-ec"],
        args=[
            TAKE_TYPES,
            at,
            number,
            flag,
            items,
            table,
            result,
        ],
    )


@dsl.container_component
def read(at: str, data: dsl.Input[dsl.Dataset], size: int, result: dsl.OutputPath(str)):
    return dsl.ContainerSpec(
        image="alpine",
        command=["sh", "-ec"],
        args=[
            'printf x >> "$0/read"; test ! -e "$0/fail-read"; printf "%s/%s" "$(cat "$1")" "$2" > "$3"',
            at,
            data.path,
            size,
            result,
        ],
    )


@dsl.pipeline
def both(at: str) -> str:
    written = write(at=at)
    return read(at=at, data=written.outputs["data"], size=written.outputs["size"]).outputs["result"]  # type: ignore[no-any-return]


@dsl.container_component
def of_the_job(at: str, job: str, result: dsl.OutputPath(str)):
    return dsl.ContainerSpec(
        image="alpine",
        command=["sh", "-ec"],
        args=['printf x >> "$0/of_the_job"; printf "%s" "$1" > "$2"', at, job, result],
    )


@dsl.container_component
def told(at: str):
    return dsl.ContainerSpec(image="alpine", command=["sh", "-ec"], args=['printf x > "$0/told"', at])


def compiled(pipeline: Any, folder: Path) -> Any:
    path = folder / "kfp.yaml"
    compiler.Compiler().compile(pipeline, str(path))
    return yaml.safe_load(path.read_text())


def with_outputs(folder: Path) -> Any:
    """Compile a pipeline of kfp's that hands out a value and an artifact of each of its tasks."""

    class Outputs(NamedTuple):
        data: dsl.Dataset
        size: int
        result: str

    @dsl.pipeline(name="d-g")
    def pipeline(at: str) -> Outputs:
        written = write(at=at)
        size = written.outputs["size"]
        result = read(at=at, data=written.outputs["data"], size=size).outputs["result"]
        return Outputs(data=written.outputs["data"], size=size, result=result)

    return compiled(pipeline, folder)


def with_exit_handler(folder: Path) -> Any:
    """Compile a pipeline of kfp's with an exit task, and a task before what that is there for."""

    @dsl.pipeline(name="d-g")
    def pipeline(at: str) -> None:
        before = write(at=at)
        last = told(at=at).set_caching_options(False)
        with dsl.ExitHandler(last):
            made = every_type(at=at).after(before)
            read(at=at, data=before.outputs["data"], size=before.outputs["size"]).after(made)

    return compiled(pipeline, folder)


def importing(folder: Path) -> Any:
    """Compile a pipeline that takes an artifact by its address; return the spec as data."""

    @dsl.pipeline(name="d-g")
    def pipeline(uri: str) -> None:
        found = dsl.importer(
            artifact_uri=uri, artifact_class=dsl.Dataset, reimport=False, metadata={"a": [1.5]}
        )
        read(at="x", data=found.output, size=3)

    return compiled(pipeline, folder)


def make(at: str, data: Output[Dataset]) -> None:
    from pathlib import Path

    (Path(at) / "make").write_text("x")
    Path(data.path).write_text("abc")
    data.metadata.update({"rows": 3, "share": 0.5, "names": ["a", {"b": 1}]})


def train(
    at: str,
    data: Input[Dataset],
    model: Output[Model] = None,  # type: ignore[assignment]
    metrics: Output[Metrics] = None,  # type: ignore[assignment]
) -> list[Any]:
    from pathlib import Path

    (Path(at) / "train").write_text("x")
    if (Path(at) / "fail-train").exists():
        raise ValueError
    Path(model.path).write_text(Path(data.path).read_text().upper())
    metrics.log_metric("accuracy", 0.5)
    return [data.metadata["rows"], data.metadata["names"]]


def look(at: str, model: Input[Model]) -> str:
    from pathlib import Path

    (Path(at) / "look").write_text("x")
    if (Path(at) / "fail-look").exists():
        raise ValueError
    return Path(model.path).read_text()
