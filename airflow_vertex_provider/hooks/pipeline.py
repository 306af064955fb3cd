"""Calls to Vertex AI Pipelines: an Airflow connection in, jobs and values out.

The only user of Google's client on this side. Import this module inside functions only: it loads Google's
provider, and its methods load Google's client.
Beside the fields of Google's own connection type these extras are read:

====================  ===================================================================
extra                 meaning
====================  ===================================================================
``api_endpoint``      host (or http URL) of the Vertex AI API; else the region's public one
``storage_endpoint``  URL of the Cloud Storage API; else Google's
``console_endpoint``  URL of another console than Google's, for links
====================  ===================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.google.common.hooks.base_google import GoogleBaseHook

from airflow_vertex_provider.exceptions import VertexApiError, VertexConfigurationError, VertexSubmissionError
from airflow_vertex_provider.links import console
from airflow_vertex_provider.settings.connection import ConnectionSettings
from airflow_vertex_provider.snapshot import (
    JobSnapshot,
    TaskSnapshot,
    is_scope,
    tells_iteration,
    with_indexes,
)
from airflow_vertex_provider.states import TERMINAL_PIPELINE_STATES, pipeline_state, task_state

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1.services.pipeline_service import PipelineServiceClient
    from google.cloud.aiplatform_v1.types import PipelineJob

_T = TypeVar("_T")

#: Seconds one call may take, retries on top.
CALL_TIMEOUT = 60.0
#: Seconds for which a call is tried again while the answers are transient.
RETRY_DEADLINE = 120.0


class VertexPipelineHook(GoogleBaseHook):
    """Talks to Vertex AI Pipelines with the identity of an Airflow connection.

    :param gcp_conn_id: Google's own connection type, ``google_cloud_platform``.
    :param impersonation_chain: as in Google's provider.
    :param project_id: project of the jobs; the connection's if ``None``.
    """

    def __init__(
        self,
        gcp_conn_id: str = "google_cloud_default",
        impersonation_chain: str | Sequence[str] | None = None,
        *,
        project_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(gcp_conn_id=gcp_conn_id, impersonation_chain=impersonation_chain, **kwargs)
        self._project_id = project_id
        self._clients: dict[str, PipelineServiceClient] = {}

    @cached_property
    def project(self) -> str:
        """Project of the jobs.

        :raises VertexConfigurationError: neither the task nor the connection names one.
        """
        project = self._project_id or self.get_credentials_and_project_id()[1]
        if not project:
            raise VertexConfigurationError(
                f"project_id: found none; allowed: the task group's project_id, or the field Project Id "
                f"of connection {self.gcp_conn_id!r}"
            )
        return str(project)

    @cached_property
    def defaults(self) -> ConnectionSettings:
        """What the connection says of jobs and tasks that say it neither themselves nor by their group.

        :raises VertexSettingsError: one of its extras is not allowed.
        """
        return ConnectionSettings.of(self.extras, self.gcp_conn_id)

    def client(self, location: str) -> PipelineServiceClient:
        """Return Google's client for ``location``, over REST, made once per hook and location."""
        if location not in self._clients:
            from google.cloud.aiplatform_v1.services.pipeline_service import PipelineServiceClient

            endpoint = self._get_field("api_endpoint") or f"{location}-aiplatform.googleapis.com"
            self._clients[location] = PipelineServiceClient(
                credentials=self.get_credentials(),
                transport="rest",
                client_options={"api_endpoint": endpoint},
            )
        return self._clients[location]

    def create_job(self, *, location: str, job_id: str, job: Mapping[str, Any]) -> tuple[str, bool]:
        """Create a pipeline job, or find it there already. Runs on a worker.

        A lost answer and a second call are the same thing to the service: the job of that id exists. So
        ALREADY_EXISTS is success here, and transient errors are safe to try again.

        :param job: the PipelineJob in its JSON form (snake_case keys).
        :return: resource name, and whether this call created it.
        :raises VertexApiError: the service refused it.
        """
        from google.api_core.exceptions import Conflict, NotFound
        from google.cloud.aiplatform_v1.types import PipelineJob
        from google.protobuf import json_format

        message = PipelineJob()
        json_format.ParseDict(dict(job), PipelineJob.pb(message))
        parent = f"projects/{self.project}/locations/{location}"
        name = f"{parent}/pipelineJobs/{job_id}"
        client = self.client(location)

        def create() -> tuple[str, bool]:
            try:
                created = client.create_pipeline_job(
                    parent=parent, pipeline_job=message, pipeline_job_id=job_id, timeout=CALL_TIMEOUT
                )
            except Conflict as conflict:
                # Over REST both ALREADY_EXISTS and ABORTED are a bare 409: the job itself tells which.
                try:
                    found = client.get_pipeline_job(name=name, timeout=CALL_TIMEOUT)
                except NotFound:
                    raise conflict from None
                return str(found.name), False
            return str(created.name), True

        return self._call(f"create pipeline job {job_id!r} in {parent}", create)

    def get_job(self, name: str) -> JobSnapshot:
        """Read one job with its tasks. Runs on a worker or in a thread of the triggerer.

        :param name: full resource name of the job.
        :raises VertexApiError: there is no such job, or it may not be read.
        """
        client = self.client(location_of(name))
        job = self._call(
            f"read pipeline job {name!r}", lambda: client.get_pipeline_job(name=name, timeout=CALL_TIMEOUT)
        )
        return snapshot_of(job, self.task_logs_url)

    def cancel_job(self, name: str) -> bool:
        """Ask the service to cancel a job; it goes on ending by itself.

        :return: whether there was something to cancel; a finished job is left alone.
        :raises VertexApiError: the request failed for another reason.
        """
        from google.api_core.exceptions import BadRequest

        client = self.client(location_of(name))

        def cancel() -> bool:
            try:
                client.cancel_pipeline_job(name=name, timeout=CALL_TIMEOUT)
            except BadRequest:
                # What the service says of a job that is over (FAILED_PRECONDITION, which over REST is a
                # bare 400; vertex-observed section 2): the job itself tells.
                if pipeline_state(client.get_pipeline_job(name=name).state) in TERMINAL_PIPELINE_STATES:
                    return False
                raise
            return True

        return self._call(f"cancel pipeline job {name!r}", cancel)

    def read_gcs(self, uri: str) -> bytes:
        """Read one Cloud Storage object whole.

        :param uri: ``gs://bucket/path``.
        :raises VertexApiError: the object is missing or may not be read.
        """
        blob = self._blob(uri)
        return self._call(f"read {uri}", lambda: bytes(blob.download_as_bytes(timeout=CALL_TIMEOUT)))

    def keep_gcs(self, uri: str, data: bytes) -> bool:
        """Write one Cloud Storage object unless it is there already; sends nothing if it is.

        :param uri: ``gs://bucket/path``, with the content's digest in it.
        :return: whether this call sent it.
        :raises VertexApiError: the object may not be read or written.
        :raises VertexSubmissionError: what is there is not what its name says.
        """
        from google.api_core.exceptions import NotFound

        blob = self._blob(uri)

        def found() -> bool:
            try:
                blob.reload(timeout=CALL_TIMEOUT)
            except NotFound:
                return False
            return True

        if not self._call(f"look for {uri}", found):
            self.write_gcs(uri, data)
            return True
        if blob.size != len(data):
            raise VertexSubmissionError(
                f"{uri}: found {blob.size} bytes, though what is kept under that name has {len(data)}; "
                "somebody has changed it: delete it, and it is written again"
            )
        return False

    def write_gcs(self, uri: str, data: bytes) -> None:
        """Write one Cloud Storage object unless it is there already; its name must say its content.

        :param uri: ``gs://bucket/path``.
        :raises VertexApiError: the object may not be written.
        """
        from google.api_core.exceptions import PreconditionFailed

        blob = self._blob(uri)

        def write() -> None:
            try:
                blob.upload_from_string(data, if_generation_match=0, timeout=CALL_TIMEOUT)
            except PreconditionFailed:
                self.log.debug("%s is there already", uri)

        self._call(f"write {uri}", write)

    def job_urls(self, name: str) -> tuple[str, str]:
        """Return the addresses of a job's page and of its logs."""
        endpoint = self._get_field("console_endpoint")
        job_id = name.rpartition("/")[2]
        return (
            console.job_url(self.project, location_of(name), job_id, console_endpoint=endpoint),
            console.job_logs_url(self.project, job_id, console_endpoint=endpoint),
        )

    def task_logs_url(self, custom_job: str) -> str:
        """Return the address of the logs of one task's container."""
        return console.custom_job_logs_url(
            self.project,
            custom_job.rpartition("/")[2],
            console_endpoint=self._get_field("console_endpoint"),
        )

    @cached_property
    def _storage(self) -> Any:
        from google.cloud import storage  # type: ignore[attr-defined]

        endpoint = self._get_field("storage_endpoint")
        return storage.Client(
            project=self.project,
            credentials=self.get_credentials(),
            client_options={"api_endpoint": endpoint} if endpoint else None,
        )

    def _blob(self, uri: str) -> Any:
        bucket, _, path = uri.removeprefix("gs://").partition("/")
        return self._storage.bucket(bucket).blob(path)

    def _call(self, what: str, function: Callable[[], _T]) -> _T:
        """Run one call, again while it fails transiently, and turn what is left into our error."""
        from google.api_core.exceptions import GoogleAPICallError, RetryError
        from google.api_core.retry import Retry
        from google.auth.exceptions import GoogleAuthError

        retry = Retry(
            predicate=is_transient,
            initial=0.5,
            maximum=20.0,
            timeout=RETRY_DEADLINE,
            on_error=lambda error: self.log.warning("Could not %s yet: %s", what, error),
        )
        try:
            return retry(function)()
        except RetryError as error:
            raise VertexApiError(
                f"Could not {what} for {RETRY_DEADLINE:.0f} seconds: {error.cause}", transient=True
            ) from error
        except GoogleAPICallError as error:
            code = error.code if isinstance(error.code, int) else None
            raise VertexApiError(
                f"Could not {what}: {error}", transient=is_transient(error), code=code
            ) from error
        except (GoogleAuthError, OSError) as error:
            raise VertexApiError(f"Could not {what}: {error}", transient=is_transient(error)) from error


def is_transient(error: BaseException) -> bool:
    """Tell whether the same call may succeed later (list at the end of vertex-rules)."""
    from google.api_core import exceptions as api
    from google.auth.exceptions import RefreshError, TransportError
    from requests.exceptions import RequestException

    passing = (
        api.ServiceUnavailable,
        api.InternalServerError,
        api.BadGateway,
        api.GatewayTimeout,
        api.TooManyRequests,
        # Over REST a bare 409; create_job has looked whether the job exists before this counts.
        api.Conflict,
        TransportError,
        ConnectionError,
        TimeoutError,
    )
    if isinstance(error, passing):
        return True
    if isinstance(error, RefreshError):
        return bool(getattr(error, "retryable", False))
    # requests' own connection errors are OSErrors, but so are errors of its callers: be narrow.
    return isinstance(error, RequestException)


def location_of(name: str) -> str:
    """Return the location in a resource name.

    :raises VertexConfigurationError: ``name`` is not the resource name of a pipeline job.
    """
    parts = name.split("/")
    if len(parts) != 6 or parts[0] != "projects" or parts[2] != "locations" or parts[4] != "pipelineJobs":
        raise VertexConfigurationError(
            f"job name: found {name!r}; allowed: projects/<project>/locations/<location>/pipelineJobs/<id>"
        )
    return parts[3]


def snapshot_of(job: PipelineJob, logs_url: Callable[[str], str]) -> JobSnapshot:
    """Take from Google's message what waiting needs, as plain data.

    :param logs_url: address of the logs of the custom job with the resource name it is given.
    """
    message = type(job).pb(job)
    job_id = message.name.rpartition("/")[2]
    # The root entry is named after the job and only restates its children (vertex-observed 1).
    details = [detail for detail in message.job_detail.task_details if detail.task_name != job_id]
    state = pipeline_state(message.state)
    return JobSnapshot(
        name=message.name,
        state=state,
        state_text=_enum_text(message, "state"),
        error=message.error.message,
        entries=with_indexes(
            (_task_snapshot(detail, logs_url) for detail in details), final=state in TERMINAL_PIPELINE_STATES
        ),
        labels=dict(message.labels),
        create_time=_time(message, "create_time"),
    )


def _task_snapshot(detail: Any, logs_url: Callable[[str], str]) -> TaskSnapshot:
    containers = detail.executor_detail
    custom_job = containers.container_detail.main_job or containers.custom_job_detail.job
    metadata = detail.execution.metadata
    outputs, inputs = (
        {
            key.removeprefix(prefix): _plain(metadata[key])
            for key in metadata
            if key.startswith(prefix) and wanted(key.removeprefix(prefix))
        }
        for prefix, wanted in (("output:", lambda _: True), ("input:", tells_iteration))
    )
    return TaskSnapshot(
        name=detail.task_name,
        state=task_state(detail.state),
        state_text=_enum_text(detail, "state"),
        error=detail.error.message,
        outputs={**_artifacts(detail.outputs), **outputs},
        custom_job=custom_job,
        logs_url=logs_url(custom_job) if custom_job else "",
        id=str(detail.task_id),
        parent=str(detail.parent_task_id or ""),
        scope=is_scope(detail.task_name, detail.execution.schema_title, has_container=bool(custom_job)),
        inputs=inputs,
        create_time=_time(detail, "create_time"),
    )


def _artifacts(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return output artifacts as Airflow has them: a dict of uri, type and metadata, or a list of such."""
    from google.protobuf import json_format

    found: dict[str, Any] = {}
    for name, items in outputs.items():
        described = [
            {
                "uri": item.uri,
                "type": item.schema_title,
                "metadata": json_format.MessageToDict(item.metadata),
            }
            for item in items.artifacts
        ]
        found[name] = described[0] if len(described) == 1 else described
    return found


def _plain(value: Any) -> Any:
    """Turn what protobuf gives for a list or a struct into a list or a dict."""
    from google.protobuf import json_format, struct_pb2

    if isinstance(value, struct_pb2.Struct | struct_pb2.ListValue):
        return json_format.MessageToDict(value)
    return value


def _enum_text(message: Any, name: str) -> str:
    number = getattr(message, name)
    known = message.DESCRIPTOR.fields_by_name[name].enum_type.values_by_number.get(number)
    return known.name if known else str(number)


def _time(message: Any, name: str) -> Any:
    from datetime import UTC

    return getattr(message, name).ToDatetime(tzinfo=UTC) if message.HasField(name) else None
