"""The call of a member's function: the operator's arguments in, what the entry point is told to call out.

For every operator that runs an author's function. Which function it is, is read from its text; arguments come
from the author, from ``templates_dict`` and from Airflow's context, by the same rules as in Airflow.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions._internal.mixins import ResolveMixin
from airflow.sdk.definitions.context import KNOWN_CONTEXT_KEYS

from airflow_vertex_provider.graph.artifacts import Ports, ports_of, schema_title
from airflow_vertex_provider.graph.code import CarriedFunction, CarryError, carry_function
from airflow_vertex_provider.graph.context import CARRIED_KEYS, RUN
from airflow_vertex_provider.graph.context_use import (
    ContextUse,
    first_use,
    getter_lines,
    uses_of_context,
    uses_of_run,
)
from airflow_vertex_provider.graph.model import ARTIFACT_PREFIX
from airflow_vertex_provider.graph.template_files import with_files
from airflow_vertex_provider.runtime import protocol

if TYPE_CHECKING:
    from airflow_vertex_provider.graph.values import Values

#: Keys of the context that an operator offers its function, unless it says otherwise.
WHOLE_CONTEXT = frozenset(KNOWN_CONTEXT_KEYS) - {"templates_dict"}
#: Packages that have the names of artifacts.
_ARTIFACTS_FROM = re.compile(r"\b(kfp|airflow_vertex_provider)\b")
_SKIP = "AirflowSkipException"
_FAIL = "AirflowFailException"


@dataclass(frozen=True)
class FunctionCall:
    """How a function is called.

    :param config: what :func:`protocol.python_config` and :func:`protocol.bash_config` take for a function.
    :param may_skip: the function names Airflow's exception for a skip.
    :param outputs: name to type of the outputs that its artifacts make.
    """

    config: Mapping[str, Any]
    may_skip: bool = False
    outputs: Mapping[str, str] = field(default_factory=dict)


def function_call(
    operator: Any,
    values: Values,
    *,
    context: Collection[str] = WHOLE_CONTEXT,
    own: Mapping[str, Any] | None = None,
    drops: bool = True,
    in_process: bool = True,
    leaves_artifacts: bool = False,
) -> FunctionCall | None:
    """Return which function is called, and how. Runs at parse.

    :param context: keys of Airflow's context that the operator offers its function.
    :param own: further arguments of the operator's, which win over the author's.
    :param drops: the operator leaves out keyword arguments that the function does not take.
    :param in_process: Airflow sees the exceptions of the function as they are, so it can ask for a skip.
    :param leaves_artifacts: the task may have ``Output[...]`` parameters; the call's ``outputs`` are then to
        be the conversion's ``output_types``.
    :return: ``None`` if the function cannot be carried; ``values`` then knows why.
    """
    function = operator.python_callable
    carried = None
    try:
        carried = carry_function(function, values.code)
    except CarryError as error:
        values.refuse_as("python_callable", str(error))
        if not isinstance(function, FunctionType):
            return None
    known = len(values.problems)
    op_args, op_kwargs = _given(operator, values)
    listed = isinstance(op_args, list)
    named = isinstance(op_kwargs, Mapping)
    given = {**(op_kwargs if named else {}), **(own or {})}
    open_ended = values.spread or not named
    ports = ports_of(function)
    for name, found, allowed in ports.problems:
        values.refuse(f"argument {name}", found, allowed)
    if ports.outputs and not leaves_artifacts:
        values.refuse(
            f"argument {', '.join(ports.outputs)}",
            "an Output[...]",
            "none here; a task of its own can leave it",
        )
    call = _Call(
        function, carried, values, context, given, len(op_args) if listed else 0, drops, open_ended, ports
    )
    call.read()
    if len(values.problems) == known and listed and not open_ended:
        _check_call(function, op_args, call, values)
    args = (
        [
            call.node(name, item)
            for name, item in zip(_positions(function, len(op_args)), op_args, strict=True)
        ]
        if listed
        else values.node("op_args", op_args)
    )
    if carried is None:
        return None
    for line in getter_lines(carried):
        values.refuse(
            "get_current_context",
            f"used in {carried.name} ({carried.file}, line {line})",
            "arguments by name, for example ds, params or run_id",
        )
    if not in_process and _FAIL in carried.uses and operator.retries:
        values.refuse(
            _FAIL,
            f"named in {carried.name} ({carried.file}), with {operator.retries} retries",
            "no retries, or another exception: in a process of its own Airflow retries any",
        )
    config = {**carried.to_config(), "args": args, "kwargs": call.kwargs, "context": call.context}
    if values.spread:
        config["spread"] = values.spread_node()
    elif not named:
        config["spread"] = values.node("op_kwargs", op_kwargs)
        config["takes"] = call.takes() if drops else None
    if ports.inputs or ports.outputs or _may_import_artifacts(carried):
        config["artifact_types"] = True
    if ports.outputs and leaves_artifacts:
        config["artifacts"] = {name: schema_title(kind) for name, kind in ports.outputs.items()}
    texts = {f"{ARTIFACT_PREFIX}{name}": "STRING" for name in ports.outputs}
    return FunctionCall(config, in_process and _SKIP in carried.uses, {**ports.outputs, **texts})


def _given(operator: Any, values: Values) -> tuple[Any, Any]:
    """Return the arguments the author gave, files read: a list and a dict, or outputs of tasks that are.

    What is none of these is refused, and an empty list or dict stands in its place.
    """
    op_args, op_kwargs = operator.op_args, operator.op_kwargs
    if not isinstance(op_args, ResolveMixin):
        if not isinstance(op_args, Sequence) or isinstance(op_args, str | bytes):
            values.refuse("op_args", op_args, "a list, or the output of a task that is one")
            op_args = ()
        op_args = with_files(operator, "op_args", list(op_args), values)
    if not isinstance(op_kwargs, ResolveMixin):
        if not isinstance(op_kwargs, Mapping):
            values.refuse("op_kwargs", op_kwargs, "a dict, or the output of a task that is one")
            op_kwargs = {}
        op_kwargs = with_files(operator, "op_kwargs", op_kwargs, values)
    return op_args, op_kwargs


def _may_import_artifacts(carried: CarriedFunction) -> bool:
    """Tell whether a function's code may import the names of artifacts, by what is known of its text."""
    texts = (carried.source, *(text for _, text in carried.reached))
    return carried.module is not None or any(_ARTIFACTS_FROM.search(text) for text in texts)


class _Call:
    """Sorts a call's keyword arguments: those of the author, and those that Airflow's context gives."""

    def __init__(
        self,
        function: Callable[..., Any],
        carried: CarriedFunction | None,
        values: Values,
        offered: Collection[str],
        given: Mapping[str, Any],
        positional: int,
        drops: bool,
        open_ended: bool,
        ports: Ports,
    ) -> None:
        self.kwargs: dict[str, Any] = {}
        #: Keys that give way to arguments whose names are known only when the task runs.
        self.context: dict[str, Any] = {}
        self.offered = offered
        self.given = given
        self._ports = ports
        self._function = function
        self._carried = carried
        self._values = values
        self._parameters = inspect.signature(function).parameters
        self._covered = set(list(self._parameters)[:positional])
        self._drops = drops
        self._open_ended = open_ended

    def read(self) -> None:
        """Fill :attr:`kwargs` and :attr:`context`, in the order of the function's own parameters.

        As in Airflow: an argument named like a context key gets that value unless the author passes one, and
        keyword arguments that the function does not take are dropped.
        """
        named = {
            name: parameter
            for name, parameter in self._parameters.items()
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        }
        rest = next((name for name, item in self._parameters.items() if item.kind is item.VAR_KEYWORD), None)
        for name, parameter in named.items():
            if name in self._covered:
                continue
            if name in self.given or name in self._ports.outputs:
                self.kwargs[name] = self.node(name, self.given.get(name))
            elif name in self.offered:
                self._from_context(name, optional=parameter.default is not parameter.empty)
        for name, value in self.given.items():
            if name not in named and (rest is not None or not self._drops):
                self.kwargs[name] = self._values.node(name, value)
        if rest is not None and self.offered and self._carried is not None:
            self._rest(rest, set(named))

    def node(self, name: str, value: Any) -> Any:
        """Return the node for an argument that the author gave: a value, or an artifact's place."""
        output, wanted = self._ports.outputs.get(name), self._ports.inputs.get(name)
        if output is not None:
            if value is not None:
                self._values.refuse(
                    f"argument {name}", value, "nothing: the task itself makes what an Output[...] is"
                )
            return {"$output": name, "as": schema_title(output)}
        return self._values.artifact_node(name, value, wanted) if wanted else self._values.node(name, value)

    def takes(self) -> list[str] | None:
        """Return the names that a dict known only to the run may give; ``None`` for any."""
        if any(item.kind is item.VAR_KEYWORD for item in self._parameters.values()):
            return None
        return [
            name
            for name, item in self._parameters.items()
            if item.kind is not item.VAR_POSITIONAL and name not in self._covered and name not in self.kwargs
        ]

    def _from_context(self, name: str, *, optional: bool) -> None:
        # What only the run names goes before the context, as in Airflow.
        target = self.context if self._open_ended else self.kwargs
        if name in CARRIED_KEYS:
            target[name] = self._values.context(name, optional=optional)
        elif name == RUN:
            if self._carried is not None:
                use = uses_of_run(self._carried, name)
                for found, allowed in use.problems:
                    self._values.refuse(f"argument {RUN}", found, allowed)
                target[name] = self._run(use)
        else:
            line = "" if self._carried is None else f", line {first_use(self._carried, name)}"
            self._values.refuse(
                f"argument {name}",
                f"an object that lives in Airflow's process ({self._function.__name__}{line})",
                "one of " + ", ".join(sorted({*CARRIED_KEYS, RUN})),
            )

    def _rest(self, rest: str, named: set[str]) -> None:
        """Carry what the function reads of the context in its ``**`` argument."""
        if self._carried is None:
            return
        # Keys that the function or the author names are no keys of the context any more.
        offered = set(self.offered) - named - set(self.given)
        live = offered - CARRIED_KEYS - {RUN}
        use = uses_of_context(self._carried, rest, live, with_run=RUN in offered)
        for found, allowed in use.problems:
            self._values.refuse(f"argument **{rest}", found, allowed)
        for key in sorted(use.keys & CARRIED_KEYS & offered):
            self.context[key] = self._values.context(key, optional=True)
        if use.run is not None:
            self.context[RUN] = self._run(use)

    def _run(self, use: ContextUse) -> Any:
        return protocol.known_object(
            {name: self._values.context(f"{RUN}.{name}", optional=False) for name in sorted(use.run or ())}
        )


def _check_call(function: Callable[..., Any], op_args: Sequence[Any], call: _Call, values: Values) -> None:
    """Refuse a call that the function would refuse; Airflow sees most of them only when the task runs."""
    signature = inspect.signature(function)
    # Airflow refuses these too, some when the task runs: they would be given by position and by name.
    twice = [
        name
        for name in list(signature.parameters)[: len(op_args)]
        if name in call.given or name in call.offered
    ]
    try:
        signature.bind(*op_args, **dict.fromkeys([*call.kwargs, *call.context, *twice]))
    except TypeError as error:
        values.refuse("op_args, op_kwargs", str(error), f"a call that fits {function.__name__}{signature}")


def _positions(function: Callable[..., Any], count: int) -> list[str]:
    """Name the first positional arguments, for inputs and messages: as the function does where it does."""
    named = [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    ]
    return [named[index] if index < len(named) else f"op_args[{index}]" for index in range(count)]
