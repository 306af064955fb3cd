"""A component's arguments: Airflow's values in, sources of the types that KFP gives its inputs out.

A component's inputs are typed, so its values do not travel as protocol text: a literal stands in the spec as
it is, a value that only a run knows is a run parameter of the input's own type, and a member of Python or
Bash writes its value once more in that type (:func:`typed_output`). A STRING input takes what an argument of
a container would: text as it is, anything else as JSON.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions._internal.expandinput import MappedArgument
from airflow.sdk.definitions._internal.mixins import ResolveMixin
from airflow.sdk.definitions.xcom_arg import PlainXComArg

from airflow_vertex_provider.checks import is_template
from airflow_vertex_provider.exceptions import VertexValueError
from airflow_vertex_provider.graph.artifacts import outputs_of
from airflow_vertex_provider.graph.component_spec import (
    ARTIFACT_LIST,
    SINGLE_OUTPUT,
    Component,
    ComponentError,
    Port,
    fits,
    is_artifact,
    read_component,
)
from airflow_vertex_provider.graph.converters import class_name
from airflow_vertex_provider.graph.model import (
    TEXT_OUTPUT,
    TYPED_PREFIX,
    URI_PREFIX,
    Encoding,
    FromConstant,
    FromOutput,
    FromParameter,
    Source,
)
from airflow_vertex_provider.graph.templates import environment_of, template_problems
from airflow_vertex_provider.placeholders import OUTPUT_TYPES, Joined, OutputFile
from airflow_vertex_provider.runtime import protocol

if TYPE_CHECKING:
    from airflow_vertex_provider.graph.values import Values

CLASS = "airflow_vertex_provider.operators.component.VertexComponentOperator"
CONTAINER_CLASS = "airflow_vertex_provider.operators.container.VertexContainerOperator"
RETURN_KEY = "return_value"

#: What the service puts in place of such a text, in a value too; kfp names them ``dsl.PIPELINE_...``.
_SERVICE_VALUES = re.compile(r"\{\{\$\.pipeline_[a-z_]+\}\}")
#: Numbers travel as doubles, which hold every whole number up to this one.
_MAX_INTEGER = 2**53
_KINDS: Mapping[str, tuple[type, ...]] = {
    "STRING": (str,),
    "NUMBER_INTEGER": (int,),
    "NUMBER_DOUBLE": (float, int),
    "BOOLEAN": (bool,),
    "LIST": (list,),
    "STRUCT": (dict,),
}
_WORDS: Mapping[str, str] = {
    "STRING": "a str",
    "NUMBER_INTEGER": f"an int of at most {_MAX_INTEGER} either way",
    "NUMBER_DOUBLE": "a finite float",
    "BOOLEAN": "True or False",
    "LIST": "a list of what JSON can hold",
    "STRUCT": "a dict with str keys of what JSON can hold",
}


def typed_output(kind: str) -> str:
    """Name the output in which a member of Python or Bash writes its value for inputs of type ``kind``."""
    return TEXT_OUTPUT if kind == "STRING" else f"{TYPED_PREFIX}{kind}"


def component_of(operator: Any) -> Component | None:
    """Return the component of a member that is one; ``None`` for any other member, and if it is unreadable.

    A container with outputs counts as a component that has those outputs.
    Runs at parse. What is wrong with it is said once, by its own converter.
    """
    if is_container(operator):
        return Component(operator.task_id, {}, outputs=container_outputs(operator.outputs))
    if class_name(operator) != CLASS:
        return None
    try:
        return read_component(operator.component, operator.dag.folder)
    except ComponentError:
        return None


def is_container(operator: Any) -> bool:
    """Tell whether a member is a container, which may declare outputs."""
    return class_name(operator) == CONTAINER_CLASS


def container_outputs(declared: Any) -> dict[str, str]:
    """Map the outputs that a container declares to their types, those that can be read. Runs at parse."""
    if not isinstance(declared, Mapping):
        return {}
    return {
        name: OUTPUT_TYPES[kind]
        for name, kind in declared.items()
        if isinstance(name, str) and isinstance(kind, type) and kind in OUTPUT_TYPES
    }


def chosen_output(component: Component, key: str) -> tuple[str | None, str]:
    """Return which output the XCom ``key`` of a component is, and in words which ones there are.

    :return: no output for the return value of a component with several: it is a dict of them all.
    """
    known = ", ".join(f'output["{name}"]' for name in component.outputs) or "none: it has no outputs"
    if key == RETURN_KEY:
        return (SINGLE_OUTPUT if set(component.outputs) == {SINGLE_OUTPUT} else None), known
    return (key if key in component.outputs else None), known


def source_of(values: Values, field: str, port: Port, value: Any) -> Source | None:
    """Return where an input of a component takes a value from; ``None`` if it was refused.

    Runs at parse.

    :param field: what to call the argument in an error.
    """
    if isinstance(value, Joined | OutputFile):
        values.refuse(field, repr(value), "a value or one output: parts are joined for containers alone")
        return None
    if isinstance(value, str) and values.refuses_spliced(field, value):
        return None
    if isinstance(value, PlainXComArg) and value.operator.task_id in values._members:
        return _of_member(values, field, port, value)
    if is_artifact(port.type):
        values.refuse(field, value, f"an output of another task in this group: {readable(port.type)}")
        return None
    if only_a_run_knows(value):
        return _at_submit(values, field, port.type, value)
    problem = literal_problem(port.type, value)
    if not problem and _holds_none(value):
        # kfp compiles none either; a value that arrives in the run may hold it.
        problem = f"no None in it: kfp has no way to write one; the input is {port.type}"
    if problem:
        values.refuse(field, repr(value), problem)
        return None
    return FromConstant(value if port.type == "STRING" else json.dumps(value, sort_keys=True))


def node_of(
    values: Values, field: str, component: Component, value: PlainXComArg
) -> tuple[Any, dict[str, str]]:
    """Return the configuration node for an output of a component that a member of Python or Bash takes.

    Runs at parse. The whole value of a component with several outputs is a dict of them, read one by one. An
    artifact comes as such: a component writes no text that says what it is.

    :return: the node, ``None`` if it was refused; and the types of the inputs that it reads.
    """
    output, _ = chosen_output(component, value.key)
    whole = output is None and value.key == RETURN_KEY
    wanted = dict(component.outputs) if whole else {}
    if output is not None:
        wanted[output] = component.outputs[output]
    if not wanted:
        _refuse_output(values, field, component, value)
        return None, {}
    nodes: dict[str, Any] = {}
    types: dict[str, str] = {}
    for name, kind in wanted.items():
        given = values._input(f"{field}_{name}", FromOutput(value.operator.task_id, name))
        nodes[name] = protocol.from_input(given, raw=True)
        if is_artifact(kind):
            nodes[name] = {"$artifact": protocol.from_input(given)}
            if kind.startswith(ARTIFACT_LIST):
                nodes[name]["list"] = True
        types[given] = kind
    return (protocol.mapping(nodes.items()) if output is None else nodes[output]), types


def part_of(
    values: Values, field: str, component: Component, value: PlainXComArg
) -> tuple[list[Any], dict[str, str]]:
    """Return the piece of a container's argument for one output of a component; as :func:`node_of`."""
    output, _ = chosen_output(component, value.key)
    if output is None:
        _refuse_output(values, field, component, value)
        return [], {}
    name, found = value.operator.task_id, ""
    if values._collects(name):
        found = f"the outputs of the mapped task {name!r}"
    elif component.outputs[output].startswith(ARTIFACT_LIST):
        found = f"the artifacts {output!r} of {name!r}"
    if found:
        values.refuse(field, found, "one text: join them in a task of their own")
        return [], {}
    node, types = node_of(values, field, component, value)
    if "$artifact" in node:
        return [{"$uri": node["$artifact"]["$in"]}], types
    return [{"$in": node["$in"]}], types


def artifact_of(value: PlainXComArg) -> str | None:
    """Return the type of a member's output that is an artifact; ``None`` for any other."""
    component = component_of(value.operator)
    if component is None:
        return outputs_of(value.operator).get(value.key)
    output, _ = chosen_output(component, value.key)
    kind = component.outputs[output] if output is not None else ""
    return kind if is_artifact(kind) else None


def only_a_run_knows(value: Any) -> bool:
    """Tell whether a value holds a template or the output of a task, at any depth."""
    if isinstance(value, str):
        return is_template(_SERVICE_VALUES.sub("", value))
    if isinstance(value, Mapping):
        return any(only_a_run_knows(item) for pair in value.items() for item in pair)
    if isinstance(value, list | tuple | set | frozenset):
        return any(map(only_a_run_knows, value))
    return isinstance(value, ResolveMixin)


def literal_problem(kind: str, value: Any) -> str:
    """Return what an input of type ``kind`` allows if ``value`` is not that, else an empty text."""
    fitting = isinstance(value, _KINDS[kind]) and (kind == "BOOLEAN" or not isinstance(value, bool))
    if fitting and not any(_json_problems(value)):
        return ""
    return f"{_WORDS[kind]}: the input is {kind}"


def read_native(kind: str, value: Any) -> Any:
    """Return a rendered value as an input of type ``kind`` takes it. Runs at submit, in the worker.

    A template that stands alone renders to text; for an input that is no STRING the text is read as JSON.

    :raises VertexValueError: the value is not of that type.
    """
    found = value
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | list | tuple):
        # What a mapped task returned: Airflow fetches its items one by one as they are asked for.
        found = list(value)
    if isinstance(value, str) and kind != "STRING":
        text = value.strip()
        try:
            found = text == "True" if kind == "BOOLEAN" and text in ("True", "False") else json.loads(text)
        except ValueError as error:
            raise VertexValueError(
                f"found text {_short(value)} ({error}); allowed for {kind}: {_WORDS[kind]}, or JSON of it, "
                "as the filter tojson writes it"
            ) from error
    problem = literal_problem(kind, found)
    if problem:
        raise VertexValueError(f"found {_short(value)}; allowed: {problem}")
    return found


def _of_member(values: Values, field: str, port: Port, value: PlainXComArg) -> Source | None:
    producer = value.operator
    name = producer.task_id
    if values._collects(name):
        values.refuse(
            field, f"the outputs of the mapped task {name!r}", "one value: join them in a task of their own"
        )
        return None
    component = component_of(producer)
    if component is not None:
        output, known = chosen_output(component, value.key)
        if output is None:
            values.refuse(field, f"XCom {value.key!r} of {name!r}", f"one of its outputs: {known}")
        elif not fits(component.outputs[output], port.type):
            values.refuse(
                field,
                f"output {output!r} of {name!r}: {readable(component.outputs[output])}",
                f"{readable(port.type)}, as the input is",
            )
        else:
            return FromOutput(name, output)
        return None
    if name in values._silent:
        values.refuse(field, f"the output of {name!r}", "the output of a task that leaves a value")
    elif value.key in outputs_of(producer):
        given = outputs_of(producer)[value.key]
        if is_artifact(port.type) and fits(given, port.type):
            return FromOutput(name, value.key)
        if port.type == "STRING":
            return FromOutput(name, URI_PREFIX + value.key)
        values.refuse(
            field,
            f"artifact {value.key!r} of {name!r}: {readable(given)}",
            f"{readable(port.type)}, as the input is",
        )
    elif is_artifact(port.type):
        values.refuse(
            field,
            f"the value of {name!r}",
            f"an artifact of a task in this group: {readable(port.type)}",
        )
    elif value.key != RETURN_KEY:
        values.refuse(field, f"XCom {value.key!r} of {name!r}", "the whole return value of a task")
    else:
        return FromOutput(name, typed_output(port.type))
    return None


def _refuse_output(values: Values, field: str, component: Component, value: PlainXComArg) -> None:
    known = ", ".join(f'output["{name}"]' for name in component.outputs) or "none: it has none"
    if component.specification:
        what, allowed = "component", f"one of its outputs: {known}"
    else:
        what, allowed = "container", f"one of the outputs that it declares, outputs={{name: type}}: {known}"
    values.refuse(field, f"XCom {value.key!r} of {what} {value.operator.task_id!r}", allowed)


def _at_submit(values: Values, field: str, kind: str, value: Any) -> Source | None:
    """Return the run parameter for a value that Airflow renders when the job is submitted."""
    if kind == "STRING":
        known = set(values.inputs)
        part = values.part(field, value)
        if len(part) != 1 or isinstance(part[0], str):
            return None
        name = part[0]["$in"]
        source = values.inputs[name]
        if name not in known:
            del values.inputs[name]
        return source
    before = len(values.problems)
    for found, allowed in _template_problems(values, value):
        values.refuse(field, found, allowed)
    for reference in _references(value):
        if isinstance(reference, Joined):
            values.refuse(field, repr(reference), "a value: parts are joined for containers alone")
            continue
        if isinstance(reference, MappedArgument) or not list(reference.iter_references()):
            values.refuse(field, f"a mapped argument for an input of type {kind}", "a STRING input")
            continue
        inside = values._refers_inside(reference)
        if inside:
            values.refuse(
                field,
                f"{type(value).__name__} with the output of {', '.join(inside)} in it",
                "an output of a member as it is: put the value together in a task of its own",
            )
    if len(values.problems) > before:
        return None
    about = "template"
    key: tuple[object, ...] = ("native", id(value))
    hint = f"{values._operator.label}_{field}"
    if isinstance(value, str):
        key = ("template", value)
    elif isinstance(value, PlainXComArg):
        about = f"XCom of {value.operator.task_id}"
        key = ("xcom", value.operator.task_id, value.key)
        hint = value.operator.task_id + ("" if value.key == RETURN_KEY else f"_{value.key}")
    return FromParameter(values._table.add(key, hint, value, Encoding.NATIVE, about, kind))


def _template_problems(values: Values, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str) and is_template(value):
        yield from template_problems(value, values._members, environment_of(values._operator.dag))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str) or is_template(key):
                # Airflow renders the values of a dict, never its keys.
                yield repr(key), "keys that are plain text"
            yield from _template_problems(values, item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _template_problems(values, item)
    elif not isinstance(value, ResolveMixin):
        yield from ((problem, "what JSON can hold") for problem in _json_problems(value))


def _references(value: Any) -> Iterator[ResolveMixin]:
    if isinstance(value, ResolveMixin):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _references(item)


def _json_problems(value: Any) -> Iterator[str]:
    """Find what of a literal JSON cannot hold, or the service's numbers and texts cannot."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _json_problems(key) if isinstance(key, str) else [repr(key)]
            yield from _json_problems(item)
    elif isinstance(value, list):
        for item in value:
            yield from _json_problems(item)
    elif isinstance(value, str):
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            yield repr(value)
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int):
        if abs(value) > _MAX_INTEGER:
            yield repr(value)
    elif not isinstance(value, float) or not math.isfinite(value):
        yield repr(value)


def _holds_none(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_none, value.values()))
    return any(map(_holds_none, value)) if isinstance(value, list) else value is None


def readable(kind: str) -> str:
    """Write a type for people: ``an artifact system.Dataset@0.0.1``."""
    return kind.replace("ARTIFACT_LIST", "a list of artifacts").replace("ARTIFACT", "an artifact")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
