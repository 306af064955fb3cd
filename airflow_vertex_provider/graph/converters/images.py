"""Fields of operators that run an image: what the author said in, what Vertex cannot keep named.

KubernetesPodOperator and DockerOperator have dozens of fields, and every version has more. So each field the
author gave is looked at: it is carried, or it is one of those that matter only for how Airflow reaches and
watches its own pod or container, or it is refused unless it is the default.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_vertex_provider.graph.converters.base import Conversion
from airflow_vertex_provider.graph.converters.functions import function_call
from airflow_vertex_provider.graph.converters.python import payload
from airflow_vertex_provider.graph.model import TaskKind

if TYPE_CHECKING:
    from airflow_vertex_provider.graph.values import Values

#: Arguments of Airflow's decorated operators, which converters of functions read.
_OF_A_FUNCTION = frozenset({"python_callable", "op_args", "op_kwargs", "kwargs_to_upstream"})
_OTHER = "the default: the machine and its surroundings are chosen by Vertex AI and its settings"


def refuse_others(operator: Any, read: Collection[str], ways_out: Mapping[str, str], values: Values) -> None:
    """Refuse every field that the author gave and nobody reads, unless it is the default. Runs at parse.

    :param read: fields that are carried, or that change nothing but Airflow's own part.
    :param ways_out: field name to what is allowed in its place.
    """
    defaults = _defaults(type(operator))
    for name, value in given(operator).items():
        if name in read or name in _base_fields() or name in _OF_A_FUNCTION:
            continue
        if not _same(value, defaults.get(name)):
            values.refuse(name, value, ways_out.get(name, _OTHER))


def given(operator: Any) -> dict[str, Any]:
    """Return the arguments that an operator was made with, those of ``default_args`` among them."""
    return dict(getattr(operator, "_BaseOperator__init_kwargs", {}))


def function_in_image(operator: Any, values: Values, settings: Mapping[str, Any]) -> Conversion:
    """Return the conversion of a decorated function that runs in an image of its own.

    Airflow hands such a function the author's arguments alone, nothing of its context.
    """
    call = function_call(operator, values, context=(), drops=False, in_process=False, leaves_artifacts=True)
    return Conversion(
        TaskKind.PYTHON, payload(operator, call), settings, output_types=call.outputs if call else {}
    )


def image_setting(operator: Any) -> dict[str, Any]:
    """Return the operator's image as a setting, if it has one."""
    return {"image": operator.image} if operator.image is not None else {}


def _same(value: Any, default: Any) -> bool:
    if value is default or (not value and not default and not isinstance(value, bool | int | float)):
        return True
    return type(value) is type(default) and bool(value == default)


@functools.cache
def _base_fields() -> frozenset[str]:
    return frozenset(inspect.signature(BaseOperator.__init__).parameters)


def _defaults(kind: type[Any]) -> dict[str, Any]:
    """Return the defaults of an operator's arguments, the nearest class's first."""
    found: dict[str, Any] = {}
    for owner in kind.__mro__:
        made_by = vars(owner).get("__init__")
        if callable(made_by):
            for name, parameter in inspect.signature(made_by).parameters.items():
                if parameter.default is not parameter.empty:
                    found.setdefault(name, parameter.default)
    return found
