"""List requests: filters, orders, pages and masks, by themselves and through the API."""

from __future__ import annotations

from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.aiplatform_v1 import ListPipelineJobsRequest, PipelineServiceClient

from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.emulator.errors import ApiError
from airflow_vertex_provider.emulator.filters import PIPELINE_JOB_FIELDS, apply_mask, page, parse_filter, sort
from tests.emulator.pipelines import PARENT, ApiFailure, Client, Json, Pipeline


def _job(name: str, created: str, **fields: Any) -> Json:
    return {
        "name": f"projects/1/locations/l/pipelineJobs/{name}",
        "displayName": f"Run {name}",
        "createTime": created,
        "state": "PIPELINE_STATE_SUCCEEDED",
        "pipelineSpec": {"pipelineInfo": {"name": "train"}},
        "labels": {},
        **fields,
    }


JOBS = [
    _job("one", "2026-01-01T00:00:00Z", labels={"env": "prod", "team": "a"}, endTime="2026-01-02T00:00:00Z"),
    _job("two", "2026-02-01T00:00:00.5Z", labels={"env": "dev"}, state="PIPELINE_STATE_FAILED"),
    _job(
        "three",
        "2026-03-01T00:00:00.123456789Z",
        templateUri="https://t/x",
        scheduleName="projects/1/locations/l/schedules/7",
    ),
]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ["one", "two", "three"]),
        ('display_name="Run one"', ["one"]),
        ("display_name='Run one'", ["one"]),
        ('display_name!="Run one"', ["two", "three"]),
        ('display_name:"*t*"', ["two", "three"]),
        ('display_name:"Run t*"', ["two", "three"]),
        ("display_name:two", ["two"]),
        ("pipeline_job_user_id=two", ["two"]),
        ("pipeline_job_user_id:t*", ["two", "three"]),
        ('pipeline_name="train"', ["one", "two", "three"]),
        ('state="PIPELINE_STATE_FAILED"', ["two"]),
        ('state!="PIPELINE_STATE_FAILED"', ["one", "three"]),
        ('create_time>"2026-01-15T00:00:00Z"', ["two", "three"]),
        ('create_time>="2026-02-01T00:00:00.5Z"', ["two", "three"]),
        ('create_time<="2026-02-01T01:00:00.5+01:00"', ["one", "two"]),
        ('create_time="2026-01-01T00:00:00Z"', ["one"]),
        ('end_time<"2027-01-01T00:00:00Z"', ["one"]),
        ("labels.env=prod", ["one"]),
        ('labels."env"="prod"', ["one"]),
        ('labels.env!="prod"', ["two", "three"]),
        ("labels.env:*", ["one", "two"]),
        ("labels:team", ["one"]),
        ('NOT labels.env="prod"', ["two", "three"]),
        ("NOT (labels.env=prod OR labels.env=dev)", ["three"]),
        ('labels.env="prod" AND state="PIPELINE_STATE_SUCCEEDED"', ["one"]),
        ('labels.env="prod" state="PIPELINE_STATE_FAILED"', []),
        ('labels.env="prod" OR labels.env="dev"', ["one", "two"]),
        ("labels.env=prod OR labels.env=dev AND labels.team=a", ["one"]),
        ("(labels.env=prod) OR (labels.env=dev AND labels.team=a)", ["one"]),
        ("schedule_name=projects/1/locations/l/schedules/7", ["three"]),
        ('template_uri:"*t/x"', ["three"]),
    ],
)
def test_filters(text: str, names: list[str]) -> None:
    matches = parse_filter(text, PIPELINE_JOB_FIELDS)
    assert [job["name"].rpartition("/")[2] for job in JOBS if matches(job)] == names


@pytest.mark.parametrize(
    "text",
    [
        "nothing=1",
        "display_name",
        "display_name=",
        "display_name>a",
        "state:x",
        'create_time>"yesterday"',
        "(display_name=a",
        "display_name=a)",
        "AND display_name=a",
        "display_name=a OR",
        'display_name="a',
        "labels.a<3",
    ],
)
def test_filters_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ApiError) as error:
        parse_filter(text, PIPELINE_JOB_FIELDS)
    assert error.value.status == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("", ["three", "two", "one"]),
        ("create_time", ["one", "two", "three"]),
        ("create_time desc", ["three", "two", "one"]),
        ("end_time desc, create_time", ["one", "two", "three"]),
        ("end_time, create_time desc", ["three", "two", "one"]),
    ],
)
def test_orders(order: str, names: list[str]) -> None:
    found = sort(list(enumerate(JOBS)), order)
    assert [job["name"].rpartition("/")[2] for _, job in found] == names


@pytest.mark.parametrize("order", ["name", "create_time_desc", "create_time down", "create_time,,end_time"])
def test_orders_that_are_refused(order: str) -> None:
    with pytest.raises(ApiError, match="order_by"):
        sort(list(enumerate(JOBS)), order)


def _paged(
    items: list[tuple[int, Json]], token: str, *, order_by: str = "", request: str = "r"
) -> tuple[list[int], str]:
    found, token = page(items, order_by=order_by, request=request, size=2, token=token)
    return [item["number"] for item in found], token


def test_pages_go_on_where_the_last_one_ended() -> None:
    items = [(key, {"number": key, "createTime": "2026-01-01T00:00:00Z"}) for key in range(5)]
    first, token = _paged(items, "")
    assert first == [4, 3]
    # What is added at the top meanwhile neither repeats nor hides anything.
    second, token = _paged([*items, (5, {"number": 5, "createTime": "2026-01-02T00:00:00Z"})], token)
    assert second == [2, 1]
    assert _paged(items, token) == ([0], "")
    for bad in ("nonsense", "é", "W10=", "WzEsMiwzXQ=="):
        with pytest.raises(ApiError, match="page token"):
            _paged(items, bad)
    _, token = _paged(items, "")
    with pytest.raises(ApiError, match="another filter"):
        _paged(items, token, request="other")
    with pytest.raises(ApiError, match="another filter"):
        _paged(items, token, order_by="create_time")


@pytest.mark.parametrize("order_by", ["", "create_time", "end_time desc,create_time", "update_time"])
def test_pages_hold_when_all_that_was_shown_is_deleted(order_by: str) -> None:
    items = [
        (key, {"number": key, "createTime": f"2026-01-0{1 + key // 2}", "endTime": f"2026-02-0{1 + key % 3}"})
        for key in range(9)
    ]
    expected = [item["number"] for _, item in sort(items, order_by)]
    seen: list[int] = []
    token = ""
    while len(seen) < 9:
        shown, token = _paged([item for item in items if item[0] not in seen], token, order_by=order_by)
        assert shown
        seen += shown
    assert (seen, token) == (expected, "")


def test_the_usual_clean_up_loop_removes_all(emulator: VertexEmulator) -> None:
    jobs = PipelineServiceClient(
        transport="rest",
        client_options={"api_endpoint": emulator.endpoint},
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
    )
    client = Client(emulator.endpoint)
    for number in range(7):
        client.run(Pipeline().task("t"), f"job-{number}")
    removed = []
    for job in jobs.list_pipeline_jobs(ListPipelineJobsRequest(parent=PARENT, page_size=2)):
        jobs.delete_pipeline_job(name=job.name).result()  # type: ignore[no-untyped-call]
        removed.append(job.name.rpartition("/")[2])
    assert removed == [f"job-{number}" for number in reversed(range(7))]
    assert emulator.jobs() == []


def test_masks() -> None:
    job = {"name": "n", "displayName": "d", "pipelineSpec": {"pipelineInfo": {"name": "p"}, "root": {}}}
    assert apply_mask(job, "") == apply_mask(job, "*") == job
    assert apply_mask(job, "name,display_name") == {"name": "n", "displayName": "d"}
    assert apply_mask(job, "pipelineSpec.pipelineInfo,state") == {
        "pipelineSpec": {"pipelineInfo": {"name": "p"}}
    }
    assert apply_mask(job, "error.code,name") == {"name": "n"}


def test_lists_through_the_api(client: Client) -> None:
    assert client.call("GET", f"/v1/{PARENT}/pipelineJobs") == {}
    for number in range(3):
        client.run(Pipeline().task("t"), f"job-{number}")
    seen: list[str] = []
    token = ""
    while True:
        answer = client.call("GET", f"/v1/{PARENT}/pipelineJobs", query={"pageSize": "2", "pageToken": token})
        seen += [job["name"].rpartition("/")[2] for job in answer["pipelineJobs"]]
        assert not any("jobDetail" in job for job in answer["pipelineJobs"])
        token = answer.get("nextPageToken", "")
        if not token:
            break
    assert seen == ["job-2", "job-1", "job-0"]
    elsewhere = "/v1/projects/my-proj/locations/us-central1/pipelineJobs"
    assert client.call("GET", elsewhere) == {}
    jobs = client.call(
        "GET", f"/v1beta1/{PARENT}/customJobs", query={"filter": 'state="JOB_STATE_SUCCEEDED"'}
    )
    assert len(jobs["customJobs"]) == 3
    for query in ({"filter": "nothing=1"}, {"orderBy": "name"}, {"pageSize": "-1"}, {"pageSize": "many"}):
        with pytest.raises(ApiFailure) as error:
            client.call("GET", f"/v1/{PARENT}/pipelineJobs", query=query)
        assert error.value.status == "INVALID_ARGUMENT"
