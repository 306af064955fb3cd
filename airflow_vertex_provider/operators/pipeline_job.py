"""A pipeline job in Airflow: a graph and values in, a submitted and awaited job out.

:class:`SubmitVertexPipelineOperator` renders, compiles and creates the job; it is the only task of a group
that needs a worker. :class:`WaitVertexPipelineOperator` follows it. A ``VertexTaskGroup`` makes both.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_vertex_provider import metrics
from airflow_vertex_provider.bundle import Bundle, Packed, dag_folder
from airflow_vertex_provider.exceptions import VertexApiError, VertexJobFailedError, VertexSubmissionError
from airflow_vertex_provider.graph import naming
from airflow_vertex_provider.graph.context import context_value
from airflow_vertex_provider.graph.model import Graph
from airflow_vertex_provider.graph.setups import setups_of
from airflow_vertex_provider.job_names import RETRIES_LABEL, JobName
from airflow_vertex_provider.links.pipeline_job import (
    VERTEX_LOGS_URL,
    VERTEX_URL,
    VertexLogsLink,
    VertexPipelineLink,
)
from airflow_vertex_provider.operators.attempts import Ending, Submitted, submit_attempt
from airflow_vertex_provider.operators.job_request import job_request
from airflow_vertex_provider.operators.killing import Killing
from airflow_vertex_provider.operators.parameters import check_environment, write_parameter
from airflow_vertex_provider.operators.waiting import (
    AirflowSkipException,
    VertexWaitingOperator,
    needs_worker,
    triggers_can_end_tasks,
    xcom_template,
)
from airflow_vertex_provider.outputs import RETURN_VALUE, Outcome, job_outcome, job_xcoms
from airflow_vertex_provider.settings import PipelineSettings, task_level
from airflow_vertex_provider.triggers.identity import Identity
from airflow_vertex_provider.triggers.pipeline_job import REPORTED, VertexPipelineJobTrigger
from airflow_vertex_provider.triggers.submitted import ENDED, is_job_name
from airflow_vertex_provider.triggers.waiting import TIME_LIMIT_GRACE

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

    from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
    from airflow_vertex_provider.snapshot import JobSnapshot

#: Operators that can be imported from here too; they stand in modules of their own, which import this one's
#: neighbours.
_ELSEWHERE = {
    "RunVertexPipelineOperator": "run_pipeline",
    "GetVertexPipelineJobOperator": "job_life",
    "ListVertexPipelineJobsOperator": "job_life",
    "CancelVertexPipelineJobOperator": "job_life",
    "DeleteVertexPipelineJobOperator": "job_life",
}


def __getattr__(name: str) -> Any:
    if name not in _ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"airflow_vertex_provider.operators.{_ELSEWHERE[name]}")
    return getattr(module, name)


#: Under what Airflow's task state store (3.3 and newer) keeps the job of an attempt.
STORED_JOB = "vertex_job"
#: XCom key of which earlier job a submit task waits for, and since when.
WAITING_SINCE = "vertex_waiting_since"
#: Seconds to wait for an earlier attempt that is being cancelled, and between two looks at it.
ENDING_DEADLINE = 900.0
ENDING_INTERVAL = 5.0

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
        name = self._known_job(hook, context)
        if name is not None:
            return self._submitted(hook, context, name, created=False)
        graph = Graph.from_dict(self.graph)
        job, location = self._request(graph, hook, context)
        submitted = self._attempt(graph, hook, job, location, context)
        if isinstance(submitted, Ending):
            self._await_end(submitted, context)
            return self.execute(context)
        self._remember(context, submitted.name)
        return self._submitted(hook, context, submitted.name, created=submitted.created)

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
            run_started=context["dag_run"].start_date,
            after=lambda earlier: self._rerun(graph, hook, job, earlier, ti),
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

    def _cleared(self, graph: Graph, ti: Any) -> set[str]:
        """Return the Vertex names of tasks that somebody cleared one by one: they run again, come what may.

        Where the whole group was cleared, nobody chose.
        """
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        names = graph.vertex_names()
        try:
            found = RuntimeTaskInstance.get_task_states(
                dag_id=ti.dag_id, task_ids=list(names), run_ids=[ti.run_id]
            ).get(ti.run_id, {})
        except Exception as error:  # noqa: BLE001 - whatever keeps Airflow from answering
            self.log.warning("It is not known which members were cleared: %s", error)
            return set()
        kept = {key for key, state in found.items() if str(getattr(state, "value", state)) in ENDED}
        if not kept:
            return set()
        return {
            name
            for task_id, name in names.items()
            if not any(key == task_id or (key not in names and key.startswith(f"{task_id}_")) for key in kept)
        }

    def _await_end(self, ending: Ending, context: Context) -> None:
        """Wait until an earlier attempt that is being cancelled has ended; in the triggerer, if that may be.

        :raises VertexSubmissionError: it does not end.
        """
        self._job_name = None
        self.log.info("Waiting for the earlier attempt %s to end: %s", ending.name, ending.state)
        since = self._waiting_since(context, ending.name)
        left = since + ENDING_DEADLINE - time.time()
        if left <= 0:
            raise VertexSubmissionError(
                f"{ending.name}: found an earlier attempt still {ending.state} after "
                f"{ENDING_DEADLINE:.0f} seconds; allowed: its end. Clear this task once it has ended"
            )
        if self.deferrable:
            self.defer(
                trigger=VertexPipelineJobTrigger(
                    job_name=ending.name,
                    gcp_conn_id=self.gcp_conn_id,
                    impersonation_chain=self.impersonation_chain,
                    project_id=self.pipeline.get("project_id"),
                    poll_interval=ENDING_INTERVAL,
                    cancel_on_kill=False,
                    deadline=time.time() + left,
                ),
                method_name="again",
                timeout=timedelta(seconds=left + TIME_LIMIT_GRACE),
            )
        time.sleep(min(ENDING_INTERVAL, left))

    def _waiting_since(self, context: Context, name: str) -> float:
        """Return since when this task has been waiting for a job to end, in seconds since 1970."""
        ti = context["ti"]
        waits = ti.xcom_pull(task_ids=ti.task_id, key=WAITING_SINCE, map_indexes=ti.map_index)
        if isinstance(waits, dict) and waits.get("job_name") == name:
            return float(waits["since"])
        now = time.time()
        ti.xcom_push(key=WAITING_SINCE, value={"job_name": name, "since": now})
        return now

    def _known_job(self, hook: VertexPipelineHook, context: Context) -> str | None:
        """Return the job that an earlier try of this attempt made, if Airflow keeps that."""
        store = task_store(context)
        known = None if store is None else store.get(STORED_JOB)
        if not isinstance(known, dict) or known.get("max_tries") != context["ti"].max_tries:
            return None
        try:
            return hook.get_job(str(known["job_name"])).name
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

    def _submitted(self, hook: VertexPipelineHook, context: Context, name: str, *, created: bool) -> str:
        """Tell of the job and where it is to be seen, and return its name."""
        ti = context["ti"]
        self._job_name = name
        if self._killing.user.is_set():
            # The end came while the job was being created; the cancel that was begun then reaches it.
            raise VertexSubmissionError(f"{name}: this task was ended while the job was being created")
        metrics.count("submitted" if created else "attached")
        url, logs_url = hook.job_urls(name)
        self.log.info("%s pipeline job %s", "Created" if created else "Attached to", name)
        self.log.info("Vertex AI: %s", url)
        ti.xcom_push(key=VERTEX_URL, value=url)
        ti.xcom_push(key=VERTEX_LOGS_URL, value=logs_url)
        ti.xcom_push(key=VERTEX_TASK_NAMES, value=Graph.from_dict(self.graph).vertex_names())
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


class WaitVertexPipelineOperator(VertexWaitingOperator):
    """Waits for a pipeline job that another task submitted.

    XComs: ``vertex_url``, ``vertex_logs_url``, ``vertex_state`` and ``return_value``, a dict of
    ``job_name``, ``state``, ``url`` and ``outputs`` (task id to value, of the last tasks of the pipeline).
    A failed job fails this task with every failed task, its error and the links to its logs and custom job.

    :param submit_task_id: full id of the task whose XComs name the job.
    :param airflow_ids: Vertex task name to Airflow task id.
    :param output_tasks: Airflow task id to Vertex task name, of the tasks nothing in the group follows.
    :param output_types: Airflow task id to the types of its outputs, for each component of KFP.
    :param rules: what tells whether the failures of a failed job were taken care of, see
        :func:`~airflow_vertex_provider.verdict.leaf_rules`; then this task succeeds.
    :param cancel_on_kill: cancel the job when a user ends this task.
    :param deferrable: wait in the triggerer (default) or on a worker.
    :param poll_interval: seconds between two looks at the job.
    :param time_limit: seconds that the job may take, from when this task starts to wait.
    :param retry_delay_of_group: seconds before a group with retries left is tried again.
    :param needs: Vertex task name to those of its setup tasks, for what is run again.
    """

    ui_color = "#d2e3fc"

    def __init__(
        self,
        *,
        submit_task_id: str,
        airflow_ids: Mapping[str, str] | None = None,
        output_tasks: Mapping[str, str] | None = None,
        output_types: Mapping[str, Mapping[str, str]] | None = None,
        rules: Mapping[str, Any] | None = None,
        gcp_conn_id: str = "google_cloud_default",
        impersonation_chain: str | Sequence[str] | None = None,
        project_id: str | None = None,
        poll_interval: float = 30.0,
        deferrable: bool = True,
        cancel_on_kill: bool = True,
        time_limit: float | None = None,
        retry_delay_of_group: float = 0.0,
        needs: Mapping[str, Sequence[str]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_name = xcom_template(submit_task_id, RETURN_VALUE)
        self.vertex_url = xcom_template(submit_task_id, VERTEX_URL)
        self.vertex_logs_url = xcom_template(submit_task_id, VERTEX_LOGS_URL)
        self.airflow_ids = dict(airflow_ids or {})
        self.output_tasks = dict(output_tasks or {})
        self.output_types = dict(output_types or {})
        self.rules = dict(rules or {})
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self.project_id = project_id
        self.poll_interval = poll_interval
        self.deferrable = deferrable
        self.cancel_on_kill = cancel_on_kill
        self.time_limit = time_limit
        self.retry_delay_of_group = retry_delay_of_group
        self.needs = dict(needs or {})
        self.reported = ""
        self._ti: Any = None
        if deferrable and triggers_can_end_tasks() and not needs_worker(self):
            self.start_in_trigger(VertexPipelineJobTrigger)

    def judge_by(self, output_tasks: Mapping[str, str], rules: Mapping[str, Any]) -> None:
        """Take the last tasks of the group anew: edges were drawn after it closed. Runs at parse."""
        self.output_tasks, self.rules = dict(output_tasks), dict(rules)
        if self.start_from_trigger:
            self.start_in_trigger(VertexPipelineJobTrigger)

    def make_trigger(self, deadline: float | None = None) -> VertexPipelineJobTrigger:
        """See :meth:`VertexWaitingOperator.make_trigger`."""
        return VertexPipelineJobTrigger(**self.trigger_kwargs(), deadline=deadline)

    def trigger_kwargs(self) -> dict[str, Any]:
        """See :meth:`VertexWaitingOperator.trigger_kwargs`."""
        return {
            **super().trigger_kwargs(),
            "airflow_ids": self.airflow_ids,
            "output_tasks": self.output_tasks,
            "output_types": self.output_types,
            "rules": self.rules,
            "cancel_on_kill": self.cancel_on_kill,
            "retry_delay": self.retry_delay_of_group,
            "needs": self.needs,
            "reported": self.reported,
            "reruns": True,
        }

    def outcome_of(self, job: JobSnapshot) -> Outcome | None:
        """See :meth:`VertexWaitingOperator.outcome_of`."""
        return job_outcome(job, self.airflow_ids, self.rules)

    def xcoms_of(self, outcome: Outcome, job: JobSnapshot | None) -> Mapping[str, Any]:
        """See :meth:`VertexWaitingOperator.xcoms_of`; the end of the job that was waited for here counts."""
        if job is not None and job.done:
            metrics.job_ended(job)
        return job_xcoms(self.job_name, self.vertex_url, outcome, job, self.output_tasks, self.output_types)

    def finish(self, context: Context, outcome: Outcome, xcoms: Mapping[str, Any]) -> Any:
        """End the task as the job ended.

        :raises VertexJobFailedError: the job ended in anything but success, and nothing took care of that.
        :raises AirflowSkipException: the last tasks of the group were skipped.
        """
        for key, value in xcoms.items():
            context["ti"].xcom_push(key=key, value=value)
        if outcome.skipped:
            raise AirflowSkipException(outcome.message)
        if not outcome.succeeded:
            store = task_store(context)
            if store is not None:
                mark = {"job_name": self.job_name, "max_tries": context["ti"].max_tries}
                store.set(REPORTED, mark)
            raise VertexJobFailedError(outcome.message)
        self.log.info("%s", outcome.message)
        return xcoms[RETURN_VALUE]

    def execute(self, context: Context) -> Any:
        """See :meth:`VertexWaitingOperator.execute`."""
        self._ti = context["ti"]
        store = task_store(context)
        mark = None if store is None else store.get(REPORTED)
        if isinstance(mark, dict) and mark.get("max_tries") != context["ti"].max_tries:
            # Not a retry of the same attempt: somebody has cleared the task since.
            self.reported = str(mark.get("job_name"))
        return super().execute(context)

    def next_job(
        self, context: Context, hook: VertexPipelineHook, job: JobSnapshot, outcome: Outcome
    ) -> str | None:
        """Make the next attempt as the trigger does. On a worker."""
        from airflow_vertex_provider.hooks.next_attempt import next_attempt

        reached = JobName.parse(self.reported).attempt if self.reported else 0
        retry = bool(job.retries_left)
        if not job.attempt or not (retry or reached >= job.attempt):
            return None
        if reached > job.attempt:
            return JobName.parse(job.name).with_attempt(job.attempt + 1)
        if retry:
            metrics.job_ended(job)
            self.log.warning("%s", outcome.message)
            self.log.info(
                "The group has %d retries left; the next one in %.0f s",
                job.retries_left,
                self.retry_delay_of_group,
            )
            time.sleep(self.retry_delay_of_group)
        made = next_attempt(hook, job.name, needs=self.needs, retry=retry)
        for line in made.lines(self.airflow_ids) if made.created else ():
            self.log.info("%s", line)
        metrics.count("submitted" if made.created else "attached")
        return made.name

    def out_of_time(self) -> Outcome:
        """See :meth:`VertexWaitingOperator.out_of_time`; the job is cancelled, unless that is not wanted."""
        message = f"The job {self.job_name} had not ended within its time limit"
        if not self.cancel_on_kill:
            message = f"{message}; it was left running: cancel_on_kill is False"
            return Outcome(succeeded=False, message=message)
        self.identity().hook().cancel_job(self.job_name)
        return Outcome(succeeded=False, message=f"{message} and is being cancelled")

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after the trigger; if Airflow ended that since the time was over, cancel what it followed."""
        late = next_method == "__fail__" and "timeout" in str((next_kwargs or {}).get("error", "")).lower()
        if late and self.cancel_on_kill and is_job_name(self.job_name):
            self.identity().hook().cancel_job(self.job_name)
        return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Cancel the job when a user ends this task while it waits on a worker, or its time is over."""
        if self.cancel_on_kill and is_job_name(self.job_name):
            Killing(self.identity, self.log).begin(self._ti, self.job_name)
