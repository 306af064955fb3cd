"""Settings: good values in their normal form, bad ones named, one precedence."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest

from airflow_vertex_provider import checks
from airflow_vertex_provider.exceptions import VertexSettingsError
from airflow_vertex_provider.settings import (
    DEFAULT_IMAGE,
    CustomJob,
    Level,
    PipelineSettings,
    Resources,
    Settings,
    TaskSettings,
    merge_task_settings,
    over,
    task_level,
)

ACCOUNT = "ml@acme.iam.gserviceaccount.com"
NETWORK = "projects/123456789012/global/networks/ml-net"
KEY = "projects/acme/locations/europe-west4/keyRings/ring/cryptoKeys/key"
BOARD = "projects/123456789012/locations/europe-west4/tensorboards/42"

LABELS_GOOD = [
    ({"team": "ml", "a_b-1": ""}, {"team": "ml", "a_b-1": ""}),
    ({f"k{i}": "v" for i in range(55)},) * 2,
    # What a DAG that renders native objects leaves of "{{ ds_nodash }}".
    ({"day": 20250101}, {"day": "20250101"}),
]
LABELS_BAD = [
    "team=ml",
    {"Team": "ml"},
    {"1st": "ml"},
    {"team": "ML"},
    {"team": True},
    {"team": None},
    {"team": 1.5},
    {"{{ params.key }}": "ml"},
    {"team": "x" * 64},
    {"x" * 64: "ml"},
    {f"k{i}": "v" for i in range(65)},
    {"vertex-ai-pipelines-run-billing-id": "1"},
    "{{ params.labels }}",
]
ENV_GOOD = [({"A": "1", "_b2": " "},) * 2, ({},) * 2, ({"A": 0, "B": 0.5}, {"A": "0", "B": "0.5"})]
ENV_BAD = [
    "A=1",
    {"A": ""},
    {"A": True},
    {"A": None},
    {"A": []},
    {"1A": "x"},
    {"A-B": "x"},
    {f"A{i}": "x" for i in range(101)},
    {1: "x"},
]
FLAG_GOOD = [(True, True), (False, False), ("true", True), (" False ", False)]
FLAG_BAD = [1, "yes", "", object()]
ACCOUNT_GOOD = [(ACCOUNT, ACCOUNT)]
ACCOUNT_BAD = ["ml", "ml@acme", "a b@acme.com", 7]
NETWORK_GOOD = [(NETWORK, NETWORK)]
NETWORK_BAD = ["ml-net", "projects/acme/global/networks/ml-net", NETWORK + "-"]
KEY_GOOD = [(KEY, KEY)]
KEY_BAD = ["key", KEY + "/cryptoKeyVersions/1"]
GCS_GOOD = [("gs://bucket", "gs://bucket"), ("gs://my.bucket_1/a b/c", "gs://my.bucket_1/a b/c")]
GCS_BAD = ["bucket/path", "s3://bucket/path", "gs://", "gs://ab", "gs://Bucket/x", "gs://bucket/a\nb"]
DURATION_GOOD = [
    (60, "60s"),
    (0.5, "0.5s"),
    ("60", "60s"),
    ("3.5s", "3.5s"),
    (timedelta(days=1, seconds=1), "86401s"),
    (1e-9, "0.000000001s"),
]
DURATION_BAD = [0, -1, "0s", "1h", True, float("nan"), float("inf"), 1e11, 1e-12, timedelta(0), object()]
COUNT_GOOD = [(1, 1), ("8", 8), (" 2 ", 2)]
COUNT_BAD = [0, -1, 1.5, True, "one", "", "9" * 5000]
NAME_GOOD = [("x", "x"), ("x" * 128, "x" * 128), (20250101, "20250101")]
NAME_BAD = ["", "x" * 129, "two\nlines", True, ["x"]]
ACCELERATOR_GOOD = [(name, name) for name in ("NVIDIA_TESLA_T4", "TPU_V3")]
ACCELERATOR_BAD = ["T4", "nvidia_tesla_t4", "", 1, ["NVIDIA_TESLA_T4"]]
RANGES_GOOD = [(["a", "b"], ["a", "b"]), (("a",), ["a"])]
RANGES_BAD = ["a", [""], [1], {"a": "b"}]
PSC_GOOD = [
    ({"network_attachment": "a"}, {"network_attachment": "a"}),
    (
        {"networkAttachment": "a", "dnsPeeringConfigs": [{"domain": "x.", "targetProject": "p"}]},
        {"network_attachment": "a", "dns_peering_configs": [{"domain": "x.", "target_project": "p"}]},
    ),
]
PSC_BAD = ["a", {}, {"network_attachment": ""}, {"network_attachment": "a", "more": 1}, "{{ x }}", {1: "a"}]
MOUNT = {"server": "10.0.0.2", "path": "/share", "mount_point": "/data"}
NFS_GOOD = [
    ([MOUNT], [MOUNT]),
    (
        ({"server": "s", "path": "/", "mountPoint": "/d"},),
        [{"server": "s", "path": "/", "mount_point": "/d"}],
    ),
    ([], []),
]
NFS_BAD = [
    MOUNT,
    [{"server": "s", "path": "/p"}],
    [{**MOUNT, "path": "p"}],
    [{**MOUNT, "options": "ro"}],
    ["s:/p"],
]
RESERVATION_GOOD = [
    ({"reservation_affinity_type": "ANY_RESERVATION"},) * 2,
    (
        {"reservationAffinityType": "SPECIFIC_RESERVATION", "key": "k", "values": ("v",)},
        {"reservation_affinity_type": "SPECIFIC_RESERVATION", "key": "k", "values": ["v"]},
    ),
]
RESERVATION_BAD = [
    "ANY_RESERVATION",
    {},
    {"reservation_affinity_type": "SOME"},
    {"reservation_affinity_type": "SPECIFIC_RESERVATION"},
    {"reservation_affinity_type": "SPECIFIC_RESERVATION", "key": "k"},
    {"reservation_affinity_type": "NO_RESERVATION", "values": ["v"]},
]
RAW_GOOD = [
    ({"a": 1, "b": [{"c": None, "d": 0.5}], "e": ("x",)}, {"a": 1, "b": [{"c": None, "d": 0.5}], "e": ["x"]})
]
RAW_BAD = [
    "a=1",
    {1: 2},
    {"a": object()},
    {"a": {1: 2}},
    {"a": float("nan")},
    {"{{ x }}": 1},
    ["a"],
    "{{ x }}",
]
STRATEGIES = ("STANDARD", "SPOT", "FLEX_START", "ON_DEMAND", "LOW_COST")
RESOURCE_GOOD = [("", ""), ("a", "a"), ("gpu-pool1", "gpu-pool1")]
RESOURCE_BAD = ["Pool", "1pool", "pool-", 1]

Good = list[tuple[Any, Any]]
Bad = list[Any]
FIELDS: Mapping[type[Settings], Mapping[str, tuple[Good, Bad]]] = {
    CustomJob: {
        "machine_type": (
            [("n1-standard-4", "n1-standard-4")],
            ["", "N1", "n1_standard", 4, " n1-standard-4"],
        ),
        "accelerator_type": (ACCELERATOR_GOOD, ACCELERATOR_BAD),
        "accelerator_count": (COUNT_GOOD, COUNT_BAD),
        "replica_count": (COUNT_GOOD, COUNT_BAD),
        "boot_disk_type": ([("pd-standard", "pd-standard")], ["ssd", "PD-SSD", 1]),
        "boot_disk_size_gb": ([(100, 100), ("64000", 64000)], [99, 64001, "100GB"]),
        "timeout": (DURATION_GOOD, DURATION_BAD),
        "restart_job_on_worker_restart": (FLAG_GOOD, FLAG_BAD),
        "service_account": (ACCOUNT_GOOD, ACCOUNT_BAD),
        "network": (NETWORK_GOOD, NETWORK_BAD),
        "reserved_ip_ranges": (RANGES_GOOD, RANGES_BAD),
        "encryption_spec_key_name": (KEY_GOOD, KEY_BAD),
        "persistent_resource_id": (RESOURCE_GOOD, RESOURCE_BAD),
        "tensorboard": ([(BOARD, BOARD)], ["board", BOARD + "/runs/1"]),
        "enable_web_access": (FLAG_GOOD, FLAG_BAD),
        "base_output_directory": (GCS_GOOD, GCS_BAD),
        "labels": (LABELS_GOOD, LABELS_BAD),
        "env": (ENV_GOOD, ENV_BAD),
        "psc_interface_config": (PSC_GOOD, PSC_BAD),
        "nfs_mounts": (NFS_GOOD, NFS_BAD),
        "reservation_affinity": (RESERVATION_GOOD, RESERVATION_BAD),
        "additional_training_job_args": (RAW_GOOD, RAW_BAD),
        "allow_unlisted_machine": (FLAG_GOOD, FLAG_BAD),
        "strategy": (
            [(text, text) for text in ("STANDARD", "SPOT", "FLEX_START", "ON_DEMAND", "LOW_COST")],
            ["spot", "CHEAP"],
        ),
        "max_wait_duration": (DURATION_GOOD, DURATION_BAD),
        "display_name": (NAME_GOOD, NAME_BAD),
    },
    Resources: {
        **dict.fromkeys(
            ("cpu_limit", "cpu_request"),
            (
                [
                    *((text, text) for text in ("4", "4.5", "0.25", "500m", "96", "96000m")),
                    (4, "4"),
                    (0.5, "0.5"),
                ],
                ["", "4 ", "four", "0", "0m", "96.5", "97", "-1", "1.5m", 97, True, "٤"],
            ),
        ),
        **dict.fromkeys(
            ("memory_limit", "memory_request"),
            (
                [(text, text) for text in ("16G", "512Mi", "624Gi", "1000K", "2000000")],
                ["", "16", "1.5G", "16GB", "16g", "1T", "625Gi", "0G", "999K", 16],
            ),
        ),
        "accelerator_type": (ACCELERATOR_GOOD, ACCELERATOR_BAD),
        "accelerator_count": (COUNT_GOOD, COUNT_BAD),
    },
    PipelineSettings: {
        "location": (
            [(text, text) for text in ("europe-west4", "northamerica-northeast1")],
            ["", "eu", "europe-west", "europe-west4-a", "Europe-West4", "global"],
        ),
        "pipeline_root": (GCS_GOOD, GCS_BAD),
        "project_id": ([("acme", "acme"), (1, "1")], ["", " ", True, ["acme"]]),
        "service_account": (ACCOUNT_GOOD, ACCOUNT_BAD),
        "network": (NETWORK_GOOD, NETWORK_BAD),
        "reserved_ip_ranges": (RANGES_GOOD, RANGES_BAD),
        "psc_network_attachment": ([("attachment", "attachment")], ["", False]),
        "encryption_spec_key_name": (KEY_GOOD, KEY_BAD),
        "persistent_resource_id": (RESOURCE_GOOD, RESOURCE_BAD),
        "labels": (LABELS_GOOD, [*LABELS_BAD, {"airflow_dag_id": "mine"}, {"airflow_attempt": "1"}]),
        "failure_policy": ([("slow", "slow"), ("fast", "fast")], ["FAST", "", True]),
        "preflight_validations": (FLAG_GOOD, FLAG_BAD),
        "job_overrides": (
            [
                *RAW_GOOD,
                (
                    {"newField": {"subField": [1]}},
                    {"new_field": {"sub_field": [1]}},
                ),
            ],
            [
                *RAW_BAD,
                {"name": "x"},
                {"pipelineSpec": {}},
                {"runtimeConfig": {"parameterValues": {}}},
                {"runtime_config": {"failure_policy": 1}},
                {"labels": {"airflow_dag_id": "x"}},
                {"labels": {"Team": "x"}},
                {"template_uri": "https://europe-west4-kfp.pkg.dev/x"},
            ],
        ),
        "display_name": (NAME_GOOD, NAME_BAD),
    },
}
KINDS = list(FIELDS)
GOOD = [(kind, name, *case) for kind in KINDS for name, (good, _) in FIELDS[kind].items() for case in good]
BAD = [(kind, name, case) for kind in KINDS for name, (_, bad) in FIELDS[kind].items() for case in bad]


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_tested_here(kind: type[Settings]) -> None:
    assert {item.name for item in fields(kind)} == set(FIELDS[kind])


@pytest.mark.parametrize(("kind", "name", "given", "kept"), GOOD)
def test_a_good_value_is_kept_in_its_normal_form(
    kind: type[Settings], name: str, given: object, kept: object
) -> None:
    assert getattr(kind(**{name: given}), name) == kept
    assert type(getattr(kind(**{name: given}), name)) is type(kept)


@pytest.mark.parametrize(("kind", "name", "given"), BAD)
def test_a_bad_value_is_named(kind: type[Settings], name: str, given: object) -> None:
    with pytest.raises(VertexSettingsError) as raised:
        kind(**{name: given})
    prefix = "" if kind is PipelineSettings else f"{kind.section()}."
    assert raised.value.field.startswith(prefix + name)
    assert str(raised.value).startswith(f"{raised.value.field}: found ")
    assert raised.value.allowed


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_may_hold_a_template_where_airflow_renders_one(kind: type[Settings]) -> None:
    template = "{{ params.x }}"
    inside: Any
    parts: Mapping[str, Any] = {
        "reserved_ip_ranges": [template],
        "psc_interface_config": {"network_attachment": template},
        "nfs_mounts": [{"server": template, "path": "/a", "mount_point": template}],
        "reservation_affinity": {"reservation_affinity_type": template},
        "labels": {"a": template},
        "env": {"a": template},
        "additional_training_job_args": {"a": template},
        "job_overrides": {"a": template},
    }
    for item in fields(kind):
        if item.name in parts:
            inside = parts[item.name]
        else:
            assert getattr(kind(**{item.name: template}), item.name) == template
            continue
        assert getattr(kind(**{item.name: inside}), item.name) == inside
        with pytest.raises(VertexSettingsError, match=r"a dict of |a list of "):
            kind(**{item.name: template})


@pytest.mark.parametrize(
    "text", ["{{ x }}", "a{{x}}b", "{% if x %}4{% endif %}", "{# none #}n1-standard-4", "{{\nx }}"]
)
def test_templates_are_recognised(text: str) -> None:
    assert checks.is_template(text)
    assert CustomJob(machine_type=text).machine_type == text


@pytest.mark.parametrize("value", ["{x}", "{ { x } }", "$x", 4, None, ["{{ x }}"]])
def test_other_values_are_not_taken_for_templates(value: object) -> None:
    assert not checks.is_template(value)


@pytest.mark.parametrize("kind", KINDS)
def test_plain_dicts_go_both_ways(kind: type[Settings]) -> None:
    data = {name: good[0][0] for name, (good, _) in FIELDS[kind].items()}
    settings = kind.from_dict(data)
    written = json.loads(json.dumps(settings.to_dict()))
    assert kind.from_dict(written) == settings
    assert kind.from_dict(settings) is settings
    assert set(written) == set(data)
    assert kind().to_dict() == {}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_dict_is_refused(kind: type[Settings]) -> None:
    for found in ("n1-standard-4", 4, ["machine_type"], TaskSettings()):
        with pytest.raises(VertexSettingsError, match=f"a {kind.__name__} or a dict of its fields"):
            kind.from_dict(found)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "key", "near"),
    [
        (CustomJob, "machine", "machine_type"),
        (CustomJob, "acelerator_type", "accelerator_type"),
        (Resources, "memory", "memory_limit"),
        (PipelineSettings, "pipline_root", "pipeline_root"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_one(kind: type[Settings], key: str, near: str) -> None:
    with pytest.raises(VertexSettingsError) as raised:
        kind.from_dict({key: "x"})
    assert raised.value.field == f"{kind.section()}.{key}"
    assert f"did you mean {near!r}?" in raised.value.allowed
    assert all(item.name in raised.value.allowed for item in fields(kind))


def test_an_unknown_key_far_from_all_gets_no_hint() -> None:
    with pytest.raises(VertexSettingsError) as raised:
        task_level({"zzzz": 1})
    assert "did you mean" not in raised.value.allowed
    assert raised.value.field == 'executor_config["vertex"].zzzz'


def test_errors_travel_between_processes() -> None:
    error = VertexSettingsError("custom_job.timeout", 0, "more").at("train.fit")
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error) == "train.fit: custom_job.timeout: found 0; allowed: more"


def test_accelerators_are_the_ones_of_the_api() -> None:
    from google.cloud.aiplatform_v1.types import AcceleratorType

    known = set(AcceleratorType.__members__) - {"ACCELERATOR_TYPE_UNSPECIFIED"}
    assert set(checks.ACCELERATOR_TYPES) <= known


# One level of a task's settings


def test_a_level_is_kept_as_plain_checked_data() -> None:
    level = task_level(
        {
            "custom_job": CustomJob(timeout=timedelta(hours=1)),
            "image": "{{ params.image }}",
            "packages": ("numpy",),
            "enable_caching": "{{ params.cache }}",
            "env": {"A": "{{ ds }}"},
            "pip_index_urls": ("https://{{ params.host }}/{{ params.path }}",),
            "resources": None,
        }
    )
    assert level == {
        "custom_job": {"timeout": "3600s"},
        "image": "{{ params.image }}",
        "packages": ["numpy"],
        "enable_caching": "{{ params.cache }}",
        "env": {"A": "{{ ds }}"},
        "pip_index_urls": ["https://{{ params.host }}/{{ params.path }}"],
    }
    assert task_level(level) == level


@pytest.mark.parametrize(
    ("level", "field"),
    [
        ({"custom_job": "{{ params.job }}"}, "custom_job"),
        ({"custom_job": {"machine_type": 4}}, "custom_job.machine_type"),
        ({"resources": {"cpu": "4"}}, "resources.cpu"),
        ({"resources": "{{ params.resources }}"}, "resources"),
        ({"image": ""}, "image"),
        ({"packages": "numpy"}, "packages"),
        ({"packages": ["numpy", ""]}, "packages[1]"),
        ({"packages": "{{ params.packages }}"}, "packages"),
        ({"packages": ["numpy", "--index-url https://index"]}, "packages[1]"),
        ({"packages": [" -r requirements.txt"]}, "packages[0]"),
        ({"packages": ["numpy\npandas"]}, "packages[0]"),
        ({"pip_index_urls": "https://index"}, "pip_index_urls"),
        ({"pip_index_urls": ["https://index", "--trusted-host x"]}, "pip_index_urls[1]"),
        ({"pip_index_urls": ["https://a https://b"]}, "pip_index_urls[0]"),
        ({"wheel_cache": "/tmp/wheels"}, "wheel_cache"),
        ({"pip_no_deps": "maybe"}, "pip_no_deps"),
        ({"value_limit": 0}, "value_limit"),
        ({"enable_caching": "maybe"}, "enable_caching"),
        ({"env": "{{ params.env }}"}, "env"),
        ({"env": {"A": ""}}, "env.A"),
        ({"custom_job": {}, "resources": {}}, "resources"),
    ],
)
def test_a_bad_level_is_named(level: dict[str, Any], field: str) -> None:
    with pytest.raises(VertexSettingsError) as raised:
        task_level(level)
    assert raised.value.field == field


# Merging


def test_nothing_said_is_the_built_in_default() -> None:
    assert merge_task_settings([{}, {}]) == TaskSettings()
    assert merge_task_settings([]) == TaskSettings(image=DEFAULT_IMAGE, enable_caching=False)


def test_the_nearest_level_that_says_a_field_wins() -> None:
    merged = merge_task_settings(
        [
            {"image": "task:1", "custom_job": {"machine_type": "a2-highgpu-1g"}, "env": {"A": "task"}},
            {
                "image": "group:1",
                "packages": ["numpy"],
                "enable_caching": True,
                "env": {"A": "group", "B": "group"},
                "custom_job": {"machine_type": "n1-standard-4", "boot_disk_size_gb": 200},
            },
            {"packages": ["pandas"], "env": {"C": "wider"}, "custom_job": {"timeout": 60}},
        ]
    )
    assert merged.image == "task:1"
    assert merged.packages == ("numpy",)
    assert merged.enable_caching is True
    assert merged.env == {"A": "task", "B": "group", "C": "wider"}
    assert merged.custom_job == CustomJob(machine_type="a2-highgpu-1g", boot_disk_size_gb=200, timeout=60)
    assert merged.resources == Resources()


def test_a_rendered_word_is_a_flag() -> None:
    assert merge_task_settings([{"enable_caching": "True"}]).enable_caching is True
    assert merge_task_settings([{"enable_caching": False}, {"enable_caching": True}]).enable_caching is False


@pytest.mark.parametrize(
    ("levels", "env"),
    [
        (
            [{"env": {"A": "task"}}, {"custom_job": {"env": {"A": "group", "B": "group"}}}],
            {"A": "task", "B": "group"},
        ),
        ([{"env": {"A": "1"}, "custom_job": {"env": {"A": "2"}}}], {"A": "2"}),
        (
            [{"custom_job": {"env": {"A": "task"}}}, {"custom_job": {"env": {"B": "group"}}}],
            {"A": "task", "B": "group"},
        ),
        (
            [{"resources": {"cpu_limit": "1"}}, {"custom_job": {"env": {"B": "group"}}, "env": {"C": "c"}}],
            {"C": "c"},
        ),
    ],
)
def test_variables_are_decided_one_by_one(levels: list[dict[str, Any]], env: dict[str, str]) -> None:
    assert merge_task_settings(levels).env == env


def test_too_many_variables_together_are_refused() -> None:
    levels = [{"env": {f"A{i}": "x" for i in range(60)}}, {"env": {f"B{i}": "x" for i in range(60)}}]
    with pytest.raises(VertexSettingsError, match="at most 100 variables"):
        merge_task_settings(levels)


RESOURCES: dict[str, Any] = {"cpu_limit": "4"}
JOB: dict[str, Any] = {"machine_type": "n1-standard-8"}


@pytest.mark.parametrize(
    ("levels", "job", "resources"),
    [
        ([{"resources": RESOURCES}, {"custom_job": JOB}], None, Resources(cpu_limit="4")),
        ([{"custom_job": JOB}, {"resources": RESOURCES}], CustomJob(**JOB), Resources()),
        ([{"custom_job": {}}, {"resources": RESOURCES}], CustomJob(), Resources()),
        ([{"custom_job": None}, {"custom_job": JOB}], None, Resources()),
        ([{"custom_job": None, "resources": RESOURCES}, {"custom_job": JOB}], None, Resources(cpu_limit="4")),
        ([{"custom_job": None}, {"resources": RESOURCES}], None, Resources(cpu_limit="4")),
        ([{"custom_job": JOB}, {"custom_job": None}], CustomJob(**JOB), Resources()),
        (
            [{}, {"resources": RESOURCES}, {"resources": {"cpu_limit": "8", "memory_limit": "16G"}}],
            None,
            Resources(cpu_limit="4", memory_limit="16G"),
        ),
    ],
)
def test_the_nearest_level_with_a_machine_decides_its_kind(
    levels: list[dict[str, Any]], job: CustomJob | None, resources: Resources
) -> None:
    merged = merge_task_settings(levels)
    assert (merged.custom_job, merged.resources) == (job, resources)


def test_a_custom_job_takes_from_the_pipeline_what_it_does_not_say() -> None:
    pipeline = PipelineSettings(
        service_account=ACCOUNT,
        network=NETWORK,
        reserved_ip_ranges=["range"],
        encryption_spec_key_name=KEY,
        persistent_resource_id="pool",
        labels={"team": "ml"},
    )
    job = merge_task_settings([Level({"custom_job": {}}, pipeline.to_dict())]).custom_job
    assert job == CustomJob(
        service_account=ACCOUNT,
        network=NETWORK,
        reserved_ip_ranges=["range"],
        encryption_spec_key_name=KEY,
        persistent_resource_id="pool",
    )
    own: dict[str, Any] = {
        "service_account": "other@acme.iam.gserviceaccount.com",
        "network": "projects/1/global/networks/other",
        "persistent_resource_id": "mine",
    }
    job = merge_task_settings([Level({"custom_job": own}, pipeline.to_dict())]).custom_job
    assert job == CustomJob(**own, encryption_spec_key_name=KEY)
    assert merge_task_settings([Level({}, pipeline.to_dict())]) == TaskSettings()


def test_opting_out_of_the_persistent_resource_leaves_its_account() -> None:
    pipeline = PipelineSettings(service_account=ACCOUNT, persistent_resource_id="pool")
    job = merge_task_settings(
        [Level({"custom_job": {"persistent_resource_id": ""}}, pipeline.to_dict())]
    ).custom_job
    assert job == CustomJob(persistent_resource_id="")


def test_a_pipeline_that_says_no_persistent_resource_keeps_its_account() -> None:
    pipeline = PipelineSettings(service_account=ACCOUNT, persistent_resource_id="")
    job = merge_task_settings([Level({"custom_job": {}}, pipeline.to_dict())]).custom_job
    assert job == CustomJob(service_account=ACCOUNT)


@pytest.mark.parametrize(
    ("level", "field"),
    [
        ({"custom_job": {"accelerator_type": "NVIDIA_TESLA_T4"}}, "custom_job.accelerator_count"),
        ({"custom_job": {"accelerator_count": 1}}, "custom_job.accelerator_type"),
        ({"resources": {"accelerator_type": "NVIDIA_TESLA_T4"}}, "resources.accelerator_count"),
        ({"resources": {"accelerator_count": 1}}, "resources.accelerator_type"),
        ({"custom_job": {"tensorboard": BOARD}}, "custom_job.tensorboard"),
        ({"custom_job": {"max_wait_duration": 60}}, "custom_job.max_wait_duration"),
        ({"custom_job": {"max_wait_duration": 60, "strategy": "SPOT"}}, "custom_job.max_wait_duration"),
        ({"custom_job": {"persistent_resource_id": "pool"}}, "custom_job.service_account"),
        (
            {"custom_job": {"persistent_resource_id": "", "service_account": ACCOUNT}},
            "custom_job.service_account",
        ),
    ],
)
def test_values_that_do_not_go_together_are_named(level: dict[str, Any], field: str) -> None:
    with pytest.raises(VertexSettingsError) as raised:
        merge_task_settings([level])
    assert raised.value.field == field


def test_values_of_two_levels_may_complete_each_other() -> None:
    merged = merge_task_settings(
        [
            {"custom_job": {"accelerator_count": 2}},
            {"custom_job": {"accelerator_type": "NVIDIA_TESLA_T4", "tensorboard": BOARD}},
            Level(job={"service_account": ACCOUNT}),
        ],
    )
    assert merged.custom_job == CustomJob(
        accelerator_type="NVIDIA_TESLA_T4", accelerator_count=2, tensorboard=BOARD, service_account=ACCOUNT
    )


def test_templates_may_still_stand_in_merged_settings() -> None:
    merged = merge_task_settings(
        [
            {
                "custom_job": {
                    "machine_type": "{{ params.m }}",
                    "accelerator_count": "{{ 1 }}",
                    "accelerator_type": "{{ params.a }}",
                }
            }
        ]
    )
    assert merged.custom_job is not None
    assert merged.custom_job.machine_type == "{{ params.m }}"


# The whole job


@pytest.mark.parametrize("location", ["europe-west99", "moon-north1"])
def test_a_region_that_nobody_knows_is_refused_unless_it_is_added(
    location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = PipelineSettings(location=location)
    with pytest.raises(VertexSettingsError, match=r"location: .* us-central1.* extra_locations") as raised:
        pipeline.check_together()
    assert raised.value.found == location
    monkeypatch.setenv("AIRFLOW__VERTEX_PIPELINES__EXTRA_LOCATIONS", f"mars-east1, {location}")
    pipeline.check_together()


def test_a_key_of_another_region_is_refused() -> None:
    with pytest.raises(VertexSettingsError, match=r"encryption_spec_key_name: .*one in the job's location"):
        PipelineSettings(location="us-central1", encryption_spec_key_name=KEY).check_together()
    for location in ("europe-west4", "{{ params.region }}", None):
        PipelineSettings(location=location, encryption_spec_key_name=KEY).check_together()
    for name, value in (("encryption_spec_key_name", KEY), ("tensorboard", BOARD)):
        job = CustomJob.from_dict({name: value})
        job.check_regions("europe-west4")
        with pytest.raises(VertexSettingsError, match=rf"custom_job\.{name}: .*'us-east1'"):
            job.check_regions("us-east1")


def test_a_complete_job_is_accepted() -> None:
    PipelineSettings(location="europe-west4", pipeline_root="gs://bucket/root").require_complete()


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"pipeline_root": "gs://bucket/root"}, "location"),
        ({"location": "europe-west4"}, "pipeline_root"),
        (
            {
                "location": "europe-west4",
                "pipeline_root": "gs://bucket/root",
                "network": NETWORK,
                "psc_network_attachment": "attachment",
            },
            "network",
        ),
    ],
)
def test_an_incomplete_job_is_named(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(VertexSettingsError) as raised:
        PipelineSettings(**settings).require_complete()
    assert raised.value.field == field


def test_a_job_has_room_for_our_labels_and_a_custom_job_for_all_of_its_own() -> None:
    labels = {f"k{i}": "v" for i in range(64)}
    assert CustomJob(labels=labels).labels == labels
    with pytest.raises(VertexSettingsError, match="at most 55 labels; 9 more are added") as raised:
        PipelineSettings(labels={f"k{i}": "v" for i in range(56)})
    assert raised.value.found == "56 labels"


@pytest.mark.parametrize(
    ("near", "wide", "both"),
    [
        ({}, {}, {}),
        (
            {"image": "near"},
            {"image": "wide", "enable_caching": True},
            {"image": "near", "enable_caching": True},
        ),
        ({"image": None}, {"image": "wide"}, {"image": "wide"}),
        (
            {"custom_job": CustomJob(machine_type="n2-standard-8")},
            {"custom_job": {"machine_type": "n1-standard-4", "boot_disk_size_gb": 200, "labels": {"a": "b"}}},
            {"custom_job": {"machine_type": "n2-standard-8", "boot_disk_size_gb": 200, "labels": {"a": "b"}}},
        ),
        (
            {"custom_job": {"labels": {"c": "d"}, "machine_type": None}},
            {"custom_job": {"machine_type": "n1-standard-4", "labels": {"a": "b", "c": "wide"}}},
            {"custom_job": {"machine_type": "n1-standard-4", "labels": {"a": "b", "c": "d"}}},
        ),
        (
            {"resources": {"cpu_limit": "4"}},
            {"resources": Resources(cpu_limit="8", memory_limit="16G")},
            {"resources": {"cpu_limit": "4", "memory_limit": "16G"}},
        ),
        ({"custom_job": {}}, {"resources": {"cpu_limit": "8"}}, {"custom_job": {}}),
        ({"resources": {"cpu_limit": "8"}}, {"custom_job": {}}, {"resources": {"cpu_limit": "8"}}),
        ({"custom_job": None}, {"custom_job": {}, "image": "i"}, {"custom_job": None, "image": "i"}),
        ({"env": {"A": "near"}}, {"env": {"A": "wide", "B": "wide"}}, {"env": {"A": "near", "B": "wide"}}),
        (
            {"env": {"A": "near"}},
            {"custom_job": {"env": {"A": "wide", "B": "wide"}}},
            {"env": {"A": "near"}, "custom_job": {"env": {"B": "wide"}}},
        ),
        ({"custom_job": "x"}, {"custom_job": {}}, {"custom_job": "x"}),
        ({"custom_job": {}}, {"custom_job": "x"}, {"custom_job": {}}),
        ({"env": "x"}, {"custom_job": {"env": {"A": "a"}}}, {"env": "x", "custom_job": {"env": {"A": "a"}}}),
    ],
)
def test_one_level_over_another(near: Any, wide: Any, both: Any) -> None:
    assert over(near, wide) == both
