"""Pipelines as kfp and Google's components compile them, run as they are.

Annotations are not postponed in this file: kfp reads them.
"""
# mypy: disable-error-code="untyped-decorator"

import json
import warnings
from pathlib import Path

import pytest

from airflow_vertex_provider.emulator import VertexEmulator
from tests.emulator.pipelines import Client, Json, outputs, states, tasks

pytestmark = pytest.mark.slow

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # kfp announces new default images
    from google_cloud_pipeline_components.v1.custom_job import create_custom_training_job_from_component
    from kfp import compiler, dsl


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Json:
    """A pipeline with each kind of component that kfp offers and this emulator runs."""

    @dsl.component(base_image="python:3.11")
    def add(a: int, b: int = 2) -> int:
        return a + b

    @dsl.component(base_image="python:3.11")
    def write(data: dsl.Output[dsl.Dataset], text: str) -> None:
        Path(data.path).write_text(text)
        data.metadata["length"] = len(text)

    @dsl.component(base_image="python:3.11")
    def read(data: dsl.Input[dsl.Dataset]) -> str:
        with open(data.path) as file:  # noqa: PTH123 - only kfp's own imports are there
            return f"{file.read()} ({data.metadata['length']})"

    @dsl.container_component
    def shell(x: str, result: dsl.OutputPath(str), note: str = ""):  # type: ignore[no-untyped-def, valid-type]
        noted = dsl.IfPresentPlaceholder("note", ["yes"], ["no"])
        return dsl.ContainerSpec(
            image="alpine",
            command=["sh", "-c", 'printf "%s/%s/%s" "$0" "$2" "$3" > "$1"'],
            args=[x, result, dsl.ConcatPlaceholder(["n=", note]), noted],
        )

    train = create_custom_training_job_from_component(add, machine_type="n1-standard-8")

    @dsl.pipeline
    def inner(n: int) -> int:
        first = add(a=n)
        return add(a=first.output, b=10).output  # type: ignore[no-any-return]

    @dsl.pipeline(name="every-component")
    def every(n: int = 3, word: str = 'it\'s "quoted"') -> None:
        nested = inner(n=n)
        trained = train(a=nested.output, b=1)
        written = write(text=f"{word}: {trained.outputs['Output']}")
        shown = read(data=written.outputs["data"])
        shell(x=shown.output, note=word)

    # What is written here is the components' source code, so the imports they need stand in it.
    path = tmp_path_factory.mktemp("kfp") / "every.json"
    compiler.Compiler().compile(every, str(path))
    text = path.read_text().replace("Path(data.path)", "__import__('pathlib').Path(data.path)")
    result: Json = json.loads(text)
    return result


def test_every_kind_of_component(client: Client, emulator: VertexEmulator, spec: Json) -> None:
    job = client.run(spec, parameters={"n": 5})
    assert set(states(job).values()) == {"SUCCEEDED"}, _errors(job)
    # 5 + 2 + 10 in the nested pipeline, + 1 in the custom job.
    assert outputs(job, "inner") == {"Output": 17}
    assert outputs(job, "add")["Output"] == 18
    text = 'it\'s "quoted": 18'
    assert outputs(job, "read") == {"Output": f"{text} ({len(text)})"}
    assert outputs(job, "shell") == {"result": f'{text} ({len(text)})/n=it\'s "quoted"/yes'}
    pools = [item["jobSpec"]["workerPoolSpecs"][0] for item in emulator.custom_jobs()]
    assert [pool["machineSpec"]["machineType"] for pool in pools].count("n1-standard-8") == 1
    again = client.run(spec, parameters={"n": 5})
    assert {state for name, state in states(again).items() if name != "inner"} == {"SKIPPED"}


def _errors(job: Json) -> dict[str, str]:
    return {name: task["error"]["message"] for name, task in tasks(job).items() if "error" in task}
