"""A member's arguments: Airflow's values in, nodes of the entry point's configuration and inputs out.

Where a value comes from decides how it travels (design section 5): a literal stands in the configuration;
the output of another member is an input fed by that task; what only an Airflow run knows (an XCom of an
outer task, a template, the context) is a run parameter of the job, so that the spec stays the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airflow.sdk.definitions._internal.mixins import ResolveMixin
from airflow.sdk.definitions.xcom_arg import PlainXComArg

from airflow_vertex_provider.checks import is_template
from airflow_vertex_provider.exceptions import Problem, VertexValueError
from airflow_vertex_provider.graph import naming
from airflow_vertex_provider.graph.context import OPTIONAL
from airflow_vertex_provider.graph.model import (
    RETURN_OUTPUT,
    TEXT_OUTPUT,
    Encoding,
    FromOutput,
    FromParameter,
    Parameter,
    Source,
)
from airflow_vertex_provider.graph.templates import environment_of, template_problems
from airflow_vertex_provider.runtime import protocol

_RETURN_KEY = "return_value"
_PLAIN_EXPRESSION = re.compile(r"\{\{\s*([A-Za-z_][\w.]*)\s*\}\}")
#: Longest excerpt of an author's value in an error message.
_EXCERPT = 120


class ParameterTable:
    """The run parameters of one group; the same value used twice is one parameter."""

    def __init__(self) -> None:
        self.parameters: list[Parameter] = []
        self.values: dict[str, Any] = {}
        self.context: dict[str, str] = {}
        self._names: dict[tuple[object, ...], str] = {}
        self._taken: set[str] = set()

    def add(self, key: tuple[object, ...], hint: str, value: Any, encoding: Encoding, about: str) -> str:
        """Return the name of the parameter for ``key``, made on first use.

        :param key: what identifies the value within the group.
        :param hint: what a readable name may be made of.
        :param value: XComArg, template or context key, for the submit task to render.
        """
        key = (*key, encoding)
        if key not in self._names:
            name = naming.parameter_name(hint, self._taken)
            self._taken.add(name)
            self._names[key] = name
            self.parameters.append(Parameter(name, encoding, about))
            if key[0] == "context":
                self.context[name] = value
            else:
                self.values[name] = value
        return self._names[key]


class Values:
    """Reads the arguments of one member and collects its inputs and problems.

    :param operator: the member.
    :param members: task id to operator of every member of the group.
    :param silent: ids of members that leave no value.
    :param table: the group's run parameters.
    """

    def __init__(
        self, operator: Any, members: Mapping[str, Any], silent: set[str], table: ParameterTable
    ) -> None:
        self.inputs: dict[str, Source] = {}
        self.problems: list[Problem] = []
        self._operator = operator
        self._members = members
        self._silent = silent
        self._table = table

    def refuse(self, field: str, found: object, allowed: str) -> None:
        """Note that something of the member cannot be carried."""
        self.problems.append(Problem(self._operator.task_id, field, _excerpt(found), allowed))

    def refuse_as(self, field: str, message: str) -> None:
        """Note a problem whose message says what was found and what is allowed by itself."""
        self.problems.append(Problem(self._operator.task_id, field, message, "see the message"))

    def context(self, key: str, *, optional: bool) -> Any:
        """Return the node for a key of Airflow's context.

        :param optional: the function has a default, so a run without that value is fine.
        """
        name = key + OPTIONAL if optional else key
        parameter = self._table.add(("context", name), key, name, Encoding.JSON, f"Airflow's {key}")
        return protocol.from_input(self._input(key, FromParameter(parameter)))

    def node(self, field: str, value: Any) -> Any:
        """Return the configuration node for a value of the member's argument ``field``."""
        if isinstance(value, ResolveMixin):
            return self._reference(field, value)
        if isinstance(value, str) and is_template(value):
            return protocol.from_input(self._template(field, value, Encoding.JSON))
        if not _has_reference(value):
            try:
                return protocol.constant(value)
            except VertexValueError as error:
                self.refuse(field, value, f"values that can travel ({error})")
                return None
        if isinstance(value, Mapping):
            try:
                return protocol.mapping(
                    (key, self.node(f"{field}[{key!r}]", item)) for key, item in value.items()
                )
            except VertexValueError as error:
                self.refuse(field, value, f"values that can travel ({error})")
                return None
        if isinstance(value, list | tuple):
            items = [self.node(f"{field}[{index}]", item) for index, item in enumerate(value)]
            return items if isinstance(value, list) else {"$tuple": items}
        self.refuse(field, value, "a list in place of this when it holds templates or outputs of tasks")
        return None

    def part(self, field: str, value: Any) -> list[Any]:
        """Return the pieces of one argument of a container: literal text and inputs."""
        if isinstance(value, PlainXComArg) and value.operator.task_id in self._members:
            output = self._member_output(field, value, TEXT_OUTPUT)
            return [{"$in": output}] if output else []
        if isinstance(value, ResolveMixin):
            parameter = self._outer(field, value, Encoding.TEXT)
            return [{"$in": self._input(field, FromParameter(parameter))}] if parameter else []
        if isinstance(value, str):
            if is_template(value):
                return [{"$in": self._template(field, value, Encoding.TEXT)}]
            if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
                self.refuse(field, repr(value), "text that UTF-8 can write, without NUL characters")
            return [value]
        if _has_reference(value):
            self.refuse(field, value, "text, one output or one template for each argument")
            return []
        try:
            return [protocol.encode(value)]
        except VertexValueError as error:
            self.refuse(field, value, f"values that can travel ({error})")
            return []

    def _template(self, field: str, text: str, encoding: Encoding) -> str:
        for found, allowed in template_problems(text, self._members, environment_of(self._operator.dag)):
            self.refuse(field, found, allowed)
        plain = _PLAIN_EXPRESSION.fullmatch(text)
        hint = plain[1] if plain else f"{self._operator.label}_{field}"
        parameter = self._table.add(("template", text), hint, text, encoding, "template")
        return self._input(field, FromParameter(parameter))

    def _reference(self, field: str, value: ResolveMixin) -> Any:
        if isinstance(value, PlainXComArg) and value.operator.task_id in self._members:
            producer = value.operator
            if value.key != _RETURN_KEY and not getattr(producer, "multiple_outputs", False):
                self.refuse(
                    field,
                    f"XCom {value.key!r} of {producer.task_id!r}",
                    "its return value, or a key of it if the task has multiple_outputs=True",
                )
                return None
            name = self._member_output(field, value, RETURN_OUTPUT)
            if name is None:
                return None
            return protocol.from_input(name, get=None if value.key == _RETURN_KEY else value.key)
        parameter = self._outer(field, value, Encoding.JSON)
        return protocol.from_input(self._input(field, FromParameter(parameter))) if parameter else None

    def _member_output(self, field: str, value: PlainXComArg, output: str) -> str | None:
        producer = value.operator.task_id
        if producer in self._silent:
            self.refuse(field, f"the output of {producer!r}", "the output of a task that leaves a value")
            return None
        if output == TEXT_OUTPUT and value.key != _RETURN_KEY:
            self.refuse(field, f"XCom {value.key!r} of {producer!r}", "the whole return value of a task")
            return None
        return self._input(field, FromOutput(producer, output))

    def _outer(self, field: str, value: ResolveMixin, encoding: Encoding) -> str | None:
        inside = sorted(
            {task.task_id for task, _ in value.iter_references() if task.task_id in self._members}
        )
        if inside:
            self.refuse(
                field,
                f"{type(value).__name__} of {', '.join(inside)}",
                "outputs of members as they are; change them in a task of their own",
            )
            return None
        if isinstance(value, PlainXComArg):
            source = value.operator.task_id
            suffix = "" if value.key == _RETURN_KEY else f"_{value.key}"
            return self._table.add(
                ("xcom", source, value.key), source + suffix, value, encoding, f"XCom of {source}"
            )
        hint = f"{self._operator.label}_{field}"
        return self._table.add(("object", id(value)), hint, value, encoding, type(value).__name__)

    def _input(self, hint: str, source: Source) -> str:
        for name, known in self.inputs.items():
            if known == source:
                return name
        name = naming.parameter_name(hint, list(self.inputs))
        self.inputs[name] = source
        return name


def _has_reference(value: Any) -> bool:
    if isinstance(value, ResolveMixin) or is_template(value):
        return True
    if isinstance(value, Mapping):
        return any(_has_reference(item) for item in value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return any(_has_reference(item) for item in value)
    return False


def _excerpt(found: object) -> str:
    text = found if isinstance(found, str) else repr(found)
    return text if len(text) <= _EXCERPT else f"{text[: _EXCERPT - 3]}..."
