"""Arguments named like settings of the launcher (L09): a value stays a value, a setting a setting."""

from __future__ import annotations

from typing import Any

from airflow.sdk import task

from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.runtime import protocol
from tests.emulator.pipelines import Client, outputs
from tests.support.groups import compiled
from tests.unit.compiler.test_custom_job import LAUNCHER_NAMES

ACCOUNT = "w@demo-project.iam.gserviceaccount.com"
SETTINGS = {
    "service_account": ACCOUNT,
    "timeout": 600,
    "labels": {"team": "ml"},
    "network": "projects/1/global/networks/n",
    "strategy": "SPOT",
    "display_name": "kept",
    "machine_type": "n1-standard-8",
}
NAMES = (*LAUNCHER_NAMES, "gcp_resources")


@task
def give() -> str:
    return "from a task"


@task
def names(
    project: Any,
    location: Any,
    display_name: Any,
    worker_pool_specs: Any,
    timeout: Any,
    restart_job_on_worker_restart: Any,
    service_account: Any,
    tensorboard: Any,
    enable_web_access: Any,
    network: Any,
    reserved_ip_ranges: Any,
    base_output_directory: Any,
    labels: Any,
    encryption_spec_key_name: Any,
    persistent_resource_id: Any,
    strategy: Any,
    max_wait_duration: Any,
    psc_interface_config: Any,
    gcp_resources: Any,
) -> Any:
    return dict(locals())


def test_every_name_is_isolated(client: Client, emulator: VertexEmulator) -> None:
    def build() -> None:
        given = give()
        values = {name: given if index % 2 else f"constant {index}" for index, name in enumerate(NAMES)}
        names.override(executor_config={"vertex": {"custom_job": SETTINGS}})(**values)

    done = client.run(compiled(build))
    assert done["state"] == "PIPELINE_STATE_SUCCEEDED"
    value = protocol.decode(outputs(done, "names")["Output"])
    assert value == {
        name: "from a task" if index % 2 else f"constant {index}" for index, name in enumerate(NAMES)
    }
    (job,) = [job for job in emulator.custom_jobs() if job["displayName"] == "kept"]
    spec = job["jobSpec"]
    assert spec["serviceAccount"] == ACCOUNT
    assert spec["network"] == SETTINGS["network"]
    assert spec["scheduling"]["timeout"] == "600s"
    assert spec["scheduling"]["strategy"] == "SPOT"
    assert job["labels"]["team"] == "ml"
    assert spec["workerPoolSpecs"][0]["machineSpec"]["machineType"] == "n1-standard-8"
