"""Nodes of a configuration: JSON and the task's inputs in, the author's arguments out.

Part of the text that runs in a container, see :mod:`airflow_vertex_provider.runtime.entrypoint`.
"""

from __future__ import annotations

from airflow_vertex_provider.runtime.container.base import ABSENT, VertexRuntimeError, part
from airflow_vertex_provider.runtime.container.files import read_gcs
from airflow_vertex_provider.runtime.container.values import Apart, decode, tag, untag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def resolve(node: Any, inputs: dict[str, Any]) -> Any:
    """Return the value of a configuration node; see :mod:`airflow_vertex_provider.runtime.protocol`."""
    if isinstance(node, list):
        return [resolve(item, inputs) for item in node]
    if not isinstance(node, dict):
        return node
    form = next(iter(node), "")
    if form[:1] != "$":
        return {key: resolve(item, inputs) for key, item in node.items()}
    if form == "$lit":
        return untag(node[form])
    function = part("node_" + form[1:])
    if not function:
        raise VertexRuntimeError("unknown node %r" % form)
    return function(node, inputs)


def node_in(node: dict[str, Any], inputs: dict[str, Any], missing: Any = None) -> Any:
    """``{"$in": input}``: an input; of a list of texts, as a loop's tasks leave it, what they pushed.

    :param missing: stands for a value that Airflow would have pushed nothing of.
    """
    name = node["$in"]
    text = inputs.get(name)
    if node.get("raw") and name in inputs:
        return text
    find = inputs.get("$find", Apart)
    if isinstance(text, list) and not node.get("text"):
        values = [node_in(node, {name: item, "$find": find}, ABSENT) for item in text]
        return [value for value in values if value is not ABSENT]
    if not isinstance(text, str):
        raise VertexRuntimeError(
            "input %r: expected a text in the executor input, found %s" % (name, type(text).__name__)
        )
    if node.get("text"):
        return text
    try:
        if "get" not in node:
            value = decode(text, read_gcs, find)
            return missing if value is None else value
        # The files of the item alone are read.
        return item_of(decode(text, read_gcs), node["get"], missing, find)
    except VertexRuntimeError as error:
        raise VertexRuntimeError("input %r: %s" % (name, error)) from error.__cause__


def item_of(value: Any, key: str, missing: Any, find: Any) -> Any:
    """Return one item of a value whose items are outputs of their own."""
    if value is None:
        return missing
    if not isinstance(value, dict):
        raise VertexRuntimeError(
            "key %r is wanted, but the value is no dict but %s" % (key, type(value).__name__)
        )
    return untag(tag(value[key], "", []), find) if key in value else missing


def node_tuple(node: dict[str, Any], inputs: dict[str, Any]) -> Any:
    """``{"$tuple": [node, ...]}``: a tuple."""
    return tuple(resolve(node["$tuple"], inputs))


def node_dict(node: dict[str, Any], inputs: dict[str, Any]) -> Any:
    """``{"$dict": [[key, value], ...]}``: a dict whose keys are nodes too."""
    return {resolve(key, inputs): resolve(item, inputs) for key, item in node["$dict"]}


def node_value(node: dict[str, Any], inputs: dict[str, Any]) -> Any:
    """``{"$value": true}``: what the task itself returned, as a reader of it would see it."""
    return inputs["$value"]


def node_zip(node: dict[str, Any], inputs: dict[str, Any]) -> Any:
    """``{"$zip": [node, ...], "fill": node}``: tuples of what stands at the same place, as XComArg.zip."""
    values = [sequence(item, inputs, "zip") for item in node["$zip"]]
    fill = [resolve(node["fill"], inputs)] if "fill" in node else []
    count = (max if fill else min)(map(len, values))

    def take(value: Any, index: int) -> Any:
        try:
            return value[index]
        except LookupError:
            if fill:
                return fill[0]
        raise VertexRuntimeError("zip: a dict has no item %d" % index)

    return [tuple([take(value, index) for value in values]) for index in range(count)]


def node_concat(node: dict[str, Any], inputs: dict[str, Any]) -> Any:
    """``{"$concat": [node, ...]}``: all items in one list, of a dict its keys, as XComArg.concat."""
    return [item for value in node["$concat"] for item in sequence(value, inputs, "concat")]


def sequence(node: Any, inputs: dict[str, Any], verb: str) -> Any:
    """Return the value of a node that must have items."""
    value = resolve(node, inputs)
    if not isinstance(value, (list, tuple, dict, str, bytes)):
        raise VertexRuntimeError("%s expects a sequence or dict, not %s" % (verb, type(value).__name__))
    return value


class Given:
    """An object of Airflow's context, with the attributes that were known when the job was submitted."""

    def __init__(self, values: dict[str, Any]) -> None:
        vars(self).update(values)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            "%r is not known inside a Vertex task; known are: %s" % (name, ", ".join(vars(self)))
        )


def node_object(node: dict[str, Any], inputs: dict[str, Any]) -> Any:
    """``{"$object": {attribute: node}}``: an object of Airflow's context, as ``dag_run``."""
    return Given(present(node["$object"], inputs))


def present(nodes: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    """Return the values of named nodes without the absent ones."""
    values = {name: resolve(node, inputs) for name, node in nodes.items()}
    return {name: value for name, value in values.items() if value is not ABSENT}
