"""Google's custom-job launcher, done inside the emulator: its resolved arguments in, a CustomJob and the
launcher's exit status out. What it does follows vertex-observed section 9 (GCPC 2.22).

The real launcher would call Google's servers; here the custom job it describes is created in the
emulator, and the container of its first worker pool runs as a local process.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

from airflow_vertex_provider.emulator import protos
from airflow_vertex_provider.emulator.custom_jobs import FINAL_STATES, CustomJobs
from airflow_vertex_provider.emulator.errors import ApiError
from airflow_vertex_provider.emulator.executors import Ended, How, LogFile
from airflow_vertex_provider.emulator.names import Place
from airflow_vertex_provider.emulator.services import Services
from airflow_vertex_provider.emulator.store import Resource

Json = dict[str, Any]

MODULE = "google_cloud_pipeline_components.container.v1.custom_job.launcher"

#: rpc codes after which the launcher blames the user and exits with 1; after others it exits with 13.
USER_ERROR_CODES = frozenset({3, 5, 6, 7, 9, 11, 12})


class LauncherError(Exception):
    """The launcher ends before, or instead of, running a custom job.

    :param status: its exit status.
    """

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Arguments:
    """The launcher's command line."""

    project: str
    location: str
    payload: Json
    gcp_resources: Path


def is_launcher(command: Sequence[str]) -> bool:
    """Tell whether a container's command starts the custom-job launcher."""
    return ("-m", MODULE) in pairwise(command)


def parse(argv: Sequence[str]) -> Arguments:
    """Read the launcher's arguments as its own parser would.

    :raises LauncherError: an argument is missing, or the payload is not JSON.
    """

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise LauncherError(f"launcher: error: {message}", 2)

    parser = Parser(prog="launcher", add_help=False)
    for name in ("type", "project", "location", "payload", "gcp_resources"):
        parser.add_argument(f"--{name}", required=True)
    found, _ = parser.parse_known_args(list(argv[argv.index(MODULE) + 1 :]))
    if found.type != "CustomJob":
        raise LauncherError(f"ValueError: Incorrect job type: {found.type}")
    try:
        payload = json.loads(found.payload, strict=False)
    except ValueError as error:
        raise LauncherError(f"json.decoder.JSONDecodeError: {error}") from error
    if not isinstance(payload, dict):
        raise LauncherError(f"TypeError: the payload is a {type(payload).__name__}, not an object")
    return Arguments(found.project, found.location, payload, Path(found.gcp_resources))


def prepare(payload: Json, run_labels: Mapping[str, str]) -> Json:
    """Return the CustomJob body the launcher would send: labels merged, empty fields gone.

    :raises LauncherError: the payload does not fit Google's CustomJob type.
    """
    labels = {**run_labels, **(payload.get("labels") or {})}
    stripped = _without_empty({**payload, "labels": labels})
    scheduling = stripped.get("job_spec", {}).get("scheduling", {})
    if scheduling.get("strategy", "FLEX_START") != "FLEX_START":
        scheduling.pop("max_wait_duration", None)
    from google.cloud.aiplatform_v1.types import CustomJob
    from google.protobuf import json_format

    try:
        body: Json = json_format.MessageToDict(CustomJob.pb(CustomJob(stripped)))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise LauncherError(f"{type(error).__name__}: {error}") from error
    return body


def _without_empty(data: Any) -> Any:
    """Drop empty fields until none is left; plain values in lists stay, whatever they are."""
    while True:
        smaller = _strip(data)
        if smaller == data:
            return smaller
        data = smaller


def _strip(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _strip(value) for key, value in data.items() if value}
    if isinstance(data, list):
        return [
            item if isinstance(item, str | int | float) else _strip(item)
            for item in data
            if isinstance(item, str | int | float) or _strip(item)
        ]
    return data


class Launcher:
    """Runs one launcher to its end.

    :param owner: key of the pipeline job; :param run_labels: what the launcher finds in its environment.
    """

    def __init__(
        self,
        services: Services,
        custom_jobs: CustomJobs,
        owner: int,
        project_ids: Mapping[str, str],
        run_labels: Mapping[str, str],
    ) -> None:
        self._services = services
        self._jobs = custom_jobs
        self._owner = owner
        self._project_ids = project_ids
        self._run_labels = run_labels

    def run(
        self,
        recorded: Sequence[str],
        local: Sequence[str],
        log: LogFile,
        *,
        cancelled: Callable[[], bool],
        on_launch: Callable[[Resource], None],
        on_terminate: Callable[[], None],
    ) -> Ended:
        """Do what the launcher's process would do.

        :param recorded: argv as Vertex would record it; :param local: the same with this machine's paths.
        :param on_launch: told the custom job, once it is known.
        :raises StoppedError: the emulator is being stopped.
        """
        try:
            arguments = parse(local)
            body = prepare(parse(recorded).payload, self._run_labels)
            job = self._existing(arguments, log) or self._create(arguments, body, log)
        except LauncherError as error:
            log.write("stderr", str(error))
            return Ended(How.EXITED, error.status)
        except ApiError as error:
            log.write("stderr", f"google.api_core.exceptions: {error.status}: {error.message}")
            return Ended(How.EXITED, 1)
        on_launch(job)
        if job.body["state"] not in FINAL_STATES:
            self._run_job(job, arguments, cancelled, on_terminate)
        self._services.clock.wait(
            self._services.switches.launcher_poll_seconds / 2,
            lambda: self._services.stopping.is_set() or cancelled(),
        )
        self._services.check_running()
        return self._outcome(self._services.store.get(job.key).body, log, cancelled=cancelled())

    def _existing(self, arguments: Arguments, log: LogFile) -> Resource | None:
        path = arguments.gcp_resources
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.stat().st_size == 0:
            return None
        try:
            uri = json.loads(path.read_text())["resources"][0]["resourceUri"]
        except (ValueError, LookupError, TypeError) as error:
            raise LauncherError(f"ValueError: gcp_resources cannot be read: {error}") from error
        match = re.search(r"/v1/projects/([^/]+)/locations/([^/]+)/customJobs/([^/]+)$", uri)
        job = self._services.store.find("customJobs", match[1], match[2], match[3]) if match else None
        if job is None:
            raise LauncherError(f"NOT_FOUND: the custom job of gcp_resources does not exist: {uri}")
        log.write("stderr", f"CustomJob name already exists: {job.body['name']}. Continue polling the status")
        return job

    def _create(self, arguments: Arguments, body: Json, log: LogFile) -> Resource:
        project = self._project_ids.get(arguments.project, arguments.project)
        job = self._jobs.create(Place(project, arguments.location), body, owner=self._owner)
        uri = f"https://{arguments.location}-aiplatform.googleapis.com/v1/{job.body['name']}"
        resources = {"resources": [{"resourceType": "CustomJob", "resourceUri": uri}]}
        arguments.gcp_resources.write_text(json.dumps(resources, indent=2))
        log.write("stderr", f"Job started for type: CustomJob; created {job.body['name']}")
        return job

    def _run_job(
        self,
        job: Resource,
        arguments: Arguments,
        cancelled: Callable[[], bool],
        on_terminate: Callable[[], None],
    ) -> None:
        # The paths inside the payload are this machine's; those of the stored job are Vertex's.
        local = protos.normalise("CustomJob", prepare(arguments.payload, {}))
        container = local["jobSpec"]["workerPoolSpecs"][0].get("containerSpec", {})
        env = {item["name"]: item.get("value", "") for item in container.get("env", [])}
        self._jobs.run(
            job,
            [*container.get("command", []), *container.get("args", [])],
            env,
            cancelled=cancelled,
            on_terminate=on_terminate,
        )

    def _outcome(self, body: Json, log: LogFile, *, cancelled: bool) -> Ended:
        state = body["state"]
        if cancelled:
            # SIGTERM: the launcher cancels its job and exits with 0; the task ends as cancelled.
            return Ended(How.CANCELLED)
        if state == "JOB_STATE_SUCCEEDED":
            log.write("stderr", f"GetCustomJob response state ={state}")
            return Ended(How.EXITED, 0)
        code = body.get("error", {}).get("code", 0)
        log.write(
            "stderr",
            f"Job failed with error state: {state}. Error: {body.get('error', {}).get('message', '')}",
        )
        return Ended(How.EXITED, 1 if code in USER_ERROR_CODES else 13)
