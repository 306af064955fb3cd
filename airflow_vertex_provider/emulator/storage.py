"""A small part of Cloud Storage's JSON API: buckets and objects as files below the state directory.

Served are buckets get, insert, list and delete with their IAM policy, and objects get, media, insert
(media, multipart, resumable), list and delete. The same files are what tasks see as ``gs://bucket/object``.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import mimetypes
import re
import urllib.parse
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.responses import Response

from airflow_vertex_provider.emulator.clock import format_time
from airflow_vertex_provider.emulator.errors import ApiError
from airflow_vertex_provider.emulator.names import project_number
from airflow_vertex_provider.emulator.routes import Call
from airflow_vertex_provider.emulator.services import Services

Json = dict[str, Any]

#: Finished uploads that are still known, so that a client which got no answer may send the last piece again.
FINISHED_UPLOADS = 20

#: What the system answers if a name is too long for a file, or stands where a folder or a file is already.
_NOT_A_PATH = frozenset(
    {
        errno.ENAMETOOLONG,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EEXIST,
        errno.ENOTEMPTY,
        errno.EILSEQ,
        errno.EINVAL,
    }
)

_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")


class StorageApi:
    """Serves buckets and objects.

    :param only_created_buckets: a bucket exists once it was created, or something was written to it; if
        false every bucket exists.
    """

    def __init__(self, services: Services, *, only_created_buckets: bool) -> None:
        self._services = services
        self._root = services.gcs
        self._only_created = only_created_buckets
        self._methods: Mapping[str, Callable[[Call], Response]] = {
            "storage.buckets.get": self._get_bucket,
            "storage.buckets.list": self._list_buckets,
            "storage.buckets.insert": self._insert_bucket,
            "storage.buckets.delete": self._delete_bucket,
            "storage.buckets.getIamPolicy": self._get_policy,
            "storage.buckets.setIamPolicy": self._set_policy,
            "storage.objects.get": self._get_object,
            "storage.objects.list": self._list_objects,
            "storage.objects.insert": self._insert_object,
            "storage.objects.delete": self._delete_object,
        }

    def handle(self, call: Call) -> Response:
        """Answer a call.

        :raises ApiError: the call is refused.
        """
        try:
            return self._methods[call.rest_method](call)
        except OSError as error:
            if error.errno not in _NOT_A_PATH:
                raise
            raise ApiError(
                "INVALID_ARGUMENT",
                "This emulator keeps objects as files, and cannot store one of that name beside the others: "
                f"{error.strerror}.",
            ) from error

    # Buckets

    def _folder(self, name: str) -> Path:
        if not _BUCKET_NAME.fullmatch(name):
            raise ApiError("INVALID_ARGUMENT", f"Invalid bucket name: {name!r}")
        return self._root / name

    def _bucket(self, call: Call) -> tuple[str, Path]:
        name = urllib.parse.unquote(call.values["bucket"])
        folder = self._folder(name)
        if self._only_created and not folder.is_dir():
            raise ApiError("NOT_FOUND", "The specified bucket does not exist.")
        return name, folder

    def _show_bucket(self, name: str) -> Json:
        known = self._services.store.fact("buckets", name) or {}
        return {
            "kind": "storage#bucket",
            "id": name,
            "name": name,
            "projectNumber": known.get("projectNumber", "0"),
            "location": known.get("location", "EU"),
            "storageClass": "STANDARD",
            "metageneration": "1",
            "timeCreated": known.get("timeCreated", "2020-01-01T00:00:00.000Z"),
        }

    def _get_bucket(self, call: Call) -> Response:
        name, _ = self._bucket(call)
        return _json_response(self._show_bucket(name))

    def _list_buckets(self, call: Call) -> Response:
        names = sorted(path.name for path in self._root.iterdir() if path.is_dir())
        prefix = call.query.get("prefix", "")
        return _json_response(
            {
                "kind": "storage#buckets",
                "items": [self._show_bucket(name) for name in names if name.startswith(prefix)],
            }
        )

    def _insert_bucket(self, call: Call) -> Response:
        body = json.loads(call.body or b"{}")
        name = str(body.get("name", ""))
        folder = self._folder(name)
        if folder.is_dir():
            raise ApiError("ALREADY_EXISTS", "You already own this bucket. Please select another name.")
        folder.mkdir(parents=True)
        self._services.store.remember(
            "buckets",
            name,
            {
                "projectNumber": project_number(call.query.get("project", "0") or "0"),
                "location": str(body.get("location", "EU")).upper(),
                "timeCreated": self._services.clock.stamp(),
            },
        )
        return _json_response(self._show_bucket(name))

    def _delete_bucket(self, call: Call) -> Response:
        name, folder = self._bucket(call)
        if folder.is_dir():
            if any(path.is_file() for path in folder.rglob("*")):
                raise ApiError("ALREADY_EXISTS", "The bucket you tried to delete is not empty.")
            for path in sorted(folder.rglob("*"), reverse=True):
                path.rmdir()
            folder.rmdir()
        self._services.store.forget("buckets", name)
        return Response(status_code=204)

    def _get_policy(self, call: Call) -> Response:
        name, _ = self._bucket(call)
        policy = self._services.store.fact("policies", name) or {"bindings": [], "version": 1}
        return _json_response(
            {"kind": "storage#policy", "resourceId": f"projects/_/buckets/{name}", **policy}
        )

    def _set_policy(self, call: Call) -> Response:
        # Kept and given back, since Google's SDK writes one; nobody is let in or kept out by it.
        name, _ = self._bucket(call)
        policy = json.loads(call.body or b"{}")
        self._services.store.remember("policies", name, policy)
        return _json_response(policy)

    # Objects

    def _path(self, folder: Path, name: str) -> Path:
        # Object names are free text; only those that are also a path inside the bucket can be kept here.
        parts = name.split("/")
        if not name or any(part in ("", ".", "..") for part in parts) or "\0" in name:
            raise ApiError("INVALID_ARGUMENT", f"This emulator cannot store an object named {name!r}.")
        return folder.joinpath(*parts)

    def _object(self, call: Call) -> tuple[str, str, Path]:
        bucket, folder = self._bucket(call)
        name = urllib.parse.unquote(call.values["object"])
        path = self._path(folder, name)
        if not path.is_file():
            raise ApiError("NOT_FOUND", f"No such object: {bucket}/{name}")
        return bucket, name, path

    def _show_object(self, bucket: str, name: str, path: Path) -> Json:
        stat = path.stat()
        changed = format_time(datetime.fromtimestamp(stat.st_mtime, UTC))
        content = path.read_bytes()
        return {
            "kind": "storage#object",
            "id": f"{bucket}/{name}/{stat.st_mtime_ns // 1000}",
            "name": name,
            "bucket": bucket,
            "generation": str(stat.st_mtime_ns // 1000),
            "metageneration": "1",
            "contentType": mimetypes.guess_type(name)[0] or "application/octet-stream",
            "storageClass": "STANDARD",
            "size": str(stat.st_size),
            "md5Hash": base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode(),
            "crc32c": _crc32c(content),
            "etag": str(stat.st_mtime_ns // 1000),
            "timeCreated": changed,
            "updated": changed,
        }

    def _get_object(self, call: Call) -> Response:
        bucket, name, path = self._object(call)
        if call.query.get("alt") != "media":
            return _json_response(self._show_object(bucket, name, path))
        content = path.read_bytes()
        headers = {
            "X-Goog-Generation": str(path.stat().st_mtime_ns // 1000),
            "X-Goog-Hash": "md5="
            + base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode(),
        }
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", call.headers.get("range", ""))
        if not asked:
            return Response(content, media_type="application/octet-stream", headers=headers)
        start, end = int(asked[1]), min(int(asked[2] or len(content) - 1), len(content) - 1)
        if start >= len(content):
            return Response(status_code=416, headers={"Content-Range": f"bytes */{len(content)}"})
        headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
        return Response(content[start : end + 1], 206, headers, "application/octet-stream")

    def _list_objects(self, call: Call) -> Response:
        bucket, folder = self._bucket(call)
        prefix, delimiter = call.query.get("prefix", ""), call.query.get("delimiter", "")
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        prefixes: dict[str, None] = {}
        items = []
        for name in names:
            if not name.startswith(prefix):
                continue
            cut = name.find(delimiter, len(prefix)) if delimiter else -1
            if cut >= 0:
                prefixes[name[: cut + len(delimiter)]] = None
            else:
                items.append(self._show_object(bucket, name, self._path(folder, name)))
        answer: Json = {"kind": "storage#objects", "items": items}
        if prefixes:
            answer["prefixes"] = list(prefixes)
        return _json_response(answer)

    def _insert_object(self, call: Call) -> Response:
        bucket, folder = self._bucket(call)
        kind = call.query.get("uploadType", "media")
        if kind == "resumable" and call.method == "POST":
            return self._begin_upload(call, bucket)
        name, content = call.query.get("name", ""), call.body
        if kind == "multipart":
            metadata, content = _multipart(call)
            name = name or str(metadata.get("name", ""))
        elif kind == "resumable":
            upload = self._services.store.fact("uploads", call.query.get("upload_id", ""))
            if upload is None:
                raise ApiError("NOT_FOUND", "Upload session not found.")
            name = upload["name"]
            sent = re.fullmatch(r"bytes (?:\d+-(\d+)|\*)/(\d+|\*)", call.headers.get("content-range", ""))
            if sent and (sent[2] == "*" or (sent[1] and int(sent[1]) + 1 != int(sent[2]))):
                raise ApiError("UNIMPLEMENTED", "This emulator takes a resumable upload in one piece only.")
        path = self._path(folder, name)
        if call.query.get("ifGenerationMatch") == "0" and path.exists():
            raise ApiError(
                "FAILED_PRECONDITION",
                "At least one of the pre-conditions you specified did not hold.",
                http_status=412,
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._services.uploads / self._services.ids.metadata()
        temporary.write_bytes(content)
        try:
            temporary.replace(path)
        except OSError:
            temporary.unlink()
            raise
        if kind == "resumable":
            self._services.store.remember(
                "uploads", call.query["upload_id"], {"name": name, "done": self._services.clock.stamp()}
            )
        return _json_response(self._show_object(bucket, name, path))

    def _begin_upload(self, call: Call, bucket: str) -> Response:
        body = json.loads(call.body or b"{}")
        done = {
            id: fact["done"] for id, fact in self._services.store.facts("uploads").items() if "done" in fact
        }
        for old in sorted(done, key=lambda upload: done[upload])[:-FINISHED_UPLOADS]:
            self._services.store.forget("uploads", old)
        identifier = self._services.ids.metadata()
        self._services.store.remember(
            "uploads", identifier, {"name": call.query.get("name") or body.get("name", "")}
        )
        location = (
            f"http://{call.headers['host']}/upload/storage/v1/b/{urllib.parse.quote(bucket)}/o"
            f"?uploadType=resumable&upload_id={identifier}"
        )
        return Response(status_code=200, headers={"Location": location, "X-GUploader-UploadID": identifier})

    def _delete_object(self, call: Call) -> Response:
        _, _, path = self._object(call)
        path.unlink()
        return Response(status_code=204)


def _multipart(call: Call) -> tuple[Json, bytes]:
    """Split the body of a multipart upload into its metadata and its content, byte for byte."""
    boundary = re.search(r'boundary="?([^";]+)"?', call.headers.get("content-type", ""))
    pieces = call.body.split(b"--" + boundary[1].encode()) if boundary else []
    if len(pieces) != 4:
        raise ApiError("INVALID_ARGUMENT", "A multipart upload has two parts: metadata and content.")
    head, content = (piece.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for piece in pieces[1:3])
    metadata: Json = json.loads(head)
    return metadata, content


def _crc32c(content: bytes) -> str:
    """Return the checksum that Google's client wants to see after an upload."""
    import google_crc32c

    return base64.b64encode(google_crc32c.value(content).to_bytes(4, "big")).decode()


def _json_response(body: Json) -> Response:
    return Response(json.dumps(body), media_type="application/json")
