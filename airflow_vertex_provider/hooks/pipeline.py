"""Calls to Vertex AI Pipelines: an Airflow connection in, jobs and values out.

The only user of Google's client on this side. Import this module inside functions only: it loads Google's
provider, and its methods load Google's client. The fields of its connection stand in
:mod:`~airflow_vertex_provider.hooks.fields`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.google.common.hooks.base_google import GoogleBaseHook

from airflow_vertex_provider.exceptions import (
    VertexApiError,
    VertexConfigurationError,
    VertexProviderError,
    VertexRefusedError,
    VertexSubmissionError,
)
from airflow_vertex_provider.explanations import explain
from airflow_vertex_provider.hooks.connection import check_endpoint, setting_extras, typed_extras
from airflow_vertex_provider.hooks.errors import with_errors
from airflow_vertex_provider.hooks.failures import explanation, is_transient, said
from airflow_vertex_provider.hooks.fields import (
    CONNECTION_NAME,
    CONNECTION_TYPE,
    FIELDS,
    GOOGLE_TYPE,
    HIDDEN_FIELDS,
)
from airflow_vertex_provider.hooks.requests import request_of
from airflow_vertex_provider.hooks.snapshots import listed_job, snapshot_of
from airflow_vertex_provider.hooks.templates import RegistryAddress, read_template
from airflow_vertex_provider.job_names import location_of
from airflow_vertex_provider.links.console import ConsoleUrls
from airflow_vertex_provider.reuse import merged
from airflow_vertex_provider.settings.connection import ConnectionSettings
from airflow_vertex_provider.snapshot import JobSnapshot, ListedJob
from airflow_vertex_provider.states import TERMINAL_PIPELINE_STATES, pipeline_state

if TYPE_CHECKING:
    from airflow.sdk import Connection
    from google.cloud.aiplatform_v1.services.pipeline_service import PipelineServiceClient

_T = TypeVar("_T")

#: Seconds one call may take, retries on top.
CALL_TIMEOUT = 60.0
#: Seconds that the service may take to delete a job.
DELETE_DEADLINE = 300.0
#: What a list tells of each job.
LIST_FIELDS = ["name", "display_name", "state", "error", "labels", "create_time", "start_time", "end_time"]
#: Seconds for which a call is tried again while the answers are transient.
RETRY_DEADLINE = 120.0
#: Seconds that the one call of ``test_connection`` may take.
TEST_TIMEOUT = 20.0
#: Where it asks if the connection names no location.
TEST_LOCATION = "us-central1"


class VertexPipelineHook(GoogleBaseHook):
    """Talks to Vertex AI Pipelines with the identity of an Airflow connection.

    :param gcp_conn_id: connection of type ``vertex_ai``, or of Google's own, ``google_cloud_platform``.
    :param impersonation_chain: as in Google's provider.
    :param project_id: project of the jobs; the connection's if ``None``.
    :raises VertexConfigurationError: the connection is of another type, or has an extra that is not allowed.
    """

    conn_type = CONNECTION_TYPE
    hook_name = CONNECTION_NAME

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form for an Airflow that does not read it from the provider's metadata, as 3.1."""
        from flask_appbuilder.fieldwidgets import BS3PasswordFieldWidget, BS3TextFieldWidget
        from wtforms import BooleanField, IntegerField, PasswordField, StringField

        widgets: dict[str, Any] = {}
        for name, field in FIELDS.items():
            said = {"label": field.label, "description": field.description}
            if field.kind == "flag":
                widgets[name] = BooleanField(**said, default=False)
            elif field.kind == "number":
                widgets[name] = IntegerField(**said, widget=BS3TextFieldWidget())
            elif field.secret:
                widgets[name] = PasswordField(**said, widget=BS3PasswordFieldWidget())
            else:
                widgets[name] = StringField(**said, widget=BS3TextFieldWidget())
        return widgets

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return which standard fields the form leaves out."""
        return {"hidden_fields": list(HIDDEN_FIELDS), "relabeling": {}}

    @classmethod
    def get_connection(cls, conn_id: str) -> Connection:
        """Look a connection up and check its type and its extras.

        :raises VertexConfigurationError: see :func:`typed_extras`.
        """
        connection = super().get_connection(conn_id)
        typed_extras(connection.conn_type, connection.extra_dejson, conn_id)
        return connection

    def __init__(
        self,
        gcp_conn_id: str = "google_cloud_default",
        impersonation_chain: str | Sequence[str] | None = None,
        *,
        project_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(gcp_conn_id=gcp_conn_id, impersonation_chain=impersonation_chain, **kwargs)
        # get_connection has checked them against the connection's own type.
        self.extras = typed_extras(GOOGLE_TYPE, self.extras, gcp_conn_id)
        chain = self.extras.get("impersonation_chain")
        if not self.impersonation_chain and isinstance(chain, list):
            self.impersonation_chain = chain
        self._project_id = project_id
        self._clients: dict[str, PipelineServiceClient] = {}
        #: Jobs that have ended and that others take tasks over from.
        self._ended: dict[str, JobSnapshot] = {}

    @cached_property
    def project(self) -> str:
        """Project of the jobs.

        :raises VertexConfigurationError: neither the task nor the connection names one.
        """
        project = self._project_id or self.get_credentials_and_project_id()[1]
        if not project:
            raise VertexConfigurationError(
                f"project_id: found none; allowed: the task group's project_id, or the field Project ID "
                f"of connection {self.gcp_conn_id!r}"
            )
        return str(project)

    @cached_property
    def defaults(self) -> ConnectionSettings:
        """What the connection says of jobs and tasks that say it neither themselves nor by their group.

        :raises VertexSettingsError: one of its extras is not allowed.
        """
        return ConnectionSettings.of(setting_extras(self.extras), self.gcp_conn_id)

    def client(self, location: str) -> PipelineServiceClient:
        """Return Google's client for ``location``, over REST, made once per hook and location."""
        if location not in self._clients:
            from google.cloud.aiplatform_v1.services.pipeline_service import PipelineServiceClient

            self._clients[location] = PipelineServiceClient(
                credentials=self.get_credentials(),
                transport="rest",
                client_options={"api_endpoint": self.endpoint(location)},
            )
        return self._clients[location]

    def endpoint(self, location: str) -> str:
        """Return where the service of a location is called.

        :raises VertexConfigurationError: the connection's endpoint is another location's.
        """
        endpoint = self._get_field("api_endpoint")
        check_endpoint(endpoint, location, self.gcp_conn_id)
        return endpoint or f"{location}-aiplatform.googleapis.com"

    def ask_once(self, location: str) -> None:
        """Ask the service for one job of a location, once; whatever Google's client raises comes through."""
        parent = f"projects/{self.project}/locations/{location}"
        self.client(location).list_pipeline_jobs(
            request={"parent": parent, "page_size": 1}, timeout=TEST_TIMEOUT, retry=None
        )

    def test_connection(self) -> tuple[bool, str]:
        """Ask the service for one job of the connection's location, and explain what came back.

        Runs where somebody presses *Test* in Airflow's form: in the API server. One call, not repeated.

        :return: whether the service answered, and a text for people, with nothing secret in it.
        """
        location = str(self._get_field("location") or TEST_LOCATION)
        try:
            # Settings that no job could be made with are a failure too.
            said_by_connection = self.defaults
            self.ask_once(location)
        except VertexProviderError as error:
            return False, said(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, people are told
            self.log.info("The test of connection %r failed: %s", self.gcp_conn_id, said(error))
            return False, explanation(error, location=location)
        account = getattr(self.get_credentials(), "service_account_email", None)
        told = ", ".join([*said_by_connection.pipeline, *said_by_connection.task]) or "nothing"
        return True, (
            f"Vertex AI in {location} answered for project {self.project}"
            f"{f' to {account}' if account else ''}. Jobs and tasks take from this connection: {told}"
        )

    def job_name(self, location: str, job_id: str) -> str:
        """Return the resource name of a job, with the project's id where the service may put its number."""
        return f"projects/{self.project}/locations/{location}/pipelineJobs/{job_id}"

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
        name = self.job_name(location, job_id)
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
        """Read one job with its tasks, and those that it takes over from earlier jobs. Runs on a worker.

        :param name: full resource name of the job.
        :raises VertexApiError: there is no such job, or it may not be read.
        """
        job = self.look(name, once=False)
        if job.note is None:
            return job
        if job.note.job not in self._ended:
            self._ended[job.note.job] = self.get_job(job.note.job)
        return merged(job, job.note, self._ended[job.note.job])

    def look(self, name: str, *, once: bool = True) -> JobSnapshot:
        """Read one job with its own tasks alone. Runs on a worker or in a thread of the triggerer.

        :param name: full resource name of the job.
        :param once: make one call and no more, for those who count their calls.
        :raises VertexApiError: there is no such job, or it may not be read.
        """
        client = self.client(location_of(name))
        job = self._call(
            f"read pipeline job {name!r}",
            lambda: client.get_pipeline_job(name=name, timeout=CALL_TIMEOUT, retry=None),
            once=once,
        )
        return snapshot_of(job, self.urls)

    def read_request(self, name: str) -> dict[str, Any]:
        """Read what a job was asked for. Runs on a worker.

        :param name: full resource name of the job.
        :return: the PipelineJob in its JSON form (snake_case keys), as :meth:`create_job` takes it: without
            what the service itself adds, other than defaults such as the service account.
        :raises VertexApiError: there is no such job, or it may not be read.
        """
        client = self.client(location_of(name))
        job = self._call(
            f"read pipeline job {name!r}", lambda: client.get_pipeline_job(name=name, timeout=CALL_TIMEOUT)
        )
        return request_of(job)

    def list_changes(
        self, parent: str, since: datetime, *, label: str = "", page_token: str = ""
    ) -> tuple[list[ListedJob], str]:
        """Read one page of the jobs that changed at ``since`` or later, without their tasks. One call.

        :param parent: ``projects/<project>/locations/<location>``.
        :param label: only jobs that have this label, whatever its value.
        :param page_token: from the answer before, or empty.
        :return: the jobs and the token of the next page, or an empty one.
        :raises VertexApiError: the call failed; see its ``transient``.
        """
        from google.cloud.aiplatform_v1.types import ListPipelineJobsRequest
        from google.protobuf.field_mask_pb2 import FieldMask

        asked = f'update_time>="{since.isoformat().replace("+00:00", "Z")}"'
        request = ListPipelineJobsRequest(
            parent=parent,
            filter=f"{asked} AND labels.{label}:*" if label else asked,
            page_size=100,
            page_token=page_token,
            read_mask=FieldMask(paths=["name", "state", "update_time"]),
        )
        client = self.client(parent.rpartition("/")[2])
        answer = self._call(
            f"list pipeline jobs of {parent}", functools.partial(_page, client, request), once=True
        )
        return [listed_job(job) for job in answer.pipeline_jobs], str(answer.next_page_token)

    def list_jobs(
        self,
        location: str,
        *,
        filter: str = "",
        order_by: str = "",
        page_size: int = 100,
        max_results: int | None = None,
    ) -> list[JobSnapshot]:
        """Read the jobs of a location, page by page, without their tasks. Runs on a worker.

        :param filter: as the API takes it, for example ``state="PIPELINE_STATE_RUNNING"``; all jobs if empty.
        :param order_by: for example ``"create_time desc"``; the service's own order if empty.
        :param page_size: jobs for each call.
        :param max_results: no more than this many jobs; all if ``None``.
        :raises VertexApiError: the call failed.
        """
        from google.cloud.aiplatform_v1.types import ListPipelineJobsRequest
        from google.protobuf.field_mask_pb2 import FieldMask

        parent = f"projects/{self.project}/locations/{location}"
        client = self.client(location)
        found: list[JobSnapshot] = []
        token = ""
        while max_results is None or len(found) < max_results:
            left = page_size if max_results is None else min(page_size, max_results - len(found))
            request = ListPipelineJobsRequest(
                parent=parent,
                filter=filter,
                order_by=order_by,
                page_size=left,
                page_token=token,
                read_mask=FieldMask(paths=LIST_FIELDS),
            )
            answer = self._call(f"list pipeline jobs of {parent}", functools.partial(_page, client, request))
            found += [snapshot_of(job, self.urls) for job in answer.pipeline_jobs]
            token = str(answer.next_page_token)
            if not token:
                break
        return found if max_results is None else found[:max_results]

    def delete_job(self, name: str, *, missing_ok: bool = False) -> bool:
        """Delete a job and wait until the service has. Runs on a worker.

        :param missing_ok: a job that is not there is no error.
        :return: whether there was something to delete.
        :raises VertexApiError: the service refused; there is no such job, unless that is allowed.
        """
        from google.api_core.exceptions import NotFound

        client = self.client(location_of(name))
        calls = 0

        def delete() -> bool:
            nonlocal calls
            calls += 1
            try:
                operation = client.delete_pipeline_job(name=name, timeout=CALL_TIMEOUT)
            except NotFound:
                if calls == 1:
                    raise
                # An earlier call got through, though its answer did not.
                return True
            operation.result(timeout=DELETE_DEADLINE)  # type: ignore[no-untyped-call]
            return True

        try:
            return self._call(f"delete pipeline job {name!r}", delete)
        except VertexApiError as error:
            if error.code == 404 and missing_ok:
                return False
            raise

    def cancel_job(self, name: str, *, once: bool = False) -> bool:
        """Ask the service to cancel a job; it goes on ending by itself.

        :param once: do not try again if the request fails transiently.
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

        return self._call(f"cancel pipeline job {name!r}", cancel, once=once)

    def get_custom_job_error(self, name: str) -> str:
        """Return the error text of a custom job, empty if it has none. One call.

        :param name: full resource name of the custom job.
        :raises VertexApiError: there is no such job, or it may not be read.
        """
        from google.cloud.aiplatform_v1.services.job_service import JobServiceClient

        client = JobServiceClient(
            credentials=self.get_credentials(),
            transport="rest",
            client_options={"api_endpoint": self.endpoint(name.split("/")[3])},
        )
        job = self._call(
            f"read custom job {name!r}",
            lambda: client.get_custom_job(name=name, timeout=CALL_TIMEOUT, retry=None),
            once=True,
        )
        return str(job.error.message)

    def explained(self, job: JobSnapshot, name: str = "") -> JobSnapshot:
        """Return an ended job in which failed tasks have the errors that their entries only point at.

        :param name: only tasks of this Vertex name; all if empty.
        """
        return with_errors(job, self, name)

    def read_gcs(self, uri: str, *, once: bool = False, most: int | None = None) -> bytes:
        """Read one Cloud Storage object whole.

        :param uri: ``gs://bucket/path``.
        :param once: make one call and no more.
        :param most: read no more than this many bytes, and one that tells of more.
        :raises VertexApiError: the object is missing or may not be read.
        """
        blob = self._blob(uri)
        part = {} if most is None else {"start": 0, "end": most}
        return self._call(
            f"read {uri}", lambda: bytes(blob.download_as_bytes(timeout=CALL_TIMEOUT, **part)), once=once
        )

    def read_template(self, address: RegistryAddress) -> tuple[bytes, RegistryAddress]:
        """Read a compiled pipeline from Artifact Registry, as the connection's identity. Runs on a worker.

        :return: the file, and its address with the digest that a tag stands for.
        :raises VertexApiError: there is no such template, or it may not be read.
        :raises VertexSubmissionError: the registry answered nonsense, or the file is too large.
        """
        return read_template(address, self.get_credentials(), self._call, CALL_TIMEOUT)

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

    @cached_property
    def urls(self) -> ConsoleUrls:
        """Addresses of pages of this connection's console."""
        return ConsoleUrls(self.project, self._get_field("console_endpoint"))

    def job_urls(self, name: str) -> tuple[str, str]:
        """Return the addresses of a job's page and of its logs."""
        return self.urls.job(name)

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

    def _call(self, what: str, function: Callable[[], _T], *, once: bool = False) -> _T:
        """Run one call, again while it fails transiently, and turn what is left into our error.

        :param once: do not try again.
        """
        from google.api_core.exceptions import GoogleAPICallError, RetryError
        from google.api_core.retry import Retry
        from google.auth.exceptions import GoogleAuthError

        retry = Retry(
            predicate=is_transient,
            initial=0.5,
            maximum=20.0,
            timeout=RETRY_DEADLINE,
            on_error=lambda error: self.log.warning("Could not %s yet: %s", what, said(error)),
        )
        try:
            return function() if once else retry(function)()
        except RetryError as error:
            raise VertexApiError(
                f"Could not {what} for {RETRY_DEADLINE:.0f} seconds: {said(error.cause)}", transient=True
            ) from error
        except (GoogleAPICallError, GoogleAuthError, OSError) as error:
            number = getattr(error, "code", None)
            code = number if isinstance(number, int) else None
            text = f"Could not {what}: {said(error)}"
            if is_transient(error):
                raise VertexApiError(text, transient=True, code=code) from error
            meaning = explain(text, project=self.project)
            text = f"{text}\nThat means: {meaning}" if meaning else text
            raise VertexRefusedError(text, code=code) from error


def _page(client: PipelineServiceClient, request: Any) -> Any:
    """Read one page of a list."""
    pages = client.list_pipeline_jobs(request=request, timeout=CALL_TIMEOUT, retry=None).pages
    return next(iter(pages))
