"""Mapped tasks and mapped task groups: Airflow's expand inputs in, loops and what they run over out.

A loop runs over STRUCTs of texts, one for each mapped instance: its index and the mapped arguments. Where
the list is known when the job is submitted, it is a run parameter. Where one member's output is mapped over,
that member writes the list itself. Anything else takes a gate task in front of the loop, which computes the
list; the gate also decides trigger rules, since an empty list runs nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.decorator import DecoratedMappedOperator
from airflow.sdk.definitions._internal.expandinput import DictOfListsExpandInput, ListOfDictsExpandInput
from airflow.sdk.definitions._internal.mixins import ResolveMixin
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.definitions.taskgroup import MappedTaskGroup
from airflow.sdk.definitions.xcom_arg import PlainXComArg

from airflow_vertex_provider.exceptions import Problem, VertexValueError
from airflow_vertex_provider.graph.model import Encoding, FromItem, FromParameter, Source
from airflow_vertex_provider.graph.template_files import with_files
from airflow_vertex_provider.graph.values import (
    KWARGS_FIELD,
    TEXT_ENDING,
    Item,
    LoopView,
    ParameterTable,
    Values,
    has_reference,
    item_field,
)
from airflow_vertex_provider.runtime import protocol

if TYPE_CHECKING:
    from airflow.sdk import TaskGroup

ExpandInput = DictOfListsExpandInput | ListOfDictsExpandInput


@dataclass
class MappedPart:
    """One loop as the author wrote it.

    :param id: id of the mapped task or the mapped task group.
    :param expand_input: Airflow's object that says what is mapped over.
    :param operators: the operators inside, by task id.
    :param spread: names of the mapped arguments are not known at parse.
    :param shown: the prototype of a mapped task, see :func:`prototype`.
    """

    id: str
    expand_input: ExpandInput
    operators: dict[str, Any]
    spread: bool = False
    text_fields: set[str] = field(default_factory=set)
    shown: Any = None

    @property
    def whole(self) -> bool:
        """Whether an item is a dict of arguments rather than one field for each."""
        return isinstance(self.expand_input, ListOfDictsExpandInput)

    @property
    def view(self) -> LoopView:
        """What the arguments of the tasks inside need to know."""
        return LoopView(self.id, self.expand_input, self.whole, frozenset(self.operators))


def mapped_parts(group: TaskGroup, operators: Mapping[str, Any]) -> dict[str, MappedPart]:
    """Find the loops of a group; Airflow itself refuses a mapped task inside a mapped task group."""
    parts: dict[str, MappedPart] = {}
    for task_id, operator in operators.items():
        if isinstance(operator, MappedOperator):
            expand_input = getattr(operator, operator._expand_input_attr)
            parts[task_id] = MappedPart(task_id, expand_input, {task_id: operator})
            continue
        mapped = operator.get_closest_mapped_task_group()
        if mapped is None or mapped in ancestors(group):
            continue
        key = str(mapped.group_id)
        part = parts.setdefault(key, MappedPart(key, mapped._expand_input, {}))
        part.operators[task_id] = operator
    return parts


def ancestors(group: TaskGroup) -> Iterator[TaskGroup]:
    """Yield the task groups around one, from the inside out."""
    parent = group.parent_group
    while parent is not None:
        yield parent
        parent = parent.parent_group


def nested_groups(group: TaskGroup) -> Iterator[Problem]:
    """Refuse a mapped task group inside another: the items of the inner one would be lists of lists."""
    for child in group.get_task_group_dict().values():
        if not isinstance(child, MappedTaskGroup) or child is group:
            continue
        for above in ancestors(child):
            if isinstance(above, MappedTaskGroup):
                yield Problem(
                    str(child.group_id),
                    "expand",
                    f"a mapped task group inside the mapped task group {above.group_id!r}",
                    "one level of mapping",
                )
            if above is group:
                break


def prototype(operator: MappedOperator, part: MappedPart) -> tuple[Any, str]:
    """Return an unmapped operator that stands for a mapped one, with :class:`Item` for mapped arguments.

    :return: the operator and, if it cannot be made, what is wrong in place of an empty text.
    """
    decorated = isinstance(operator, DecoratedMappedOperator)
    keys = mapped_keys(part.expand_input)
    if keys is None:
        if not decorated:
            return None, (
                "expand_kwargs() over dicts with different or unknown keys; only @task functions take these"
            )
        part.spread = True
        keys = []
    arguments: dict[str, Any] = {key: Item(key) for key in keys}
    try:
        if decorated and part.spread:
            made = _spread_prototype(operator)
        else:
            made = operator.unmap({"op_kwargs": arguments} if decorated else arguments)
    except Exception as error:  # noqa: BLE001 - an operator's constructor may raise anything at all
        return (
            None,
            f"arguments that its class refuses when they are mapped ({type(error).__name__}: {error})",
        )
    made._dag = operator.dag
    made.task_group = operator.task_group
    part.shown = made
    return made, ""


def _spread_prototype(operator: Any) -> Any:
    """Return a prototype of a function's task whose mapped arguments have no names yet.

    Airflow checks a call when it makes the operator, so arguments are there until it is made.
    """
    known = operator.partial_kwargs["op_kwargs"]
    parameters = inspect.signature(operator.python_callable).parameters.values()
    missing = {
        item.name: Item(item.name)
        for item in parameters
        if item.name not in known and item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)
    }
    made = operator.unmap({"op_kwargs": missing})
    made.op_kwargs = dict(known)
    return made


def unused_items(operator: MappedOperator, part: MappedPart, sources: Mapping[str, Source]) -> list[str]:
    """Return the mapped arguments of a classic operator that nothing of it travels with."""
    if isinstance(operator, DecoratedMappedOperator) or part.whole:
        return []
    used = {
        source.field.removesuffix(TEXT_ENDING) for source in sources.values() if isinstance(source, FromItem)
    }
    return [key for key in mapped_keys(part.expand_input) or () if item_field(key) not in used]


def mapped_keys(expand_input: ExpandInput) -> list[str] | None:
    """Return the names of the mapped arguments, or ``None`` if they are only known when the task runs."""
    if isinstance(expand_input, DictOfListsExpandInput):
        return list(expand_input.value)
    items = expand_input.value
    if not isinstance(items, Sequence) or not all(isinstance(item, Mapping) for item in items) or not items:
        return None
    first = list(items[0])  # type: ignore[arg-type]
    return first if all(set(item) == set(first) for item in items) else None  # type: ignore[arg-type]


def references(expand_input: ExpandInput) -> list[Any]:
    """Return the operators whose outputs stand in an expand input, those inside literal lists too."""
    found: dict[str, Any] = {}
    pending: list[Any] = [expand_input.value]
    while pending:
        value = pending.pop(0)
        if isinstance(value, ResolveMixin):
            found.update((operator.task_id, operator) for operator, _ in value.iter_references())
        elif isinstance(value, Mapping):
            pending.extend(value.values())
        elif isinstance(value, list | tuple):
            pending.extend(value)
    return list(found.values())


def may_be_empty(expand_input: ExpandInput) -> bool:
    """Tell whether a loop may turn out to run over nothing; Airflow then skips the mapped task."""
    value = expand_input.value
    parts = list(value.values()) if isinstance(value, Mapping) else [value]
    return any(isinstance(part, ResolveMixin) or not part for part in parts)


@dataclass(frozen=True)
class Members:
    """What reading a loop's items needs to know of the group.

    :param operators: every member by id; :param silent: ids of those that leave no value.
    :param table: the group's run parameters.
    """

    operators: Mapping[str, Any]
    silent: set[str]
    table: ParameterTable


class ItemsReader:
    """Reads what a loop runs over.

    :param part: the loop; :param members: the group around it.
    """

    def __init__(self, part: MappedPart, members: Members) -> None:
        self.part = part
        self._members = members

    def inner(self) -> list[str]:
        """Return the ids of members whose outputs are mapped over."""
        ids = [operator.task_id for operator in references(self.part.expand_input)]
        return [task_id for task_id in ids if task_id in self._members.operators]

    def unwritable_keys(self) -> list[str]:
        """Return the mapped arguments whose names no field of an item can have."""
        expand_input = self.part.expand_input
        keys = list(expand_input.value) if isinstance(expand_input, DictOfListsExpandInput) else []
        return [key for key in keys if not (key.isascii() and key.isidentifier())]

    def must_be_mappable(self) -> list[str]:
        """Return the ids of members whose value Airflow itself refuses when it is no list, tuple or dict.

        Of a task in a mapped task group every value, of a mapped task none; and a value that is one item
        of a literal list may be anything.
        """
        ids = {operator.task_id for operator, _ in self.part.expand_input.iter_references()}
        return [
            task_id
            for task_id in self.inner()
            if task_id in ids and not isinstance(self._members.operators[task_id], MappedOperator)
        ]

    def at_submit(self) -> tuple[FromParameter, list[Problem]]:
        """Return the run parameter that holds the items; only if no member's output is mapped over."""
        # What the items are made of are values for the submit task, not run parameters of their own.
        table = ParameterTable()
        values = self._values(table)
        spec = self._spec(values, values.node)
        inputs = {
            name: table.values[source.parameter]
            for name, source in values.inputs.items()
            if isinstance(source, FromParameter)
        }
        name = self._members.table.add(
            ("items", self.part.id),
            f"{self.part.id}_items",
            {"spec": protocol.seal(spec), "inputs": inputs},
            Encoding.ITEMS,
            f"items of {self.part.id}",
            kind="LIST",
        )
        return FromParameter(name), values.problems

    def whole_output(self) -> str | None:
        """Return the id of the one member whose whole output is all that is mapped over, or ``None``."""
        inner = self.inner()
        if len(inner) != 1:
            return None
        value = self._over(self._values(ParameterTable()))
        parts = list(value.values()) if isinstance(value, Mapping) else [value]
        others = [part for part in parts if not isinstance(part, PlainXComArg)]
        if len(parts) - len(others) != 1 or any(has_reference(part) for part in others):
            return None
        producer = inner[0]
        return None if producer in self._members.silent else producer

    def own_spec(self) -> tuple[dict[str, Any], list[Problem]]:
        """Return the expand spec for the producer itself: its own value stands for its output."""
        values = self._values(ParameterTable())

        def node(name: str, value: Any) -> Any:
            return {"$value": True} if isinstance(value, PlainXComArg) else values.node(name, value)

        return self._spec(values, node), values.problems

    def spec(self) -> tuple[dict[str, Any], Values]:
        """Return the expand spec for a gate task, and the inputs it takes."""
        values = self._values(self._members.table)
        return self._spec(values, values.node), values

    def _values(self, table: ParameterTable) -> Values:
        operator = next(iter(self.part.operators.values()))
        return Values(operator, self._members.operators, self._members.silent, table)

    def _spec(self, values: Values, node: Callable[[str, Any], Any]) -> dict[str, Any]:
        over = self._over(values)
        text = sorted(self.part.text_fields)
        if self.part.whole:
            return {
                "form": "kwargs",
                "node": self._node("expand_kwargs", over, node, values),
                "field": KWARGS_FIELD,
                "text": text,
                # Airflow renders the dicts of a mapped task, not those of a mapped group, whoever made them.
                **({"rendered": True} if isinstance(over, ResolveMixin) and self.part.shown else {}),
            }
        fields = [[item_field(key), self._node(key, value, node, values)] for key, value in over.items()]
        return {"form": "product", "fields": fields, "text": text}

    def _over(self, values: Values) -> Any:
        """Return what is mapped over: lists and outputs, files read, texts without Jinja rendered."""
        value: Any = self.part.expand_input.value
        if self.part.whole:
            return self._rendered("expand_kwargs", value, values)
        return {key: self._rendered(key, item, values) for key, item in value.items()}

    def _rendered(self, field: str, value: Any, values: Values) -> Any:
        if isinstance(value, ResolveMixin):
            return value
        # Airflow gives each task its item first and renders then; of a dict an item is a key with its value.
        items = list(value.items()) if isinstance(value, Mapping) else list(value)
        if self._verbatim(field):
            return items
        twice = hasattr(self.part.shown, "bash_command")
        return with_files(self.part.shown, field, items, values, twice=twice)

    def _verbatim(self, field: str) -> bool:
        """Tell whether Airflow hands on a literal item as it is: it renders fields of a mapped task alone."""
        if self.part.shown is None:
            return True
        decorated = isinstance(self.part.operators[self.part.id], DecoratedMappedOperator)
        return not decorated and not self.part.whole and field not in self.part.shown.template_fields

    def _node(self, field: str, value: Any, node: Callable[[str, Any], Any], values: Values) -> Any:
        if isinstance(value, ResolveMixin) or not self._verbatim(field):
            return node(field, value)
        items = []
        for index, item in enumerate(value):
            if self.part.whole and isinstance(item, ResolveMixin):
                items.append(node(f"{field}[{index}]", item))
                continue
            if holds_output(item):
                values.refuse(
                    f"{field}[{index}]",
                    item,
                    "a literal, or an output in place of the list, also of zip() or concat(): inside the "
                    "list Airflow hands on no value but the reference",
                )
                continue
            try:
                items.append(protocol.constant(item))
            except VertexValueError as error:
                values.refuse(f"{field}[{index}]", item, f"values that can travel ({error})")
        return items


def holds_output(value: Any) -> bool:
    """Tell whether the output of a task stands somewhere in a value."""
    if isinstance(value, Mapping):
        return any(holds_output(item) for item in value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return any(holds_output(item) for item in value)
    return isinstance(value, ResolveMixin)


def text_fields(sources: Mapping[str, Source]) -> set[str]:
    """Return the fields of the loop's items that a task wants as bare text."""
    return {
        source.field.removesuffix(TEXT_ENDING)
        for source in sources.values()
        if isinstance(source, FromItem) and source.field.endswith(TEXT_ENDING)
    }


def parallelism(operators: Mapping[str, Any]) -> int:
    """Return how many instances of a loop may run at once; 0 is no limit.

    The smallest of what its tasks allow: in one job a limit for a DAG is a limit for the run.
    """
    limits = [
        limit
        for operator in operators.values()
        for limit in (operator.max_active_tis_per_dag, operator.max_active_tis_per_dagrun)
        if limit is not None
    ]
    return min(limits, default=0)
