"""Secrets of a connection and of a Variable: used in a real Airflow, and found nowhere afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_vertex_provider.emulator import VertexEmulator
from tests.support.airflow import AirflowDeployment, run_airflow
from tests.support.google_cloud import FakeGoogle
from tests.support.processes import INTEGRATION_DAGS

pytestmark = pytest.mark.integration

CLIENT = "client@acme.iam.gserviceaccount.com"
WORKLOAD = "workload@acme.iam.gserviceaccount.com"
#: Told to the run, so it has to be found: the search below can fail.
CONTROL = "control-4f1d6a"
CANARIES = {
    "password": "canary-password-9a1b",
    "client_secret": "canary-client-secret-7c2d",
    "idp_extra_params": "canary-idp-extra-5e3f",
    "key id": "canary-key-id-3a4b",
    "variable": "canary-variable-1c5d",
}


def found_in(folder: Path, texts: dict[str, str]) -> dict[str, list[str]]:
    """Return where below a folder which texts stand, in whatever file, read as bytes."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            for name, text in texts.items():
                if text.encode() in data:
                    found.setdefault(name, []).append(str(path.relative_to(folder)))
    return found


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeGoogle]:
    folder = tmp_path_factory.mktemp("cloud")
    with (
        VertexEmulator(state_dir=folder / "state") as emulator,
        FakeGoogle(emulator, folder / "google") as google,
    ):
        yield google


def test_secrets_stay_where_they_are(google: FakeGoogle, tmp_path: Path) -> None:
    key = {**google.key(CLIENT), "private_key_id": CANARIES["key id"]}
    # A line from the middle of the key; the whole has line ends that JSON writes differently.
    texts = {**CANARIES, "private key": key["private_key"].splitlines()[5]}
    connection = {
        "conn_type": "vertex_ai",
        "password": CANARIES["password"],
        "extra": {
            "project": "acme-project",
            "location": "europe-west4",
            "pipeline_root": "gs://acme-bucket/root",
            "workload_account": WORKLOAD,
            "keyfile_dict": json.dumps(key),
            "client_secret": CANARIES["client_secret"],
            "idp_extra_params": json.dumps({"x": CANARIES["idp_extra_params"]}),
            "api_endpoint": google.endpoint,
            "storage_endpoint": google.endpoint,
        },
    }
    with AirflowDeployment(
        [INTEGRATION_DAGS / "secret_dags.py"],
        {},
        env={**google.environment(), "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG"},
    ) as airflow:
        # From files: Airflow keeps the command lines of its CLI in its database, secrets and all.
        for kind, content in (
            ("connections", {"vertex_secret": connection}),
            ("variables", {"canary_variable": CANARIES["variable"]}),
        ):
            file = tmp_path / f"{kind}.json"
            file.write_text(json.dumps(content))
            run_airflow([kind, "import", str(file)], airflow.env)
        run_id = airflow.trigger("vertex_secrets", conf={"control": CONTROL})
        assert airflow.wait_for_run("vertex_secrets", run_id) == "success"
        assert airflow.xcom("vertex_secrets", run_id, "g.member") == [len(CANARIES["variable"]), CONTROL]
        assert google.callers() == {CLIENT}

        # Its database, encrypted columns and all; the logs of tasks and of every process; its files.
        everywhere = found_in(airflow.home, {**texts, "control": CONTROL})
        assert any(name.startswith("airflow.db") for name in everywhere.pop("control"))
        assert everywhere == {}

    emulator = google.emulator
    stored = found_in(emulator.state_dir, {**texts, "control": CONTROL})
    assert stored.pop("control")
    assert stored == {}
    received = json.dumps([request.body for request in emulator.requests], default=str)
    assert CONTROL in received
    assert not [name for name, text in texts.items() if text in received]
    (job,) = emulator.jobs()
    assert job["serviceAccount"] == WORKLOAD
