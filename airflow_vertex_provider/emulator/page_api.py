"""The emulator's own page and its small JSON endpoints: runs, a run's graph, logs, faults, requests.

Nothing here imitates Google. The page is for people; the endpoints below ``/emulator/`` are for tests
that run the emulator as another process.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

from airflow_vertex_provider.emulator import pipeline_jobs
from airflow_vertex_provider.emulator.engine import Engine
from airflow_vertex_provider.emulator.errors import FieldErrors
from airflow_vertex_provider.emulator.names import project_number
from airflow_vertex_provider.emulator.plan import Dag
from airflow_vertex_provider.emulator.services import Services
from airflow_vertex_provider.emulator.spec import read_spec
from airflow_vertex_provider.emulator.store import Resource, Task

if TYPE_CHECKING:
    from starlette.requests import Request

Json = dict[str, Any]

_FILES = Path(__file__).with_name("page")


class PageApi:
    """Serves the page and ``/emulator/...``."""

    def __init__(self, services: Services, engine: Engine) -> None:
        self._services = services
        self._store = services.store
        self._engine = engine

    def routes(self, requests: Iterable[Any]) -> list[Route]:
        """Return the routes; ``requests`` is the record that ``/emulator/requests`` shows."""

        async def page(_: Request) -> Response:
            return FileResponse(_FILES / "index.html", media_type="text/html")

        def recorded(_: Request) -> Any:
            return [asdict(request) for request in list(requests)]

        run = "/emulator/runs/{project}/{location}/{id}"
        return [
            Route("/", page),
            Route("/ui/runs/{project}/{location}/{id}", page),
            Route("/logs/{query:path}", self._console_logs),
            Route("/emulator/runs", _served(self._runs)),
            Route(run, _served(self._run)),
            Route(run + "/tasks/{task}/log", _served(self._log)),
            Route("/emulator/requests", _served(recorded)),
            Route("/emulator/switches", _served(lambda _: self._services.switches.as_dict())),
            Route("/emulator/faults", self._faults, methods=["GET", "POST", "DELETE"]),
        ]

    def _runs(self, request: Request) -> Any:
        pipeline_jobs.purge(self._services)
        wanted = request.query_params
        runs = []
        for job in reversed(self._store.all("pipelineJobs")):
            body = job.body
            text = " ".join(
                [job.id, body.get("displayName", ""), body["pipelineSpec"]["pipelineInfo"]["name"]]
            )
            if wanted.get("state", body["state"]) != body["state"] or wanted.get("text", "") not in text:
                continue
            runs.append({**_summary(job), "tasks": _counts(self._store.tasks(job.key))})
        return runs

    def _job(self, request: Request) -> Resource | None:
        values = request.path_params
        return self._store.find(
            "pipelineJobs", project_number(values["project"]), values["location"], values["id"]
        )

    def _run(self, request: Request) -> Any:
        job = self._job(request)
        if job is None:
            return None
        plan = read_spec(job.body["pipelineSpec"], FieldErrors())
        tasks = self._store.tasks(job.key)
        return {
            **_summary(job),
            "parameters": job.body.get("runtimeConfig", {}).get("parameterValues", {}),
            "labels": job.body.get("labels", {}),
            "error": job.body.get("error"),
            "graph": _graph(plan.root.dag or Dag(), "", _iterations(tasks)),
            "tasks": {
                task.path: {
                    **task.body,
                    "executorInput": task.notes.get("executor_input"),
                    "customJobs": [
                        self._custom_job(job, identifier) for identifier in task.notes.get("custom_jobs", [])
                    ],
                }
                for task in tasks
            },
        }

    def _custom_job(self, job: Resource, identifier: str) -> Json:
        found = self._store.find("customJobs", job.project, job.location, identifier)
        return found.body if found else {"name": identifier}

    def _log(self, request: Request) -> Any:
        job = self._job(request)
        if job is None:
            return None
        for task in self._store.tasks(job.key):
            if task.body["taskId"] == request.path_params["task"]:
                return [
                    {"customJob": identifier, "lines": self._engine.custom_jobs.log(identifier).read()[0]}
                    for identifier in task.notes.get("custom_jobs", [])
                ]
        return None

    def _console_logs(self, request: Request) -> Response:
        """Lead from a Logs Explorer link to the run's page; ``console_endpoint`` makes such links."""
        asked = re.search(r'job_id="([^"]+)"', request.path_params["query"])
        wanted = asked[1] if asked else ""
        for job in self._store.all("pipelineJobs"):
            url = f"/ui/runs/{job.project}/{job.location}/{job.id}"
            if job.id == wanted:
                return RedirectResponse(url)
            for task in self._store.tasks(job.key):
                if wanted in task.notes.get("custom_jobs", []):
                    return RedirectResponse(f"{url}#{quote(task.path)}")
        return _json({"error": f"no job {wanted!r}"}, 404)

    async def _faults(self, request: Request) -> Response:
        """Read, add or clear faults: ``{"method": ...}``, ``{"task": ...}`` or ``{"deny": ...}``."""
        faults = self._services.faults
        if request.method == "DELETE":
            faults.clear()
        elif request.method == "POST":
            try:
                rule = json.loads(await request.body())
                if "task" in rule:
                    faults.add_task(**rule)
                elif "deny" in rule:
                    faults.deny(rule["deny"], rule.get("subject", ""))
                else:
                    faults.add(**rule)
            except (ValueError, TypeError, AttributeError) as error:
                return _json({"error": str(error)}, 400)
        return _json(faults.as_list())


def _served(handler: Callable[[Request], Any]) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        result = await run_in_threadpool(handler, request)
        return _json({"error": "not found"}, 404) if result is None else _json(result)

    return endpoint


def _json(body: Any, status: int = 200) -> Response:
    return Response(
        json.dumps(body, ensure_ascii=False), status, {"Cache-Control": "no-store"}, "application/json"
    )


def _summary(job: Resource) -> Json:
    body = job.body
    return {
        "id": job.id,
        "project": job.notes["project_id"],
        "location": job.location,
        "name": body["name"],
        "displayName": body.get("displayName", job.id),
        "pipeline": body["pipelineSpec"]["pipelineInfo"]["name"],
        "state": body["state"],
        "createTime": body["createTime"],
        "startTime": body.get("startTime"),
        "endTime": body.get("endTime"),
    }


def _counts(tasks: list[Task]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for task in tasks:
        if task.path:
            counts[task.body["state"]] = counts.get(task.body["state"], 0) + 1
    return counts


def _iterations(tasks: list[Task]) -> dict[str, list[tuple[int, str]]]:
    """Return the numbers and names of the iterations that have begun, by the path of their loop.

    A last part of a path that is a number is also a task's key perhaps; only loops are looked up here.
    """
    found: dict[str, list[tuple[int, str]]] = {}
    for task in tasks:
        loop, _, last = task.path.rpartition("/")
        if loop and last.isdigit():
            found.setdefault(loop, []).append((int(last), task.body["taskName"]))
    return {loop: sorted(numbers) for loop, numbers in found.items()}


def _graph(dag: Dag, path: str, iterations: dict[str, list[tuple[int, str]]]) -> list[Json]:
    """Return the tasks of a DAG with their edges; nested pipelines, groups and iterations inside."""
    nodes: list[Json] = []
    for key, task in dag.tasks.items():
        own = f"{path}/{key}" if path else key
        node: Json = {
            "path": own,
            "name": task.name,
            "upstream": [f"{path}/{name}" if path else name for name in task.upstream],
        }
        if task.condition is not None:
            node["condition"] = task.condition.text
        if task.completed:
            node["completed"] = True
        if task.component.dag and task.loop is not None:
            node["parallelism"] = task.loop.limit
            node["inside"] = [
                {
                    "path": f"{own}/{number}",
                    "name": name,
                    "upstream": [],
                    "iteration": number,
                    "inside": _graph(task.component.dag, f"{own}/{number}", iterations),
                }
                for number, name in iterations.get(own, [])
            ]
        elif task.component.dag:
            node["inside"] = _graph(task.component.dag, own, iterations)
        nodes.append(node)
    return nodes
