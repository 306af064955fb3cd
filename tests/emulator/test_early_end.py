"""A job that is cancelled or deleted before its run has begun never runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from airflow_vertex_provider.emulator import VertexEmulator, pipeline_jobs
from airflow_vertex_provider.emulator.names import Place
from tests.emulator.pipelines import LOCATION, PROJECT, ROOT, Client, Pipeline

Start = Callable[..., VertexEmulator]


@pytest.mark.parametrize("act", ["cancel", "delete"])
def test_a_job_that_is_given_up_before_its_run_begins(
    start_emulator: Start, act: str, caplog: pytest.LogCaptureFixture
) -> None:
    emulator = start_emulator(delete_running="accept")
    services, engine = emulator._services, emulator._engine
    assert services is not None
    assert engine is not None
    body = {"pipelineSpec": Pipeline().task("t").spec(), "runtimeConfig": {"gcsOutputDirectory": ROOT}}
    # What a create request does, with the other one between its two steps.
    job = pipeline_jobs.create(services, Place(PROJECT, LOCATION), body, "early")
    client = Client(emulator.endpoint)
    if act == "cancel":
        client.call("POST", f"/v1/{job.body['name']}:cancel", {})
    else:
        client.call("DELETE", f"/v1/{job.body['name']}")
    engine.submit(job)
    if act == "cancel":
        assert client.wait(job.body["name"])["state"] == "PIPELINE_STATE_CANCELLED"
    else:
        engine.forget(job.key)
        assert emulator.jobs() == []
    assert emulator.custom_jobs() == []
    assert "the emulator failed" not in caplog.text


def test_jobs_that_are_not_executed_stay_and_can_be_deleted(start_emulator: Start) -> None:
    emulator = start_emulator(execute=False, delete_running="accept")
    client = Client(emulator.endpoint)
    spec = Pipeline().task("t").spec()
    body = {"pipelineSpec": spec, "runtimeConfig": {"gcsOutputDirectory": ROOT}}
    path = f"/v1/projects/{PROJECT}/locations/{LOCATION}/pipelineJobs?pipelineJobId=still"
    name = client.call("POST", path, body)["name"]
    assert client.call("GET", f"/v1/{name}")["state"] == "PIPELINE_STATE_PENDING"
    client.call("DELETE", f"/v1/{name}")
    assert emulator.jobs() == []
    assert emulator.custom_jobs() == []
