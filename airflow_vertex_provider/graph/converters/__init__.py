"""The registry of converters: the dotted name of an operator's class in, the module that converts it out.

A new operator family becomes supported by one more file here, named in :data:`MODULES`; another package
adds its own by an entry point of group ``airflow_vertex_provider.converters``.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from airflow_vertex_provider.graph.converters.base import Converter

#: Converter modules of this package, in the order in which error messages name what they take.
MODULES = ("python", "bash", "container", "component", "empty")
ENTRY_POINT_GROUP = "airflow_vertex_provider.converters"


@functools.cache
def registry() -> dict[str, Converter]:
    """Return every known class name with its converter; ours win over other packages'."""
    found: dict[str, Converter] = {}
    for entry_point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        converter = cast("Converter", entry_point.load())
        found.update(dict.fromkeys(converter.CLASSES, converter))
    for name in MODULES:
        converter = cast("Converter", importlib.import_module(f"{__name__}.{name}"))
        found.update(dict.fromkeys(converter.CLASSES, converter))
    return found


def class_name(operator: object) -> str:
    """Return the dotted name of an operator's class."""
    return f"{type(operator).__module__}.{type(operator).__qualname__}"


def converter_for(operator: object) -> Converter | None:
    """Return the converter for exactly this operator's class, or ``None``.

    A subclass is not its parent: it may do anything in ``execute``.
    """
    return registry().get(class_name(operator))


def supported() -> str:
    """Name what may stand in a group, for error messages."""
    return (
        "@task, @task.vertex, @task.bash, PythonOperator, BashOperator, VertexContainerOperator, "
        "VertexComponentOperator, EmptyOperator"
    )
