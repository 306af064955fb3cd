"""The submit task of a group: a graph and values in, a created job out; the only task that needs a worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_vertex_provider import metrics
from airflow_vertex_provider.bundle import Bundle, Packed, dag_folder
from airflow_vertex_provider.exceptions import VertexApiError
from airflow_vertex_provider.graph import naming
from airflow_vertex_provider.graph.context import context_value
from airflow_vertex_provider.graph.model import Graph
from airflow_vertex_provider.graph.setups import setups_of
from airflow_vertex_provider.job_names import RETRIES_LABEL
from airflow_vertex_provider.links.pipeline_job import (
    VERTEX_LOGS_URL,
    VERTEX_URL,
    VertexLogsLink,
    VertexPipelineLink,
)
from airflow_vertex_provider.operators.attempts import Ending, Submitted, submit_attempt
from airflow_vertex_provider.operators.ending import await_end
from airflow_vertex_provider.operators.job_request import job_request
from airflow_vertex_provider.operators.killing import Killing
from airflow_vertex_provider.operators.parameters import check_environment, write_parameter
from airflow_vertex_provider.outputs import Outcome
from airflow_vertex_provider.settings import PipelineSettings, task_level
from airflow_vertex_provider.triggers.identity import Identity
from airflow_vertex_provider.triggers.submitted import ENDED, GOING_ON, task_state, task_states

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

    from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
    from airflow_vertex_provider.snapshot import JobSnapshot

#: Under what Airflow's task state store (3.3 and newer) keeps the job of an attempt.
STORED_JOB = "vertex_job"
#: XCom key of the map from Airflow task id to Vertex task name.
VERTEX_TASK_NAMES = "vertex_task_names"


def task_store(context: Context) -> Any:
    """Return the store in which Airflow 3.3 keeps what a task wants to know in its next try, or ``None``."""
    found: Any = dict(context).get("task_state_store")
    return found


class SubmitVertexPipelineOperator(BaseOperator):
    """Creates one pipeline job and leaves. Runs on a worker.

    XComs: ``return_value`` (resource name of the job), ``vertex_url``, ``vertex_logs_url`` and
    ``vertex_task_names`` (Airflow task id to Vertex task name). They are there before anything waits.

    The job's id is made of DAG, run, group and attempt. A second call of the same attempt, after a lost
    answer or on another worker, finds the job there and attaches to it; clearing the task begins a new
    attempt. :mod:`airflow_vertex_provider.operators.attempts` has the rules.

    :param graph: the pipeline in the neutral form, as :meth:`Graph.to_dict` gives it. Never rendered: it
        holds the author's source code.
    :param parameters: run parameter name to value: XComArgs, templates, plain values. Rendered.
    :param context_parameters: run parameter name to the key of Airflow's context that gives its value.
    :param pipeline: settings of the job, see :class:`PipelineSettings`. Rendered.
    :param task_settings: Airflow task id to the task's own settings, where it has some. Rendered.
    :param group_settings: task settings of the group. Rendered.
    :param gcp_conn_id: Airflow connection of Google's own type.
    :param impersonation_chain: as in Google's provider.
    :param cancel_on_kill: cancel the job if a user ends this task, also while it is being created.
    :param deferrable: wait in the triggerer for the end of an earlier attempt that is being cancelled.
    :param job_retries: how often the wait task tries the group again if its job fails.
    :param wait_task_id: full id of the wait task; empty if there is none.
    """

    template_fields: Sequence[str] = (
        "parameters",
        "pipeline",
        "task_settings",
        "group_settings",
        "gcp_conn_id",
        "impersonation_chain",
    )
    template_fields_renderers = {  # noqa: RUF012 - Airflow's own name and shape
        "parameters": "json",
        "pipeline": "json",
        "task_settings": "json",
        "group_settings": "json",
    }
    operator_extra_links = (VertexPipelineLink(), VertexLogsLink())
    ui_color = "#d2e3fc"

    def __init__(
        self,
        *,
        graph: Mapping[str, Any],
        pipeline: Mapping[str, Any],
        parameters: Mapping[str, Any] | None = None,
        context_parameters: Mapping[str, str] | None = None,
        task_settings: Mapping[str, Mapping[str, Any]] | None = None,
        group_settings: Mapping[str, Any] | None = None,
        gcp_conn_id: str = "google_cloud_default",
        impersonation_chain: str | Sequence[str] | None = None,
        cancel_on_kill: bool = True,
        deferrable: bool = True,
        job_retries: int = 0,
        wait_task_id: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.graph = graph
        self.pipeline = pipeline
        self.parameters = parameters or {}
        self.context_parameters = context_parameters or {}
        self.task_settings = task_settings or {}
        self.group_settings = group_settings or {}
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self.cancel_on_kill = cancel_on_kill
        self.deferrable = deferrable
        self.job_retries = job_retries
        self.wait_task_id = wait_task_id
        self._job_name: str | None = None
        self._ti: Any = None

    def execute(self, context: Context) -> str:
        """Render, compile, create or attach, push.

        :return: resource name of the job.
        :raises VertexConfigurationError: a rendered setting is not allowed.
        :raises VertexValueError: a value cannot travel.
        :raises VertexApiError: the service refused the job.
        """
        hook = self._identity().hook()
        self._ti = context["ti"]
        graph = Graph.from_dict(self.graph)
        name = self._known_job(hook, context)
        if name is not None:
            return self._submitted(graph, hook, context, name, created=False)
        job, location = self._request(graph, hook, context)
        submitted = self._attempt(graph, hook, job, location, context)
        if isinstance(submitted, Ending):
            self._job_name = None
            await_end(self, submitted, context, self._identity(), deferrable=self.deferrable)
            return self.execute(context)
        self._remember(context, submitted.name)
        return self._submitted(graph, hook, context, submitted.name, created=submitted.created)

    def again(self, context: Context, event: Mapping[str, Any]) -> str:
        """Go on after an earlier attempt has ended. On a worker.

        :param event: what the trigger saw; whether it was an end, the service is asked again.
        """
        self.log.info("%s", Outcome.from_dict(event["outcome"]).message.partition("\n")[0])
        return self.execute(context)

    @cached_property
    def _killing(self) -> Killing:
        return Killing(self._identity, self.log)

    def _identity(self) -> Identity:
        return Identity.of(self.gcp_conn_id, self.impersonation_chain, self.pipeline.get("project_id"))

    def _request(
        self, graph: Graph, hook: VertexPipelineHook, context: Context
    ) -> tuple[dict[str, Any], str]:
        """Return the job that a first attempt asks for, and where."""
        from airflow_vertex_provider.compiler.code import pack_bundles, placed_bundles
        from airflow_vertex_provider.compiler.job_settings import job_settings
        from airflow_vertex_provider.compiler.limits import limit_warnings
        from airflow_vertex_provider.compiler.pipeline_spec import compile_with_limit, spec_size

        merged = job_settings(
            graph,
            pipeline=self.pipeline,
            group_settings=self.group_settings,
            task_settings=self.task_settings,
            connection=hook.defaults,
            project_id=hook.project,
        )
        settings, pipeline = merged.tasks, merged.pipeline
        if merged.inherited:
            self.log.info("From connection %r: %s", self.gcp_conn_id, ", ".join(merged.inherited))
        packed = pack_bundles(
            graph, settings, lambda: dag_folder(self.dag.fileloc, self.dag.relative_fileloc)
        )
        bundles = placed_bundles(graph, packed, pipeline)
        spec, limit = compile_with_limit(graph, settings, pipeline, bundles)
        self.log.info("%s", spec_size(spec))
        for bundle, task_id in {bundle: task_id for task_id, bundle in bundles.items()}.items():
            self._upload(bundle, packed[task_id], hook)
        values = self._parameter_values(graph, limit, pipeline, hook, context)
        job, overridden = job_request(graph, spec, values, pipeline, run_id=context["ti"].run_id)
        if self.job_retries:
            job["labels"] = {**job["labels"], RETRIES_LABEL: str(self.job_retries)}
        for warning in (*merged.warnings(), *overridden, *limit_warnings(spec, values)):
            self.log.warning("%s", warning)
        return job, str(pipeline.location)

    def _attempt(
        self, graph: Graph, hook: VertexPipelineHook, job: dict[str, Any], location: str, context: Context
    ) -> Submitted | Ending:
        ti = context["ti"]
        map_index = -1 if ti.map_index is None else ti.map_index

        def creating(name: str) -> None:
            self._job_name = name

        return submit_attempt(
            hook,
            location=location,
            job=job,
            job_id=lambda attempt: naming.job_id(graph.dag_id, graph.group_id, ti.run_id, attempt, map_index),
            max_tries=ti.max_tries,
            # A clear lets the run begin anew; the store tells a deleted run of the same id apart.
            run_started=(
                None
                if ti.try_number > 1 and task_store(context) is not None
                else context["dag_run"].start_date
            ),
            ends_earlier=lambda: self._cleared_with_wait(ti),
            # A first try has no attempt before it but those of a deleted run of the same id. (When the run
            # began does not tell: a clear lets it begin anew.)
            after=(lambda earlier: self._rerun(graph, hook, job, earlier, ti)) if ti.try_number > 1 else None,
            on_create=creating,
        )

    def _rerun(
        self, graph: Graph, hook: VertexPipelineHook, job: dict[str, Any], earlier: JobSnapshot, ti: Any
    ) -> dict[str, Any]:
        """Return the job that runs again what failed in an earlier attempt, and what follows that."""
        from airflow_vertex_provider.hooks.next_attempt import told
        from airflow_vertex_provider.reruns.decision import rerun

        asked = hook.read_request(earlier.name)
        config = job["runtime_config"]
        found = rerun(
            job["pipeline_spec"],
            config["parameter_values"],
            asked["pipeline_spec"],
            asked["runtime_config"]["parameter_values"],
            earlier,
            needs=setups_of(graph),
            again=self._cleared(graph, ti),
        )
        self.log.info("The earlier attempt %s ended %s", earlier.name, earlier.state_text)
        names = graph.vertex_names()
        for line in told(found, {name: task_id for task_id, name in names.items()}):
            self.log.info("%s", line)
        values = found.parameter_values
        return {**job, "pipeline_spec": found.spec, "runtime_config": {**config, "parameter_values": values}}

    def _cleared_with_wait(self, ti: Any) -> bool:
        """Tell whether the task that followed the earlier attempt was cleared with this one.

        Then the earlier job is about to be cancelled, by the trigger of that task or from here.
        """
        if not self.cancel_on_kill or not self.wait_task_id:
            return False
        try:
            state = task_state(ti.dag_id, ti.run_id, self.wait_task_id)
        except Exception as error:  # noqa: BLE001 - whatever keeps Airflow from answering
            self.log.warning("The state of %s is not known: %s", self.wait_task_id, error)
            return False
        return state not in GOING_ON

    def _cleared(self, graph: Graph, ti: Any) -> set[str]:
        """Return the Vertex names of tasks that somebody cleared one by one: they run again, come what may.

        Where the whole group was cleared, nobody chose.
        """
        names = graph.vertex_names()
        try:
            states = task_states(ti.dag_id, ti.run_id, list(names))
        except Exception as error:  # noqa: BLE001 - whatever keeps Airflow from answering
            self.log.warning("It is not known which members were cleared: %s", error)
            return set()
        kept = {key for key, state in states.items() if state in ENDED}
        if not kept:
            return set()
        return {
            name
            for task_id, name in names.items()
            if not any(key == task_id or (key not in names and key.startswith(f"{task_id}_")) for key in kept)
        }

    def _known_job(self, hook: VertexPipelineHook, context: Context) -> str | None:
        """Return the job that an earlier try of this attempt made, if Airflow keeps that."""
        store = task_store(context)
        known = None if store is None else store.get(STORED_JOB)
        if not isinstance(known, dict) or known.get("max_tries") != context["ti"].max_tries:
            return None
        try:
            return hook.look(str(known["job_name"]), once=False).name
        except VertexApiError as error:
            if error.code != 404:
                raise
            self.log.warning("Pipeline job %s is not there any more", known["job_name"])
            return None

    def _remember(self, context: Context, name: str) -> None:
        """Keep the attempt's job with Airflow, for a try after this one."""
        store = task_store(context)
        if store is not None:
            store.set(STORED_JOB, {"job_name": name, "max_tries": context["ti"].max_tries})

    def _submitted(
        self, graph: Graph, hook: VertexPipelineHook, context: Context, name: str, *, created: bool
    ) -> str:
        """Tell of the job and where it is to be seen, and return its name."""
        ti = context["ti"]
        self._job_name = name
        self._killing.stop_if_ended(ti, name, cancel=self.cancel_on_kill)
        metrics.count("submitted" if created else "attached")
        url, logs_url = hook.job_urls(name)
        self.log.info("%s pipeline job %s", "Created" if created else "Attached to", name)
        self.log.info("Vertex AI: %s", url)
        ti.xcom_push(key=VERTEX_URL, value=url)
        ti.xcom_push(key=VERTEX_LOGS_URL, value=logs_url)
        ti.xcom_push(key=VERTEX_TASK_NAMES, value=graph.vertex_names())
        return name

    def on_kill(self) -> None:
        """Cancel the job, also one that is being created just now, if a user ended this task."""
        if self.cancel_on_kill:
            self._killing.begin(self._ti, self._job_name)

    def _upload(self, bundle: Bundle, packed: Packed, hook: VertexPipelineHook) -> None:
        """Put a bundle where its tasks look for it, once for all runs of the same code."""
        for path in packed.secrets:
            self.log.info("Left out of the bundle, as its name says that it holds secrets: %s", path)
        sent = hook.keep_gcs(bundle.uri, packed.data)
        self.log.info(
            "%s %s: %d files, %d bytes",
            "Uploaded" if sent else "Code is there already in",
            bundle.uri,
            len(packed.names),
            bundle.size,
        )

    def _parameter_values(
        self,
        graph: Graph,
        limit: int,
        pipeline: PipelineSettings,
        hook: VertexPipelineHook,
        context: Context,
    ) -> dict[str, Any]:
        value_limit = task_level(self.group_settings).get("value_limit")
        values: dict[str, Any] = {}
        for parameter in graph.parameters:
            if parameter.name in self.context_parameters:
                value = context_value(self.context_parameters[parameter.name], context)
            else:
                value = self.parameters[parameter.name]
            values[parameter.name] = write_parameter(
                parameter, value, limit, pipeline, hook, value_limit=value_limit
            )
        for task in graph.tasks:
            check_environment(task, values)
        return values
