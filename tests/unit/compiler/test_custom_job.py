"""Custom jobs: the same payload as GCPC's own wrapper makes, and no way for an input to change it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_vertex_provider.compiler import compile_graph, custom_job, dump_spec
from airflow_vertex_provider.emulator.placeholders import Placeholders
from airflow_vertex_provider.exceptions import VertexGroupError, VertexSettingsError
from airflow_vertex_provider.graph.model import FromConstant, FromOutput, FromParameter, Source
from airflow_vertex_provider.settings import (
    CustomJob,
    Level,
    PipelineSettings,
    TaskSettings,
    merge_task_settings,
)
from tests.unit.compiler.samples import GPU, PIPELINE, container_task, graph_of, python_task

ACCOUNT = "ml@acme.iam.gserviceaccount.com"
KEY = "projects/acme/locations/europe-west4/keyRings/ring/cryptoKeys/key"
BOARD = "projects/1/locations/europe-west4/tensorboards/42"
#: Names of the launcher's parameters (L09), every one of which a user may use for a value of their own.
LAUNCHER_NAMES = (
    "project",
    "location",
    "display_name",
    "worker_pool_specs",
    "timeout",
    "restart_job_on_worker_restart",
    "service_account",
    "tensorboard",
    "enable_web_access",
    "network",
    "reserved_ip_ranges",
    "base_output_directory",
    "labels",
    "encryption_spec_key_name",
    "persistent_resource_id",
    "strategy",
    "max_wait_duration",
    "psc_interface_config",
)

#: Every field of CustomJob with the arguments of GCPC's wrapper that mean the same.
SAME_SETTINGS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"machine_type": "n1-highmem-8"},) * 2,
    ({"accelerator_type": "NVIDIA_TESLA_T4", "accelerator_count": 2},) * 2,
    ({"replica_count": 2},) * 2,
    ({"replica_count": 5},) * 2,
    ({"boot_disk_type": "pd-standard", "boot_disk_size_gb": 500},) * 2,
    ({"boot_disk_size_gb": 500},) * 2,
    ({"timeout": 3600}, {"timeout": "3600s"}),
    ({"restart_job_on_worker_restart": True},) * 2,
    ({"service_account": ACCOUNT, "tensorboard": BOARD},) * 2,
    ({"network": "projects/1/global/networks/net", "reserved_ip_ranges": ["a", "b"]},) * 2,
    ({"encryption_spec_key_name": KEY},) * 2,
    ({"persistent_resource_id": "pool", "service_account": ACCOUNT},) * 2,
    ({"persistent_resource_id": ""},) * 2,
    ({"enable_web_access": True},) * 2,
    ({"base_output_directory": "gs://bucket/out"},) * 2,
    ({"labels": {"team": "ml", "a": "b"}},) * 2,
    ({"env": {"A": 'it\'s "1"\n'}}, {"env": [{"name": "A", "value": 'it\'s "1"\n'}]}),
    (
        {"strategy": "FLEX_START", "max_wait_duration": 60},
        {"strategy": "FLEX_START", "max_wait_duration": "60s"},
    ),
    ({"strategy": "SPOT"},) * 2,
    ({"display_name": "my job"},) * 2,
    ({"psc_interface_config": {"network_attachment": "attachment"}},) * 2,
    ({"nfs_mounts": [{"server": "10.0.0.2", "path": "/share", "mount_point": "/data"}]},) * 2,
]
#: Fields of CustomJob that GCPC's wrapper has no argument for.
NOT_IN_GCPC = {"reservation_affinity", "additional_training_job_args", "allow_unlisted_machine"}


@pytest.fixture(scope="module", autouse=True)
def loaded_gcpc() -> None:
    """Load GCPC and kfp outside of the generated tests, which watch the time of each example."""
    custom_job.launcher_template()


def launcher_args(container: Mapping[str, Any]) -> dict[str, str]:
    """Return the launcher's options by name."""
    args = container["args"]
    return dict(zip(args[::2], args[1::2], strict=True))


def compiled(level: dict[str, Any], pipeline: PipelineSettings = PIPELINE, **fields: Any) -> Any:
    """Compile one custom-job task to its executor's container."""
    inputs = fields.pop("inputs", {"a": FromParameter("start")})
    graph = graph_of(python_task("g.t", inputs, **fields), parameters=["start"])
    settings = merge_task_settings([Level({"custom_job": level, "image": "img:1"}, pipeline.to_dict())])
    return compile_graph(graph, {"g.t": settings}, pipeline)["deploymentSpec"]["executors"]["exec-t"][
        "container"
    ]


def wrapped_by_gcpc(arguments: dict[str, Any]) -> Any:
    """Let GCPC wrap the same task, compiled as a plain one; return the executor with its defaults put in."""
    from google.protobuf import json_format
    from google_cloud_pipeline_components.v1.custom_job import utils
    from kfp import components

    graph = graph_of(python_task("g.t", {"a": FromParameter("start")}), parameters=["start"])
    plain = compile_graph(graph, {"g.t": TaskSettings(image="img:1")}, PIPELINE)
    # Where nothing is said of these the wrapper leaves them without any value; the component itself does not.
    arguments = {
        "display_name": "t",
        "labels": {},
        "reserved_ip_ranges": [],
        "psc_interface_config": {},
    } | arguments
    wrapped = utils.create_custom_training_job_from_component(
        components.load_component_from_text(dump_spec(plain)), **arguments
    )
    spec = json_format.MessageToDict(wrapped.pipeline_spec)
    (component,) = spec["components"].values()
    (executor,) = spec["deploymentSpec"]["executors"].values()
    defaults = {
        name: definition.get("defaultValue")
        for name, definition in component["inputDefinitions"]["parameters"].items()
    }

    def resolve(text: str) -> str:
        def value(match: re.Match[str]) -> str:
            default = defaults[match[1]]
            return default if isinstance(default, str) else json.dumps(default)

        return re.sub(r"\{\{\$\.inputs\.parameters\['(\w+)'\]\}\}", value, text)

    container = executor["container"]
    container["args"] = [resolve(text) for text in container["args"]]
    return container, component["outputDefinitions"]


@pytest.mark.parametrize(("ours", "theirs"), SAME_SETTINGS)
def test_the_payload_is_the_one_gcpc_makes(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    expected, _ = wrapped_by_gcpc(theirs)
    made = compiled(ours)
    assert (made["image"], made["command"]) == (expected["image"], expected["command"])
    made_args, expected_args = launcher_args(made), launcher_args(expected)
    assert json.loads(made_args.pop("--payload")) == json.loads(expected_args.pop("--payload"))
    # Project and location are always explicit; GCPC leaves them to the service.
    assert (made_args.pop("--project"), made_args.pop("--location")) == ("acme", "europe-west4")
    assert expected_args.pop("--project") == "{{$.pipeline_google_cloud_project_id}}"
    assert expected_args.pop("--location") == "{{$.pipeline_google_cloud_location}}"
    assert made_args == expected_args


def test_every_setting_is_compared_with_gcpc() -> None:
    compared = {name for ours, _ in SAME_SETTINGS for name in ours}
    assert {item.name for item in fields(CustomJob)} == compared | NOT_IN_GCPC


def test_the_component_declares_what_gcpc_s_does() -> None:
    _, outputs = wrapped_by_gcpc({})
    graph = graph_of(python_task("g.t"))
    component = compile_graph(graph, {"g.t": TaskSettings(custom_job=GPU)}, PIPELINE)["components"]["comp-t"]
    assert set(component["outputDefinitions"]["parameters"]) == set(outputs["parameters"])


def test_an_unknown_project_is_filled_in_by_the_service() -> None:
    args = launcher_args(compiled({}, PipelineSettings()))
    assert args["--project"] == "{{$.pipeline_google_cloud_project_id}}"
    assert args["--location"] == "{{$.pipeline_google_cloud_location}}"


def test_the_default_job_is_named_after_its_task() -> None:
    payload = json.loads(launcher_args(compiled({}))["--payload"])
    assert payload["display_name"] == "t"
    assert payload["job_spec"]["persistent_resource_id"] == "{{$.pipeline_persistent_resource_id}}"


@pytest.mark.parametrize(
    ("job", "task", "kept"),
    [
        ({}, 60.0, "60s"),
        ({"timeout": 30}, 60.0, "30s"),
        ({"timeout": 90}, 60.0, "60s"),
        ({"timeout": 90}, None, "90s"),
    ],
)
def test_the_shorter_timeout_holds(job: dict[str, Any], task: float | None, kept: str) -> None:
    payload = json.loads(launcher_args(compiled(job, timeout=task))["--payload"])
    assert payload["job_spec"]["scheduling"]["timeout"] == kept


def test_inputs_named_like_settings_change_no_setting() -> None:
    """L09: with GCPC's wrapper each of these would replace a setting of the job."""
    level = {
        "service_account": ACCOUNT,
        "timeout": 60,
        "labels": {"team": "ml"},
        "network": "projects/1/global/networks/n",
    }
    inputs = {name: FromParameter("start") for name in LAUNCHER_NAMES}
    made, usual = compiled(level, inputs=inputs), compiled(level)
    assert set(custom_job.launcher_template().slots) == set(LAUNCHER_NAMES)
    payloads = []
    for container in (made, usual):
        payload = json.loads(launcher_args(container)["--payload"])
        for pool in payload["job_spec"]["worker_pool_specs"]:
            pool["container_spec"]["command"].pop()
        payloads.append(payload)
    assert payloads[0] == payloads[1]
    assert "inputs.parameters" not in json.dumps(made)


# What the service puts into the payload


def resolved(container: Mapping[str, Any], values: dict[str, str]) -> Any:
    """Put values into the payload as the service does, and read it as the launcher does."""
    executor_input = {
        "inputs": {
            "parameterValues": values,
            "parameters": {k: {"stringValue": v} for k, v in values.items()},
        },
        "outputs": {
            "outputFile": "/gcs/b/o.json",
            "parameters": {"gcp_resources": {"outputFile": "/gcs/b/r"}},
        },
    }
    placeholders = Placeholders(executor_input, {"pipeline_persistent_resource_id": ""}, {})
    args = dict(zip(*[iter(placeholders.command(container["args"]))] * 2, strict=True))
    return json.loads(args["--payload"]), executor_input


@given(st.text())
def test_any_text_reaches_the_container_unchanged(text: str) -> None:
    inputs: dict[str, Source] = {"a": FromParameter("start"), "b": FromOutput("g.before")}
    graph = graph_of(
        python_task("g.before"),
        python_task("g.t", inputs),
        container_task(
            "g.c",
            arguments=[["x=", {"$in": "a"}, ";", {"$in": "b"}]],
            env={"V": [{"$in": "a"}]},
            inputs=inputs,
            upstream=("g.before",),
        ),
        parameters=["start"],
    )
    settings = dict.fromkeys(["g.before", "g.t", "g.c"], TaskSettings(custom_job=CustomJob(replica_count=2)))
    executors = compile_graph(graph, settings, PIPELINE)["deploymentSpec"]["executors"]
    values = {"a": text, "b": 'it\'s "quoted"\n\\ {{ not jinja }} $(touch x) ;rm \U0001f600'}

    payload, executor_input = resolved(executors["exec-t"]["container"], values)
    pools = payload["job_spec"]["worker_pool_specs"]
    assert [pool["replica_count"] for pool in pools] == [1, 1]
    for pool in pools:
        (given_input,) = pool["container_spec"]["args"]
        assert json.loads(given_input) == executor_input

    payload, _ = resolved(executors["exec-c"]["container"], values)
    for pool in payload["job_spec"]["worker_pool_specs"]:
        assert pool["container_spec"]["args"] == [f"x={values['a']};{values['b']}"]
        assert pool["container_spec"]["env"] == [{"name": "V", "value": text}]


@given(st.text())
def test_any_code_and_constant_reach_the_container_unchanged(text: str) -> None:
    source = f"def add():\n    return {text!r} + '{{{{$}}}} $(x)'\n"
    made = compiled(
        {"env": {"V": text.replace("{{$", "") + "."}}, inputs={"a": FromConstant("1")}, source=source
    )
    payload, _ = resolved(made, {"a": "1"})
    (pool,) = payload["job_spec"]["worker_pool_specs"]
    config = json.loads(pool["container_spec"]["command"][4])
    assert config["source"] == source
    assert pool["container_spec"]["env"] == [{"name": "V", "value": text.replace("{{$", "") + "."}]


# Bad input


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        (TaskSettings(image="{{ image }}"), "image"),
        (TaskSettings(env={"A": "{{$.pipeline_job_name}}"}), "env.A"),
        (TaskSettings(custom_job=CustomJob(machine_type="{{ m }}")), "custom_job.machine_type"),
        (TaskSettings(custom_job=CustomJob(display_name="{{$}}")), "custom_job.display_name"),
        (TaskSettings(custom_job=CustomJob(labels={"a": "{{ v }}"})), "custom_job.labels.a"),
        (
            TaskSettings(custom_job=CustomJob(reserved_ip_ranges=["{{ r }}"])),
            "custom_job.reserved_ip_ranges[0]",
        ),
    ],
)
def test_text_that_would_be_replaced_is_refused(settings: TaskSettings, field: str) -> None:
    with pytest.raises(VertexGroupError) as raised:
        compile_graph(graph_of(python_task("g.t")), {"g.t": settings}, PIPELINE)
    assert [(problem.where, problem.field) for problem in raised.value.problems] == [("g.t", field)]


@pytest.mark.parametrize("job", [None, GPU])
@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"command": ["sh", "{{$}}"]}, "command[1]"),
        ({"arguments": [["a", "{{$.x}}"]]}, "arguments[0]"),
        ({"env": {"V": ["{{$}}"]}}, "env.V"),
        ({"arguments": ['{"IfPresent": {"InputName": "x"}}']}, "arguments[0]"),
        ({"inputs": {"x": FromConstant("{{$}}")}}, "inputs.x"),
        ({"inputs": {"x": FromConstant("1")}, "arguments": [["a", {"$in": "y"}]]}, "arguments[0]"),
        ({"env": {f"V{number}": "x" for number in range(101)}}, "env"),
    ],
)
def test_a_container_that_the_service_would_not_run_as_written_is_refused(
    job: CustomJob | None, fields: dict[str, Any], field: str
) -> None:
    graph = graph_of(container_task("g.t", **fields))
    with pytest.raises(VertexGroupError) as raised:
        compile_graph(graph, {"g.t": TaskSettings(custom_job=job)}, PIPELINE)
    assert [(problem.where, problem.field) for problem in raised.value.problems] == [("g.t", field)]


def test_the_operator_s_own_variables_go_before_those_of_its_settings() -> None:
    graph = graph_of(container_task("g.t", env={"A": "operator"}))
    settings = TaskSettings(image="img:1", env={"A": "group", "B": "group"})
    container = compile_graph(graph, {"g.t": settings}, PIPELINE)["deploymentSpec"]["executors"]["exec-t"][
        "container"
    ]
    assert container == {
        "image": "img:1",
        "env": [{"name": "A", "value": "operator"}, {"name": "B", "value": "group"}],
    }


# Another GCPC


def gcpc_spec() -> Any:
    from google.protobuf import json_format
    from google_cloud_pipeline_components.v1.custom_job import component

    return json_format.MessageToDict(component.custom_training_job.pipeline_spec)


def changed_spec(change: str) -> Any:
    spec = gcpc_spec()
    (component,) = spec["components"].values()
    (executor,) = spec["deploymentSpec"]["executors"].values()
    args = executor["container"]["args"]
    match change:
        case "no payload":
            args.remove("--payload")
        case "payload is no JSON":
            args[args.index("--payload") + 1] += "}"
        case "no pools":
            place = args.index("--payload") + 1
            args[place] = args[place].replace("worker_pool_specs']", "pools']")
            component["inputDefinitions"]["parameters"]["pools"] = {"defaultValue": []}
        case "new parameter without default":
            place = args.index("--payload") + 1
            args[place] = args[place].replace('"labels":', '"x": "{{$.inputs.parameters[\'x\']}}", "labels":')
        case "no resources":
            args[args.index("--gcp_resources") + 1] = "nothing"
        case "two components":
            spec["components"]["comp-other"] = component
    return spec


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("no payload", "launcher of another form"),
        ("payload is no JSON", "launcher of another form"),
        ("no pools", "no parameter 'worker_pool_specs'"),
        ("new parameter without default", "a parameter 'x' without a default"),
        ("no resources", "no output 'gcp_resources'"),
        ("two components", "launcher of another form"),
    ],
)
def test_a_launcher_of_another_form_is_named(change: str, found: str) -> None:
    with pytest.raises(VertexSettingsError, match="google-cloud-pipeline-components") as raised:
        custom_job.read_template(changed_spec(change))
    assert found in str(raised.value.found)


def test_a_new_parameter_with_a_default_is_carried_over() -> None:
    spec = gcpc_spec()
    (component,) = spec["components"].values()
    (executor,) = spec["deploymentSpec"]["executors"].values()
    args = executor["container"]["args"]
    place = args.index("--payload") + 1
    args[place] = args[place].replace('"labels":', '"tier": {{$.inputs.parameters[\'tier\']}}, "labels":')
    component["inputDefinitions"]["parameters"]["tier"] = {"defaultValue": {"a": 1}}
    template = custom_job.read_template(spec)
    assert template.defaults["tier"] == {"a": 1}
    assert template.slots == {*LAUNCHER_NAMES, "tier"}
