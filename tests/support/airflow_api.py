"""Calls to Airflow's public REST API in, plain dicts out: what a test asks of a running Airflow.

Nothing here knows how that Airflow was started; see :mod:`tests.support.airflow`.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import requests

from tests.support.processes import wait_until

#: States of a DAG run that do not change by themselves.
FINAL_RUN_STATES = frozenset({"success", "failed"})
#: States of a task instance that do not change by themselves.
FINAL_TASK_STATES = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})

#: How often a request is made of which the database was too busy for an answer.
_BUSY_TRIES = 10
#: Fields of a log event that are shown elsewhere, or say only which task instance it is.
_LOG_FIELDS = frozenset(
    {"timestamp", "event", "level", "error_detail", "filename", "lineno", "ti_id"}
    | {"dag_id", "run_id", "task_id", "map_index", "try_number"}
)


class AirflowApiError(RuntimeError):
    """The API server answered with an error.

    :param status: HTTP status.
    :param body: the answer.
    """

    def __init__(self, method: str, url: str, status: int, body: str) -> None:
        self.status = status
        self.body = body
        super().__init__(f"{method} {url}: {status} {body[:2000]}")


class AirflowApi:
    """Client of one Airflow's REST API, with the waits that tests need.

    :param base_url: ``http://127.0.0.1:PORT``.
    """

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._http = requests.Session()
        # A proxy set for the machine must not see calls to loopback.
        self._http.trust_env = False
        self._token: str | None = None

    # -- plumbing ------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str,
        *,
        json_body: object = None,
        params: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> requests.Response:
        """Send one authorised request below ``/api/v2``.

        :raises AirflowApiError: the answer is 400 or above.
        """
        if self._token is None:
            answer = self._http.get(f"{self.base_url}/auth/token", timeout=120)
            if answer.status_code >= 400:
                raise AirflowApiError("GET", answer.url, answer.status_code, answer.text)
            self._token = str(answer.json()["access_token"])
        for left in reversed(range(_BUSY_TRIES)):
            answer = self._http.request(
                method,
                f"{self.base_url}/api/v2/{path}",
                json=json_body,
                params=params,
                headers={"Authorization": f"Bearer {self._token}", **(headers or {})},
                timeout=240,
            )
            # SQLite has one writer; what many processes at a time get from it is no answer of Airflow's.
            if not (left and answer.status_code == 500 and "Database error" in answer.text):
                break
            time.sleep(1)
        if answer.status_code >= 400:
            raise AirflowApiError(method, answer.url, answer.status_code, answer.text)
        return answer

    def get(self, path: str, **params: Any) -> Any:
        """Return the JSON answer to a GET."""
        return self.request("GET", path, params=params).json()

    def health(self) -> dict[str, Any]:
        """Return the health of every component; needs no login."""
        answer: dict[str, Any] = self._http.get(f"{self.base_url}/api/v2/monitor/health", timeout=60).json()
        return answer

    def _failure_detail(self) -> str:
        """Return text that helps to understand a wait that failed; a deployment adds its logs."""
        return ""

    def wait_until(self, predicate: Any, timeout: float, what: str) -> Any:
        """Call ``predicate`` until its result is true and return it; ``timeout`` in seconds."""
        return wait_until(predicate, timeout, what, detail=self._failure_detail)

    # -- DAGs ----------------------------------------------------------------------------------

    def dag_ids(self) -> set[str]:
        """Return the ids of the DAGs that Airflow knows."""
        return {dag["dag_id"] for dag in self.get("dags", limit=1000, exclude_stale=True)["dags"]}

    def import_errors(self) -> dict[str, str]:
        """Return the traceback of every DAG file that could not be imported, by file name."""
        entries = self.get("importErrors", limit=1000)["import_errors"]
        return {entry["filename"]: entry["stack_trace"] for entry in entries}

    def wait_for_dag(self, dag_id: str, *, timeout: float = 90) -> None:
        """Wait until the DAG processor has stored ``dag_id``; import errors go into the message."""
        wait_until(
            lambda: dag_id in self.dag_ids(),
            timeout,
            f"the DAG {dag_id!r}",
            detail=lambda: "\n".join(
                [
                    *(f"{name}:\n{trace}" for name, trace in self.import_errors().items()),
                    self._failure_detail(),
                ]
            ),
        )

    def pause(self, dag_id: str) -> None:
        """Pause the DAG."""
        self.request("PATCH", f"dags/{quote(dag_id, safe='')}", json_body={"is_paused": True})

    def unpause(self, dag_id: str) -> None:
        """Unpause the DAG."""
        self.request("PATCH", f"dags/{quote(dag_id, safe='')}", json_body={"is_paused": False})

    # -- runs ----------------------------------------------------------------------------------

    def trigger(
        self,
        dag_id: str,
        conf: dict[str, Any] | None = None,
        run_id: str | None = None,
        *,
        logical_date: str | None = "now",
    ) -> str:
        """Start a run and return its id; waits for the DAG to be known first.

        :param run_id: a unique one is made if not given.
        :param logical_date: ISO 8601, ``"now"``, or ``None`` for a run without one (no ``ds`` then).
        """
        self.wait_for_dag(dag_id)
        body = {
            "dag_run_id": run_id or f"test_{uuid4().hex[:12]}",
            "logical_date": datetime.now(UTC).isoformat() if logical_date == "now" else logical_date,
            "conf": conf or {},
        }
        try:
            answer = self.request("POST", f"dags/{quote(dag_id, safe='')}/dagRuns", json_body=body)
        except AirflowApiError as error:
            # A try before may have made the run and lost the answer; an id that was given is the test's own.
            if error.status != 409 or run_id is not None:
                raise
            return str(body["dag_run_id"])
        return str(answer.json()["dag_run_id"])

    def dag_run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Return the run as the API gives it."""
        answer: dict[str, Any] = self.get(_run(dag_id, run_id))
        return answer

    def wait_for_run(self, dag_id: str, run_id: str, *, timeout: float = 180) -> str:
        """Wait until the run has ended, and return its state, ``success`` or ``failed``.

        A run that failed prints its states and the logs of the tasks that failed; pytest shows them if
        the test did not expect that.

        :param timeout: seconds.
        """

        def ended() -> str | None:
            state = str(self.dag_run(dag_id, run_id)["state"])
            return state if state in FINAL_RUN_STATES else None

        def detail() -> str:
            states = {name: item["state"] for name, item in self.task_instances(dag_id, run_id).items()}
            return f"task states: {json.dumps(states, indent=1)}\n{self._failure_detail()}"

        state = str(wait_until(ended, timeout, f"the run {run_id} of {dag_id} to end", detail=detail))
        if state == "failed":
            print(self._what_failed(dag_id, run_id))
        return state

    def _what_failed(self, dag_id: str, run_id: str) -> str:
        """Return the states of a run's tasks, with the log of each that failed."""
        parts = [f"the run {run_id} of {dag_id} failed:"]
        for name, item in self.task_instances(dag_id, run_id).items():
            parts.append(f"{name}: {item['state']}, try {item['try_number']}")
            if item["state"] == "failed" and item["try_number"]:
                parts.append(
                    self.log(dag_id, run_id, item["task_id"], item["try_number"], map_index=item["map_index"])
                )
        return "\n".join(parts)

    # -- task instances ------------------------------------------------------------------------

    def task_instances(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """Return the task instances by task id; those of a mapped task by ``task_id[map_index]``."""
        found: dict[str, dict[str, Any]] = {}
        while True:
            page = self.get(f"{_run(dag_id, run_id)}/taskInstances", limit=100, offset=len(found))
            for item in page["task_instances"]:
                suffix = "" if item["map_index"] == -1 else f"[{item['map_index']}]"
                found[item["task_id"] + suffix] = item
            if not page["task_instances"] or len(found) >= page["total_entries"]:
                return found

    def states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """Return the state of every task instance, by the keys of :meth:`task_instances`."""
        return {name: item["state"] for name, item in self.task_instances(dag_id, run_id).items()}

    def wait_for_task(
        self, dag_id: str, run_id: str, task_id: str, state: str | set[str], *, timeout: float = 120
    ) -> dict[str, Any]:
        """Wait until a task instance is in one of the states, and return it.

        :param task_id: a key of :meth:`task_instances`.
        :param timeout: seconds.
        """
        wanted = {state} if isinstance(state, str) else state

        def reached() -> dict[str, Any] | None:
            item = self.task_instances(dag_id, run_id).get(task_id)
            return item if item is not None and item["state"] in wanted else None

        return wait_until(
            reached,
            timeout,
            f"{dag_id}.{task_id} to be {' or '.join(sorted(wanted))}",
            detail=lambda: f"{self.states(dag_id, run_id)}\n{self._failure_detail()}",
        )

    def clear(
        self,
        dag_id: str,
        run_id: str,
        task_ids: list[str] | None = None,
        *,
        include_downstream: bool = False,
        only_failed: bool = False,
    ) -> None:
        """Clear task instances of a run so that they run again; all of them if none are named."""
        body: dict[str, Any] = {
            "dry_run": False,
            "dag_run_id": run_id,
            "only_failed": only_failed,
            "include_downstream": include_downstream,
            "reset_dag_runs": True,
        }
        if task_ids is not None:
            body["task_ids"] = task_ids
        self.request("POST", f"dags/{quote(dag_id, safe='')}/clearTaskInstances", json_body=body)

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str, *, map_index: int = -1) -> None:
        """Set a task instance to ``success``, ``failed`` or ``skipped``, as a user does in the UI."""
        index = "" if map_index == -1 else f"/{map_index}"
        self.request("PATCH", _task(dag_id, run_id, task_id) + index, json_body={"new_state": state})

    # -- what a task left behind -----------------------------------------------------------------

    def xcom(
        self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", *, map_index: int = -1
    ) -> Any:
        """Return an XCom as it is stored, with its JSON type.

        The API's ``deserialize=true`` is not used: it parses any text that happens to be JSON, so the
        text ``"1"`` and the number ``1`` could not be told apart.

        :raises AirflowApiError: with status 404 if there is none.
        """
        entry = self.get(
            f"{_task(dag_id, run_id, task_id)}/xcomEntries/{quote(key)}",
            map_index=map_index,
            deserialize=False,
            stringify=False,
        )
        return entry["value"]

    def xcom_keys(self, dag_id: str, run_id: str, task_id: str, *, map_index: int = -1) -> set[str]:
        """Return the keys of the XComs that the task has pushed so far."""
        entries = self.get(f"{_task(dag_id, run_id, task_id)}/xcomEntries", map_index=map_index, limit=100)
        return {entry["key"] for entry in entries["xcom_entries"]}

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, *, map_index: int = -1) -> str:
        """Return the task's log as the UI shows it: one line an event, tracebacks below their event."""
        answer = self.get(
            f"{_task(dag_id, run_id, task_id)}/logs/{try_number}", map_index=map_index, full_content=True
        )
        return "\n".join(_log_line(event) for event in answer["content"])

    def extra_links(
        self, dag_id: str, run_id: str, task_id: str, *, map_index: int = -1
    ) -> dict[str, str | None]:
        """Return the link buttons of the task: label to URL, ``None`` where there is none yet."""
        answer = self.get(f"{_task(dag_id, run_id, task_id)}/links", map_index=map_index)
        links: dict[str, str | None] = answer["extra_links"]
        return links


def _run(dag_id: str, run_id: str) -> str:
    return f"dags/{quote(dag_id, safe='')}/dagRuns/{quote(run_id, safe='')}"


def _task(dag_id: str, run_id: str, task_id: str) -> str:
    return f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id, safe='')}"


def _log_line(event: str | dict[str, Any]) -> str:
    """Write one event of a structured log as text."""
    if isinstance(event, str):
        return event
    extra = " ".join(f"{key}={value!r}" for key, value in event.items() if key not in _LOG_FIELDS)
    line = f"{event.get('timestamp') or ''} {event.get('level') or ''} {event['event']} {extra}".strip()
    for error in event.get("error_detail") or ():
        frames = "".join(
            f"\n  {frame['filename']}:{frame['lineno']} in {frame['name']}" for frame in error["frames"]
        )
        line += f"{frames}\n{error['exc_type']}: {error['exc_value']}"
    return line
