"""A compiled pipeline in Airflow: a template and values in, a submitted and awaited job out.

The template was compiled elsewhere, by kfp or by ``compile_group``: this operator is for pipelines that are
there already, where a ``VertexTaskGroup`` makes one of Airflow's own tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_vertex_provider import checks, metrics
from airflow_vertex_provider.exceptions import (
    VertexRunFailedError,
    VertexSettingsError,
)
from airflow_vertex_provider.graph import naming
from airflow_vertex_provider.job_names import TASK_LABEL
from airflow_vertex_provider.links.pipeline_job import VERTEX_LOGS_URL, VERTEX_URL
from airflow_vertex_provider.operators.attempts import Ending, Submitted, submit_attempt
from airflow_vertex_provider.operators.ending import await_end
from airflow_vertex_provider.operators.job_request import request_of
from airflow_vertex_provider.operators.killing import Killing
from airflow_vertex_provider.operators.template import (
    Template,
    check_template,
    load_template,
    set_caching,
    template_of,
)
from airflow_vertex_provider.operators.template_inputs import input_artifacts, parameter_values
from airflow_vertex_provider.operators.waiting import VertexJobWaitingOperator
from airflow_vertex_provider.outputs import RETURN_VALUE, VERTEX_STATE, Outcome, job_outcome, job_xcoms
from airflow_vertex_provider.settings import PipelineSettings, merge_pipeline_settings
from airflow_vertex_provider.triggers.pipeline_job import VertexPipelineJobTrigger

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

    from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
    from airflow_vertex_provider.snapshot import JobSnapshot

#: XCom key of the resource name of the job, there as soon as the job is.
VERTEX_JOB_NAME = "vertex_job_name"
#: Arguments that are settings of the job, by the names that they have there.
SETTINGS = (
    "location",
    "pipeline_root",
    "project_id",
    "service_account",
    "network",
    "reserved_ip_ranges",
    "psc_network_attachment",
    "encryption_spec_key_name",
    "labels",
    "failure_policy",
    "display_name",
    "preflight_validations",
    "job_overrides",
)

_job_id = checks.matching(
    r"[a-z][-a-z0-9]{0,126}",
    "at most 127 lower-case letters, digits and '-', a letter first (L01)",
)


class RunVertexPipelineOperator(VertexJobWaitingOperator):
    """Submits a compiled pipeline and waits for its job.

    XComs: ``vertex_url``, ``vertex_logs_url`` and ``vertex_job_name``, pushed as soon as there is a job;
    ``vertex_state`` and ``return_value`` at the end, a dict of ``job_name``, ``state``, ``url`` and
    ``outputs`` (name to value of what the pipeline itself declares as its outputs). The same, deferrable or
    not.

    The job's id is made of DAG, run, task and attempt. A second call after a lost answer or on another worker
    finds the job there and attaches to it. The job is the task: a retry by Airflow after the job has failed,
    and clearing the task after it has ended, begin the next attempt, which is another job.
    :mod:`airflow_vertex_provider.operators.attempts` has the rules.

    :param template: what to run: the path of a compiled file (``.json``, ``.yaml``, ``.yml``; a relative one
        starts at the DAG file's folder), a ``gs://`` address of one, an address in Artifact Registry
        (``https://<location>-kfp.pkg.dev/<project>/<repository>/<package>/<tag or sha256:digest>``; a tag is
        resolved by the connection's own identity, at each attempt), or a PipelineSpec as a dict. Texts are
        rendered; what a file or a dict holds never is.
    :param parameter_values: run parameter name to value. ``None`` says nothing. Rendered.
    :param input_artifacts: input name to the id of an artifact in the metadata store. Rendered.
    :param location: region of the job; the connection's if not said. Rendered, as all that follow are.
    :param project_id: project of the job; the connection's if not said.
    :param pipeline_root: ``gs://`` folder for what the tasks write; the template's own if not said, or the
        connection's.
    :param service_account: account the job runs as.
    :param network: VPC network as ``projects/<number>/global/networks/<name>``.
    :param reserved_ip_ranges: names of IP ranges reserved in that network.
    :param psc_network_attachment: network attachment for Private Service Connect; excludes ``network``.
    :param encryption_spec_key_name: CMEK key for the job and what it makes.
    :param labels: labels of the job.
    :param failure_policy: ``slow`` (default) or ``fast``.
    :param enable_caching: ``None`` (default): as the template says; otherwise for every task of it, nested
        ones too.
    :param display_name: name in the console; ``<dag id>.<task id>`` if not said.
    :param preflight_validations: let the service check the job before it starts anything.
    :param job_overrides: fields of the API's PipelineJob, merged into the request last.
    :param job_id: id of the first attempt's job, for example with ``{{ ts_nodash | lower }}`` in it; later
        attempts get a number behind it. Made of DAG, run and task if not said. An id that another run has is
        refused.
    :param gcp_conn_id: Airflow connection of type ``vertex_ai``, or of Google's own.
    :param impersonation_chain: as in Google's provider.
    :param deferrable: wait in the triggerer (default) or on a worker.
    :param poll_interval: seconds between two looks at the job.
    :param wait_for_completion: ``False``: leave once the job is there; ``state`` is then what it is in.
    :param cancel_on_kill: cancel the job when a user ends this task, or ``execution_timeout`` is over.
    """

    template_fields: Sequence[str] = (
        "template",
        "parameter_values",
        "input_artifacts",
        *SETTINGS,
        "enable_caching",
        "job_id",
        "gcp_conn_id",
        "impersonation_chain",
    )
    template_fields_renderers = dict.fromkeys(
        ("parameter_values", "input_artifacts", "labels", "job_overrides"), "json"
    )
    ui_color = "#d2e3fc"
    limited_by = "execution_timeout"

    def __init__(
        self,
        *,
        template: str | PathLike[str] | Mapping[str, Any],
        parameter_values: Mapping[str, Any] | None = None,
        input_artifacts: Mapping[str, str] | None = None,
        location: str | None = None,
        project_id: str | None = None,
        pipeline_root: str | None = None,
        service_account: str | None = None,
        network: str | None = None,
        reserved_ip_ranges: Sequence[str] | None = None,
        psc_network_attachment: str | None = None,
        encryption_spec_key_name: str | None = None,
        labels: Mapping[str, str] | None = None,
        failure_policy: str | None = None,
        enable_caching: bool | str | None = None,
        display_name: str | None = None,
        preflight_validations: bool | str | None = None,
        job_overrides: Mapping[str, Any] | None = None,
        job_id: str | None = None,
        gcp_conn_id: str = "google_cloud_default",
        impersonation_chain: str | Sequence[str] | None = None,
        deferrable: bool = True,
        poll_interval: float = 30.0,
        wait_for_completion: bool = True,
        cancel_on_kill: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # A spec is full of "{{$...}}", so it must not stand where Airflow renders.
        self.spec = dict(template) if isinstance(template, Mapping) else None
        self.template: Any = fspath(template) if isinstance(template, PathLike) else template
        if self.spec is not None:
            self.template = None
        self.parameter_values = parameter_values if parameter_values is not None else {}
        self.input_artifacts = input_artifacts if input_artifacts is not None else {}
        self.location = location
        self.project_id = project_id
        self.pipeline_root = pipeline_root
        self.service_account = service_account
        self.network = network
        self.reserved_ip_ranges = reserved_ip_ranges
        self.psc_network_attachment = psc_network_attachment
        self.encryption_spec_key_name = encryption_spec_key_name
        self.labels = labels
        self.failure_policy = failure_policy
        self.enable_caching = enable_caching
        self.display_name = display_name
        self.preflight_validations = preflight_validations
        self.job_overrides = job_overrides
        self.job_id = job_id
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.wait_for_completion = wait_for_completion
        self.cancel_on_kill = cancel_on_kill
        self.time_limit = self.execution_timeout.total_seconds() if self.execution_timeout else None
        self.job_name = self.vertex_url = self.vertex_logs_url = ""
        self._creating: str | None = None
        self._ti: Any = None
        self._check_at_parse()

    def _check_at_parse(self) -> None:
        """Refuse what no rendering can make right; what other tasks give is seen at submit."""
        try:
            if _is_plain(self.template) and self.spec is None:
                check_template(self.template)
            if self.spec is not None:
                template_of([self.spec], "the given spec")
            said = {name: value for name, value in self._said().items() if _is_plain(value)}
            PipelineSettings.from_dict(said).check_together()
            for name, check in (("enable_caching", checks.flag), ("job_id", _job_id)):
                value = getattr(self, name)
                if value is not None and _is_plain(value) and not checks.is_template(value):
                    check(name, value)
        except VertexSettingsError as error:
            raise error.at(self.task_id) from None

    def _said(self) -> dict[str, Any]:
        return {name: value for name in SETTINGS if (value := getattr(self, name)) is not None}

    def execute(self, context: Context) -> Any:
        """Create or attach, push where the job is, and wait.

        :return: see the class; nothing if the task is deferred.
        :raises VertexConfigurationError: an argument, the template or a value is not allowed.
        :raises VertexApiError: the service refused the job, or the template cannot be read.
        :raises VertexRunFailedError: the job ended in anything but success.
        """
        self._ti = ti = context["ti"]
        hook = self.identity().hook()
        try:
            job, location = self._request(hook, context)
        except VertexSettingsError as error:
            raise error.at(self.task_id) from None
        submitted = self._attempt(hook, job, location, context)
        if isinstance(submitted, Ending):
            self._creating = None
            await_end(self, submitted, context, self.identity(), deferrable=self.deferrable)
            return self.execute(context)
        self._creating = self.job_name = name = submitted.name
        self._killing.stop_if_ended(ti, name, cancel=self.cancel_on_kill)
        metrics.count("submitted" if submitted.created else "attached")
        self.vertex_url, self.vertex_logs_url = hook.job_urls(name)
        self.log.info("%s pipeline job %s", "Created" if submitted.created else "Attached to", name)
        self.log.info("Vertex AI: %s", self.vertex_url)
        ti.xcom_push(key=VERTEX_URL, value=self.vertex_url)
        ti.xcom_push(key=VERTEX_LOGS_URL, value=self.vertex_logs_url)
        ti.xcom_push(key=VERTEX_JOB_NAME, value=name)
        if self.wait_for_completion:
            return super().execute(context)
        seen = hook.get_job(name)
        outcome = Outcome(succeeded=True, message=f"{name} is {seen.state_text}", state=seen.state_text)
        return self.finish(context, outcome, self.xcoms_of(outcome, seen))

    def again(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Go on after an earlier attempt has ended. On a worker.

        :param event: what the trigger saw; whether it was an end, the service is asked again.
        """
        self.log.info("%s", Outcome.from_dict(event["outcome"]).message.partition("\n")[0])
        return self.execute(context)

    # The request

    def _request(self, hook: VertexPipelineHook, context: Context) -> tuple[dict[str, Any], str]:
        """Return the job to ask for, and where."""
        from airflow_vertex_provider.compiler.limits import limit_warnings

        template = self._template(hook)
        own = PipelineSettings.from_dict(self._said()).to_dict()
        named = {"pipeline_root": template.root} if template.root else {}
        pipeline = merge_pipeline_settings([own, named, hook.defaults.pipeline])
        pipeline = replace(pipeline, project_id=hook.project)
        pipeline.require_complete()
        if self.enable_caching is not None:
            set_caching(template.spec, checks.flag("enable_caching", self.enable_caching))
        values = parameter_values(
            template.spec, _mapping("parameter_values", self.parameter_values), template.values
        )
        artifacts = input_artifacts(template.spec, _mapping("input_artifacts", self.input_artifacts))
        job, warnings = request_of(
            template.spec,
            values,
            pipeline,
            display_name=f"{self.dag_id}.{self.task_id}",
            labels=self._labels(context),
        )
        if artifacts:
            job["runtime_config"].setdefault("input_artifacts", {}).update(artifacts)
        if template.uri is not None:
            # With a digest in it the service has nothing to resolve; it shows where the pipeline is from.
            job["template_uri"] = template.uri
        for warning in (*warnings, *limit_warnings(template.spec, values)):
            self.log.warning("%s", warning)
        return job, str(pipeline.location)

    def _template(self, hook: VertexPipelineHook) -> Template:
        folder = Path(self.dag.fileloc).parent if self.has_dag() else Path.cwd()  # type: ignore[no-untyped-call]
        found = load_template(self.spec if self.spec is not None else self.template, hook, folder)
        self.log.info("Pipeline %s from %s", found.spec["pipelineInfo"]["name"], found.source)
        if found.left_out:
            self.log.warning(
                "Settings of the template for other platforms have no place in Vertex AI: %s",
                ", ".join(found.left_out),
            )
        return found

    def _labels(self, context: Context) -> dict[str, str]:
        """Return the labels that tell whose job it is; two runs never have the same."""
        index = _map_index(context)
        task = self.task_id if index < 0 else f"{self.task_id}__{index}"
        return {
            "airflow_dag_id": naming.label_value(self.dag_id),
            TASK_LABEL: naming.label_value(task),
            "airflow_run_id": naming.label_value(context["ti"].run_id),
        }

    # The attempt

    def _attempt(
        self, hook: VertexPipelineHook, job: dict[str, Any], location: str, context: Context
    ) -> Submitted | Ending:
        ti = context["ti"]

        def creating(name: str) -> None:
            self._creating = name

        return submit_attempt(
            hook,
            location=location,
            job=job,
            job_id=self._job_ids(context),
            max_tries=ti.max_tries,
            run_started=context["dag_run"].start_date,
            on_create=creating,
            try_number=ti.try_number,
            owner=self._labels(context) if self.job_id is not None else None,
        )

    def _job_ids(self, context: Context) -> Callable[[int], str]:
        """Return what makes the id of an attempt, counted from 1."""
        if self.job_id is None:
            run_id, index = context["ti"].run_id, _map_index(context)
            return lambda attempt: naming.job_id(self.dag_id, self.task_id, run_id, attempt, index)
        try:
            chosen = str(_job_id("job_id", self.job_id))
        except VertexSettingsError as error:
            raise error.at(self.task_id) from None

        def of(attempt: int) -> str:
            ending = "" if attempt == 1 else f"-{attempt}"
            return chosen[: naming.MAX_JOB_ID - len(ending)] + ending

        return of

    # The wait

    def make_trigger(self, deadline: float | None = None) -> VertexPipelineJobTrigger:
        """See :meth:`VertexWaitingOperator.make_trigger`."""
        return VertexPipelineJobTrigger(
            **self.trigger_kwargs(), cancel_on_kill=self.cancel_on_kill, deadline=deadline
        )

    def outcome_of(self, job: JobSnapshot) -> Outcome | None:
        """See :meth:`VertexWaitingOperator.outcome_of`."""
        return job_outcome(job)

    def xcoms_of(self, outcome: Outcome, job: JobSnapshot | None) -> Mapping[str, Any]:
        """See :meth:`VertexWaitingOperator.xcoms_of`; the end of the job that was waited for here counts."""
        if self.wait_for_completion and job is not None and job.done:
            metrics.job_ended(job)
        return job_xcoms(self.job_name, self.vertex_url, outcome, job, {})

    def finish(self, context: Context, outcome: Outcome, xcoms: Mapping[str, Any]) -> Any:
        """End the task as the job ended.

        :raises VertexRunFailedError: the job ended in anything but success.
        """
        for key in (VERTEX_STATE, RETURN_VALUE):
            context["ti"].xcom_push(key=key, value=xcoms[key])
        if not outcome.succeeded:
            raise VertexRunFailedError(outcome.message)
        self.log.info("%s", outcome.message)
        return xcoms[RETURN_VALUE]

    # The end before its time

    def job_followed(self, context: Context) -> object:
        """See :meth:`VertexJobWaitingOperator.job_followed`; the job's name is no field of this task."""
        ti = context["ti"]
        return ti.xcom_pull(task_ids=ti.task_id, key=VERTEX_JOB_NAME, map_indexes=ti.map_index)

    @cached_property
    def _killing(self) -> Killing:
        return Killing(self.identity, self.log)

    def on_kill(self) -> None:
        """Cancel the job, also one that is being created just now, if a user ended this task."""
        if self.cancel_on_kill:
            self._killing.begin(self._ti, self._creating)


def _map_index(context: Context) -> int:
    index = context["ti"].map_index
    return -1 if index is None else int(index)


def _mapping(name: str, value: Any) -> Mapping[str, Any]:
    """Return an argument that is a dict once it is rendered."""
    if not isinstance(value, Mapping):
        raise VertexSettingsError(name, value, "a dict")
    return value


def _is_plain(value: Any) -> bool:
    """Tell whether a value is data, with nothing in it that another task gives."""
    if isinstance(value, Mapping):
        return all(map(_is_plain, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float)
