"""``airflow-vertex doctor`` against a fake of the services it asks: what it finds and leaves alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_vertex_provider.cli.definition import main
from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.permissions import ACCOUNT, BUCKET, CLIENT, PERMISSIONS, PROJECT, WORKLOAD
from tests.support.google_cloud import FakeGoogle

CALLER = "client@acme.iam.gserviceaccount.com"
RUNNER = "workload@acme.iam.gserviceaccount.com"
RESOURCES = {
    PROJECT: "projects/acme-project",
    ACCOUNT: f"serviceAccounts/{RUNNER}",
    BUCKET: "buckets/acme-bucket",
}
ACCOUNTS = {CLIENT: CALLER, WORKLOAD: RUNNER}
REQUIRED = [each for each in PERMISSIONS if not each.optional]


@pytest.fixture
def google(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGoogle]:
    """Google Cloud where both accounts may do all that is needed."""
    with VertexEmulator() as emulator, FakeGoogle(emulator, tmp_path / "google") as google:
        google.use(monkeypatch)
        google.buckets.add("acme-bucket")
        google.may_impersonate.add((CALLER, RUNNER))
        for each in REQUIRED:
            place = (ACCOUNTS[each.identity], RESOURCES[each.on])
            google.permissions.setdefault(place, set()).add(each.name)
        connect(google, monkeypatch)
        yield google


def connect(google: FakeGoogle, monkeypatch: pytest.MonkeyPatch, **extras: Any) -> None:
    said = {
        "project": "acme-project",
        "location": "europe-west4",
        "pipeline_root": "gs://acme-bucket/root",
        "workload_account": RUNNER,
        "key_path": str(google.key_file(CALLER)),
        "api_endpoint": google.endpoint,
        **extras,
    }
    text = json.dumps({"conn_type": "vertex_ai", "extra": said})
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", text)


class Said:
    """What one call of the command printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
        capsys.readouterr()
        self.code = main(["doctor", "--output", "json", *arguments])
        printed = capsys.readouterr()
        self.err = printed.err
        self.reports: list[dict[str, Any]] = json.loads(printed.out) if printed.out.strip() else []

    def rows(self, has: str) -> set[tuple[str, str]]:
        return {
            (row["who"].split()[0], row["needs"])
            for report in self.reports
            for row in report["checks"]
            if row["has"] == has
        }

    @property
    def commands(self) -> list[str]:
        return [command for report in self.reports for command in report["commands"]]

    def notes(self) -> str:
        return "\n".join(row["for"] for report in self.reports for row in report["checks"])


def test_all_is_there(google: FakeGoogle, capsys: pytest.CaptureFixture[str]) -> None:
    google.permissions[CALLER, RESOURCES[PROJECT]] |= {each.name for each in PERMISSIONS if each.optional}
    said = Said(capsys)
    assert said.code == 0, said.reports
    assert said.commands == []
    assert said.rows("yes") == {
        (CLIENT, "credentials"),
        (CLIENT, "an answer of Vertex AI"),
        *((each.identity, each.name) for each in PERMISSIONS),
    }
    assert f"acting as {CALLER}" in said.notes()


@pytest.mark.parametrize("missing", REQUIRED, ids=lambda each: f"{each.identity}-{each.name}")
def test_each_missing_permission_is_named(
    google: FakeGoogle, capsys: pytest.CaptureFixture[str], missing: Any
) -> None:
    google.permissions[ACCOUNTS[missing.identity], RESOURCES[missing.on]].discard(missing.name)
    said = Said(capsys)
    assert said.code == 1
    assert said.rows("no") == {(missing.identity, missing.name)}
    command = {
        PROJECT: "gcloud projects add-iam-policy-binding acme-project",
        ACCOUNT: f"gcloud iam service-accounts add-iam-policy-binding {RUNNER}",
        BUCKET: "gcloud storage buckets add-iam-policy-binding gs://acme-bucket",
    }[missing.on]
    member = ACCOUNTS[missing.identity]
    assert said.commands == [f"{command} --member=serviceAccount:{member} --role={missing.role}"]


def test_it_asks_and_changes_nothing(google: FakeGoogle, capsys: pytest.CaptureFixture[str]) -> None:
    google.permissions.clear()
    assert Said(capsys).code == 1
    assert google.changes == []
    for call in google.calls:
        question = call.path.endswith((":testIamPermissions", "/iam/testPermissions", ":generateAccessToken"))
        assert question or call.method == "GET", call


def test_a_workload_that_may_not_be_impersonated_is_not_guessed_about(
    google: FakeGoogle, capsys: pytest.CaptureFixture[str]
) -> None:
    google.may_impersonate.clear()
    said = Said(capsys)
    assert said.code == 3
    assert {who for who, what in said.rows("not known") if "schedules" not in what} == {WORKLOAD}
    assert "iam.serviceAccounts.getAccessToken" in said.notes()
    assert said.commands == []


def test_one_account_for_both(
    google: FakeGoogle, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seed's second set-up."""
    connect(google, monkeypatch, workload_account=CALLER)
    google.may_impersonate.clear()
    for each in REQUIRED:
        place = RESOURCES[each.on] if each.on != ACCOUNT else f"serviceAccounts/{CALLER}"
        google.permissions.setdefault((CALLER, place), set()).add(each.name)
    said = Said(capsys)
    assert (WORKLOAD, "aiplatform.customJobs.create") in said.rows("yes")
    assert said.rows("no") == set()


def test_a_person_with_their_own_account(
    google: FakeGoogle, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seed's first set-up: gcloud's account here, the project's default account there."""
    user = "somebody@acme.example"
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(google.user_file(user)))
    connect(google, monkeypatch, key_path="", workload_account="")
    said = Said(capsys)
    assert said.code == 1
    assert "an account whose name is not known here" in said.notes()
    assert "jobs run as the project's default account" in said.notes()
    assert any("--member=serviceAccount:ACCOUNT" in command for command in said.commands)


@pytest.mark.parametrize(
    ("extras", "needs", "note"),
    [
        ({"location": "europe-west99"}, "a location", "extra_locations"),
        ({"location": "", "pipeline_root": ""}, None, "neither group nor connection name a location"),
        ({"pipeline_root": "gs://gone/root"}, None, "404: The specified bucket does not exist."),
        ({"key_path": "/nowhere.json"}, "credentials", "No such file"),
    ],
)
def test_what_else_may_be_wrong(
    google: FakeGoogle,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    extras: dict[str, Any],
    needs: str | None,
    note: str,
) -> None:
    connect(google, monkeypatch, **extras)
    said = Said(capsys)
    assert said.code == (1 if needs else 3)
    if needs:
        assert (CLIENT, needs) in said.rows("no")
    assert note in said.notes()


def test_an_api_that_is_off(google: FakeGoogle, capsys: pytest.CaptureFixture[str]) -> None:
    google.disabled = "Vertex AI API has not been used in project 1 before or it is disabled."
    said = Said(capsys)
    assert said.code == 1
    assert "gcloud services enable aiplatform.googleapis.com --project=acme-project" in said.commands


def test_the_line_goes_before_the_connection(google: FakeGoogle, capsys: pytest.CaptureFixture[str]) -> None:
    said = Said(capsys, "--project", "other-project", "--workload-account", CALLER)
    assert said.code == 1
    assert any("add-iam-policy-binding other-project" in command for command in said.commands)


def test_an_emulator_needs_no_permissions(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with VertexEmulator() as emulator:
        monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", emulator.connection_json())
        said = Said(capsys)
    assert said.code == 3
    assert (CLIENT, "an answer of Vertex AI") in said.rows("yes")


DAGS = """
from airflow.sdk import DAG, task
from airflow_vertex_provider import VertexTaskGroup

@task
def member():
    return 1

with DAG("one"):
    with VertexTaskGroup(
        "a", location="us-central1", pipeline_root="gs://acme-bucket/a", project_id="project-a"
    ):
        member()
    with VertexTaskGroup("b", service_account="{{ params.account }}"):
        member()
    with VertexTaskGroup("c", project_id="{{ params.project }}"):
        member()
with DAG("two"):
    member()
"""


def test_a_dag_file(google: FakeGoogle, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "dags.py"
    file.write_text(DAGS)
    said = Said(capsys, "--dag-file", str(file))
    assert [report["target"] for report in said.reports] == ["one.a", "one.b", "one.c"]
    assert [row["has"] for row in said.reports[2]["checks"]] == ["not known"]
    first, second, _ = (json.dumps(report) for report in said.reports)
    assert "project-a" in first
    assert "us-central1" in first
    assert "europe-west4" in second
    assert "a template, known only at run time" in second
    assert said.code == 1


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        ("from airflow.sdk import DAG\nraise RuntimeError('broken')", [], "broken"),
        (DAGS, ["--dag-id", "three"], "--dag-id: found 'three'; allowed: one of one, two"),
        (DAGS, ["--dag-id", "two"], "found no Vertex task group"),
        (None, [], "--dag-file: found"),
    ],
)
def test_a_dag_file_that_cannot_be_used(
    google: FakeGoogle,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    text: str | None,
    arguments: list[str],
    said: str,
) -> None:
    file = tmp_path / "dags.py"
    if text is not None:
        file.write_text(text)
    answer = Said(capsys, "--dag-file", str(file), *arguments)
    assert answer.code == 2
    assert said in answer.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--dag-file", "x.py", "--conn-id", "c"], "--conn-id: found beside --dag-file"),
        (["--dag-file", "x.py", "--pipeline-root", "gs://b/r"], "--pipeline-root: found beside --dag-file"),
        (["--dag-id", "d"], "--dag-id: found without --dag-file"),
        (["--output", "xml"], "invalid choice: 'xml'"),
    ],
)
def test_a_line_that_would_go_unheard(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", *arguments])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_connection_that_is_not_there(google: FakeGoogle, capsys: pytest.CaptureFixture[str]) -> None:
    answer = Said(capsys, "--conn-id", "nobody")
    assert answer.code == 2
    assert "nobody" in answer.err


def test_the_table_and_yaml(google: FakeGoogle, capsys: pytest.CaptureFixture[str]) -> None:
    google.permissions[CALLER, RESOURCES[PROJECT]].discard("aiplatform.pipelineJobs.create")
    capsys.readouterr()
    assert main(["doctor"]) == 1
    table = capsys.readouterr().out
    assert "aiplatform.pipelineJobs.create" in table
    assert "  gcloud projects add-iam-policy-binding acme-project" in table
    assert google.key(CALLER)["private_key"].splitlines()[1] not in table
    assert main(["doctor", "--output", "yaml"]) == 1
    (report,) = yaml.safe_load(capsys.readouterr().out)
    assert report["target"] == "connection google_cloud_default"
