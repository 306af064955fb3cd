"""Google's storage client against the emulator, and its files beside the tasks' own."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials as _AnonymousCredentials
from google.cloud import storage  # type: ignore[attr-defined]

from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.emulator.storage import FINISHED_UPLOADS
from tests.emulator.pipelines import COPY, PROJECT, Client, Pipeline, constant, outputs, tasks

#: The class has no annotations.
AnonymousCredentials: Any = _AnonymousCredentials


def _storage(emulator: VertexEmulator) -> Any:
    return storage.Client(
        project=PROJECT,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": emulator.endpoint},
    )


def test_objects_of_all_kinds(emulator: VertexEmulator) -> None:
    bucket = _storage(emulator).bucket("a-bucket")
    content = bytes(range(256)) * 20 + b"\r\n--almost a boundary\r\n\r\n"
    bucket.blob("deep/in/file.bin").upload_from_string(content)
    bucket.blob("text.txt").upload_from_string("héllo\r\n", content_type="text/plain")
    assert bucket.blob("deep/in/file.bin").download_as_bytes() == content
    assert bucket.blob("text.txt").download_as_text() == "héllo\r\n"
    assert bucket.blob("deep/in/file.bin").download_as_bytes(start=10, end=19) == content[10:20]
    blob = bucket.get_blob("text.txt")
    assert (blob.size, blob.content_type) == (8, "text/plain")
    assert [item.name for item in bucket.list_blobs()] == ["deep/in/file.bin", "text.txt"]
    assert [item.name for item in bucket.list_blobs(prefix="deep/")] == ["deep/in/file.bin"]
    listing = bucket.list_blobs(delimiter="/")
    assert [item.name for item in listing] == ["text.txt"]
    assert listing.prefixes == {"deep/"}
    assert (emulator.state_dir / "gcs" / "a-bucket" / "deep" / "in" / "file.bin").read_bytes() == content
    bucket.blob("text.txt").delete()
    assert not bucket.blob("text.txt").exists()
    assert bucket.get_blob("text.txt") is None
    with pytest.raises(exceptions.NotFound):
        bucket.blob("text.txt").download_as_bytes()


def test_a_resumable_upload_in_one_piece(emulator: VertexEmulator, tmp_path: Any) -> None:
    source = tmp_path / "large"
    source.write_bytes(os.urandom(9 * 1024 * 1024))  # above the client's limit for other uploads
    blob = _storage(emulator).bucket("a-bucket").blob("large")
    blob.upload_from_filename(str(source))
    assert blob.download_as_bytes() == source.read_bytes()


def test_a_file_is_not_overwritten_if_it_must_be_new(emulator: VertexEmulator) -> None:
    blob = _storage(emulator).bucket("a-bucket").blob("x")
    blob.upload_from_string("1", if_generation_match=0)
    with pytest.raises(exceptions.PreconditionFailed):
        blob.upload_from_string("2", if_generation_match=0)
    assert blob.download_as_bytes() == b"1"


@pytest.mark.parametrize("name", ["../../outside", "a/../../b", "/etc/passwd", "a//b", "."])
def test_no_object_leaves_its_bucket(emulator: VertexEmulator, name: str) -> None:
    blob = _storage(emulator).bucket("a-bucket").blob(name)
    with pytest.raises(exceptions.BadRequest, match="cannot store"):
        blob.upload_from_string("x")
    # The client itself shortens some of these names to another path, which is not served or not found.
    with pytest.raises((exceptions.BadRequest, exceptions.NotFound, exceptions.MethodNotImplemented)):
        blob.download_as_bytes()


def test_buckets(start_emulator: Callable[..., VertexEmulator]) -> None:
    assert _storage(start_emulator()).bucket("any-bucket").exists()
    client = _storage(start_emulator(only_created_buckets=True))
    bucket = client.bucket("a-bucket")
    assert not bucket.exists()
    with pytest.raises(exceptions.NotFound):
        bucket.blob("x").upload_from_string("x")
    client.create_bucket("a-bucket", location="europe-west4")
    assert client.get_bucket("a-bucket").location == "EUROPE-WEST4"
    assert [item.name for item in client.list_buckets()] == ["a-bucket"]
    with pytest.raises(exceptions.Conflict):
        client.create_bucket("a-bucket")
    with pytest.raises(exceptions.BadRequest):
        client.create_bucket("BAD-NAME")
    policy = bucket.get_iam_policy()
    policy["roles/storage.objectViewer"].add("user:a@example.com")
    bucket.set_iam_policy(policy)
    assert bucket.get_iam_policy()["roles/storage.objectViewer"] == {"user:a@example.com"}
    bucket.blob("d/x").upload_from_string("x")
    with pytest.raises(exceptions.Conflict):
        bucket.delete()
    bucket.blob("d/x").delete()
    bucket.delete()
    assert not bucket.exists()


def test_tasks_and_clients_see_the_same_files(emulator: VertexEmulator, client: Client) -> None:
    pipe = Pipeline().python("t", COPY, inputs={"x": constant("from the task")}, outputs={"Output": "STRING"})
    job = client.run(pipe, "files")
    name = f"root/{job['name'].split('/')[1]}/files/t_{tasks(job)['t']['taskId']}/Output"
    bucket = _storage(emulator).bucket("bucket")
    assert bucket.blob(name).download_as_text() == "from the task"
    bucket.blob("data/in.txt").upload_from_string("from the client")
    source = (
        "import json,os,sys;o=json.loads(sys.argv[1])['outputs'];"
        "t=open(os.environ['AIRFLOW_VERTEX_GCS_ROOT']+'/bucket/data/in.txt').read();"
        "open(o['parameters']['Output']['outputFile'],'w').write(t)"
    )
    job = client.run(Pipeline().python("t", source, outputs={"Output": "STRING"}))
    assert outputs(job, "t") == {"Output": "from the client"}


@pytest.mark.parametrize("name", ["p" * 300, "a/b/" + "p" * 300, "dd/e", "dd/e/f", "folder"])
def test_a_name_that_is_no_path_beside_the_others_is_refused(emulator: VertexEmulator, name: str) -> None:
    bucket = _storage(emulator).bucket("a-bucket")
    for kept in ("dd", "folder/object"):
        bucket.blob(kept).upload_from_string("kept")
    for condition in ({}, {"if_generation_match": 0}):
        with pytest.raises((exceptions.BadRequest, exceptions.PreconditionFailed)):
            bucket.blob(name).upload_from_string("x", **condition)
    with pytest.raises(exceptions.BadRequest, match="cannot store one of that name"):
        bucket.blob(name).upload_from_string("x")
    assert [blob.name for blob in bucket.list_blobs()] == ["dd", "folder/object"]
    assert bucket.blob("dd").download_as_bytes() == b"kept"
    assert not list((emulator.state_dir / "uploads").iterdir())


def test_finished_uploads_are_forgotten(emulator: VertexEmulator) -> None:
    bucket = _storage(emulator).bucket("bucket")
    for number in range(FINISHED_UPLOADS + 5):
        bucket.blob(f"object-{number}", chunk_size=256 * 1024).upload_from_string(b"x")
    assert len(emulator._running().store.facts("uploads")) <= FINISHED_UPLOADS + 1
