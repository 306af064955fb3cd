"""One importer: the URI and metadata of its spec in, an artifact for later tasks out; no container runs."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from airflow_vertex_provider.emulator.executor_input import VERTEX_MOUNT
from airflow_vertex_provider.emulator.parameters import whole
from airflow_vertex_provider.emulator.placeholders import Placeholders, UnknownPlaceholderError
from airflow_vertex_provider.emulator.plan import TaskSpec, constant
from airflow_vertex_provider.emulator.run_context import Outcome, RunContext, TaskError
from airflow_vertex_provider.emulator.store import Task
from airflow_vertex_provider.states import TaskState

Json = dict[str, Any]


def import_artifact(context: RunContext, task: TaskSpec, record: Task, parameters: Json) -> Outcome:
    """Run an importer: what was imported before is found again, unless it says ``reimport``.

    :param parameters: its input parameters. :raises TaskError: its metadata cannot be read.
    """
    importer = task.component.importer or {}
    key, declared = next(iter(task.component.output_artifacts.items()))
    source = importer["artifactUri"]
    uri = (
        parameters.get(source["runtimeParameter"])
        if "runtimeParameter" in source
        else constant({"runtimeValue": source})
    )
    if not uri or not isinstance(uri, str):
        raise TaskError(3, f"Task {task.name!r}: the URI to import is empty.")
    schema = {**declared.get("artifactType", {}), **importer.get("typeSchema", {})}
    metadata = _resolved(context, task, record, parameters, importer.get("metadata", {}))
    context.records.begin_execution(record, "system.ImporterExecution", parameters)
    context.records.set_state(record, TaskState.RUNNING)
    job = context.job
    text = json.dumps([job.project, job.location, uri, schema, metadata], sort_keys=True)
    fact = hashlib.sha256(text.encode()).hexdigest()
    store = context.services.store
    found = None if importer.get("reimport") else store.fact("imported", fact)
    artifact = found or _artifact(context, key, uri, schema, metadata)
    store.remember("imported", fact, artifact)
    artifacts = {key: [artifact]}
    context.records.set_outputs(record, {}, artifacts)
    context.records.set_state(record, TaskState.SUCCEEDED)
    return Outcome(TaskState.SUCCEEDED, {}, artifacts)


def _resolved(context: RunContext, task: TaskSpec, record: Task, parameters: Json, metadata: Any) -> Any:
    executor_input = {"inputs": {"parameterValues": parameters}, "outputs": {"outputFile": ""}}
    placeholders = Placeholders(
        executor_input, context.variables(record), context.unset(task.component), VERTEX_MOUNT
    )

    def read(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: read(item) for name, item in value.items()}
        if isinstance(value, list):
            return [read(item) for item in value]
        return placeholders.text(value) if isinstance(value, str) else value

    try:
        return whole(read(metadata))
    except UnknownPlaceholderError as error:
        raise TaskError(3, f"Task {task.name!r}: the metadata of its artifact: {error}.") from error


def _artifact(context: RunContext, key: str, uri: str, schema: Json, metadata: Any) -> Json:
    now = context.services.clock.stamp()
    return {
        "name": context.place.metadata("artifacts", context.services.ids.metadata()),
        "displayName": key,
        "uri": uri,
        "etag": now,
        "createTime": now,
        "updateTime": now,
        "state": "LIVE",
        "schemaTitle": schema.get("schemaTitle", "system.Artifact"),
        "schemaVersion": schema.get("schemaVersion", "0.0.1"),
        "metadata": metadata,
    }
