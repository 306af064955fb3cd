"""As whom the service is called: every kind of credentials, by Google's own clients, at a checking gate."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, task

from airflow_vertex_provider import VertexTaskGroup
from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.exceptions import VertexApiError
from airflow_vertex_provider.hooks import pipeline
from airflow_vertex_provider.hooks.failures import said
from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
from airflow_vertex_provider.triggers.identity import Identity
from airflow_vertex_provider.triggers.pipeline_job import VertexMemberTrigger, VertexPipelineJobTrigger
from tests.support.google_cloud import CLOUD_PLATFORM, FEDERATED, FakeGoogle
from tests.unit.emulated import LOCATION, ROOT
from tests.unit.submitting import submit

CLIENT = "client@acme.iam.gserviceaccount.com"
MIDDLE = "middle@acme.iam.gserviceaccount.com"
ACTING = "acting@acme.iam.gserviceaccount.com"
WORKLOAD = "workload@acme.iam.gserviceaccount.com"


@pytest.fixture
def google(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGoogle]:
    with VertexEmulator() as emulator, FakeGoogle(emulator, tmp_path / "google") as google:
        google.use(monkeypatch)
        # What cannot be had for good is given up sooner than in earnest.
        monkeypatch.setattr(pipeline, "RETRY_DEADLINE", 10.0)
        yield google


def connect(google: FakeGoogle, monkeypatch: pytest.MonkeyPatch, **extras: Any) -> None:
    """Make the default connection, to the gate."""
    said = {
        "project": "acme-project",
        "location": LOCATION,
        "pipeline_root": ROOT,
        "workload_account": WORKLOAD,
        "api_endpoint": google.endpoint,
        "storage_endpoint": google.endpoint,
        **extras,
    }
    text = json.dumps({"conn_type": "vertex_ai", "extra": said})
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", text)


@task
def member() -> list[int]:
    return [1, 2]


def group(**options: Any) -> DAG:
    with DAG("d") as dag:
        with VertexTaskGroup("g", **options):
            member()
    return dag


def follow(name: str, **options: Any) -> list[Any]:
    """Let the triggers of job and member run to their end, as a triggerer does."""

    async def both() -> list[Any]:
        async def fired(trigger: Any) -> Any:
            return [event.payload async for event in trigger.run()]

        triggers = (
            VertexPipelineJobTrigger(job_name=name, poll_interval=0.05, **options),
            VertexMemberTrigger(job_name=name, task_name="member", poll_interval=0.05, **options),
        )
        return list(await asyncio.gather(*map(fired, triggers)))

    return [payloads[0] for payloads in asyncio.run(both())]


def whole_life(**identity: Any) -> None:
    """Submit, follow by triggers, and cancel, as Airflow's tasks do."""
    name = submit(group(**identity))
    for payload in follow(name, **identity):
        assert payload["outcome"]["succeeded"], payload
    Identity.of("google_cloud_default", identity.get("impersonation_chain"), None).hook().cancel_job(name)


def check_whole_life(google: FakeGoogle, account: str, **identity: Any) -> None:
    whole_life(**identity)
    assert google.callers() == {account}
    asked = {call.method for call in google.calls if "pipelineJobs" in call.path}
    assert asked == {"GET", "POST"}
    assert any(call.path.endswith(":cancel") for call in google.calls)
    (job,) = google.emulator.jobs()
    # The client submits; the job runs as the workload's account.
    assert job["serviceAccount"] == WORKLOAD


def test_a_key_file(google: FakeGoogle, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(google, monkeypatch, key_path=str(google.key_file(CLIENT)))
    check_whole_life(google, CLIENT)


@pytest.mark.parametrize("as_text", [True, False])
def test_the_content_of_a_key_file(
    google: FakeGoogle, monkeypatch: pytest.MonkeyPatch, as_text: bool
) -> None:
    key = google.key(CLIENT)
    connect(google, monkeypatch, keyfile_dict=json.dumps(key) if as_text else key)
    check_whole_life(google, CLIENT)


@pytest.mark.parametrize("kind", ["key_file", "user_file"])
def test_application_default_credentials(
    google: FakeGoogle, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    account = CLIENT if kind == "key_file" else "somebody@acme.example"
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(getattr(google, kind)(account)))
    connect(google, monkeypatch)
    check_whole_life(google, account)


def test_the_project_may_be_the_credentials_own(google: FakeGoogle, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(google, monkeypatch, key_path=str(google.key_file(CLIENT)), project="")
    assert VertexPipelineHook().project == "acme-of-the-key"


@pytest.mark.parametrize("impersonated", [False, True])
def test_workload_identity_federation(
    google: FakeGoogle, monkeypatch: pytest.MonkeyPatch, impersonated: bool
) -> None:
    google.may_impersonate.add((FEDERATED, CLIENT))
    config = google.federation_file(CLIENT if impersonated else None)
    connect(google, monkeypatch, credential_config_file=str(config))
    check_whole_life(google, CLIENT if impersonated else FEDERATED)
    assert "federation" in {grant["kind"] for grant in google.grants}


@pytest.mark.parametrize("where", ["connection", "group"])
@pytest.mark.parametrize("chain", [[ACTING], [MIDDLE, ACTING]])
def test_impersonation(
    google: FakeGoogle, monkeypatch: pytest.MonkeyPatch, chain: list[str], where: str
) -> None:
    google.may_impersonate |= set(zip([CLIENT, *chain], chain, strict=False))
    key = str(google.key_file(CLIENT))
    if where == "connection":
        connect(google, monkeypatch, key_path=key, impersonation_chain=",".join(chain))
        check_whole_life(google, ACTING)
    else:
        # What the group says goes before the connection, here to somebody who may not be impersonated.
        connect(google, monkeypatch, key_path=key, impersonation_chain="nobody@acme.iam.gserviceaccount.com")
        check_whole_life(google, ACTING, impersonation_chain=chain)
    chains = [grant["chain"] for grant in google.grants if grant["kind"] == "impersonation"]
    assert chains
    assert all(found == [CLIENT, *chain] for found in chains)


def test_an_account_that_may_not_be_impersonated(google: FakeGoogle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "RETRY_DEADLINE", 1.0)
    connect(google, monkeypatch, key_path=str(google.key_file(CLIENT)), impersonation_chain=ACTING)
    with pytest.raises(VertexApiError, match=r"iam\.serviceAccounts\.getAccessToken") as raised:
        submit(group())
    assert raised.value.transient
    good, text = VertexPipelineHook().test_connection()
    assert not good
    assert "an account may not be impersonated" in text
    assert not google.emulator.jobs()


def test_quota_project_and_scopes(google: FakeGoogle, monkeypatch: pytest.MonkeyPatch) -> None:
    scopes = f"{CLOUD_PLATFORM},https://www.googleapis.com/auth/devstorage.read_write"
    connect(
        google,
        monkeypatch,
        keyfile_dict=google.key(CLIENT),
        quota_project_id="quota-project",
        scope=scopes,
    )
    whole_life()
    assert {call.quota_project for call in google.calls if call.host == "api"} == {"quota-project"}
    assert VertexPipelineHook().scopes == scopes.split(",")


def test_scopes_that_do_not_suffice(google: FakeGoogle, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(
        google,
        monkeypatch,
        keyfile_dict=google.key(CLIENT),
        impersonation_chain=ACTING,
        scope="https://www.googleapis.com/auth/devstorage.read_only",
    )
    google.may_impersonate.add((CLIENT, ACTING))
    good, text = VertexPipelineHook().test_connection()
    assert not good
    assert "scopes" in text


def test_nobody_comes_in_without_credentials(google: FakeGoogle, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(google, monkeypatch, is_anonymous=True)
    good, text = VertexPipelineHook().test_connection()
    assert not good
    assert "this connection is anonymous" in text


# Tokens that cannot be had for a while


@pytest.mark.parametrize("failures", [[503, 503], [0], [500, 0, 429], [400]])
def test_submit_outlasts_a_token_service_that_fails(
    google: FakeGoogle, monkeypatch: pytest.MonkeyPatch, failures: list[int]
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(google.user_file("somebody@acme.example")))
    connect(google, monkeypatch)
    google.failures[:] = failures
    submit(group())
    assert google.failures == []
    assert len(google.emulator.jobs()) == 1


def test_triggers_outlast_a_token_service_that_fails(
    google: FakeGoogle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(google.user_file("somebody@acme.example")))
    monkeypatch.setattr(pipeline, "RETRY_DEADLINE", 0.5)
    connect(google, monkeypatch)
    name = submit(group())
    google.failures[:] = [503] * 12
    assert all(payload["outcome"]["succeeded"] for payload in follow(name))
    assert len(google.failures) < 12


def test_a_token_that_expires_is_renewed(google: FakeGoogle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(google.user_file("somebody@acme.example")))
    connect(google, monkeypatch)
    hook = VertexPipelineHook()
    name = submit(group())
    hook.get_job(name)
    for token in google.tokens.values():
        token.expires = 0
    hook.get_job(name)


# Nothing secret anywhere


def test_no_secret_is_in_messages_reprs_and_triggers(
    google: FakeGoogle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pipeline, "RETRY_DEADLINE", 0.5)
    key = google.key(CLIENT)
    connect(google, monkeypatch, keyfile_dict=key, client_secret="", impersonation_chain=ACTING)
    google.may_impersonate.add((CLIENT, ACTING))
    with caplog.at_level(logging.DEBUG):
        name = submit(group())
        google.may_impersonate.clear()
        google.failures[:] = [503] * 50
        with pytest.raises(VertexApiError) as raised:
            VertexPipelineHook().get_job(name)
    hook = VertexPipelineHook()
    trigger = VertexPipelineJobTrigger(job_name=name, impersonation_chain=ACTING)
    texts = [
        str(raised.value),
        repr(raised.value),
        repr(hook),
        repr(Identity.of("google_cloud_default", ACTING, None)),
        repr(hook.defaults),
        json.dumps(trigger.serialize()),
        repr(trigger),
        json.dumps(google.emulator.jobs()),
        "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("airflow")),
    ]
    secret = [key["private_key"], key["private_key"].splitlines()[1], *google.tokens]
    for text in texts:
        for each in secret:
            assert each not in text


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Authorization: Bearer ya29.abc-DEF_1 refused", "Authorization: Bearer *** refused"),
        ("{'access_token': 'abc', 'expires_in': 1}", "{'access_token': '***', 'expires_in': 1}"),
        ("client_secret=abc&grant_type=x", "client_secret=***&grant_type=x"),
        ("-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n", "***\n"),
        ("token ya29.abc", "token ***"),
        ("nothing secret about pipelineJobs.get", "nothing secret about pipelineJobs.get"),
    ],
)
def test_what_errors_say_is_cleaned(text: str, kept: str) -> None:
    assert said(ValueError(text)) == kept
