"""What members return and take: JSON of any kind and objects in files, on plain tasks and custom jobs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, task
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from airflow_vertex_provider import VertexContainerOperator, VertexTaskGroup, compile_group
from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.runtime import protocol
from airflow_vertex_provider.runtime.protocol import Reference, decode
from tests.emulator.pipelines import Client, outputs, tasks
from tests.support.groups import compiled

MACHINE = {"vertex": {"custom_job": {"machine_type": "n1-standard-4"}}}
#: Texts that something on the way might take for its own.
MARKS = ("{{$.inputs.parameters['x']}}", "{{$}}", "$(HOME)", "{{ ds }}", "@gs://a/b", "'", "\\", "\n", "\0")
TEXTS = st.text() | st.sampled_from(MARKS)
ATOMS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
VALUES = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(TEXTS | st.sampled_from(["$lit", "$file", "$tuple", "$state"]), inner, max_size=5)
    ),
    max_leaves=12,
)


@task
def give() -> Any:
    return None


@task
def hand_on(value: Any) -> Any:
    return value


def random_values(count: int) -> list[Any]:
    """Return as many values of any shape; the same ones in every run, so that a failure can be repeated."""
    found: list[Any] = []

    @settings(max_examples=2 * count, phases=[Phase.generate], database=None, derandomize=True, deadline=None)
    @given(VALUES)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    assert len(found) >= count
    return found[:count]


@pytest.fixture
def client(start_emulator: Callable[..., VertexEmulator], tmp_path: Path) -> Client:
    """A client of an emulator that keeps its buckets in the test's folder."""
    return Client(start_emulator(state_dir=tmp_path / "state").endpoint)


def test_a_thousand_values_through_plain_tasks_and_custom_jobs(client: Client, tmp_path: Path) -> None:
    values = random_values(1_000)
    batches = [values[start : start + 125] for start in range(0, 1_000, 125)]

    with DAG("d", schedule=None):
        given_outside = [give.override(task_id=f"out_{number}")() for number in range(len(batches))]
        group = VertexTaskGroup(
            "g", location="europe-west4", project_id="my-proj", pipeline_root="gs://bucket/root"
        )
        with group:
            for number, value in enumerate(given_outside):
                plain = hand_on.override(task_id=f"plain_{number}")(value)
                hand_on.override(task_id=f"job_{number}", executor_config=MACHINE)(plain)
    spec = compile_group(group)
    names = sorted(spec["root"]["inputDefinitions"]["parameters"])
    assert len(names) == len(batches)
    by_number = {int(name.rpartition("_")[2]): name for name in names}
    texts = [protocol.encode(batch) for batch in batches]
    parameters = {}
    for number, text in enumerate(texts):
        file = tmp_path / f"state/gcs/bucket/values/{number}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        large = protocol.argument_cost(text) > 20_000
        uri = f"gs://bucket/values/{number}.json"
        parameters[by_number[number]] = str(Reference.to(uri, text)) if large else text
    job = client.run(spec, parameters=parameters)
    assert job["state"] == "PIPELINE_STATE_SUCCEEDED"

    def read(uri: str) -> bytes:
        return (tmp_path / "state/gcs" / uri[5:]).read_bytes()

    for number, text in enumerate(texts):
        for kind in ("plain", "job"):
            found = outputs(job, f"{kind}-{number}")["Output"]
            assert protocol.encode(decode(found, read)) == text, (kind, number)


@task(multiple_outputs=True)
def frames(count: int = 2) -> Any:
    import numpy
    import pandas

    made = [pandas.DataFrame({"a": range(number + 1), "b": "x"}) for number in range(count)]
    return {"frames": made, "array": numpy.arange(6).reshape(2, 3), "day": "2024-01-01"}


@task
def total(found: Any, array: Any = None) -> Any:
    more = int(array.sum()) if array is not None else 0
    return sum(int(frame["a"].sum()) for frame in found) + more


@task
def one(frame: Any) -> Any:
    frame["c"] = frame["a"] * 2
    return frame


@task
def some() -> Any:
    import pandas

    return [pandas.DataFrame({"a": [number, number]}) for number in range(3)]


@pytest.mark.parametrize("machine", [None, MACHINE], ids=["plain", "custom job"])
def test_objects_from_task_to_task(client: Client, machine: dict[str, Any] | None) -> None:
    config = {"executor_config": machine} if machine else {}

    def fill() -> None:
        made: Any = frames.override(**config)(3)
        total.override(**config)(made["frames"], made["array"])

    job = client.run(compiled(fill))
    assert job["state"] == "PIPELINE_STATE_SUCCEEDED"
    assert decode(outputs(job, "total")["Output"]) == 4 + 15
    shown = decode(outputs(job, "frames")["Output"])
    assert shown["array"]["type"] == "numpy.ndarray"
    assert shown["frames"][2]["metadata"].items() >= {"rows": 3, "columns": 2}.items()
    assert shown["day"] == "2024-01-01"


def test_objects_that_tasks_are_mapped_over(client: Client) -> None:
    job = client.run(compiled(lambda: total(one.expand(frame=some()))))
    assert job["state"] == "PIPELINE_STATE_SUCCEEDED"
    assert decode(outputs(job, "total")["Output"]) == 6


def test_a_container_gets_the_dict_as_text(client: Client, tmp_path: Path) -> None:
    told = tmp_path / "told"

    def fill() -> None:
        VertexContainerOperator(
            task_id="show",
            image="image",
            command=["sh", "-c", f'printf %s "$0" > {told}'],
            arguments=[some()],
        )

    job = client.run(compiled(fill))
    assert job["state"] == "PIPELINE_STATE_SUCCEEDED"
    found = json.loads(told.read_text())
    assert found == decode(outputs(job, "some")["Output"])
    assert found[0]["type"] == "pandas.DataFrame"


def test_a_file_that_was_changed_meanwhile_fails_its_reader(client: Client, tmp_path: Path) -> None:
    @task
    def spoil(found: Any) -> Any:
        """Write over the file of an object, as nobody should."""
        import os
        from pathlib import Path

        root = Path(os.environ["AIRFLOW_VERTEX_GCS_ROOT"])
        (file,) = root.rglob("airflow_value_1.parquet")
        file.write_bytes(file.read_bytes()[:-1] + b"!")
        return len(found)

    def fill() -> None:
        made = some()
        spoil(made) >> total(made)

    job = client.run(compiled(fill))
    assert job["state"] == "PIPELINE_STATE_FAILED"
    error = tasks(job)["total"]["error"]["message"]
    assert "airflow_value_1.parquet is not the file that was written" in error
    assert "SHA-256" in error


def test_pickle_only_where_it_is_asked_for(client: Client) -> None:
    @task
    def odd() -> Any:
        return {"value": complex(1, 2)}

    @task
    def real(found: Any) -> Any:
        return found["value"].real

    job = client.run(compiled(lambda: real(odd())))
    assert job["state"] == "PIPELINE_STATE_FAILED"
    error = tasks(job)["odd"]["error"]["message"]
    assert "value is of type builtins.complex, which cannot be carried between tasks" in error
    assert "serializers=['pickle']" in error
    job = client.run(compiled(lambda: real(odd()), serializers=["pickle"]))
    assert job["state"] == "PIPELINE_STATE_SUCCEEDED"
    assert decode(outputs(job, "real")["Output"]) == 1.0
