"""Errors of the API: a canonical code and a text in, Google's error JSON and its HTTP status out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import Response

#: Canonical rpc code name to (rpc number, HTTP status), as google.rpc.Code documents them.
CODES: dict[str, tuple[int, int]] = {
    "OK": (0, 200),
    "CANCELLED": (1, 499),
    "UNKNOWN": (2, 500),
    "INVALID_ARGUMENT": (3, 400),
    "DEADLINE_EXCEEDED": (4, 504),
    "NOT_FOUND": (5, 404),
    "ALREADY_EXISTS": (6, 409),
    "PERMISSION_DENIED": (7, 403),
    "RESOURCE_EXHAUSTED": (8, 429),
    "FAILED_PRECONDITION": (9, 400),
    "ABORTED": (10, 409),
    "OUT_OF_RANGE": (11, 400),
    "UNIMPLEMENTED": (12, 501),
    "INTERNAL": (13, 500),
    "UNAVAILABLE": (14, 503),
    "DATA_LOSS": (15, 500),
    "UNAUTHENTICATED": (16, 401),
}


def rpc_code(name: str) -> int:
    """Return the rpc number of a canonical code name."""
    return CODES[name][0]


class ApiError(Exception):
    """A request that is answered with an error.

    :param status: canonical code name, for example ``NOT_FOUND``.
    :param message: text for the caller.
    :param details: entries of ``error.details``, each with its ``@type``.
    :param http_status: HTTP status, where it is not the one that goes with the code.
    """

    def __init__(
        self,
        status: str,
        message: str,
        details: Iterable[Mapping[str, Any]] = (),
        *,
        http_status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.http_status = http_status or CODES[status][1]
        self.status = status
        self.message = message
        self.details = [dict(detail) for detail in details]

    def response(self) -> Response:
        """Return the HTTP answer in Google's form."""
        error: dict[str, Any] = {
            "code": self.http_status,
            "message": self.message,
            "status": self.status,
        }
        if self.details:
            error["details"] = self.details
        return Response(
            json.dumps({"error": error}, ensure_ascii=False),
            status_code=self.http_status,
            media_type="application/json",
        )


@dataclass
class FieldErrors:
    """Collects what is wrong with the fields of one request; ``check`` raises all of it at once.

    The form of the text, and the details beside it, are those recorded in vertex-observed section 2,
    "Field validation".
    """

    found: list[tuple[str, str]] = field(default_factory=list)

    def add(self, path: str, message: str) -> None:
        """Note that the field ``path`` (snake case, dotted) is wrong."""
        self.found.append((path, message))

    def check(self) -> None:
        """Raise INVALID_ARGUMENT if anything was noted."""
        if not self.found:
            return
        listed = "".join(
            f"\t{number}.Field: {path}; Message: {message}"
            for number, (path, message) in enumerate(self.found, 1)
        )
        raise ApiError(
            "INVALID_ARGUMENT",
            f"List of found errors:{listed}\t",
            [
                {
                    "@type": "type.googleapis.com/google.rpc.BadRequest",
                    "fieldViolations": [
                        {"field": path, "description": message} for path, message in self.found
                    ],
                }
            ],
        )
