"""Every setting, said at every level where it can be, and read back from what the emulator received.

Each wider level says something else, so that a value which arrives has also won.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import pytest
from airflow.sdk import DAG, task

from airflow_vertex_provider import CustomJob, VertexTaskGroup
from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.settings import PipelineSettings, raw
from airflow_vertex_provider.settings.connection import CONNECTION_PIPELINE_KEYS
from tests.support.processes import wait_until
from tests.unit.emulated import LOCATION, ROOT
from tests.unit.submitting import submit

LEVELS = ("task", "group", "connection")


def account(name: str) -> str:
    return f"{name}@demo-project.iam.gserviceaccount.com"


def key(name: str) -> str:
    return f"projects/p/locations/{LOCATION}/keyRings/r/cryptoKeys/{name}"


def network(name: str) -> str:
    return f"projects/123/global/networks/{name}"


def custom_jobs(mark: str, number: int) -> list[dict[str, Any]]:
    """Return custom jobs that together say every field; ``mark`` and ``number`` tell the levels apart."""
    return [
        {
            "machine_type": f"n1-highmem-{8 * number}",
            "accelerator_type": ("NVIDIA_TESLA_T4", "NVIDIA_TESLA_P4", "NVIDIA_TESLA_V100")[number - 1],
            "accelerator_count": (1, 2, 4)[number - 1],
            "replica_count": number + 1,
            "boot_disk_type": ("pd-standard", "hyperdisk-balanced", "pd-ssd")[number - 1],
            "boot_disk_size_gb": 100 + number,
            "timeout": f"{1000 + number}s",
            "restart_job_on_worker_restart": number != 2,
            "service_account": account(mark),
            "network": network(mark),
            "reserved_ip_ranges": [f"range-{mark}"],
            "encryption_spec_key_name": key(mark),
            "persistent_resource_id": f"pool-{mark}",
            "tensorboard": f"projects/1/locations/{LOCATION}/tensorboards/{number}",
            "nfs_mounts": [{"server": f"10.0.0.{number}", "path": "/share", "mount_point": f"/{mark}"}],
            "enable_web_access": number != 2,
            "base_output_directory": f"gs://bucket/{mark}",
            "labels": {"said-by": mark, f"only-{mark}": "yes"},
            "env": {"SAID_BY": mark, f"ONLY_{mark.upper()}": "yes"},
            "strategy": "FLEX_START",
            "max_wait_duration": f"{60 + number}s",
            "display_name": f"job of {mark}",
        },
        {
            "machine_type": "moon-standard-1",
            "accelerator_type": "NVIDIA_TESLA_T4",
            "accelerator_count": 3,
            "allow_unlisted_machine": True,
            "psc_interface_config": {
                "network_attachment": f"attachment-{mark}",
                "dns_peering_configs": [{"domain": f"{mark}.example."}],
            },
            "reservation_affinity": {
                "reservation_affinity_type": "SPECIFIC_RESERVATION",
                "key": "compute.googleapis.com/reservation-name",
                "values": [mark],
            },
            "additional_training_job_args": {
                "scheduling": {"disableRetries": True},
                "experiment": f"projects/1/locations/{LOCATION}/metadataStores/default/contexts/{mark}",
            },
        },
    ]


#: Where a CustomJob, rather than its spec, has a field.
PLACES = {
    "labels": ("labels",),
    "display_name": ("display_name",),
    "encryption_spec_key_name": ("encryption_spec", "kms_key_name"),
    "env": ("job_spec", "worker_pool_specs", "0", "container_spec", "env"),
}
NUMBERS = {"accelerator_count", "boot_disk_size_gb"}
CASES = [
    (level, place, name)
    for level in LEVELS
    for place, sample in enumerate(custom_jobs("x", 1))
    for name in sample
    if (place, name) not in ((1, "machine_type"), (1, "accelerator_type"), (1, "accelerator_count"))
    and name != "allow_unlisted_machine"
]


def samples(level: str, place: int) -> dict[str, dict[str, Any]]:
    """Return what each level says if ``level`` is to win: itself and all wider ones."""
    said = LEVELS[LEVELS.index(level) :]
    return {each: custom_jobs(each, LEVELS.index(each) + 1)[place] for each in said}


@dataclass
class Received:
    """What an emulator got of one job."""

    request: Mapping[str, Any]
    custom_job: Mapping[str, Any] | None


def members_job(emulator: VertexEmulator) -> Mapping[str, Any] | None:
    """Return the custom job that the launcher made for the member; the launcher itself runs in another."""
    for job in emulator.custom_jobs():
        found: Mapping[str, Any] = raw.spelled(job, frozenset({"labels"}))
        image = raw.lookup(found, ("job_spec", "worker_pool_specs", "0", "container_spec", "image_uri"))
        if "google-cloud-pipeline-components" not in image:
            return found
    return None


def receive(
    *,
    task_level: Mapping[str, Any] | None = None,
    group: Mapping[str, Any] | None = None,
    connection: Mapping[str, Any] | None = None,
) -> Received:
    """Submit a group of one member and return what arrived, names as the API's messages spell them."""
    with VertexEmulator() as emulator, pytest.MonkeyPatch.context() as patch:
        said = json.loads(emulator.connection_json())
        said["conn_type"] = "vertex_ai"
        # A connection has one setting under another name: Airflow would hide its value from the logs.
        names = {"service_account": "workload_account"}
        said["extra"] |= {names.get(name, name): value for name, value in (connection or {}).items()}
        patch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps(said))
        with DAG("d") as dag:
            with VertexTaskGroup("g", **{"location": LOCATION, "pipeline_root": ROOT, **(group or {})}):

                @task(executor_config={"vertex": dict(task_level or {})})
                def member() -> int:
                    return 1

                member()
        submit(dag)
        (request,) = [
            item.body for item in emulator.requests if item.rest_method.endswith("pipelineJobs.create")
        ]
        job = None
        if any("custom_job" in each for each in (task_level or {}, group or {}, connection or {})):
            job = wait_until(lambda: members_job(emulator), 60, "the member's custom job")
        return Received(raw.spelled(request, frozenset({"labels", "pipeline_spec", "parameter_values"})), job)


@pytest.fixture(scope="module")
def received() -> dict[tuple[str, int], Received]:
    found = {}
    for level in LEVELS:
        for place in range(2):
            said = samples(level, place)
            found[level, place] = receive(
                task_level={"custom_job": said["task"]} if "task" in said else None,
                group={"custom_job": said["group"]} if "group" in said else None,
                connection={"custom_job": said["connection"]},
            )
    return found


def test_every_field_of_a_custom_job_is_among_the_samples() -> None:
    assert {item.name for item in fields(CustomJob)} == {
        name for sample in custom_jobs("x", 1) for name in sample
    }


@pytest.mark.parametrize(("level", "place", "name"), CASES)
def test_a_field_of_a_custom_job_arrives(
    received: dict[tuple[str, int], Received], level: str, place: int, name: str
) -> None:
    said = samples(level, place)
    value = said[level][name]
    job = received[level, place].custom_job
    assert job is not None
    if name == "additional_training_job_args":
        assert job["job_spec"]["scheduling"]["disable_retries"] is True
        assert job["job_spec"]["experiment"] == value["experiment"]
        return
    found = raw.lookup(job, PLACES.get(name, ("job_spec", *CustomJob.api_path(name))))
    if name == "replica_count":
        found = sum(int(pool["replica_count"]) for pool in job["job_spec"]["worker_pool_specs"])
    elif name == "env":
        found = {item["name"]: item["value"] for item in found}
    elif name in NUMBERS:
        found = int(found)
    elif value is False and found is raw.MISSING:
        found = False
    if name in ("labels", "env"):
        # These are decided key by key: what only a wider level says is there too.
        value = {key: item for each in reversed(list(said.values())) for key, item in each[name].items()}
        found = {key: item for key, item in found.items() if key in value}
    assert found == value


def test_an_unlisted_machine_arrives(received: dict[tuple[str, int], Received]) -> None:
    for level in LEVELS:
        job = received[level, 1].custom_job
        assert job is not None
        machine = job["job_spec"]["worker_pool_specs"][0]["machine_spec"]
        assert (machine["machine_type"], machine["accelerator_count"]) == ("moon-standard-1", 3)


# The job


def pipelines(mark: str, number: int) -> list[dict[str, Any]]:
    """Return settings of the job that together say every field, as :func:`custom_jobs` does."""
    return [
        {
            "location": ("europe-west1", LOCATION)[number - 1],
            "pipeline_root": f"gs://bucket/{mark}",
            "service_account": account(mark),
            "network": network(mark),
            "reserved_ip_ranges": [f"range-{mark}"],
            "persistent_resource_id": f"pool-{mark}",
            "labels": {"said-by": mark},
            "failure_policy": ("fast", "slow")[number - 1],
        },
        {
            "psc_network_attachment": f"attachment-{mark}",
            "encryption_spec_key_name": key(mark),
        },
    ]


#: What a group alone may say.
GROUP_ONLY: Mapping[str, Any] = {
    "project_id": "other-project",
    "display_name": "My run",
    "preflight_validations": True,
    "job_overrides": {"templateMetadata2": None},
}
JOB_PLACES = {
    "pipeline_root": ("runtime_config", "gcs_output_directory"),
    "failure_policy": ("runtime_config", "failure_policy"),
    "psc_network_attachment": ("psc_interface_config", "network_attachment"),
    "encryption_spec_key_name": ("encryption_spec", "kms_key_name"),
}
JOB_LEVELS = ("group", "connection")
JOB_CASES = [
    (level, place, name)
    for level in JOB_LEVELS
    for place, sample in enumerate(pipelines("x", 1))
    for name in sample
]


@pytest.fixture(scope="module")
def received_jobs() -> dict[tuple[str, int], Received]:
    found = {}
    for place in range(2):
        group, connection = pipelines("group", 1)[place], pipelines("connection", 2)[place]
        # The machine is there to show what custom jobs inherit.
        found["group", place] = receive(task_level={"custom_job": {}}, group=group, connection=connection)
        left_out: dict[str, Any] = {
            name: None for name in ("location", "pipeline_root") if name in connection
        }
        found["connection", place] = receive(
            task_level={"custom_job": {}}, group=left_out, connection=connection
        )
    return found


def test_every_setting_of_a_job_is_among_the_samples() -> None:
    sampled = {name for sample in pipelines("x", 1) for name in sample}
    assert sampled == set(CONNECTION_PIPELINE_KEYS)
    assert {item.name for item in fields(PipelineSettings)} == sampled | set(GROUP_ONLY)


@pytest.mark.parametrize(("level", "place", "name"), JOB_CASES)
def test_a_setting_of_the_job_arrives(
    received_jobs: dict[tuple[str, int], Received], level: str, place: int, name: str
) -> None:
    got = received_jobs[level, place]
    value = pipelines(level, JOB_LEVELS.index(level) + 1)[place][name]
    assert got.custom_job is not None
    spec = got.custom_job["job_spec"]
    if name == "location":
        assert f"/locations/{value}/" in got.custom_job["name"]
        return
    if name == "persistent_resource_id":
        # A pipeline job has no such field; its custom jobs have.
        assert spec["persistent_resource_id"] == value
        return
    found = raw.lookup(got.request, JOB_PLACES.get(name, (name,)))
    if name == "failure_policy":
        assert found in ({"slow": 1, "fast": 2}[value], f"PIPELINE_FAILURE_POLICY_FAIL_{value.upper()}")
    elif name == "labels":
        assert value.items() <= found.items()
    else:
        assert found == value
    inherited = {
        "service_account": spec.get("service_account"),
        "network": spec.get("network"),
        "reserved_ip_ranges": spec.get("reserved_ip_ranges"),
        "psc_network_attachment": spec.get("psc_interface_config", {}).get("network_attachment"),
        "encryption_spec_key_name": got.custom_job.get("encryption_spec", {}).get("kms_key_name"),
    }
    if name in inherited:
        assert inherited[name] == value


def test_what_only_a_group_says_of_its_job_arrives() -> None:
    overrides = {
        "encryptionSpec": {"kmsKeyName": key("raw")},
        "labels": {"raw": "yes"},
        "network": network("raw"),
    }
    got = receive(
        group={
            **GROUP_ONLY,
            "job_overrides": overrides,
            "network": network("said"),
            "labels": {"said": "yes"},
        }
    ).request
    assert got["display_name"] == "My run"
    assert got["preflight_validations"] is True
    assert got["encryption_spec"] == {"kms_key_name": key("raw")}
    assert got["network"] == network("raw")
    assert {"raw": "yes", "said": "yes"}.items() <= got["labels"].items()
    assert "airflow_dag_id" in got["labels"]


def test_the_labels_say_dag_group_run_and_try() -> None:
    labels = receive().request["labels"]
    assert labels["airflow_dag_id"] == "d"
    assert labels["airflow_group_id"] == "g"
    assert labels["airflow_run_id"] == "run-1"
    assert labels["airflow_attempt"] == "1"
    assert set(labels) >= {"airflow_max_tries", "airflow_fingerprint"}


@pytest.mark.parametrize(
    ("group", "own", "cached"),
    [
        (None, None, False),
        (True, None, True),
        (False, None, False),
        (True, False, False),
        (False, True, True),
        (None, True, True),
    ],
)
def test_caching_has_three_states(group: bool | None, own: bool | None, cached: bool) -> None:
    level = {} if own is None else {"enable_caching": own}
    request = receive(task_level=level, group={"enable_caching": group}).request
    (member,) = request["pipeline_spec"]["root"]["dag"]["tasks"].values()
    assert member.get("cachingOptions", {}).get("enableCache", False) is cached
