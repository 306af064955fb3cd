"""Reading a loop: the iterator of a task in the PipelineSpec in, a
:class:`~airflow_vertex_provider.emulator.plan.Loop` out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airflow_vertex_provider.emulator.errors import FieldErrors
from airflow_vertex_provider.emulator.plan import Component, Loop

Json = dict[str, Any]

#: Types of an input parameter that may hold the items of a loop; a text holds them as JSON.
ITEM_SOURCES = ("LIST", "STRING")


def read(task: Mapping[str, Any], component: Component, path: str, errors: FieldErrors) -> Loop | None:
    """Return what a task is repeated over, ``None`` if it is no loop; problems go to ``errors``.

    :param component: the component that is run once for each item.
    """
    limit = int(task.get("iteratorPolicy", {}).get("parallelismLimit", 0))
    found = [name for name in ("parameterIterator", "artifactIterator") if name in task]
    if not found:
        if task.get("iteratorPolicy"):
            errors.add(f"{path}.iterator_policy", "the task has no iterator.")
        return None
    if component.dag is None:
        errors.add(path, "iterates a container; allowed: kfp repeats pipelines within pipelines only.")
    if limit < 0:
        errors.add(f"{path}.iterator_policy.parallelism_limit", f"found {limit}; allowed: 0 or more.")
    for name, kind in component.output_parameters.items():
        if kind != "LIST":
            errors.add(
                f"{path}.component_ref",
                f"the output {name!r} of a loop collects the iterations; found type {kind}, allowed: LIST.",
            )
    for name, declared in component.output_artifacts.items():
        if not declared.get("isArtifactList"):
            errors.add(
                f"{path}.component_ref",
                f"the output artifact {name!r} of a loop collects the iterations; allowed: an artifact list.",
            )
    if found[0] == "artifactIterator":
        return _artifacts(task["artifactIterator"], component, limit, f"{path}.artifact_iterator", errors)
    return _parameters(task["parameterIterator"], component, limit, f"{path}.parameter_iterator", errors)


def _parameters(data: Json, component: Component, limit: int, path: str, errors: FieldErrors) -> Loop | None:
    item, items = data.get("itemInput", ""), data.get("items", {})
    if item not in component.parameters:
        errors.add(f"{path}.item_input", f"refers to input {item!r}, which the component lacks.")
    if "inputParameter" in items:
        source = items["inputParameter"]
        declared = component.parameters.get(source)
        if declared is None:
            errors.add(f"{path}.items", f"refers to input {source!r}, which the component lacks.")
        elif declared.kind not in ITEM_SOURCES:
            errors.add(
                f"{path}.items",
                f"refers to input {source!r} of type {declared.kind}; allowed: {', '.join(ITEM_SOURCES)}.",
            )
        return Loop(item, source, limit=limit)
    try:
        raw = json.loads(items.get("raw", ""))
    except (ValueError, RecursionError):
        raw = None
    if not isinstance(raw, list):
        errors.add(f"{path}.items.raw", f"found {items.get('raw', '')[:80]!r}; allowed: a JSON list.")
        return None
    return Loop(item, raw=tuple(raw), limit=limit)


def _artifacts(data: Json, component: Component, limit: int, path: str, errors: FieldErrors) -> Loop:
    item, source = data.get("itemInput", ""), data.get("items", {}).get("inputArtifact", "")
    if item not in component.artifacts:
        errors.add(f"{path}.item_input", f"refers to input artifact {item!r}, which the component lacks.")
    declared = component.artifacts.get(source)
    if declared is None:
        errors.add(f"{path}.items", f"refers to input artifact {source!r}, which the component lacks.")
    elif not declared.get("isArtifactList"):
        errors.add(f"{path}.items", f"refers to input artifact {source!r}; allowed: an artifact list.")
    return Loop(item, source, artifacts=True, limit=limit)
