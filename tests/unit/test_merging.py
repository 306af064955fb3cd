"""Which level decides: task, group, connection, built-in, and what is merged last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from airflow_vertex_provider.exceptions import VertexConfigurationError, VertexSettingsError
from airflow_vertex_provider.settings import (
    ConnectionSettings,
    CustomJob,
    Level,
    Resources,
    merge_pipeline_settings,
    merge_task_settings,
    raw,
    says_machine,
)
from airflow_vertex_provider.settings.machine_table import pair_problem, table
from airflow_vertex_provider.settings.machines import GKE_ACCELERATOR

ACCOUNT = "ml@acme.iam.gserviceaccount.com"
OTHER = "other@acme.iam.gserviceaccount.com"
NETWORK = "projects/1/global/networks/near"
WIDE_NETWORK = "projects/1/global/networks/wide"
KEY = "projects/acme/locations/europe-west4/keyRings/ring/cryptoKeys/key"

#: A custom job, if the level names one, and settings of the job.
Said = tuple[Mapping[str, Any] | None, Mapping[str, Any]]


def job_of(*levels: Said) -> dict[str, Any]:
    """Merge levels given as custom job and settings of the job, and return what was decided."""
    made = [Level({} if job is None else {"custom_job": job}, pipeline) for job, pipeline in levels]
    merged = merge_task_settings(made).custom_job
    assert merged is not None
    return merged.to_dict()


@pytest.mark.parametrize(
    ("levels", "job"),
    [
        # The group's job settings go before the connection's custom job, the group's custom job before both.
        (
            [(None, {}), (None, {"network": NETWORK}), ({"network": WIDE_NETWORK}, {})],
            {"network": NETWORK},
        ),
        (
            [({}, {}), ({"network": NETWORK}, {"network": WIDE_NETWORK})],
            {"network": NETWORK},
        ),
        (
            [({}, {"service_account": ACCOUNT}), ({"service_account": OTHER}, {})],
            {"service_account": ACCOUNT},
        ),
        (
            [({}, {}), (None, {"encryption_spec_key_name": KEY}), (None, {"service_account": ACCOUNT})],
            {"encryption_spec_key_name": KEY, "service_account": ACCOUNT},
        ),
        # A network, its ranges and an attachment are one decision.
        (
            [
                ({"network": NETWORK}, {}),
                ({"reserved_ip_ranges": ["wide"]}, {"network": WIDE_NETWORK, "reserved_ip_ranges": ["wide"]}),
            ],
            {"network": NETWORK},
        ),
        (
            [({"psc_interface_config": {"network_attachment": "a"}}, {}), (None, {"network": WIDE_NETWORK})],
            {"psc_interface_config": {"network_attachment": "a"}},
        ),
        (
            [({"network": NETWORK}, {"psc_network_attachment": "a"})],
            {"network": NETWORK},
        ),
        (
            [({}, {"psc_network_attachment": "a"}), ({"network": WIDE_NETWORK}, {"network": WIDE_NETWORK})],
            {"psc_interface_config": {"network_attachment": "a"}},
        ),
        (
            [({"reserved_ip_ranges": ["near"]}, {"network": NETWORK, "reserved_ip_ranges": ["wide"]})],
            {"network": NETWORK, "reserved_ip_ranges": ["near"]},
        ),
        # Labels and variables are decided key by key.
        (
            [({"labels": {"a": "near"}}, {}), ({"labels": {"a": "wide", "b": "wide"}}, {})],
            {"labels": {"a": "near", "b": "wide"}},
        ),
        # A persistent resource, and who opts out of it.
        (
            [({}, {"service_account": ACCOUNT}), (None, {"persistent_resource_id": "pool"})],
            {"persistent_resource_id": "pool", "service_account": ACCOUNT},
        ),
        (
            [
                ({"persistent_resource_id": ""}, {"service_account": ACCOUNT}),
                ({"persistent_resource_id": "pool"}, {"service_account": OTHER}),
            ],
            {"persistent_resource_id": ""},
        ),
        (
            [
                ({}, {"persistent_resource_id": "", "service_account": ACCOUNT}),
                ({"persistent_resource_id": "pool"}, {"persistent_resource_id": "pool"}),
            ],
            {"service_account": ACCOUNT},
        ),
        (
            [
                ({}, {"persistent_resource_id": ""}),
                ({"persistent_resource_id": "pool"}, {"service_account": ACCOUNT}),
            ],
            {"service_account": ACCOUNT},
        ),
        # Additional arguments: merged over every level, key by key.
        (
            [
                ({"additional_training_job_args": {"scheduling": {"disable_retries": True}}}, {}),
                (
                    {"additional_training_job_args": {"scheduling": {"disableRetries": False, "x": 1}}},
                    {},
                ),
            ],
            {"additional_training_job_args": {"scheduling": {"disable_retries": True, "x": 1}}},
        ),
        (
            [
                ({"machine_type": "n1-standard-4"}, {}),
                ({"additional_training_job_args": {"machine_type": "n1-standard-16"}}, {}),
            ],
            {"machine_type": "n1-standard-16"},
        ),
        (
            [
                (
                    {"additional_training_job_args": {"network": NETWORK}},
                    {"network": WIDE_NETWORK, "reserved_ip_ranges": ["wide"]},
                )
            ],
            {"network": NETWORK},
        ),
        (
            [({"timeout": "60s", "additional_training_job_args": {"timeout": None}}, {})],
            {},
        ),
        (
            [
                (
                    {
                        "additional_training_job_args": {
                            "baseOutputDirectory": {"outputUriPrefix": "gs://b/x"}
                        }
                    },
                    {},
                )
            ],
            {"additional_training_job_args": {"base_output_directory": {"output_uri_prefix": "gs://b/x"}}},
        ),
        (
            [({"labels": {"a": "1", "c": "3"}, "additional_training_job_args": {"labels": {"a": "2"}}}, {})],
            {"labels": {"a": "2", "c": "3"}},
        ),
        # As GCPC's own wrapper has them.
        (
            [
                (
                    {
                        "additional_training_job_args": {
                            "reservation_affinity_type": "SPECIFIC_RESERVATION",
                            "reservation_affinity_key": "k",
                            "reservation_affinity_values": ["v"],
                        }
                    },
                    {},
                )
            ],
            {
                "reservation_affinity": {
                    "reservation_affinity_type": "SPECIFIC_RESERVATION",
                    "key": "k",
                    "values": ["v"],
                }
            },
        ),
    ],
)
def test_a_custom_job(levels: list[Said], job: dict[str, Any]) -> None:
    assert job_of(({}, {}), *levels) == job


def test_the_network_of_a_level_that_names_resources_still_reaches_nobody() -> None:
    merged = merge_task_settings(
        [
            Level({"resources": {"cpu_limit": "2"}}),
            Level({"custom_job": {"network": NETWORK}}, {"network": NETWORK}),
        ]
    )
    assert (merged.custom_job, merged.resources) == (None, Resources(cpu_limit="2"))


def test_additional_arguments_bring_variables() -> None:
    merged = merge_task_settings(
        [
            {"env": {"A": "task", "B": "task"}},
            {"custom_job": {"additional_training_job_args": {"env": [{"name": "A", "value": "raw"}]}}},
        ]
    )
    assert merged.env == {"A": "raw", "B": "task"}


@pytest.mark.parametrize(
    ("job", "warning"),
    [
        (
            {
                "machine_type": "n1-standard-4",
                "additional_training_job_args": {"machine_type": "n1-standard-16"},
            },
            (
                "additional_training_job_args.machine_type 'n1-standard-16' overrides "
                "custom_job.machine_type 'n1-standard-4'"
            ),
        ),
        (
            {"timeout": 60, "additional_training_job_args": {"scheduling": {"timeout": "5s"}}},
            "additional_training_job_args.scheduling.timeout '5s' overrides custom_job.timeout '60s'",
        ),
        (
            {
                "boot_disk_size_gb": 200,
                "additional_training_job_args": {"workerPoolSpecs": [{"diskSpec": {"bootDiskSizeGb": 300}}]},
            },
            (
                "additional_training_job_args.worker_pool_specs.0.disk_spec.boot_disk_size_gb 300 overrides "
                "custom_job.boot_disk_size_gb 200"
            ),
        ),
        (
            {
                "labels": {"a": "1", "b": "2"},
                "additional_training_job_args": {"labels": {"a": "3", "b": "2"}},
            },
            "additional_training_job_args.labels.a '3' overrides custom_job.labels.a '1'",
        ),
        (
            {"env": {"TOKEN": "secret1"}, "additional_training_job_args": {"env": {"TOKEN": "secret2"}}},
            "additional_training_job_args.env.TOKEN '***' overrides custom_job.env.TOKEN '***'",
        ),
        ({"timeout": 60, "additional_training_job_args": {"timeout": "60s"}}, None),
        ({"additional_training_job_args": {"timeout": "60s", "scheduling": {"disable_retries": True}}}, None),
    ],
)
def test_an_override_is_named_with_both_values(job: dict[str, Any], warning: str | None) -> None:
    warnings = merge_task_settings([{"custom_job": job}]).warnings
    assert warnings == (() if warning is None else (f"custom_job.{warning}",))


def test_what_looks_misspelt_is_sent_and_told() -> None:
    args = {"machine_typ": "n1-standard-8", "experiment": "e", "scheduling": {"disable_retries": True}}
    merged = merge_task_settings([{"custom_job": {"additional_training_job_args": args}}])
    assert merged.custom_job is not None
    assert merged.custom_job.additional_training_job_args == args
    assert merged.warnings == (
        (
            "custom_job.additional_training_job_args.machine_typ is sent to the API as it is; "
            "did you mean 'machine_type'?"
        ),
    )


@pytest.mark.parametrize("name", ["allow_unlisted_machine", "additional_training_job_args"])
def test_additional_arguments_are_the_apis(name: str) -> None:
    with pytest.raises(VertexSettingsError, match=f"additional_training_job_args.{name}"):
        merge_task_settings([{"custom_job": {"additional_training_job_args": {name: {}}}}])


def test_additional_arguments_with_our_names_are_checked() -> None:
    with pytest.raises(VertexSettingsError, match="boot_disk_size_gb: found 1"):
        merge_task_settings([{"custom_job": {"additional_training_job_args": {"boot_disk_size_gb": 1}}}])


# The job


@pytest.mark.parametrize(
    ("levels", "decided"),
    [
        ([{}, {"location": "us-central1"}], {"location": "us-central1"}),
        ([{"location": "europe-west4"}, {"location": "us-central1"}], {"location": "europe-west4"}),
        (
            [{"labels": {"a": "near"}}, {"labels": {"a": "wide", "b": "wide"}}],
            {"labels": {"a": "near", "b": "wide"}},
        ),
        (
            [{"network": NETWORK}, {"network": WIDE_NETWORK, "reserved_ip_ranges": ["wide"]}],
            {"network": NETWORK},
        ),
        ([{"psc_network_attachment": "a"}, {"network": WIDE_NETWORK}], {"psc_network_attachment": "a"}),
        ([{"network": NETWORK}, {"psc_network_attachment": "a"}], {"network": NETWORK}),
        (
            [{"persistent_resource_id": ""}, {"persistent_resource_id": "pool"}],
            {"persistent_resource_id": ""},
        ),
    ],
)
def test_the_job(levels: list[dict[str, Any]], decided: dict[str, Any]) -> None:
    assert merge_pipeline_settings(levels).to_dict() == decided


def test_a_connections_extras_are_levels_of_both() -> None:
    connection = ConnectionSettings.of(
        {
            "location": "us-central1",
            "network": "",
            "image": "i",
            "custom_job": {"timeout": 60},
            "project": "p",
        },
        "c",
    )
    assert connection.pipeline == {"location": "us-central1"}
    assert connection.task == {"image": "i", "custom_job": {"timeout": "60s"}}
    with pytest.raises(VertexSettingsError, match=r"connection 'c': custom_job\.machine: found 'x'"):
        ConnectionSettings.of({"custom_job": {"machine": "x"}}, "c")


@pytest.mark.parametrize(
    "extras", [{"image": "{{ x }}"}, {"custom_job": {"env": {"A": "{{ x }}"}}}, {"labels": {"a": "{{ x }}"}}]
)
def test_a_connection_is_not_rendered(extras: dict[str, Any]) -> None:
    with pytest.raises(
        VertexSettingsError, match=r"connection 'c': .*no template: Airflow renders none there"
    ):
        ConnectionSettings.of(extras, "c")


@pytest.mark.parametrize(
    ("levels", "says"),
    [
        ([{}, {"image": "i"}], False),
        ([{}, {"custom_job": {}}], True),
        ([{"custom_job": None}, {}], True),
        ([{"resources": {}}, {}], True),
    ],
)
def test_whether_a_machine_is_named(levels: list[dict[str, Any]], says: bool) -> None:
    assert says_machine(levels) is says


# Dicts of the API's fields


def test_lists_of_dicts_are_merged_item_by_item_and_others_as_a_whole() -> None:
    base = {"pools": [{"a": 1, "b": 1}, {"a": 2}], "names": ["x", "y"], "kept": 1}
    over = {"pools": [{"a": 9}], "names": ["z"], "new": {"n": None}}
    assert raw.merged(over, base) == {
        "pools": [{"a": 9, "b": 1}, {"a": 2}],
        "names": ["z"],
        "kept": 1,
        "new": {"n": None},
    }
    assert raw.merged({"pools": [{"a": 1}, {"a": 2}, {"a": 3}]}, base)["pools"] == [
        {"a": 1, "b": 1},
        {"a": 2},
        {"a": 3},
    ]
    assert raw.merged({"kept": {"x": 1}}, base)["kept"] == {"x": 1}


# The table of machines


@pytest.mark.parametrize(
    ("machine", "accelerator", "count"),
    [
        ("n1-standard-4", "NVIDIA_TESLA_T4", 4),
        ("n1-highmem-96", "NVIDIA_TESLA_V100", 8),
        ("a2-highgpu-4g", "NVIDIA_TESLA_A100", 4),
        ("a2-ultragpu-8g", "NVIDIA_A100_80GB", 8),
        ("a3-highgpu-8g", "NVIDIA_H100_80GB", 8),
        ("g2-standard-24", "NVIDIA_L4", 2),
        ("cloud-tpu", "TPU_V3", 32),
        ("e2-standard-4", None, None),
        ("unheard-of-1", None, None),
        ("{{ params.machine }}", "NVIDIA_L4", 1),
        ("g2-standard-4", "NVIDIA_L4", "{{ params.count }}"),
    ],
)
def test_pairs_that_google_sells(machine: str, accelerator: str | None, count: Any) -> None:
    assert pair_problem(machine, accelerator, count) == ""


@pytest.mark.parametrize(
    ("machine", "accelerator", "count", "allowed"),
    [
        (
            "e2-standard-4",
            "NVIDIA_TESLA_T4",
            1,
            r"machines that take it \(n1-\*\); e2-standard-4 takes no acc",
        ),
        # The seed's own example.
        ("n1-standard-8", "NVIDIA_TESLA_A100", 1, "a2-highgpu-1g, .*n1-standard-8 takes NVIDIA_TESLA_T4 or"),
        ("a2-highgpu-2g", "NVIDIA_TESLA_A100", 1, "2 of it on a2-highgpu-2g"),
        ("n1-standard-4", "NVIDIA_TESLA_T4", 3, "1 or 2 or 4 of it on n1-standard-4"),
        ("unheard-of-1", "NVIDIA_TESLA_T4", 1, "a machine type of the table of pairs"),
        ("g2-standard-4", "NVIDIA_TESLA_T4", 1, "n1-"),
    ],
)
def test_pairs_that_google_does_not_sell(
    machine: str, accelerator: str, count: int, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = {"machine_type": machine, "accelerator_type": accelerator, "accelerator_count": count}
    with pytest.raises(VertexSettingsError, match=allowed) as raised:
        merge_task_settings([{"custom_job": job}])
    assert raised.value.found == f"{count} x {accelerator} on {machine}"
    assert "allow_unlisted_machine=True" in raised.value.allowed
    merge_task_settings([{"custom_job": {**job, "allow_unlisted_machine": True}}])
    monkeypatch.setenv("AIRFLOW__VERTEX_PIPELINES__ALLOW_UNLISTED_MACHINES", "true")
    merge_task_settings([{"custom_job": job}])
    monkeypatch.setenv("AIRFLOW__VERTEX_PIPELINES__ALLOW_UNLISTED_MACHINES", "perhaps")
    with pytest.raises(VertexConfigurationError, match="allow_unlisted_machines: found 'perhaps'"):
        merge_task_settings([{"custom_job": job}])


def test_the_default_machine_takes_part() -> None:
    merge_task_settings([{"custom_job": {"accelerator_type": "NVIDIA_TESLA_T4", "accelerator_count": 1}}])
    with pytest.raises(VertexSettingsError, match="on n1-standard-4"):
        merge_task_settings([{"custom_job": {"accelerator_type": "NVIDIA_L4", "accelerator_count": 1}}])


def test_the_table_is_of_names_that_are_known() -> None:
    from google.cloud.aiplatform.constants.base import SUPPORTED_REGIONS

    from airflow_vertex_provider.checks import ACCELERATOR_TYPES

    assert {name for takes in table()["machines"].values() for name in takes} == set(ACCELERATOR_TYPES)
    assert set(table()["locations"]) == SUPPORTED_REGIONS - {"global"}


# People who move over from ZenML


def test_zenmls_spelling_of_resources() -> None:
    made = Resources.from_zenml(
        cpu_count=8, memory="16GB", gpu_count=2, node_selectors={GKE_ACCELERATOR: "NVIDIA_TESLA_T4"}
    )
    assert made == Resources(
        cpu_limit="8", memory_limit="16G", accelerator_type="NVIDIA_TESLA_T4", accelerator_count=2
    )
    assert Resources.from_zenml(memory="512MiB") == Resources(memory_limit="512Mi")
    assert Resources.from_zenml(node_selectors={GKE_ACCELERATOR: "NVIDIA_L4"}).accelerator_count == 1
    with pytest.raises(VertexSettingsError, match=r"node_selectors\.disktype: found 'ssd'"):
        Resources.from_zenml(node_selectors={"disktype": "ssd"})
    with pytest.raises(VertexSettingsError, match="gpu_count: found 1"):
        Resources.from_zenml(gpu_count=1)


def test_defaults_come_last() -> None:
    assert merge_task_settings([{"custom_job": {}}]).custom_job == CustomJob()
