"""REST paths to methods: an HTTP method and a path in, the API method's name and its path values out.

The names (``pipelineJobs.create``) are those of Google's discovery documents; faults and the record of
requests use them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

_PARENT = r"/(?:v1|v1beta1|ui)/projects/(?P<project>[^/]+)/locations/(?P<location>[^/:]+)"
_OPERATION = _PARENT + r"(?:/(?:pipelineJobs|customJobs)/[^/:]+)?/operations"


def _resource(collection: str, verb: str = "") -> str:
    return rf"{_PARENT}/{collection}/(?P<id>[^/:]+){verb}"


_VERTEX: tuple[tuple[str, str, str], ...] = (
    ("POST", rf"{_PARENT}/pipelineJobs", "pipelineJobs.create"),
    ("GET", rf"{_PARENT}/pipelineJobs", "pipelineJobs.list"),
    ("POST", rf"{_PARENT}/pipelineJobs:batchCancel", "pipelineJobs.batchCancel"),
    ("POST", rf"{_PARENT}/pipelineJobs:batchDelete", "pipelineJobs.batchDelete"),
    ("GET", _resource("pipelineJobs"), "pipelineJobs.get"),
    ("DELETE", _resource("pipelineJobs"), "pipelineJobs.delete"),
    ("POST", _resource("pipelineJobs", ":cancel"), "pipelineJobs.cancel"),
    ("POST", rf"{_PARENT}/customJobs", "customJobs.create"),
    ("GET", rf"{_PARENT}/customJobs", "customJobs.list"),
    ("GET", _resource("customJobs"), "customJobs.get"),
    ("POST", _resource("customJobs", ":cancel"), "customJobs.cancel"),
    ("GET", _OPERATION, "operations.list"),
    ("GET", rf"{_OPERATION}/(?P<id>[^/:]+)", "operations.get"),
    ("POST", rf"{_OPERATION}/(?P<id>[^/:]+):wait", "operations.wait"),
)

_BUCKET = r"/storage/v1/b/(?P<bucket>[^/]+)"
_STORAGE: tuple[tuple[str, str, str], ...] = (
    ("GET", r"/storage/v1/b", "storage.buckets.list"),
    ("POST", r"/storage/v1/b", "storage.buckets.insert"),
    ("GET", _BUCKET, "storage.buckets.get"),
    ("DELETE", _BUCKET, "storage.buckets.delete"),
    ("GET", rf"{_BUCKET}/iam", "storage.buckets.getIamPolicy"),
    ("PUT", rf"{_BUCKET}/iam", "storage.buckets.setIamPolicy"),
    ("GET", rf"{_BUCKET}/o", "storage.objects.list"),
    ("GET", rf"(?:/download)?{_BUCKET}/o/(?P<object>.+)", "storage.objects.get"),
    ("DELETE", rf"{_BUCKET}/o/(?P<object>.+)", "storage.objects.delete"),
    ("POST", rf"/upload{_BUCKET}/o", "storage.objects.insert"),
    ("PUT", rf"/upload{_BUCKET}/o", "storage.objects.insert"),
)

_ROUTES = tuple((verb, re.compile(pattern), name) for verb, pattern, name in (*_VERTEX, *_STORAGE))


@dataclass(frozen=True)
class Call:
    """One request to the API.

    :param method: HTTP method. :param rest_method: name such as ``pipelineJobs.get``; empty if unknown.
    :param values: parts of the path, still percent-encoded. :param query: first value of each parameter.
    """

    method: str
    path: str
    rest_method: str
    values: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = field(repr=False, default=b"")

    @property
    def enums_as_ints(self) -> bool:
        """Whether the client asked for enums as numbers."""
        return "enum-encoding=int" in self.query.get("$alt", "") + self.query.get("alt", "")


def match(method: str, path: str) -> tuple[str, Mapping[str, str]]:
    """Return the name of the method that serves a path, and the path's values; empty if there is none."""
    for verb, pattern, name in _ROUTES:
        if verb == method:
            found = pattern.fullmatch(path)
            if found:
                return name, found.groupdict()
    return "", {}


def is_api(path: str) -> bool:
    """Tell whether a path belongs to an API, rather than to the emulator's own page."""
    return path.startswith(("/v1/", "/v1beta1/", "/storage/", "/upload/", "/download/", "/ui/projects/"))
