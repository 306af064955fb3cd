"""The record of requests, and other things that must not grow for ever."""

from __future__ import annotations

import json

from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.emulator.request_log import RecordedRequest, RequestLog
from airflow_vertex_provider.emulator.routes import Call
from tests.emulator.pipelines import PARENT, Client, Pipeline


def _call(body: bytes, method: str = "pipelineJobs.create") -> Call:
    return Call("POST", "/v1/x", method, {}, {"a": "b"}, {}, body)


def _bodies(log: RequestLog) -> list[object]:
    return [request.body for request in log]


def test_a_request_is_recorded_with_its_body_parsed() -> None:
    log = RequestLog()
    log.append(_call(b'{"x": 1}'))
    assert list(log) == [RecordedRequest("POST", "/v1/x", {"a": "b"}, {"x": 1}, "pipelineJobs.create")]
    for body in (b"", b"no json", b"[" * 100_000, b"1234"):
        log.append(_call(body, "storage.objects.insert" if body == b"1234" else ""))
    assert _bodies(log)[1:] == [None, "no json", "[" * 100_000, "<4 bytes>"]


def test_the_oldest_bodies_go_when_there_are_too_many_bytes() -> None:
    log = RequestLog(most_requests=4, most_bytes=10)
    log.append(_call(b"[1,2]"))
    log.append(_call(b""))
    log.append(_call(b"[3,4]"))
    assert _bodies(log) == [[1, 2], None, [3, 4]]
    log.append(_call(b"5"))
    assert _bodies(log) == ["<5 bytes, no longer kept>", None, [3, 4], 5]
    log.append(_call(b"6"))
    log.append(_call(b"7"))
    assert _bodies(log) == [[3, 4], 5, 6, 7]
    log.append(_call(b"123456789"))
    assert _bodies(log) == ["<1 bytes, no longer kept>", "<1 bytes, no longer kept>", 7, 123456789]
    log.append(_call(b"12345678901"))
    assert _bodies(log)[-1] == "<11 bytes, no longer kept>"
    assert len(_bodies(log)) == 4


def test_requests_that_leave_give_their_bytes_back() -> None:
    log = RequestLog(most_requests=2, most_bytes=10)
    for number in range(100):
        log.append(_call(json.dumps([number]).encode()))
    assert _bodies(log) == [[98], [99]]


def test_a_deleted_job_leaves_nothing_behind(emulator: VertexEmulator, client: Client) -> None:
    name = client.run(Pipeline().task("t"))["name"]
    store = emulator._running().store
    assert store.facts("touched")
    client.call("DELETE", f"/v1/{name}")
    assert client.call("GET", f"/v1/{PARENT}/pipelineJobs") == {}
    assert store.facts("touched") == store.facts("deleted") == {}
