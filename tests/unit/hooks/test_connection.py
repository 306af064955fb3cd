"""The connection: which extras there are, what types they get, how they may be given, and its test button."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.exceptions import VertexConfigurationError
from airflow_vertex_provider.hooks.connection import check_endpoint, setting_extras, typed_extras
from airflow_vertex_provider.hooks.fields import FIELDS, HIDDEN_FIELDS, form_fields
from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
from airflow_vertex_provider.settings.connection import CONNECTION_PIPELINE_KEYS, CONNECTION_TASK_KEYS
from tests.support.connections import TYPED, as_text, uri
from tests.support.processes import free_port


def connect(monkeypatch: pytest.MonkeyPatch, text: str, conn_id: str = "c") -> VertexPipelineHook:
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", text)
    return VertexPipelineHook(gcp_conn_id=conn_id)


def connection(conn_type: str = "vertex_ai", **extra: Any) -> str:
    return json.dumps({"conn_type": conn_type, "extra": extra})


def test_every_field_has_a_sample_and_every_setting_a_field() -> None:
    assert set(TYPED) == set(FIELDS)
    assert set(setting_extras(TYPED)) == {*CONNECTION_PIPELINE_KEYS, *CONNECTION_TASK_KEYS}
    assert setting_extras(TYPED)["service_account"] == TYPED["workload_account"]


@pytest.mark.parametrize("conn_type", ["vertex_ai", "google_cloud_platform"])
def test_texts_and_values_give_the_same_extras(conn_type: str) -> None:
    assert typed_extras(conn_type, TYPED, "c") == TYPED
    assert typed_extras(conn_type, {name: as_text(value) for name, value in TYPED.items()}, "c") == TYPED
    prefixed = {f"extra__google_cloud_platform__{name}": value for name, value in TYPED.items()}
    assert typed_extras(conn_type, prefixed, "c") == TYPED


def test_what_is_empty_is_not_said() -> None:
    assert typed_extras("vertex_ai", dict.fromkeys(FIELDS, ""), "c") == {}
    assert typed_extras("vertex_ai", dict.fromkeys(FIELDS), "c") == {}


@pytest.mark.parametrize("given", ["a,b", "a , b,", "a\nb\n", '["a", "b"]', ["a", "b"]])
def test_lists_are_written_in_several_ways(given: Any) -> None:
    assert typed_extras("vertex_ai", {"reserved_ip_ranges": given}, "c") == {"reserved_ip_ranges": ["a", "b"]}


@pytest.mark.parametrize(
    ("conn_type", "extras", "said"),
    [
        (
            "http",
            {},
            "found 'http'; allowed: 'vertex_ai', or Google's own 'google_cloud_platform'",
        ),
        (None, {}, "conn_type: found None"),
        ("vertex_ai", {"lokation": "x"}, r"extra: found 'lokation'; .*did you mean 'location'"),
        ("vertex_ai", {"service_account": "x"}, "did you mean 'workload_account'"),
        ("vertex_ai", {"workload_service_account": "x"}, "did you mean 'workload_account'"),
        ("google_cloud_platform", {"workload_service_account": "x"}, "did you mean 'workload_account'"),
        ("vertex_ai", {"project_id": "x"}, r"did you mean 'project'"),
        ("vertex_ai", {"region": "x"}, r"did you mean 'location'"),
        ("vertex_ai", {"labels": "team=ml"}, "labels: found 'team=ml'; allowed: a JSON object"),
        ("vertex_ai", {"custom_job": "[]"}, r"custom_job: found '\[\]'; allowed: a JSON object"),
        ("vertex_ai", {"is_anonymous": "perhaps"}, "is_anonymous: found 'perhaps'; allowed: true or false"),
        (
            "vertex_ai",
            {"keyfile_dict": "{not json"},
            r"keyfile_dict: found '\*\*\*'; allowed: the JSON of a key",
        ),
        (
            "vertex_ai",
            {"credential_config_file": '{"x'},
            r"credential_config_file: found '\*\*\*'; allowed: a path",
        ),
        ("vertex_ai", {"client_id": 1.5}, "client_id: found 1.5; allowed: a text"),
        ("vertex_ai", {"idp_extra_params": "x"}, "allowed: a JSON object"),
        ("vertex_ai", {"num_retries": "-1"}, "num_retries: found '-1'; allowed: a whole number"),
        (
            "vertex_ai",
            {"failure_policy": "quick"},
            "found 'quick'; allowed: one of slow, fast",
        ),
        ("vertex_ai", {"reserved_ip_ranges": {"a": 1}}, "reserved_ip_ranges: found"),
        ("vertex_ai", {"api_endpoint": "a b"}, "api_endpoint: found 'a b'; allowed: a host or a URL"),
        ("google_cloud_platform", {"labels": "team=ml"}, "labels: found"),
    ],
)
def test_what_is_wrong_is_named(conn_type: str | None, extras: dict[str, Any], said: str) -> None:
    with pytest.raises(VertexConfigurationError, match=said) as raised:
        typed_extras(conn_type, extras, "c")
    assert str(raised.value).startswith("connection 'c': ")


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if field.secret])
def test_a_secret_is_not_in_the_message(name: str) -> None:
    with pytest.raises(VertexConfigurationError, match=rf"{name}: found '\*\*\*'") as raised:
        typed_extras("vertex_ai", {name: ["canary-1"]}, "c")
    assert "canary-1" not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    ("name", "given", "typed"),
    [
        ("keyfile_dict", '{"type": "service_account"}', {"type": "service_account"}),
        ("credential_config_file", "/etc/config.json", "/etc/config.json"),
        ("credential_config_file", '{"type": "external_account"}', {"type": "external_account"}),
        ("credential_config_file", {"type": "external_account"}, {"type": "external_account"}),
        ("idp_extra_params", {"audience": "x"}, '{"audience": "x"}'),
        ("scope", ["a", "b"], "a,b"),
        ("client_id", 123, "123"),
        ("project", 123, "123"),
    ],
)
def test_what_googles_hook_takes(name: str, given: Any, typed: Any) -> None:
    assert typed_extras("vertex_ai", {name: given}, "c") == {name: typed}


def test_an_extra_of_googles_that_we_do_not_know_passes() -> None:
    extras = {"new_way": "x", "location": "us-central1"}
    assert typed_extras("google_cloud_platform", extras, "c") == extras


@pytest.mark.parametrize(
    ("endpoint", "location", "good"),
    [
        (None, "europe-west4", True),
        ("europe-west4-aiplatform.googleapis.com", "europe-west4", True),
        ("https://europe-west4-aiplatform.googleapis.com/", "europe-west4", True),
        ("us-central1-aiplatform.googleapis.com", "europe-west4", False),
        ("https://us-central1-aiplatform.googleapis.com:443", "europe-west4", False),
        ("https://US-central1-aiplatform.mtls.googleapis.com/v1", "europe-west4", False),
        ("aiplatform.googleapis.com", "europe-west4", True),
        ("vertex.internal.example", "europe-west4", True),
        ("http://127.0.0.1:8990", "europe-west4", True),
    ],
)
def test_the_endpoint_is_the_regions(endpoint: str | None, location: str, good: bool) -> None:
    if good:
        check_endpoint(endpoint, location, "c")
        return
    with pytest.raises(VertexConfigurationError, match=r"api_endpoint: found .*europe-west4-aiplatform.*L19"):
        check_endpoint(endpoint, location, "c")


def test_the_hook_refuses_the_endpoint_of_another_region(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = connect(
        monkeypatch, connection(is_anonymous=True, api_endpoint="us-central1-aiplatform.googleapis.com")
    )
    with pytest.raises(VertexConfigurationError, match="api_endpoint"):
        hook.client("europe-west4")


# The ways to give one


@pytest.mark.parametrize(
    "text",
    [
        connection(**TYPED),
        connection("google_cloud_platform", **TYPED),
        json.dumps({"conn_type": "vertex_ai", "extra": json.dumps(TYPED)}),
        uri(),
        uri("google-cloud-platform"),
    ],
    ids=["json", "google", "json-in-json", "uri", "google-uri"],
)
def test_every_way_gives_the_same_hook(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = connect(monkeypatch, text)
    assert hook.extras == TYPED
    assert hook.defaults.pipeline["service_account"] == TYPED["workload_account"]
    assert hook.defaults.pipeline["labels"] == {"team": "ml"}
    assert hook.defaults.task == {"image": "image:1", "custom_job": TYPED["custom_job"]}


@pytest.mark.parametrize(
    ("given", "chain"),
    [
        ("a@x", "a@x"),
        (["a@x"], "a@x"),
        ('["a@x"]', "a@x"),
        ("a@x, b@x", ["a@x", "b@x"]),
        (["a@x", "b@x"], ["a@x", "b@x"]),
        ('["a@x", "b@x"]', ["a@x", "b@x"]),
    ],
)
def test_an_impersonation_chain_may_be_a_list(
    given: Any, chain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = connect(monkeypatch, connection(impersonation_chain=given))
    assert hook.extras["impersonation_chain"] == chain
    own = VertexPipelineHook(gcp_conn_id="c", impersonation_chain="own@x.iam.gserviceaccount.com")
    assert own.impersonation_chain == "own@x.iam.gserviceaccount.com"


def test_another_type_is_refused_where_the_hook_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VertexConfigurationError, match="conn_type: found 'aws'"):
        connect(monkeypatch, connection("aws", location="us-central1"))


def test_the_settings_of_a_connection_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = connect(monkeypatch, connection(network="my-vpc"))
    with pytest.raises(VertexConfigurationError, match=r"connection 'c': network: found 'my-vpc'"):
        _ = hook.defaults


# The form


def test_airflow_draws_the_form_from_the_metadata() -> None:
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    info = manager.hooks["vertex_ai"]
    assert info is not None
    assert info.hook_name == "Google Vertex AI Pipelines"
    assert info.hook_class_name == "airflow_vertex_provider.hooks.pipeline.VertexPipelineHook"
    widgets = manager.connection_form_widgets
    for name, field in FIELDS.items():
        widget = widgets[f"extra__vertex_ai__{name}"]
        assert widget.is_sensitive is field.secret
        assert widget.field["schema"]["title"] == field.label
        assert widget.field["description"] == field.description
    assert set(manager.field_behaviours["vertex_ai"]["hidden_fields"]) == set(HIDDEN_FIELDS)


def test_the_metadata_obey_airflows_schema() -> None:
    import jsonschema  # type: ignore[import-untyped]
    import yaml
    from airflow import providers_manager

    text = Path(providers_manager.__file__).with_name("provider.yaml.schema.json").read_text()
    schema = yaml.safe_load(text)["properties"]["connection-types"]["items"]["properties"]["conn-fields"]
    jsonschema.validate(form_fields(), schema)


def test_an_airflow_without_metadata_gets_the_same_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow 3.1 asks the class; its web framework is not installed here, so its own stand-ins serve."""
    import sys
    from types import ModuleType

    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

    wtforms, flask, widgets = (
        ModuleType("wtforms"),
        ModuleType("flask_appbuilder"),
        ModuleType("fieldwidgets"),
    )
    for kind in ("Boolean", "Integer", "Password", "String"):
        setattr(wtforms, f"{kind}Field", getattr(HookMetaService, f"Mock{kind}Field"))
    widgets.BS3TextFieldWidget = widgets.BS3PasswordFieldWidget = HookMetaService.MockAnyWidget  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wtforms", wtforms)
    monkeypatch.setitem(sys.modules, "flask_appbuilder", flask)
    monkeypatch.setitem(sys.modules, "flask_appbuilder.fieldwidgets", widgets)
    drawn = VertexPipelineHook.get_connection_form_widgets()
    assert list(drawn) == list(FIELDS)
    for name, field in FIELDS.items():
        shown = drawn[name].param.dump()["schema"]
        assert shown["title"] == field.label
        assert (shown.get("format") == "password") is field.secret
    assert VertexPipelineHook.get_ui_field_behaviour()["hidden_fields"] == list(HIDDEN_FIELDS)


# The test button


def test_the_test_makes_one_cheap_call(monkeypatch: pytest.MonkeyPatch, emulator: VertexEmulator) -> None:
    said = json.loads(emulator.connection_json())
    hook = connect(monkeypatch, json.dumps({**said, "conn_type": "vertex_ai"}))
    good, text = hook.test_connection()
    assert good, text
    assert "Vertex AI in europe-west4 answered for project demo-project" in text
    assert "location, pipeline_root" in text
    (call,) = emulator.requests
    assert (call.rest_method, call.query["pageSize"]) == ("pipelineJobs.list", "1")


@contextmanager
def answering(code: int, body: Any) -> Iterator[str]:
    """Serve one answer to everything."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def refusal(code: int, status: str, message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"code": code, "status": status, "message": message, **more}}


@pytest.mark.parametrize(
    ("code", "body", "said"),
    [
        (
            403,
            refusal(
                403,
                "PERMISSION_DENIED",
                "Permission 'aiplatform.pipelineJobs.list' denied on resource '//x'",
            ),
            "lacks the permission aiplatform.pipelineJobs.list; airflow-vertex doctor",
        ),
        (
            403,
            refusal(
                403,
                "PERMISSION_DENIED",
                "Vertex AI API has not been used in project 1 before or it is disabled.",
            ),
            "gcloud services enable aiplatform.googleapis.com",
        ),
        (401, refusal(401, "UNAUTHENTICATED", "Anonymous credentials"), "this connection is anonymous"),
        (404, refusal(404, "NOT_FOUND", "nothing here"), "check Project ID and API endpoint"),
        (400, refusal(400, "INVALID_ARGUMENT", "no"), "check Project ID and Location 'europe-west4'"),
        (503, refusal(503, "UNAVAILABLE", "later"), "does not answer"),
    ],
)
def test_a_refusal_is_explained(
    code: int, body: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(code, body) as endpoint:
        hook = connect(
            monkeypatch,
            connection(is_anonymous=True, project="p", location="europe-west4", api_endpoint=endpoint),
        )
        good, text = hook.test_connection()
    assert not good
    assert said in text
    assert body["error"]["message"] in text


@pytest.mark.parametrize(
    ("extras", "said"),
    [
        ({"is_anonymous": True, "project": "p"}, "Nothing listens at the endpoint"),
        (
            {"is_anonymous": True, "project": "p", "api_endpoint": "vertex.invalid"},
            "Nobody knows the endpoint's name: .* Location 'us-central1'",
        ),
        (
            {"key_path": "/nowhere/key.json", "project": "p"},
            "The key file is not there where this process runs",
        ),
        (
            {"keyfile_dict": {"private_key": "canary-2", "client_email": "x", "token_uri": "y"}},
            "cannot be read",
        ),
        ({"keyfile_dict": {"private_key": "canary-2"}, "project": "p"}, "not whole"),
        ({"keyfile_dict": {"type": "service_account"}}, "The key lacks a part: .*'private_key'"),
        ({"key_path": "/tmp/key.txt"}, "Unrecognised extension"),
        (
            {"keyfile_dict": {"private_key": "canary-2"}, "is_anonymous": True},
            r"mutually exclusive. Received options: \['keyfile_dict', 'is_anonymous'\]",
        ),
        ({"is_anonymous": True}, "project_id: found none"),
        ({"is_anonymous": True, "project": "p", "network": "vpc"}, "network: found 'vpc'"),
        (
            {
                "is_anonymous": True,
                "project": "p",
                "location": "us-central1",
                "api_endpoint": "europe-west4-aiplatform.googleapis.com",
            },
            "L19",
        ),
    ],
)
def test_what_keeps_the_call_from_being_made_is_explained(
    extras: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import re

    extras = {"api_endpoint": f"http://127.0.0.1:{free_port()}", **extras}
    good, text = connect(monkeypatch, connection(**extras)).test_connection()
    assert not good
    assert re.search(said, text), text
    assert "canary-2" not in text
