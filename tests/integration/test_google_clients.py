"""Google's SDK and Google's operator, unmodified, take the files we compile and run them on the emulator."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, task
from google.auth.credentials import AnonymousCredentials as _AnonymousCredentials
from google.cloud import aiplatform
from google.cloud.aiplatform_v1.types import PipelineState

from airflow_vertex_provider import VertexTaskGroup, compile_group
from airflow_vertex_provider.compiler import dump_spec
from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.runtime import protocol
from tests.support.dag_test import run_dag_test
from tests.support.emulator import LOCATION, PIPELINE_ROOT, PROJECT

pytestmark = pytest.mark.integration

ACCOUNT = "runner@emulated-project.iam.gserviceaccount.com"
#: The class has no annotations.
AnonymousCredentials: Any = _AnonymousCredentials


@task
def give() -> Any: ...


@task
def double(value):  # type: ignore[no-untyped-def]
    return [value, value]


@task
def count(values):  # type: ignore[no-untyped-def]
    return len(values)


@task
def stay(seconds):  # type: ignore[no-untyped-def]
    import time

    time.sleep(seconds)


def compiled(folder: Path, *, machine: str | None = None, long: bool = False) -> Path:
    with DAG("compiled") as dag:
        given = give()
        with VertexTaskGroup(
            "g",
            location=LOCATION,
            pipeline_root=PIPELINE_ROOT,
            custom_job={"machine_type": machine} if machine else None,
        ):
            if long:
                stay(given)
            else:
                count(double(given))
    file = folder / "pipeline.yaml"
    file.write_text(dump_spec(compile_group(dag.task_group.children["g"], project_id=PROJECT)))
    return file


@pytest.fixture
def emulator() -> Iterator[VertexEmulator]:
    """An emulator without buckets: for one that exists, Google's SDK asks another service whose it is."""
    with VertexEmulator(only_created_buckets=True) as emulator:
        yield emulator


@pytest.fixture
def sdk(emulator: VertexEmulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.endpoint)
    aiplatform.init(
        project=PROJECT,
        location=LOCATION,
        api_endpoint=emulator.endpoint,
        api_transport="rest",
        credentials=AnonymousCredentials(),
        service_account=ACCOUNT,
    )
    yield
    aiplatform.init()


def pipeline_job(file: Path, value: Any, job_id: str) -> aiplatform.PipelineJob:
    return aiplatform.PipelineJob(
        display_name=job_id,
        template_path=str(file),
        job_id=job_id,
        pipeline_root=PIPELINE_ROOT,
        parameter_values={"give": protocol.encode(value)},
    )


@pytest.mark.usefixtures("sdk")
@pytest.mark.parametrize("machine", [None, "n1-standard-4"])
def test_submit_wait_get_list_delete(tmp_path: Path, machine: str | None) -> None:
    job_id = f"sdk-{'machine' if machine else 'plain'}"
    job = pipeline_job(compiled(tmp_path, machine=machine), {"a": "it's {{ mine }}"}, job_id)
    job.submit()
    job.wait()  # type: ignore[no-untyped-call]
    assert job.state == PipelineState.PIPELINE_STATE_SUCCEEDED
    details = {detail.task_name: detail for detail in job.task_details}
    doubled = protocol.decode(details["double"].execution.metadata["output:Output"])
    assert doubled == [{"a": "it's {{ mine }}"}] * 2
    assert protocol.decode(details["count"].execution.metadata["output:Output"]) == 2

    assert aiplatform.PipelineJob.get(job_id).resource_name == job.resource_name
    listed = aiplatform.PipelineJob.list(filter=f'display_name="{job_id}"')
    assert [item.resource_name for item in listed] == [job.resource_name]
    job.delete()
    assert not aiplatform.PipelineJob.list(filter=f'display_name="{job_id}"')


@pytest.mark.usefixtures("sdk")
def test_cancel(tmp_path: Path) -> None:
    job = pipeline_job(compiled(tmp_path, long=True), 300, "sdk-cancel")
    job.submit()
    job.cancel()
    job.wait()  # type: ignore[no-untyped-call]
    assert job.state == PipelineState.PIPELINE_STATE_CANCELLED


def test_google_s_operator(tmp_path: Path, emulator: VertexEmulator) -> None:
    result = run_dag_test(
        Path(__file__).parent / "google" / "google_dags.py",
        "google_operator",
        {"google_cloud_default": emulator.connection_json(project=PROJECT)},
        env={
            "COMPILED_PIPELINE": str(compiled(tmp_path)),
            "VERTEX_EMULATOR_ENDPOINT": emulator.endpoint,
            "STORAGE_EMULATOR_HOST": emulator.endpoint,
            "PATH": os.environ["PATH"],
        },
    )
    assert result.state == "success", result.output
    assert result.xcoms["run"]["return_value"]["state"] == "PIPELINE_STATE_SUCCEEDED"
