"""Outputs of a task: the value in, what Vertex AI records out.

Part of the text that runs in a container, see :mod:`airflow_vertex_provider.runtime.entrypoint`.
"""

from __future__ import annotations

import json
import os

from airflow_vertex_provider.runtime.container.base import NOT_RUN, SKIPPED, VertexRuntimeError, part
from airflow_vertex_provider.runtime.container.files import keep, write
from airflow_vertex_provider.runtime.container.loops import as_rendered, bare_text, expand_items, items_of
from airflow_vertex_provider.runtime.container.nodes import resolve
from airflow_vertex_provider.runtime.container.offers import AirflowException
from airflow_vertex_provider.runtime.container.values import encode, outside, untag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def use_expand(config: dict[str, Any], inputs: dict[str, Any], value: Any, folder: str) -> dict[str, Any]:
    """Return the items of the loops that run over this task's value or inputs."""
    values: dict[str, Any] = {name: [] for name in config["expand"]}
    if value is NOT_RUN:
        return values
    for name, spec in config["expand"].items():

        def keep_item(text: str, hint: str, path: str = folder + "/airflow_item_" + name) -> str:
            return keep(text, config, "%s_%s.json" % (path, hint))

        fields = spec["fields"] if spec["form"] == "product" else [[spec["field"], spec["node"]]]
        resolved = [(field, resolve(node, inputs)) for field, node in fields]
        if spec.get("rendered"):
            resolved = [(field, as_rendered(found)) for field, found in resolved]
        values[name] = expand_items(spec["form"], resolved, spec.get("text", ()), keep_item)
    return values


def use_mapped_over(
    config: dict[str, Any], inputs: dict[str, Any], value: Any, folder: str
) -> dict[str, Any]:
    """Check a value that tasks are mapped over."""
    if value is not NOT_RUN:
        items_of(value)
    return {}


def use_multiple_outputs(
    config: dict[str, Any], inputs: dict[str, Any], value: Any, folder: str
) -> dict[str, Any]:
    """Check a value whose items are outputs of their own, as Airflow does."""
    good = isinstance(value, dict) and all(isinstance(key, str) for key in value)
    if value is not NOT_RUN and value is not None and not good:
        raise TypeError(
            "with multiple_outputs the value must be a dict whose keys are str, found %.60r" % (value,)
        )
    return {}


def use_text_output(
    config: dict[str, Any], inputs: dict[str, Any], value: Any, folder: str
) -> dict[str, Any]:
    """Return the value as text for a container's argument."""
    return {"Text": "null" if value is NOT_RUN else bare_text(value)}


def use_typed(config: dict[str, Any], inputs: dict[str, Any], value: Any, folder: str) -> dict[str, Any]:
    """Return the value as components take it: JSON of one of Vertex's types."""
    values = {}
    for name, wanted in config["typed"].items():
        kinds: Any = {
            "NUMBER_INTEGER": (int,),
            "NUMBER_DOUBLE": (float, int),
            "BOOLEAN": (bool,),
            "LIST": (list,),
            "STRUCT": (dict,),
        }[wanted]
        found = kinds[0]() if value is NOT_RUN else value
        try:
            text = json.dumps(found, allow_nan=False)
            # Other types inside would become something else; and Vertex keeps numbers as doubles.
            fits = json.loads(text) == found and (wanted != "NUMBER_INTEGER" or abs(found) <= 2**53)
        except (TypeError, ValueError):
            text, fits = "", False
        if type(found) not in kinds or not fits or "{" + "{$" in text:
            raise VertexRuntimeError(
                "output %r must be %s in plain JSON for a component, found %s: %.60r"
                % (name, wanted, type(found).__name__, found)
            )
        values[name] = kinds[0](found)
    return values


def choice(value: Any) -> set[Any]:
    """Return what a branch chose."""
    if value is None:
        return set()
    return set([value] if isinstance(value, str) or not hasattr(value, "__iter__") else value)


def use_branch(config: dict[str, Any], inputs: dict[str, Any], value: Any, folder: str) -> dict[str, Any]:
    """Check that a branch chose what there is."""
    if value is not NOT_RUN:
        chosen = choice(value)
        wrong = {item for item in chosen if not isinstance(item, str)}
        if wrong:
            raise AirflowException(
                "'branch_task_ids' must be None, an id or an iterable of ids, found %r" % wrong
            )
        wrong = chosen - set(config["ids"])
        if wrong:
            raise AirflowException(
                "'branch_task_ids' must contain only valid task_ids. Invalid tasks found: %s." % wrong
            )
    return {}


def use_follow(config: dict[str, Any], inputs: dict[str, Any], value: Any, folder: str) -> dict[str, Any]:
    """Return for each follower of a branch or a short circuit whether it goes on: ``run`` or ``skip``."""

    def goes_on(spec: dict[str, Any]) -> Any:
        return value if spec["keep"] is None else choice(value) & set(spec["keep"])

    return {
        name: spec["if_skipped"] if value is NOT_RUN else "run" if goes_on(spec) else "skip"
        for name, spec in config["follow"].items()
    }


def outputs(config: dict[str, Any], inputs: dict[str, Any], value: Any, folder: str) -> dict[str, Any]:
    """Return the task's outputs; what is large, or no JSON, goes into files first."""
    values: dict[str, Any] = {}

    def use(*keys: str) -> None:
        for key in keys:
            if config.get(key):
                values.update(part("use_" + key)(config, inputs, value, folder))

    use("multiple_outputs", "mapped_over", "branch", "artifacts", "follow")
    others = any(map(config.get, ("text_output", "typed", "expand")))
    output, text = config.get("output", True), SKIPPED
    if value is not NOT_RUN:
        text = "null"
        if others or (output and not config.get("silent")):
            text = encode(value, part("use_writers")(config, folder) if config.get("writers") else None)
        if others:
            # A loop sees the value as a reader does: with text for keys.
            inputs = dict(inputs, **{"$value": untag(json.loads(text))})
            if '"$file":' in text:
                value = untag(json.loads(text), outside)
        if config.get("silent"):
            text = "null"
    use("text_output", "typed", "expand")
    if output:
        values["Output"] = text if text == SKIPPED else keep(text, config, folder + "/airflow_value.json")
        if config.get("handoff"):
            path = "%s/airflow_handoff/%s.json" % (os.path.dirname(folder), config["name"])
            write(path, values["Output"])
    return values
