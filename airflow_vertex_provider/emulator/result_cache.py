"""Results of earlier tasks: a task's container and inputs in, the outputs of the same done before out."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from airflow_vertex_provider.emulator.inputs import Inputs
from airflow_vertex_provider.emulator.plan import TaskSpec
from airflow_vertex_provider.emulator.run_context import RunContext

Json = dict[str, Any]


def fingerprint(context: RunContext, task: TaskSpec, inputs: Inputs) -> str:
    """Return the cache key: everything that decides a task's result, for this pipeline's name."""
    job, component = context.job, task.component
    described = component.container or {}
    container = {name: described.get(name) for name in ("image", "command", "args", "env")}
    names = {name: [item["name"] for item in items] for name, items in inputs.artifacts.items()}
    outputs = [component.output_parameters, component.output_artifacts]
    place = [job.project, job.location, context.pipeline]
    text = json.dumps([place, container, inputs.values, names, outputs], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def find(context: RunContext, task: TaskSpec, inputs: Inputs) -> Json | None:
    """Return ``parameters`` and ``artifacts`` of the same task done before; ``None`` if it is to run."""
    if not task.enable_cache:
        return None
    return context.services.store.fact("cache", fingerprint(context, task, inputs))


def remember(
    context: RunContext, task: TaskSpec, inputs: Inputs, parameters: Json, artifacts: dict[str, list[Json]]
) -> None:
    """Keep the outputs of a task that succeeded, if it may be cached."""
    if task.enable_cache:
        found = {"parameters": parameters, "artifacts": artifacts}
        context.services.store.remember("cache", fingerprint(context, task, inputs), found)
