"""The registry of converters: the dotted name of an operator's class in, the module that converts it out.

A new operator family becomes supported by one more file here, named in :data:`MODULES`; another package
adds its own by an entry point of group ``airflow_vertex_provider.converters`` (docs/converters.md). Those are
loaded only when a group holds a class that is not known here, so a broken one harms no other group; the
refusal of that class then says which package is broken and why.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from airflow_vertex_provider.graph.plugins import registered

if TYPE_CHECKING:
    from airflow_vertex_provider.graph.converters.base import Converter

#: Converter modules of this package, in the order in which error messages name what they take.
MODULES = (
    "python",
    "virtualenv",
    "branching",
    "bash",
    "container",
    "component",
    "kubernetes",
    "docker",
    "image_functions",
    "empty",
)
ENTRY_POINT_GROUP = "airflow_vertex_provider.converters"


@dataclass
class ThirdParty:
    """What other packages add.

    :param converters: dotted class name to its converter.
    :param broken: what is wrong with the entry points that add nothing.
    """

    converters: dict[str, Converter] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)


@functools.cache
def registry() -> Mapping[str, Converter]:
    """Return the class names that this package itself converts; other packages cannot replace them."""
    found: dict[str, Converter] = {}
    for name in MODULES:
        converter = cast("Converter", importlib.import_module(f"{__name__}.{name}"))
        found.update(dict.fromkeys(converter.CLASSES, converter))
    return found


@functools.cache
def third_party() -> ThirdParty:
    """Load what other packages register. Runs at parse, once a process; never raises for their faults."""
    result = ThirdParty()
    owners: dict[str, str] = {}
    for where, converter, fault in registered(ENTRY_POINT_GROUP, "converter"):
        if fault:
            result.broken.append(fault)
            continue
        fault = _fault(converter) or ""
        if fault:
            result.broken.append(f"{where} {fault}")
            continue
        for name in converter.CLASSES:
            if name in registry():
                result.broken.append(f"{where} names {name}, which is converted already")
            elif name in owners:
                result.broken.append(f"{where} names {name}, as {owners[name]} does: none of them is used")
                result.converters.pop(name, None)
            else:
                owners[name] = where
                result.converters[name] = converter
    return result


def _fault(converter: object) -> str | None:
    """Say what keeps an object from being a converter, as ``base.Converter`` describes one."""
    classes = getattr(converter, "CLASSES", None)
    if not isinstance(classes, list | tuple) or not all(isinstance(name, str) for name in classes):
        return f"has CLASSES {classes!r}; allowed: a tuple of dotted names of operator classes"
    if not isinstance(getattr(converter, "LEAVES_VALUE", None), bool):
        return f"has LEAVES_VALUE {getattr(converter, 'LEAVES_VALUE', None)!r}; allowed: True or False"
    if not callable(getattr(converter, "convert", None)):
        return "has no function convert(operator, values)"
    return None


def class_name(operator: object) -> str:
    """Return the dotted name of an operator's class."""
    return f"{type(operator).__module__}.{type(operator).__qualname__}"


def converter_for(operator: object) -> Converter | None:
    """Return the converter for exactly this operator's class, or ``None``.

    A subclass is not its parent: it may do anything in ``execute``.
    """
    name = class_name(operator)
    return registry().get(name) or third_party().converters.get(name)


def supported() -> str:
    """Name what may stand in a group, for error messages; and what of other packages is broken."""
    others = third_party()
    names = [*map(_title, MODULES), *sorted(others.converters)]
    return "; but ".join([", ".join(names), *others.broken])


def _title(name: str) -> str:
    """Return what authors call the classes that a module converts."""
    module = importlib.import_module(f"{__name__}.{name}")
    return str(getattr(module, "TITLE", ", ".join(item.rpartition(".")[2] for item in module.CLASSES)))
