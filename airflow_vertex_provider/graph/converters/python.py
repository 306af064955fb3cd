"""``@task``, ``@task.vertex`` and PythonOperator: a function and its arguments in, a PYTHON task out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions.context import KNOWN_CONTEXT_KEYS

from airflow_vertex_provider.graph.context import CARRIED_KEYS
from airflow_vertex_provider.graph.converters.base import Conversion
from airflow_vertex_provider.graph.model import TaskKind
from airflow_vertex_provider.graph.source import CarryError, carry_function
from airflow_vertex_provider.runtime import protocol

if TYPE_CHECKING:
    from airflow_vertex_provider.graph.values import Values

CLASSES = (
    "airflow.providers.standard.operators.python.PythonOperator",
    "airflow.providers.standard.decorators.python._PythonDecoratedOperator",
    "airflow_vertex_provider.decorators.vertex.VertexDecoratedOperator",
)
LEAVES_VALUE = True


def convert(operator: Any, values: Values) -> Conversion:
    """See :mod:`airflow_vertex_provider.graph.converters.base`."""
    if operator.templates_dict:
        values.refuse("templates_dict", operator.templates_dict, "none; pass the templates as arguments")
    if operator.template_ext:
        values.refuse("templates_exts", list(operator.template_ext), "none; files are not read as templates")
    call = function_call(operator, values)
    payload = protocol.python_config(task=operator.task_id, **call) if call else {}
    return Conversion(TaskKind.PYTHON, payload)


def function_call(operator: Any, values: Values) -> dict[str, Any] | None:
    """Return which function is called, and how, as :func:`protocol.python_config` takes it.

    :return: ``None`` if the function cannot be carried; ``values`` then knows why.
    """
    function = operator.python_callable
    carried = None
    try:
        carried = carry_function(function)
    except CarryError as error:
        values.refuse_as("python_callable", str(error))
        if not isinstance(function, FunctionType):
            return None
    known = len(values.problems)
    op_args, op_kwargs = _arguments(operator, values)
    arguments = call_arguments(function, op_args, op_kwargs, values)
    if len(values.problems) == known:
        _check_call(function, op_args, op_kwargs, [name for name, _, _ in arguments], values)
    args = [
        values.node(name, item)
        for name, item in zip(_positions(function, len(op_args)), op_args, strict=True)
    ]
    kwargs = {}
    for name, item, is_context in arguments:
        kwargs[name] = values.context(name, optional=item) if is_context else values.node(name, item)
    if carried is None:
        return None
    if "AirflowSkipException" in carried.uses:
        values.refuse(
            "AirflowSkipException",
            f"raised in {carried.name} ({carried.file})",
            "a function that does not skip; skips inside a Vertex pipeline are not carried yet",
        )
    return {**carried.to_config(), "args": args, "kwargs": kwargs}


def _arguments(operator: Any, values: Values) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Return the arguments the author gave; none in place of what is no list or no dict."""
    op_args, op_kwargs = operator.op_args, operator.op_kwargs
    if not isinstance(op_args, Sequence) or isinstance(op_args, str | bytes):
        values.refuse("op_args", op_args, "a list; its items may be outputs of tasks")
        op_args = ()
    if not isinstance(op_kwargs, Mapping):
        values.refuse("op_kwargs", op_kwargs, "a dict; its values may be outputs of tasks")
        op_kwargs = {}
    return op_args, op_kwargs


def _check_call(
    function: Callable[..., Any],
    op_args: Sequence[Any],
    op_kwargs: Mapping[str, Any],
    names: Sequence[str],
    values: Values,
) -> None:
    """Refuse a call that the function would refuse; Airflow sees most of them only when the task runs."""
    signature = inspect.signature(function)
    # Airflow refuses these too, some when the task runs: they would be given by position and by name.
    twice = [
        name
        for name in list(signature.parameters)[: len(op_args)]
        if name in op_kwargs or name in CARRIED_KEYS
    ]
    try:
        signature.bind(*op_args, **dict.fromkeys([*names, *twice]))
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


def call_arguments(
    function: Callable[..., Any], op_args: Sequence[Any], op_kwargs: Mapping[str, Any], values: Values
) -> list[tuple[str, Any, bool]]:
    """List the keyword arguments of the call: name, value, and whether Airflow's context gives it.

    As in Airflow: an argument named like a context key gets that value unless the author passes one, and
    keyword arguments that the function does not take are dropped. For a context argument the value tells
    whether the function has a default for it.
    """
    signature = inspect.signature(function)
    covered = set(list(signature.parameters)[: len(op_args)])
    result: list[tuple[str, Any, bool]] = []
    for name, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            values.refuse(
                f"argument **{name}",
                f"{function.__name__} takes Airflow's whole context",
                "arguments by name, for example ds, params or run_id",
            )
            continue
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL or name in covered:
            continue
        if name in op_kwargs:
            result.append((name, op_kwargs[name], False))
        elif name in CARRIED_KEYS:
            result.append((name, parameter.default is not inspect.Parameter.empty, True))
        elif name in KNOWN_CONTEXT_KEYS:
            values.refuse(
                f"argument {name}",
                "an object that lives in Airflow's process",
                "one of " + ", ".join(sorted(CARRIED_KEYS)),
            )
    return result
