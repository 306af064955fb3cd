"""What the API received: calls in, a record of the last ones out, in bounded memory."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from airflow_vertex_provider.emulator.routes import Call

#: How many requests are remembered.
RECORDED_REQUESTS = 10_000
#: Bytes of their bodies that are kept; beyond that the oldest bodies go first, and the requests stay.
RECORDED_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class RecordedRequest:
    """One request the API received.

    :param rest_method: name such as ``pipelineJobs.create``; empty for an unknown path.
    :param body: parsed JSON, text if it is not JSON, ``None`` if there was none; of an upload, and of a body
        that was dropped to save memory, only a text with its size.
    """

    method: str
    path: str
    query: dict[str, str]
    body: Any
    rest_method: str


@dataclass(frozen=True)
class _Kept:
    """A request with its body as it came: parsed, it would take several times the memory."""

    request: RecordedRequest
    content: bytes | None


class RequestLog:
    """The last requests, oldest first.

    :param most_requests: how many are kept. :param most_bytes: bytes of bodies that are kept.
    """

    def __init__(self, most_requests: int = RECORDED_REQUESTS, most_bytes: int = RECORDED_BYTES) -> None:
        self._most_requests = most_requests
        self._most_bytes = most_bytes
        self._kept: deque[_Kept] = deque()
        self._with_body: deque[int] = deque()  # numbers of those whose content is kept, oldest first
        self._first = 0  # number of the oldest request
        self._bytes = 0
        self._lock = threading.Lock()

    def append(self, call: Call) -> None:
        """Record a call."""
        # Uploads may be large, and are in the bucket anyway.
        upload = call.rest_method == "storage.objects.insert"
        content = None if upload or not call.body else call.body
        body = f"<{len(call.body)} bytes>" if upload else None
        request = RecordedRequest(call.method, call.path, dict(call.query), body, call.rest_method)
        with self._lock:
            if content is not None:
                self._with_body.append(self._first + len(self._kept))
                self._bytes += len(content)
            self._kept.append(_Kept(request, content))
            while self._bytes > self._most_bytes:
                self._drop_body()
            while len(self._kept) > self._most_requests:
                if self._with_body and self._with_body[0] == self._first:
                    self._drop_body()
                self._kept.popleft()
                self._first += 1

    @property
    def received(self) -> int:
        """How many requests there were, also those that are no longer kept."""
        with self._lock:
            return self._first + len(self._kept)

    def _drop_body(self) -> None:
        place = self._with_body.popleft() - self._first
        kept = self._kept[place]
        size = len(kept.content or b"")
        self._bytes -= size
        self._kept[place] = _Kept(replace(kept.request, body=f"<{size} bytes, no longer kept>"), None)

    def __iter__(self) -> Iterator[RecordedRequest]:
        """Give every recorded request, its body parsed."""
        with self._lock:
            kept = list(self._kept)
        for item in kept:
            yield item.request if item.content is None else replace(item.request, body=_parsed(item.content))


def _parsed(content: bytes) -> Any:
    text = content.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
