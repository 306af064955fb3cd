"""The sensor on the emulator: one job and several, both ways to wait, timeouts and skips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSensorTimeout, AirflowSkipException

from airflow_vertex_provider import VertexPipelineJobSensor
from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.exceptions import VertexConfigurationError, VertexJobFailedError
from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
from tests.emulator.pipelines import Pipeline, say
from tests.support.processes import wait_until
from tests.unit.emulated import LOCATION, ROOT, create
from tests.unit.operators.driving import Instance, drive

BOTH_WAYS = pytest.mark.parametrize("deferrable", [True, False])


def sense(names: Any, deferrable: bool, instance: Instance | None = None, **options: Any) -> Any:
    def make() -> VertexPipelineJobSensor:
        return VertexPipelineJobSensor(
            task_id="wait", job_name=names, deferrable=deferrable, poll_interval=0.05, **options
        )

    return drive(make(), instance, again=make)


def ended(hook: VertexPipelineHook, name: str) -> None:
    wait_until(lambda: hook.get_job(name).done or None, 60, f"{name} to end")


@BOTH_WAYS
def test_one_job(hook: VertexPipelineHook, deferrable: bool) -> None:
    name = create(hook, 1)
    value, instance = sense(name, deferrable)
    assert value == {
        "job_name": name,
        "state": "PIPELINE_STATE_SUCCEEDED",
        "url": instance.pushed["vertex_url"],
        "outputs": {},
    }
    assert instance.pushed["return_value"] == value
    assert instance.pushed["vertex_state"] == "PIPELINE_STATE_SUCCEEDED"
    assert instance.pushed["vertex_logs_url"]


@BOTH_WAYS
def test_outputs_of_the_pipeline(hook: VertexPipelineHook, deferrable: bool) -> None:
    pipeline = Pipeline().task("count", say("3"), outputs={"Output": "NUMBER_INTEGER"})
    job = {
        "pipeline_spec": pipeline.result("counted", "count", "NUMBER_INTEGER").spec(),
        "runtime_config": {"gcs_output_directory": ROOT},
    }
    name, _ = hook.create_job(location=LOCATION, job_id="counting", job=job)
    value, _ = sense(name, deferrable)
    assert value["outputs"] == {"counted": 3}


@BOTH_WAYS
@pytest.mark.parametrize("soft", [True, False])
def test_failed_job(hook: VertexPipelineHook, deferrable: bool, soft: bool) -> None:
    name = create(hook, "fail")
    instance = Instance("wait")
    with pytest.raises(AirflowSkipException if soft else VertexJobFailedError) as raised:
        sense(name, deferrable, instance, soft_fail=soft)
    if not soft:
        assert "KeyError: 'no such thing'" in str(raised.value)
    assert instance.pushed["vertex_state"] == "PIPELINE_STATE_FAILED"
    assert instance.pushed["return_value"]["job_name"] == name


@BOTH_WAYS
def test_several(hook: VertexPipelineHook, deferrable: bool) -> None:
    names = [create(hook, number, f"job-{number}") for number in range(3)]
    value, instance = sense(names, deferrable)
    assert [job["job_name"] for job in value] == names
    assert {job["state"] for job in value} == {"PIPELINE_STATE_SUCCEEDED"}
    assert instance.pushed["vertex_state"] == ["PIPELINE_STATE_SUCCEEDED"] * 3
    assert instance.pushed["vertex_url"] == value[0]["url"]
    only, _ = sense(names[:1], deferrable)
    assert only == value[:1]


@BOTH_WAYS
def test_one_of_several_fails_before_the_others_end(
    hook: VertexPipelineHook, tmp_path: Path, deferrable: bool
) -> None:
    waits = create(hook, {"gate": str(tmp_path / "gate")}, "job-waits")
    fails, good = create(hook, "fail", "job-fails"), create(hook, 1, "job-good")
    ended(hook, good)
    instance = Instance("wait")
    with pytest.raises(VertexJobFailedError, match="job-fails ended PIPELINE_STATE_FAILED"):
        sense([waits, good, fails], deferrable, instance)
    states = instance.pushed["vertex_state"]
    assert states[0] is None
    assert states[2] == "PIPELINE_STATE_FAILED"
    assert [job["job_name"] for job in instance.pushed["return_value"]] == [waits, good, fails]
    assert instance.pushed["return_value"][0]["url"].endswith("/job-waits")
    with pytest.raises(AirflowSkipException):
        sense([waits, fails], deferrable, soft_fail=True)


@BOTH_WAYS
@pytest.mark.parametrize("several", [True, False])
@pytest.mark.parametrize("soft", [True, False])
def test_timeout(
    hook: VertexPipelineHook, tmp_path: Path, deferrable: bool, several: bool, soft: bool
) -> None:
    waits = create(hook, {"gate": str(tmp_path / "gate")}, "job-waits")
    names: Any = waits
    if several:
        good = create(hook, 1, "job-good")
        ended(hook, good)
        names = [good, waits]
    with pytest.raises(AirflowSkipException if soft else AirflowSensorTimeout) as raised:
        sense(names, deferrable, timeout=0.5, soft_fail=soft)
    if deferrable and not soft:
        assert "job-waits" in str(raised.value)
        assert "job-good" not in str(raised.value)
    assert not hook.get_job(waits).done


@BOTH_WAYS
def test_a_short_timeout_leaves_time_to_wait(hook: VertexPipelineHook, deferrable: bool) -> None:
    """Airflow ends the trigger later than the trigger itself does, so that the sensor says why."""
    value, _ = sense(create(hook, 1), deferrable, timeout=60)
    assert value["state"] == "PIPELINE_STATE_SUCCEEDED"


@BOTH_WAYS
@pytest.mark.parametrize("names", ["x", [], None, ["x"]])
def test_no_job_name(emulator: VertexEmulator, deferrable: bool, names: Any) -> None:
    for soft in (True, False):
        with pytest.raises(VertexConfigurationError, match=r"job.name: found .*allowed: "):
            sense(names, deferrable, soft_fail=soft)


@BOTH_WAYS
def test_transient_errors_are_waited_out(
    hook: VertexPipelineHook, emulator: VertexEmulator, deferrable: bool
) -> None:
    names = [create(hook, number, f"job-{number}") for number in range(2)]
    emulator.faults.add("pipelineJobs.get", error="UNAVAILABLE", count=2)
    emulator.faults.add("pipelineJobs.get", reset=True)
    value, _ = sense(names, deferrable)
    assert len(value) == 2
