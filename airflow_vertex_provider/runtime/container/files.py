"""Values in files: texts too large to be an argument, in Cloud Storage as it is mounted.

Part of the text that runs in a container, see :mod:`airflow_vertex_provider.runtime.entrypoint`.
"""

from __future__ import annotations

import json
import os

from airflow_vertex_provider.runtime.container.base import ProtocolError, VertexRuntimeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def digest(data: bytes) -> str:
    """Return the SHA-256 of ``data`` in hexadecimal."""
    import hashlib

    return hashlib.sha256(data).hexdigest()


def reference(uri: str, data: bytes) -> str:
    """Return the text that stands for the file ``uri`` holding ``data``."""
    return "@%s#sha256=%s&size=%d" % (uri, digest(data), len(data))


def parse_reference(text: str) -> tuple[str, str, int]:
    """Return uri, SHA-256 and size in bytes of a reference; :class:`ProtocolError` if it is damaged."""
    uri, _, fragment = text[1:].rpartition("#")
    parts = dict(part.partition("=")[::2] for part in fragment.split("&"))
    if text[:6] != "@gs://" or set(parts) != {"sha256", "size"} or not parts["size"].isdigit():
        raise ProtocolError("not a reference to a value's file: %.200r" % text)
    return uri, parts["sha256"], int(parts["size"])


def fetch(text: str, read: Callable[[str], bytes] | None) -> str:
    """Return the protocol text in the file that ``text`` refers to."""
    uri, expected, size = parse_reference(text)
    if read is None:
        raise ProtocolError("the value is in %s, and no reader for files was given" % uri)
    return checked(uri, read(uri), size, expected).decode("ascii")


def checked(uri: str, data: bytes, size: int, expected: str) -> bytes:
    """Return ``data`` if they are what was written to ``uri``."""
    if len(data) != size or digest(data) != expected:
        raise unlike(uri, size, expected, len(data), digest(data))
    return data


def unlike(uri: str, size: int, expected: str, found_size: int, found: str) -> ProtocolError:
    """Return the error about a file that is not what a task wrote."""
    return ProtocolError(
        "%s is not the file that was written: expected %d bytes with SHA-256 %s, found %d bytes with %s"
        % (uri, size, expected, found_size, found)
    )


def argument_cost(text: str) -> int:
    """Return how many bytes ``text`` takes, at worst, of a command line that holds the executor input.

    It stands there twice (``parameterValues`` and the typed ``parameters``, vertex-observed.md, 4),
    escaped as JSON once, and once more where a custom job's payload holds the executor input. Some JSON
    writers escape the characters counted separately; which one Vertex uses is not known.
    """
    extra = sum(map(text.count, "<>&='\x7f"))
    return 2 * (len(json.dumps(json.dumps(text))) + 6 * extra)


def gcs_root() -> str:
    """Return the folder that Cloud Storage is mounted in."""
    return os.environ.get("AIRFLOW_VERTEX_GCS_ROOT", "/gcs").rstrip("/")


def read_gcs(uri: str, what: str = "an earlier task left a value") -> bytes:
    """Return the content of a ``gs://`` file, through the mounted folder.

    :param what: what happened there, for messages.
    """
    path = gcs_root() + uri[4:]
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise unreadable(uri, path, error, what) from None


def unreadable(
    uri: str, path: str, error: OSError, what: str = "an earlier task left a value"
) -> VertexRuntimeError:
    """Return the error about a file that is not there or may not be read."""
    return VertexRuntimeError(
        "cannot read %s, where %s (looked in %s: %s)" % (uri, what, path, error.strerror or error)
    )


def keep(text: str, config: dict[str, Any], path: str) -> str:
    """Return ``text``, or a reference to the file ``path`` that it is written to when it is too large."""
    if len(text) <= config.get("value_limit", len(text)) and argument_cost(text) <= config["inline_limit"]:
        return text
    write(path, text)
    return reference(uri_of(path), text.encode("ascii"))


def local_path(path: str) -> str:
    """Return where the file that Vertex calls ``path`` really is: the mount point can be moved."""
    return gcs_root() + path[4:] if path[:5] == "/gcs/" else path


def uri_of(path: str) -> str:
    """Return the ``gs://`` address of a file under the mounted folder."""
    root = gcs_root() + "/"
    if path[: len(root)] != root:
        raise VertexRuntimeError("%s is outside %s, so it has no gs:// address" % (path, root))
    return "gs://" + path[len(root) :]


def write(path: str, text: str) -> None:
    """Write ``text`` so that a reader sees either nothing or all of it."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path + ".part", "w", encoding="utf-8", newline="") as file:
        file.write(text)
    os.replace(path + ".part", path)
