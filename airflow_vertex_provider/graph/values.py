"""A member's arguments: Airflow's values in, nodes of the entry point's configuration and inputs out.

Where a value comes from decides how it travels (design section 5): a literal stands in the configuration;
the output of another member is an input fed by that task; a mapped argument is a field of the loop's item;
what only an Airflow run knows (an XCom of an outer task, a template, the context) is a run parameter of the
job, so that the spec stays the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow.sdk.definitions._internal.expandinput import MappedArgument
from airflow.sdk.definitions._internal.mixins import ResolveMixin
from airflow.sdk.definitions._internal.types import NOTSET
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.definitions.xcom_arg import ConcatXComArg, MapXComArg, PlainXComArg, ZipXComArg

from airflow_vertex_provider.checks import is_template
from airflow_vertex_provider.exceptions import Problem, VertexValueError
from airflow_vertex_provider.graph import artifacts, naming
from airflow_vertex_provider.graph.component_spec import ARTIFACT, ARTIFACT_LIST, fits
from airflow_vertex_provider.graph.component_values import (
    artifact_of,
    component_of,
    is_container,
    node_of,
    part_of,
    readable,
)
from airflow_vertex_provider.graph.context import OPTIONAL
from airflow_vertex_provider.graph.model import (
    ARTIFACT_PREFIX,
    INDEX_FIELD,
    RETURN_OUTPUT,
    TEXT_OUTPUT,
    URI_PREFIX,
    Encoding,
    FromItem,
    FromOutput,
    FromParameter,
    Parameter,
    Source,
)
from airflow_vertex_provider.graph.templates import environment_of, template_problems
from airflow_vertex_provider.placeholders import Joined, OutputFile, spliced
from airflow_vertex_provider.runtime import protocol
from airflow_vertex_provider.settings import DEFAULT_CODE
from airflow_vertex_provider.snapshot import INDEX_INPUT

_RETURN_KEY = "return_value"
_PLAIN_EXPRESSION = re.compile(r"\{\{\s*([A-Za-z_][\w.]*)\s*\}\}")
#: Longest excerpt of an author's value in an error message.
_EXCERPT = 120
#: The field of an item that holds all mapped arguments, where their names are not known at parse.
KWARGS_FIELD = "arg_kwargs"
#: Ending of the field that holds an item as bare text.
TEXT_ENDING = "__text"


def item_field(key: str) -> str:
    """Name the field of a loop's item that holds the mapped argument ``key``."""
    return f"arg_{key}"


class Item(ResolveMixin):
    """A mapped argument of an operator, in the unmapped prototype that stands for it at parse.

    :param key: name of the argument.
    """

    def __init__(self, key: str) -> None:
        self.key = key

    def __repr__(self) -> str:
        """Name it as an error message should."""
        return f"the mapped argument {self.key!r}"

    def iter_references(self) -> Iterable[tuple[Any, str]]:
        """Refer to no task: the loop does, see :mod:`airflow_vertex_provider.graph.mapping`."""
        return ()

    def resolve(self, context: Mapping[str, Any]) -> Any:
        """Refuse: a prototype is never run."""
        raise TypeError(f"{self.key}: a mapped argument has no value at parse")


@dataclass(frozen=True)
class LoopView:
    """What the arguments of a task need to know of the loop it stands in.

    :param id: id of the loop.
    :param expand_input: Airflow's object behind the mapped arguments of a mapped task group.
    :param whole: the item's fields are not told apart: it is a dict of arguments.
    :param members: ids of the tasks in the loop.
    """

    id: str
    expand_input: Any
    whole: bool
    members: frozenset[str]


class ParameterTable:
    """The run parameters of one group; the same value used twice is one parameter."""

    def __init__(self) -> None:
        self.parameters: list[Parameter] = []
        #: Run parameter name to XComArg, template or plain value, for the submit task to render.
        self.values: dict[str, Any] = {}
        self.context: dict[str, str] = {}
        self._names: dict[tuple[object, ...], str] = {}
        self._taken: set[str] = set()

    def add(
        self,
        key: tuple[object, ...],
        hint: str,
        value: Any,
        encoding: Encoding,
        about: str,
        kind: str = "STRING",
    ) -> str:
        """Return the name of the parameter for ``key``, made on first use.

        :param key: what identifies the value within the group.
        :param hint: what a readable name may be made of.
        :param value: XComArg, template or context key, for the submit task to render.
        :param kind: KFP's name of the parameter's type.
        """
        key = (*key, encoding, kind)
        if key not in self._names:
            name = naming.parameter_name(hint, self._taken)
            self._taken.add(name)
            self._names[key] = name
            self.parameters.append(Parameter(name, encoding, about, kind))
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
    :param loop: the loop the member stands in, if it does.
    :param spread: the member is mapped over dicts of keyword arguments whose names are not known at parse.
    :param code: how the author's code reaches the container: the setting of that name.
    """

    def __init__(
        self,
        operator: Any,
        members: Mapping[str, Any],
        silent: set[str],
        table: ParameterTable,
        *,
        loop: LoopView | None = None,
        spread: bool = False,
        code: str = DEFAULT_CODE,
    ) -> None:
        self.inputs: dict[str, Source] = {INDEX_INPUT: FromItem(INDEX_FIELD)} if loop else {}
        #: Types of the inputs that are no STRING: values of components.
        self.input_types: dict[str, str] = {}
        self.problems: list[Problem] = []
        self.spread = spread
        self.code = code
        self._loop = loop
        self._operator = operator
        self._members = members
        self._silent = silent
        self._table = table

    def refuse(self, field: str, found: object, allowed: str) -> None:
        """Note that something of the member cannot be carried."""
        if isinstance(found, Item):
            allowed += "; or the task in a mapped task group, whose argument may stand inside the value"
        self.problems.append(Problem(self._operator.task_id, field, _excerpt(found), allowed))

    def refuse_as(self, field: str, message: str) -> None:
        """Note a problem whose message says what was found and what is allowed by itself."""
        self.problems.append(Problem(self._operator.task_id, field, message, "see the message"))

    def refuses_spliced(self, field: str, text: str) -> bool:
        """Refuse a text that a placeholder has been made part of, if it is one."""
        found = spliced(text)
        if found is None:
            return False
        self.refuse(
            field,
            f"{found} made part of a text",
            "it as it is, or Joined('text', ...) where text and value share one argument; of a container",
        )
        return True

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
        if isinstance(value, str) and self.refuses_spliced(field, value):
            return None
        if isinstance(value, str) and is_template(value):
            return protocol.from_input(self._template(field, value, Encoding.JSON))
        if not has_reference(value):
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

    def artifact_node(self, field: str, value: Any, wanted: str) -> Any:
        """Return the node for an argument that the function takes as an artifact.

        :param wanted: its type, see :func:`~airflow_vertex_provider.graph.component_spec.artifact_type`.
        """
        if value is None:
            return self.node(field, value)
        listed = wanted.startswith(ARTIFACT_LIST)
        if listed and isinstance(value, list | tuple):
            one = wanted.replace(ARTIFACT_LIST, ARTIFACT, 1)
            return [self.artifact_node(f"{field}[{index}]", item, one) for index, item in enumerate(value)]
        given = self._artifact_type(value)
        if given is not None and not fits(given, wanted):
            self.refuse(
                field, f"{value.key!r} of {value.operator.task_id!r}: {readable(given)}", readable(wanted)
            )
            return None
        address = isinstance(value, str) and ("://" in value or is_template(value))
        described = isinstance(value, Mapping) and isinstance(value.get("uri"), str)
        if not (isinstance(value, ResolveMixin) or (not listed and (address or described))):
            self.refuse(
                field,
                value,
                f"{readable(wanted)}: an output of a task, a dict with uri, type and metadata, or an address "
                "such as gs://bucket/path",
            )
            return None
        node = self.node(field, value)
        if isinstance(node, dict) and "$artifact" in node:
            return {**node, "as": artifacts.schema_title(wanted)}
        return {"$artifact": node, "as": artifacts.schema_title(wanted)}

    def _artifact_type(self, value: Any) -> str | None:
        """Return the type of a value that is an artifact of a task in the group; ``None`` for any other."""
        if not isinstance(value, PlainXComArg) or value.operator.task_id not in self._members:
            return None
        kind = artifact_of(value)
        if kind is not None and self._collects(value.operator.task_id):
            return kind.replace(ARTIFACT, ARTIFACT_LIST, 1)
        return kind

    def spread_node(self) -> Any:
        """Return the node for the dict of mapped keyword arguments; only with :attr:`spread`."""
        return protocol.from_input(self._input("kwargs", FromItem(KWARGS_FIELD)))

    def take(self, hint: str, source: Source) -> str:
        """Return the name of the input that takes its value from ``source``."""
        return self._input(hint, source)

    def part(self, field: str, value: Any) -> list[Any]:
        """Return the pieces of one argument of a container: literal text, inputs and paths of outputs."""
        if isinstance(value, Joined):
            pieces: list[Any] = []
            for index, item in enumerate(value.parts):
                for piece in self.part(f"{field}.parts[{index}]", item):
                    # One text, as the service will see it: what it must not hold is looked for in the whole.
                    if isinstance(piece, str) and pieces and isinstance(pieces[-1], str):
                        pieces[-1] += piece
                    else:
                        pieces.append(piece)
            return pieces
        if isinstance(value, OutputFile):
            return self._output_file(field, value)
        if isinstance(value, Item | MappedArgument):
            return self._item_part(field, value)
        if isinstance(value, PlainXComArg) and value.operator.task_id in self._members:
            component = component_of(value.operator)
            if component is not None:
                pieces, types = part_of(self, field, component, value)
                self.input_types |= types
                return pieces
            artifact = value.key in artifacts.outputs_of(value.operator)
            output = self._member_output(field, value, URI_PREFIX + value.key if artifact else TEXT_OUTPUT)
            return [{"$in": output}] if output else []
        if isinstance(value, ResolveMixin):
            parameter = self._outer(field, value, Encoding.TEXT)
            return [{"$in": self._input(field, FromParameter(parameter))}] if parameter else []
        if isinstance(value, str):
            if self.refuses_spliced(field, value):
                return []
            if is_template(value):
                return [{"$in": self._template(field, value, Encoding.TEXT)}]
            if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
                self.refuse(field, repr(value), "text that UTF-8 can write, without NUL characters")
            return [value]
        if has_reference(value):
            self.refuse(field, value, "text, one output or one template for each argument")
            return []
        try:
            return [protocol.encode(value)]
        except VertexValueError as error:
            self.refuse(field, value, f"values that can travel ({error})")
            return []

    def _output_file(self, field: str, value: OutputFile) -> list[Any]:
        declared = self._operator.outputs if is_container(self._operator) else {}
        # A declaration that cannot be read is named by itself.
        if isinstance(declared, Mapping) and value.name not in declared:
            self.refuse(
                field,
                repr(value),
                "an output that the VertexContainerOperator declares, outputs={name: type}; here: "
                + (", ".join(map(str, declared)) or "none"),
            )
            return []
        return [{"$out": value.name}]

    def _template(self, field: str, text: str, encoding: Encoding) -> str:
        for found, allowed in template_problems(text, self._members, environment_of(self._operator.dag)):
            self.refuse(field, found, allowed)
        plain = _PLAIN_EXPRESSION.fullmatch(text)
        hint = plain[1] if plain else f"{self._operator.label}_{field}"
        parameter = self._table.add(("template", text), hint, text, encoding, "template")
        return self._input(field, FromParameter(parameter))

    def _key(self, value: Item | MappedArgument) -> str | None:
        """Return the mapped argument's name, or ``None`` for one of another loop than the task's own."""
        if isinstance(value, Item):
            return value.key
        return value._key if self._loop and value._input is self._loop.expand_input else None

    def _item(self, field: str, value: Item | MappedArgument) -> Any:
        key = self._key(value)
        if key is None or self._loop is None:
            self.refuse(
                field,
                "an argument of a mapped task group",
                "it inside that group: it has no value outside",
            )
            return None
        if self._loop.whole:
            return protocol.from_input(self._input("kwargs", FromItem(KWARGS_FIELD)), get=key)
        return protocol.from_input(self._input(key, FromItem(item_field(key))))

    def _item_part(self, field: str, value: Item | MappedArgument) -> list[Any]:
        key = self._key(value)
        if key is None or self._loop is None or self._loop.whole:
            self.refuse(
                field,
                "a mapped argument",
                "one that expand() names, inside its own loop; expand_kwargs() gives a container no text",
            )
            return []
        return [{"$in": self._input(key, FromItem(item_field(key) + TEXT_ENDING))}]

    def _reference(self, field: str, value: ResolveMixin) -> Any:
        if isinstance(value, Item | MappedArgument):
            return self._item(field, value)
        if isinstance(value, Joined):
            self.refuse(field, repr(value), "a value: parts are joined for containers alone")
            return None
        if isinstance(value, ZipXComArg | ConcatXComArg) and self._refers_inside(value):
            return self._joined(field, value)
        if isinstance(value, PlainXComArg) and value.operator.task_id in self._members:
            producer = value.operator
            component = component_of(producer)
            if component is not None:
                node, types = node_of(self, field, component, value)
                self.input_types |= types
                return node
            if value.key in artifacts.outputs_of(producer):
                given = self._member_output(field, value, ARTIFACT_PREFIX + value.key)
                return {"$artifact": protocol.from_input(given)} if given else None
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
        if descends(value.operator, "BranchMixIn"):
            self.refuse(
                field,
                f"the output of the branch {producer!r}",
                "the output of another task: Airflow keeps a branch's only where it skips nothing",
            )
            return None
        if output == TEXT_OUTPUT and value.key != _RETURN_KEY:
            self.refuse(field, f"XCom {value.key!r} of {producer!r}", "the whole return value of a task")
            return None
        if (output == TEXT_OUTPUT or output.startswith(URI_PREFIX)) and self._collects(producer):
            self.refuse(
                field,
                f"the outputs of the mapped task {producer!r}",
                "one text: join them in a task of their own",
            )
            return None
        return self._input(field, FromOutput(producer, output))

    def _refers_inside(self, value: ResolveMixin) -> list[str]:
        return sorted({task.task_id for task, _ in value.iter_references() if task.task_id in self._members})

    def _joined(self, field: str, value: ZipXComArg | ConcatXComArg) -> Any:
        """Return the node for ``zip`` or ``concat`` of outputs, some of them of members."""
        nodes = [self._reference(f"{field}[{index}]", item) for index, item in enumerate(value.args)]
        if isinstance(value, ConcatXComArg):
            return {"$concat": nodes}
        if value.fillvalue is NOTSET:
            return {"$zip": nodes}
        return {"$zip": nodes, "fill": self.node(f"{field}.fillvalue", value.fillvalue)}

    def _outer(self, field: str, value: ResolveMixin, encoding: Encoding) -> str | None:
        inside = self._refers_inside(value)
        if inside:
            self.refuse(
                field,
                f"{'map()' if isinstance(value, MapXComArg) else 'a reference'} over {', '.join(inside)}",
                "outputs of members as they are, or joined by zip() and concat(); change them in a task of "
                "their own",
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

    def _collects(self, producer: str) -> bool:
        """Tell whether the producer stands in a loop that this task is not in."""
        operator = self._members[producer]
        mapped = isinstance(operator, MappedOperator) or operator.get_closest_mapped_task_group() is not None
        return mapped and not (self._loop and producer in self._loop.members)

    def _input(self, hint: str, source: Source) -> str:
        for name, known in self.inputs.items():
            if known == source:
                return name
        name = naming.parameter_name(hint, list(self.inputs))
        self.inputs[name] = source
        return name


def descends(operator: Any, name: str) -> bool:
    """Tell whether an operator's class, mapped or not, descends from one of that name."""
    made = operator.operator_class if isinstance(operator, MappedOperator) else type(operator)
    return any(kind.__name__ == name for kind in made.__mro__)


def has_reference(value: Any) -> bool:
    """Tell whether a value holds a template, or the output of a task, at any depth."""
    if isinstance(value, ResolveMixin) or is_template(value):
        return True
    if isinstance(value, Mapping):
        return any(has_reference(item) for item in value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return any(has_reference(item) for item in value)
    return False


def _excerpt(found: object) -> str:
    text = found if isinstance(found, str) else repr(found)
    return text if len(text) <= _EXCERPT else f"{text[: _EXCERPT - 3]}..."
