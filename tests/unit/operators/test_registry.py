"""Templates from Artifact Registry: a loopback server stands for its API and for its downloads."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import yaml
from airflow.sdk import DAG

from airflow_vertex_provider import RunVertexPipelineOperator
from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.exceptions import (
    VertexConfigurationError,
    VertexRefusedError,
    VertexSubmissionError,
)
from airflow_vertex_provider.hooks import templates
from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
from airflow_vertex_provider.hooks.templates import RegistryAddress
from tests.emulator.pipelines import Pipeline
from tests.unit.operators.driving import Instance, drive

PACKAGE = "acme/pipelines/training"
TAGS = "/v1/projects/acme/locations/europe-west4/repositories/pipelines/packages/training/tags"


@dataclass
class Registry:
    """Files by digest, tags, and what to answer first.

    :param failures: HTTP statuses of the next answers.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    failures: list[int] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)

    def put(self, data: bytes, tag: str) -> str:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.files[digest] = data
        self.tags[tag] = digest
        return digest

    def answer(self, path: str) -> tuple[int, bytes]:
        if self.failures:
            return self.failures.pop(0), b'{"error": {"message": "not now"}}'
        if path.startswith(TAGS):
            version = self.tags.get(path.rpartition("/")[2])
            name = f"{TAGS.removeprefix('/v1/').removesuffix('/tags')}/versions/{version}"
            return (200, f'{{"name": "{path}", "version": "{name}"}}'.encode()) if version else (404, b"{}")
        data = self.files.get(path.removeprefix(f"/{PACKAGE}/"))
        return (404, b"{}") if data is None else (200, data)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch, emulator: VertexEmulator) -> Iterator[Registry]:
    registry = Registry()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            registry.requests.append((self.path, self.headers.get("Authorization", "")))
            status, body = registry.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    here = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(templates, "_hosts", lambda location: (here, here))
    yield registry
    server.shutdown()
    server.server_close()
    thread.join()


def pipeline(name: str = "training") -> bytes:
    return yaml.safe_dump(Pipeline(name).task("a").spec()).encode()


def run(version: str, **options: Any) -> RunVertexPipelineOperator:
    with DAG("d"):
        return RunVertexPipelineOperator(
            task_id="run",
            template=f"https://europe-west4-kfp.pkg.dev/{PACKAGE}/{version}",
            poll_interval=0.05,
            **options,
        )


def sent(emulator: VertexEmulator) -> dict[str, Any]:
    body: dict[str, Any] = [item.body for item in emulator.requests if item.method == "POST"][-1]
    return body


def test_a_tag_is_resolved_before_the_service_is_asked(registry: Registry, emulator: VertexEmulator) -> None:
    digest = registry.put(pipeline(), "v1")
    value, _ = drive(run("v1"))
    assert value["state"] == "PIPELINE_STATE_SUCCEEDED"
    assert [path for path, _ in registry.requests] == [f"{TAGS}/v1", f"/{PACKAGE}/{digest}"]
    body = sent(emulator)
    assert body["templateUri"] == f"https://europe-west4-kfp.pkg.dev/{PACKAGE}/{digest}"
    assert body["pipelineSpec"]["pipelineInfo"]["name"] == "training"


def test_a_digest_is_downloaded_as_it_is(registry: Registry, emulator: VertexEmulator) -> None:
    digest = registry.put(pipeline(), "v1")
    drive(run(digest, wait_for_completion=False))
    assert [path for path, _ in registry.requests] == [f"/{PACKAGE}/{digest}"]
    assert sent(emulator)["templateUri"].endswith(digest)


def test_a_retry_follows_its_job_though_the_tag_has_moved(
    registry: Registry, emulator: VertexEmulator
) -> None:
    registry.put(pipeline(), "v1")
    first, _ = drive(run("v1"))
    registry.put(pipeline("newer"), "v1")
    again, _ = drive(run("v1"), Instance("run", try_number=2))
    assert again["job_name"] == first["job_name"]
    assert len(emulator.jobs()) == 1


def test_as_the_connections_identity(registry: Registry, hook: VertexPipelineHook) -> None:
    from google.oauth2.credentials import Credentials

    registry.put(pipeline(), "v1")
    hook.get_credentials = lambda: Credentials("a-token")  # type: ignore[method-assign, no-untyped-call]
    hook.read_template(RegistryAddress.parse(f"https://europe-west4-kfp.pkg.dev/{PACKAGE}/v1"))
    assert {header for _, header in registry.requests} == {"Bearer a-token"}


def test_what_passes_is_waited_out(registry: Registry, emulator: VertexEmulator) -> None:
    registry.put(pipeline(), "v1")
    registry.failures = [503, 429]
    drive(run("v1", wait_for_completion=False))
    assert len(registry.requests) == 4


@pytest.mark.parametrize(("status", "words"), [(403, "not now"), (404, "not now")])
def test_what_is_refused_is_told(
    registry: Registry, emulator: VertexEmulator, status: int, words: str
) -> None:
    registry.put(pipeline(), "v1")
    registry.failures = [status]
    with pytest.raises(VertexRefusedError, match=rf"find tag 'v1' of https://.*{words}") as raised:
        drive(run("v1"))
    assert raised.value.code == status
    assert emulator.jobs() == []


def test_unknown_tag(registry: Registry, emulator: VertexEmulator) -> None:
    with pytest.raises(VertexRefusedError, match="find tag 'none'"):
        drive(run("none"))


def test_an_answer_that_makes_no_sense(registry: Registry, emulator: VertexEmulator) -> None:
    registry.tags["v1"] = "latest"
    with pytest.raises(VertexSubmissionError, match=r"stands for .latest.; expected a version sha256"):
        drive(run("v1"))


def test_too_large(registry: Registry, emulator: VertexEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "MAX_BYTES", 100)
    registry.put(b"x" * 200_000, "v1")
    with pytest.raises(VertexSubmissionError, match="more than 100 bytes"):
        drive(run("v1"))


@pytest.mark.parametrize(
    "text",
    [
        "https://europe-west4-kfp.pkg.dev/acme/r/p/sha256:" + "a" * 64,
        "https://us-kfp.pkg.dev/acme.com:proj/r/p/latest",
    ],
)
def test_an_address_reads_back(text: str) -> None:
    address = RegistryAddress.parse(text)
    assert str(address) == text
    assert address.is_digest is ("sha256" in text)


@pytest.mark.parametrize("text", ["", "https://x-docker.pkg.dev/a/b/c/d", "http://x-kfp.pkg.dev/a/b/c/d"])
def test_no_address(text: str) -> None:
    with pytest.raises(VertexConfigurationError, match="template: found"):
        RegistryAddress.parse(text)
