"""Compiled pipelines kept in Artifact Registry: an address in, the bytes of the file and its digest out.

A tag is resolved here, with the connection's own identity: the service would let a service agent do it, which
may lack the rights (vertex-rules L06). What is sent to the service names the digest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_vertex_provider.exceptions import VertexConfigurationError, VertexSubmissionError

if TYPE_CHECKING:
    from collections.abc import Callable

_ADDRESS = re.compile(r"https://([a-z0-9-]+)-kfp\.pkg\.dev/([^/?#]+)/([^/?#]+)/([^/?#]+)/([^/?#]+)")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
#: How an address of a template looks, for messages.
ADDRESS_FORM = "https://<location>-kfp.pkg.dev/<project>/<repository>/<package>/<tag or sha256:digest>"
#: Bytes that a compiled pipeline may have.
MAX_BYTES = 16 << 20


@dataclass(frozen=True)
class RegistryAddress:
    """Where a compiled pipeline stands in Artifact Registry.

    :param version: a tag, or ``sha256:`` and 64 digits.
    """

    location: str
    project: str
    repository: str
    package: str
    version: str

    @classmethod
    def parse(cls, text: str) -> RegistryAddress:
        """Take an address apart.

        :raises VertexConfigurationError: it is none, or names a digest that cannot be one.
        """
        match = _ADDRESS.fullmatch(text)
        if match is None:
            raise VertexConfigurationError(f"template: found {text!r}; allowed: {ADDRESS_FORM}")
        address = cls(*match.groups())
        if address.version.startswith("sha256:") and not address.is_digest:
            raise VertexConfigurationError(
                f"template: found the version {address.version!r}; allowed: sha256: and 64 digits (0-9, a-f)"
            )
        return address

    @property
    def is_digest(self) -> bool:
        """Whether the version names one content for ever; a tag may move."""
        return _DIGEST.fullmatch(self.version) is not None

    @property
    def path(self) -> str:
        """The address without its host."""
        return "/".join(
            quote(part, safe=":") for part in (self.project, self.repository, self.package, self.version)
        )

    def __str__(self) -> str:
        return (
            f"https://{self.location}-kfp.pkg.dev/"
            f"{self.project}/{self.repository}/{self.package}/{self.version}"
        )


def _hosts(location: str) -> tuple[str, str]:
    """Return where Artifact Registry's API is, and where its pipelines are downloaded."""
    return "https://artifactregistry.googleapis.com", f"https://{location}-kfp.pkg.dev"


def read_template(
    address: RegistryAddress, credentials: Any, call: Callable[[str, Callable[[], Any]], Any], timeout: float
) -> tuple[bytes, RegistryAddress]:
    """Resolve a tag and download what it names. Runs on a worker.

    :param call: runs one call, again while it fails transiently; its first argument says what for.
    :param timeout: seconds that one call may take.
    :return: the file, and its address with the digest.
    :raises VertexApiError: there is no such template, or it may not be read.
    :raises VertexSubmissionError: the registry answered nonsense, or the file is too large.
    """
    from google.auth.transport.requests import AuthorizedSession

    api, downloads = _hosts(address.location)
    with AuthorizedSession(credentials) as session:  # type: ignore[no-untyped-call]
        if not address.is_digest:
            parts = [quote(part, safe=":") for part in (address.project, address.location)]
            names = [quote(part, safe="") for part in (address.repository, address.package, address.version)]
            url = (
                f"{api}/v1/projects/{parts[0]}/locations/{parts[1]}/repositories/{names[0]}"
                f"/packages/{names[1]}/tags/{names[2]}"
            )
            found = call(
                f"find tag {address.version!r} of {address}", lambda: _json(_get(session, url, timeout))
            )
            version = str(found.get("version", "")).rpartition("/versions/")[2] if found else ""
            if not _DIGEST.fullmatch(version):
                raise VertexSubmissionError(
                    f"{address}: Artifact Registry says that the tag stands for {version or found!r}; "
                    "expected a version sha256:<digest>"
                )
            address = replace(address, version=version)
        data = call(
            f"download {address}", lambda: _get(session, f"{downloads}/{address.path}", timeout, MAX_BYTES)
        )
    if len(data) > MAX_BYTES:
        raise VertexSubmissionError(f"{address}: found more than {MAX_BYTES} bytes; allowed: at most that")
    return bytes(data), address


def _get(session: Any, url: str, timeout: float, most: int = 1 << 20) -> bytes:
    """Read one answer, but at most one byte more than allowed; Google's error for any that is not 200."""
    from google.api_core.exceptions import from_http_response

    with session.get(url, timeout=timeout, stream=True) as response:
        if response.status_code != 200:
            raise from_http_response(response)  # type: ignore[no-untyped-call]
        data = bytearray()
        for piece in response.iter_content(64 << 10):
            data += piece
            if len(data) > most:
                break
        return bytes(data[: most + 1])


def _json(data: bytes) -> Any:
    import json

    try:
        found = json.loads(data)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
