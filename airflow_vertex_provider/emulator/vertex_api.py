"""The Vertex AI methods: a call in, the JSON of its answer out. Jobs are handed to the engine."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from airflow_vertex_provider.emulator import filters, pipeline_jobs, protos
from airflow_vertex_provider.emulator.custom_jobs import FINAL_STATES
from airflow_vertex_provider.emulator.engine import Engine
from airflow_vertex_provider.emulator.errors import ApiError
from airflow_vertex_provider.emulator.filters import Field, Keyed
from airflow_vertex_provider.emulator.names import Place, project_number
from airflow_vertex_provider.emulator.routes import Call
from airflow_vertex_provider.emulator.services import Services
from airflow_vertex_provider.emulator.store import Resource
from airflow_vertex_provider.states import TERMINAL_PIPELINE_STATES

Json = dict[str, Any]

#: Most names that batchCancel and batchDelete take.
BATCH_LIMIT = 32
#: Largest page; a larger wish is cut down to it.
MAX_PAGE_SIZE = 1000

_TYPE = "type.googleapis.com/google.cloud.aiplatform.v1."
_FINISHED = {state.value for state in TERMINAL_PIPELINE_STATES}


class VertexApi:
    """Serves pipelineJobs, customJobs and operations.

    :param engine: runs what is created.
    """

    def __init__(self, services: Services, engine: Engine) -> None:
        self._services = services
        self._store = services.store
        self._engine = engine
        self._methods: Mapping[str, Callable[[Call], Json]] = {
            "pipelineJobs.create": self._create_job,
            "pipelineJobs.get": self._get_job,
            "pipelineJobs.list": self._list_jobs,
            "pipelineJobs.cancel": self._cancel_job,
            "pipelineJobs.delete": self._delete_job,
            "pipelineJobs.batchCancel": self._batch_cancel,
            "pipelineJobs.batchDelete": self._batch_delete,
            "customJobs.create": self._create_custom_job,
            "customJobs.get": self._get_custom_job,
            "customJobs.list": self._list_custom_jobs,
            "customJobs.cancel": self._cancel_custom_job,
            "operations.get": self._get_operation,
            "operations.list": self._list_operations,
            "operations.wait": self._wait_operation,
        }

    def handle(self, call: Call) -> Json:
        """Answer a call.

        :raises ApiError: the call is refused.
        """
        return self._methods[call.rest_method](call)

    def place(self, call: Call) -> Place:
        """Return the project and location of a call; a number is turned into the id it belongs to."""
        project = call.values["project"]
        number = project_number(project)
        if project == number:
            known = self._store.fact("projects", number)
            return Place(known["id"] if known else number, call.values["location"])
        if self._store.fact("projects", number) is None:
            self._store.remember("projects", number, {"id": project})
        return Place(project, call.values["location"])

    # Pipeline jobs

    def _create_job(self, call: Call) -> Json:
        place = self.place(call)
        job = pipeline_jobs.create(self._services, place, _json(call), call.query.get("pipelineJobId", ""))
        answer = self._show(call, "PipelineJob", pipeline_jobs.view(self._services, job, detail=False))
        self._engine.submit(job)
        return answer

    def _job(self, call: Call) -> Resource:
        pipeline_jobs.purge(self._services)
        return self._find("pipelineJobs", self.place(call), call.values["id"])

    def _find(self, kind: str, place: Place, identifier: str) -> Resource:
        found = self._store.find(kind, place.number, place.location, identifier)
        if found is None:
            name = f"{place.parent}/{kind}/{identifier}"
            raise ApiError(
                "NOT_FOUND",
                self._services.switches.text("NOT_FOUND", f'The resource "{name}" does not exist.'),
            )
        return found

    def _get_job(self, call: Call) -> Json:
        return self._show(
            call, "PipelineJob", pipeline_jobs.view(self._services, self._job(call), detail=True)
        )

    def _list_jobs(self, call: Call) -> Json:
        pipeline_jobs.purge(self._services)
        place = self.place(call)
        items = [
            (job.key, pipeline_jobs.view(self._services, job, detail=False))
            for job in self._store.all("pipelineJobs", place.number, place.location)
        ]
        chosen, token = self._page(call, items, filters.PIPELINE_JOB_FIELDS)
        mask = call.query.get("readMask", "")
        jobs = [self._show(call, "PipelineJob", filters.apply_mask(item, mask)) for item in chosen]
        return _listed("pipelineJobs", jobs, token)

    def _cancel_job(self, call: Call) -> Json:
        job = self._job(call)
        if job.body["state"] in _FINISHED:
            if self._services.switches.cancel_finished == "accept":
                return {}
            raise ApiError(
                "FAILED_PRECONDITION",
                self._services.switches.text(
                    "FAILED_PRECONDITION",
                    _refusal(job, "PipelineJob", "canceled"),
                ),
            )
        self._engine.cancel(job.key)
        return {}

    def _delete_job(self, call: Call) -> Json:
        job = self._job(call)
        self._check_deletable(job)
        self._delete(job)
        return self._operation(
            self.place(call),
            "DeleteOperationMetadata",
            {"@type": "type.googleapis.com/google.protobuf.Empty"},
        )

    def _check_deletable(self, job: Resource) -> None:
        if job.body["state"] not in _FINISHED and self._services.switches.delete_running == "refuse":
            raise ApiError(
                "FAILED_PRECONDITION",
                self._services.switches.text(
                    "FAILED_PRECONDITION",
                    _refusal(job, "PipelineJob", "deleted"),
                ),
            )

    def _delete(self, job: Resource) -> None:
        self._engine.cancel(job.key)
        self._engine.forget(job.key)
        self._store.remember("deleted", str(job.key), {"time": self._services.clock.stamp()})
        pipeline_jobs.purge(self._services)

    def _batch(self, call: Call) -> list[Resource]:
        """Return the jobs a batch call names; every one must exist."""
        names = _json(call).get("names", [])
        if not names or len(names) > BATCH_LIMIT:
            raise ApiError("INVALID_ARGUMENT", f"names: found {len(names)}; allowed: 1 to {BATCH_LIMIT}.")
        place = self.place(call)
        jobs = []
        for name in names:
            match = re.fullmatch(r"projects/([^/]+)/locations/([^/]+)/pipelineJobs/([^/]+)", name)
            if not match or project_number(match[1]) != place.number or match[2] != place.location:
                raise ApiError(
                    "INVALID_ARGUMENT", f"names: {name!r} is not a pipeline job of {place.parent}."
                )
            jobs.append(self._find("pipelineJobs", place, match[3]))
        return jobs

    def _batch_cancel(self, call: Call) -> Json:
        jobs = [job for job in self._batch(call) if job.body["state"] not in _FINISHED]
        for job in jobs:
            self._engine.cancel(job.key)
        return self._operation(
            self.place(call), "BatchCancelPipelineJobsOperationMetadata", None, [job.key for job in jobs]
        )

    def _batch_delete(self, call: Call) -> Json:
        jobs = self._batch(call)
        for job in jobs:
            self._check_deletable(job)
        for job in jobs:
            self._delete(job)
        answer = {
            "@type": f"{_TYPE}BatchDeletePipelineJobsResponse",
            "pipelineJobs": [{"name": job.body["name"]} for job in jobs],
        }
        return self._operation(self.place(call), "DeleteOperationMetadata", answer)

    # Custom jobs

    def _create_custom_job(self, call: Call) -> Json:
        job = self._engine.custom_jobs.create(self.place(call), _json(call))
        answer = self._show(call, "CustomJob", job.body)
        self._engine.submit_custom_job(job)
        return answer

    def _get_custom_job(self, call: Call) -> Json:
        return self._show(
            call, "CustomJob", self._find("customJobs", self.place(call), call.values["id"]).body
        )

    def _list_custom_jobs(self, call: Call) -> Json:
        place = self.place(call)
        items = [(job.key, job.body) for job in self._store.all("customJobs", place.number, place.location)]
        chosen, token = self._page(call, items, filters.CUSTOM_JOB_FIELDS)
        mask = call.query.get("readMask", "")
        jobs = [self._show(call, "CustomJob", filters.apply_mask(item, mask)) for item in chosen]
        return _listed("customJobs", jobs, token)

    def _cancel_custom_job(self, call: Call) -> Json:
        job = self._find("customJobs", self.place(call), call.values["id"])
        if job.body["state"] in FINAL_STATES:
            if self._services.switches.cancel_finished == "accept":
                return {}
            raise ApiError(
                "FAILED_PRECONDITION",
                self._services.switches.text(
                    "FAILED_PRECONDITION",
                    _refusal(job, "CustomJob", "canceled"),
                ),
            )
        self._engine.custom_jobs.cancel(job.key)
        return {}

    # Operations

    def _operation(
        self, place: Place, metadata: str, response: Json | None, waits_for: list[int] | None = None
    ) -> Json:
        identifier = self._store.unused_id(
            "operations", place.number, place.location, self._services.ids.numeric
        )
        now = self._services.clock.stamp()
        body: Json = {
            "name": f"{place.parent}/operations/{identifier}",
            "metadata": {
                "@type": _TYPE + metadata,
                "genericMetadata": {"createTime": now, "updateTime": now},
            },
        }
        if response is not None:
            body |= {"done": True, "response": response}
        operation = self._store.insert(
            "operations", place.number, place.location, identifier, body, {"waits_for": waits_for or []}
        )
        if operation is None:
            raise RuntimeError(f"operation id {identifier} was drawn twice")
        return protos.normalise("Operation", self._settled(operation))

    def _settled(self, operation: Resource) -> Json:
        """Return an operation's body, done if the jobs it waits for have ended."""
        if operation.body.get("done"):
            return operation.body
        jobs = []
        for key in operation.notes["waits_for"]:
            try:
                jobs.append(self._store.get(key))
            except KeyError:
                continue  # deleted meanwhile: it has ended
        if any(job.body["state"] not in _FINISHED for job in jobs):
            return operation.body
        with self._store.change(operation.key) as changed:
            changed.body["metadata"]["genericMetadata"]["updateTime"] = self._services.clock.stamp()
            changed.body |= {
                "done": True,
                "response": {
                    "@type": f"{_TYPE}BatchCancelPipelineJobsResponse",
                    "pipelineJobs": [pipeline_jobs.view(self._services, job, detail=False) for job in jobs],
                },
            }
        return changed.body

    def _get_operation(self, call: Call) -> Json:
        operation = self._find("operations", self.place(call), call.values["id"])
        return protos.normalise("Operation", self._settled(operation))

    def _list_operations(self, call: Call) -> Json:
        place = self.place(call)
        operations = self._store.all("operations", place.number, place.location)
        items = [protos.normalise("Operation", self._settled(operation)) for operation in operations]
        return {"operations": items} if items else {}

    def _wait_operation(self, call: Call) -> Json:
        timeout = float(str(_json(call).get("timeout", "20s")).removesuffix("s"))
        end = time.monotonic() + min(timeout, 60.0)
        operation = self._find("operations", self.place(call), call.values["id"])
        while True:
            body = self._settled(operation)
            if body.get("done") or time.monotonic() > end or self._services.stopping.is_set():
                return protos.normalise("Operation", body)
            time.sleep(0.05)

    # Lists

    def _page(self, call: Call, items: list[Keyed], fields: Mapping[str, Field]) -> tuple[list[Json], str]:
        switches, query = self._services.switches, call.query
        matches = filters.parse_filter(
            query.get("filter", ""),
            fields,
            refuse_unknown=switches.unknown_filter_field == "refuse",
            or_first=switches.filter_precedence == "or",
        )
        try:
            size = int(query.get("pageSize", "0") or 0)
        except ValueError as error:
            raise ApiError(
                "INVALID_ARGUMENT", f"page_size: found {query['pageSize']!r}; allowed: a number."
            ) from error
        if size < 0:
            raise ApiError("INVALID_ARGUMENT", f"page_size: found {size}; allowed: 0 or more.")
        return filters.page(
            [item for item in items if matches(item[1])],
            order_by=query.get("orderBy", ""),
            request=query.get("filter", ""),
            size=min(size or int(switches.page_size) or 1, MAX_PAGE_SIZE),
            token=query.get("pageToken", ""),
        )

    def _show(self, call: Call, message: str, body: Json) -> Json:
        return protos.normalise(message, body, enums_as_ints=call.enums_as_ints)


def _refusal(job: Resource, kind: str, act: str) -> str:
    return f'The {kind} "{job.body["name"]}" is in state {job.body["state"]} and cannot be {act}.'


def _listed(key: str, items: list[Json], token: str) -> Json:
    answer: Json = {key: items} if items else {}
    if token:
        answer["nextPageToken"] = token
    return answer


def _json(call: Call) -> Json:
    if not call.body:
        return {}
    try:
        body = json.loads(call.body)
    except (ValueError, RecursionError) as error:
        raise ApiError("INVALID_ARGUMENT", f"Invalid JSON payload received. {error}") from error
    if not protos.shallow(body, protos.REQUEST_DEPTH):
        raise ApiError(
            "INVALID_ARGUMENT",
            f"Invalid JSON payload received. It is nested more than {protos.REQUEST_DEPTH} deep.",
        )
    if not isinstance(body, dict):
        raise ApiError("INVALID_ARGUMENT", "Invalid JSON payload received. Root element must be a message.")
    return body
