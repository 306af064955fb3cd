"""Pipeline jobs as resources: a create request in, a stored PENDING job out; a stored job in, the
PipelineJob the API shows out.
"""

from __future__ import annotations

import re
from typing import Any

from airflow_vertex_provider.emulator import protos
from airflow_vertex_provider.emulator.clock import parse_time
from airflow_vertex_provider.emulator.custom_jobs import BILLING_LABEL, check_labels
from airflow_vertex_provider.emulator.errors import ApiError, FieldErrors
from airflow_vertex_provider.emulator.names import Place
from airflow_vertex_provider.emulator.parameters import check_type
from airflow_vertex_provider.emulator.plan import Plan
from airflow_vertex_provider.emulator.services import Services
from airflow_vertex_provider.emulator.spec import NAME_MAX, read_spec
from airflow_vertex_provider.emulator.store import Resource
from airflow_vertex_provider.states import PipelineState

Json = dict[str, Any]

_JOB_ID = re.compile(r"[a-z][-a-z0-9]{0,126}")
_ROOT = re.compile(r"gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/[^\x00-\x1f\x7f]*)?")
#: Most bytes of an object's name in Cloud Storage.
_OBJECT_NAME_MAX = 1024
_OUTPUT_ONLY = (
    "name", "createTime", "startTime", "endTime", "updateTime", "state", "jobDetail", "error",
    "templateMetadata", "scheduleName",
)  # fmt: skip


def create(services: Services, place: Place, body: Json, job_id: str) -> Resource:
    """Check a PipelineJob and store it as PENDING (rules 1, 12, 13).

    :param job_id: the user's id for the job; empty lets the service choose one.
    :raises ApiError: INVALID_ARGUMENT or ALREADY_EXISTS.
    """
    body = protos.normalise("PipelineJob", body)
    for name in _OUTPUT_ONLY:
        body.pop(name, None)
    numeric = services.ids.numeric()
    plan = _check(services, body, job_id)
    account = body.get("serviceAccount", "")
    if services.faults.denied("act_as", account):
        raise ApiError(
            "INVALID_ARGUMENT",
            "You do not have permission to act as service_account: "
            f"{account or place.default_service_account}. (or it may not exist).",
        )
    job_id = job_id or services.store.unused_id(
        "pipelineJobs",
        place.number,
        place.location,
        lambda: f"{plan.name[:90]}-{services.clock.now():%Y%m%d%H%M%S}-{services.ids.numeric()[:6]}",
    )
    now = services.clock.stamp()
    body = {
        "name": f"{place.parent}/pipelineJobs/{job_id}",
        **body,
        "createTime": now,
        "updateTime": now,
        "state": PipelineState.PENDING.value,
        "labels": {**body.get("labels", {}), BILLING_LABEL: numeric},
        "serviceAccount": account or place.default_service_account,
    }
    notes: Json = {"project_id": place.project, "numeric_id": numeric}
    purge(services)
    job = services.store.insert("pipelineJobs", place.number, place.location, job_id, body, notes)
    if job is None:
        raise ApiError("ALREADY_EXISTS", "Pipeline job with the specified ID already exists.")
    return job


def _check(services: Services, body: Json, job_id: str) -> Plan:
    errors = FieldErrors()
    if job_id and not _JOB_ID.fullmatch(job_id):
        errors.add(
            "pipeline_job_id",
            services.switches.text(
                "INVALID_ARGUMENT",
                f"{job_id!r} does not match [a-z][-a-z0-9]* with fewer than 128 characters.",
            ),
        )
    if len(body.get("displayName", "")) > 128:
        errors.add("pipeline_job.display_name", "display_name has more than 128 characters.")
    check_labels(body.get("labels", {}), "pipeline_job.labels", errors)
    config = body.get("runtimeConfig", {})
    root = config.get("gcsOutputDirectory", "")
    if not root:
        errors.add("pipeline_job.runtime_config.gcs_output_directory", "gcs_output_directory is empty.")
    elif not _ROOT.fullmatch(root) or not _storable(root):
        errors.add(
            "pipeline_job.runtime_config.gcs_output_directory",
            "Invalid Cloud Storage URI for gcs_output_directory",
        )
    if config.get("parameters"):
        errors.add("pipeline_job.runtime_config.parameters", "this emulator takes parameter_values only.")
    spec = body.get("pipelineSpec")
    if not spec:
        errors.add(
            "pipeline_job.pipeline_spec", "pipeline_spec is empty; this emulator downloads no template_uri."
        )
        errors.check()
    wrong = protos.check_spec(spec or {})
    if wrong:
        errors.add("pipeline_job.pipeline_spec", wrong)
        errors.check()
    plan = read_spec(spec or {}, errors)
    _check_parameters(plan, config.get("parameterValues", {}), errors)
    errors.check()
    return plan


def _storable(root: str) -> bool:
    """Tell whether a pipeline root can be a folder of this machine."""
    parts = [len(part.encode("utf-8", "surrogatepass")) for part in root.split("/")]
    return ".." not in root.split("/") and max(parts) <= NAME_MAX and sum(parts) <= _OBJECT_NAME_MAX


def _check_parameters(plan: Plan, given: Json, errors: FieldErrors) -> None:
    path = "pipeline_job.runtime_config.parameter_values"
    declared = plan.root.parameters
    for name, value in given.items():
        if name not in declared:
            allowed = ", ".join(sorted(declared)) or "none"
            errors.add(f"{path}[{name}]", f"the pipeline has no input parameter {name!r}; it has: {allowed}.")
            continue
        try:
            given[name] = check_type(declared[name].kind, value)
        except ValueError as error:
            errors.add(f"{path}[{name}]", f"{error}.")
    for name, parameter in declared.items():
        if name not in given and not parameter.optional:
            errors.add(f"{path}[{name}]", "the pipeline requires this input parameter.")


def view(services: Services, job: Resource, *, detail: bool) -> Json:
    """Return a stored job as the API shows it.

    :param detail: with ``jobDetail`` (get); a list leaves it out.
    """
    body = dict(job.body)
    touched = services.store.fact("touched", str(job.key))
    if touched:
        body["updateTime"] = max(body["updateTime"], touched["time"])
    if detail and body["state"] != PipelineState.PENDING:
        contents = _contexts(services, job)
        tasks = [task.body for task in services.store.tasks(job.key)]
        if tasks:
            contents["taskDetails"] = tasks
        if contents:
            body["jobDetail"] = contents
    return body


def _contexts(services: Services, job: Resource) -> Json:
    """Return the job's contexts in the metadata store; they come a moment after the job."""
    created = job.body["createTime"]
    age = (services.clock.now() - parse_time(created)).total_seconds()
    if age < services.switches.contexts_after * services.clock.time_scale:
        return {}
    place = Place(job.notes["project_id"], job.location)
    name = job.body["pipelineSpec"]["pipelineInfo"]["name"]
    pipeline = {
        "name": place.metadata("contexts", name),
        "displayName": name,
        "etag": created,
        "createTime": created,
        "updateTime": created,
        "schemaTitle": "system.Pipeline",
        "schemaVersion": "0.0.1",
    }
    run = {
        **pipeline,
        "name": place.metadata("contexts", job.id),
        "displayName": job.id,
        "parentContexts": [pipeline["name"]],
        "schemaTitle": "system.PipelineRun",
    }
    return {"pipelineContext": pipeline, "pipelineRunContext": run}


def purge(services: Services) -> None:
    """Remove the jobs whose deletion was asked for long enough ago (rule 25)."""
    deleted = services.store.facts("deleted")
    if not deleted:
        return
    now = services.clock.now()
    lag = services.switches.deleted_readable_seconds * services.clock.time_scale
    for key, fact in deleted.items():
        if (now - parse_time(fact["time"])).total_seconds() >= lag:
            services.store.delete(int(key))
            services.store.forget("touched", key)
            services.store.forget("deleted", key)
