"""Every way in which Airflow takes a connection gives the same typed extras, and tells no secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_vertex_provider.hooks.fields import FIELDS
from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
from tests.support.airflow import airflow_environment, make_home, run_airflow
from tests.support.connections import TYPED, as_text, uri

pytestmark = pytest.mark.integration

TEXTS = {name: as_text(value) for name, value in TYPED.items()}
#: Connection id to what ``airflow connections add`` is given.
COMMANDS = {
    "by_json": ["--conn-json", json.dumps({"conn_type": "vertex_ai", "extra": TYPED})],
    "by_extra": ["--conn-type", "vertex_ai", "--conn-extra", json.dumps(TYPED)],
    "by_texts": ["--conn-type", "vertex_ai", "--conn-extra", json.dumps(TEXTS)],
    "by_uri": ["--conn-uri", uri()],
    "googles": ["--conn-type", "google_cloud_platform", "--conn-extra", json.dumps(TYPED)],
}


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An Airflow without processes, in whose database the command line has put the connections."""
    home = tmp_path_factory.mktemp("airflow")
    make_home(home)
    env = airflow_environment(home, [home], {})
    for conn_id, arguments in COMMANDS.items():
        run_airflow(["connections", "add", conn_id, *arguments], env)
    return env


def export(env: dict[str, str], path: Path, file_format: str) -> str:
    run_airflow(["connections", "export", str(path), "--file-format", file_format], env)
    return path.read_text()


def test_what_the_command_line_stores(
    env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = json.loads(export(env, tmp_path / "connections.json", "json"))
    assert set(stored) == set(COMMANDS)
    for conn_id, connection in stored.items():
        expected = "google_cloud_platform" if conn_id == "googles" else "vertex_ai"
        assert connection["conn_type"] == expected
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
        assert VertexPipelineHook(gcp_conn_id=conn_id).extras == TYPED, conn_id


def test_the_uris_that_airflow_writes(
    env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = export(env, tmp_path / "connections.env", "env").splitlines()
    uris = dict(line.split("=", 1) for line in lines)
    assert set(uris) == set(COMMANDS)
    for conn_id, text in uris.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", text)
        assert VertexPipelineHook(gcp_conn_id=conn_id).extras == TYPED, conn_id


def test_a_failed_test_prints_no_secret(tmp_path: Path) -> None:
    """Airflow's own log lines are looked at too: the command prints them all."""
    canaries = {name: f"canary-{name}" for name, field in FIELDS.items() if field.secret}
    home = tmp_path / "airflow"
    make_home(home)
    key = {"type": "service_account", "private_key": "canary-key", "client_email": "x", "token_uri": "y"}
    given = {
        # One that Google's library refuses, one that ours does, and one of another type.
        "unusable": {
            "conn_type": "vertex_ai",
            "extra": {
                **canaries,
                "keyfile_dict": key,
                "idp_extra_params": {"x": "canary-idp"},
                "project": "p",
            },
        },
        "unknown": {"conn_type": "vertex_ai", "extra": {"lokation": "x", **canaries}},
        "mistyped": {"conn_type": "vertex_ai", "extra": {name: [text] for name, text in canaries.items()}},
    }
    env = airflow_environment(home, [home], {name: json.dumps(text) for name, text in given.items()})
    env |= {"AIRFLOW__CORE__TEST_CONNECTION": "Enabled", "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG"}
    said = {
        "unusable": "credentials cannot be read",
        "unknown": "did you mean 'location'",
        "mistyped": "found '***'",
    }
    for conn_id, reason in said.items():
        with pytest.raises(RuntimeError, match="Connection failed!") as raised:
            run_airflow(["connections", "test", conn_id], {**env, "COLUMNS": "1000"})
        printed = str(raised.value)
        assert reason in printed, printed
        assert "canary-" not in printed
