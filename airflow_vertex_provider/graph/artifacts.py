"""Artifacts of functions: a function in, which of its parameters are artifacts, and of what type, out.

Annotations are read as kfp reads them, ours and kfp's own, without importing kfp: both are ``Annotated`` with
a mark. Text annotations are evaluated one by one in the function's own names.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow.sdk.definitions.mappedoperator import MappedOperator

from airflow_vertex_provider.graph.component_spec import ARTIFACT, ARTIFACT_LIST
from airflow_vertex_provider.graph.model import (
    ARTIFACT_PREFIX,
    RETURN_OUTPUT,
    TEXT_OUTPUT,
    TYPED_PREFIX,
    URI_PREFIX,
)

#: Outputs that a member has besides, which an artifact cannot be called like.
_TAKEN = frozenset(
    {RETURN_OUTPUT, TEXT_OUTPUT, "return_value", "gcp_resources", "vertex_url", "vertex_logs_url"}
)
_TAKEN_STARTS = (ARTIFACT_PREFIX, TYPED_PREFIX, URI_PREFIX, "Follow_", "Items_", "Relay_")
#: Text that means an artifact, whatever it evaluates to.
_MEANT = re.compile(r"\b(Input|Output|InputPath|OutputPath)\s*[\[(]")
_WAY_OUT = "a name that the module itself has, also outside of TYPE_CHECKING and of other functions"
#: kfp's types that need more than a class with methods.
_NOT_HERE = {
    "system.SlicedClassificationMetrics": "Output[ClassificationMetrics] for each slice",
}


@dataclass(frozen=True)
class Ports:
    """The artifacts of one function.

    :param inputs: parameter name to type, as :func:`~.component_spec.artifact_type` writes it.
    :param outputs: likewise.
    :param problems: parameter, what was found, what is allowed.
    """

    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[tuple[str, str, str], ...] = ()


_NONE = Ports()
_KNOWN: weakref.WeakKeyDictionary[Any, Ports] = weakref.WeakKeyDictionary()


def ports_of(function: object) -> Ports:
    """Return the artifacts among a function's parameters. Runs at parse."""
    if not isinstance(function, types.FunctionType) or not function.__annotations__:
        return _NONE
    known = _KNOWN.get(function)
    if known is None:
        known = _KNOWN[function] = _read(function)
    return known


def outputs_of(operator: Any) -> Mapping[str, str]:
    """Return name and type of the artifacts that a function's task leaves, mapped or not."""
    function = getattr(operator, "python_callable", None)
    if function is None and isinstance(operator, MappedOperator):
        function = operator.partial_kwargs.get("python_callable")
    return ports_of(function).outputs


def schema_title(kind: str) -> str:
    """Return what an artifact is of a type as the graph writes it: ``system.Model``."""
    return kind.split(" ", 1)[1].rpartition("@")[0]


def _read(function: types.FunctionType) -> Ports:
    inputs: dict[str, str] = {}
    outputs: dict[str, str] = {}
    problems: list[tuple[str, str, str]] = []
    for name, annotation in function.__annotations__.items():
        shown = annotation if isinstance(annotation, str) else _shown(annotation)
        try:
            mark, kind = _kind(_evaluated(annotation, function))
        except _Unreadable as error:
            problems.append((name, f"the annotation {shown}: {error.found}", error.allowed))
            continue
        if kind is None:
            continue
        if name == "return":
            problems.append(
                (
                    name,
                    f"the annotation {shown}",
                    "an argument Output[...]: what is written to its path is it",
                )
            )
        elif mark == "input":
            inputs[name] = kind
        else:
            problems.extend((name, *problem) for problem in _output_problems(name, kind, outputs))
            outputs[name] = kind
    return Ports(inputs, outputs, tuple(problems))


def _output_problems(name: str, kind: str, others: Mapping[str, str]) -> list[tuple[str, str]]:
    found = []
    if kind.startswith(ARTIFACT_LIST):
        found.append(("an Output of a list", "one artifact for each Output, or a mapped task"))
    if name in _TAKEN or name.startswith(_TAKEN_STARTS) or not name.isascii():
        found.append(
            (
                f"an Output called {name!r}",
                f"another name, of ASCII, that does not begin with {', '.join(_TAKEN_STARTS)}",
            )
        )
    alike = [other for other in others if other.lower() == name.lower()]
    if alike:
        found.append((f"the Outputs {name!r} and {alike[0]!r}", "names that differ in more than case"))
    return found


class _Unreadable(Exception):
    """An annotation that means an artifact and cannot be read as one."""

    def __init__(self, found: str, allowed: str) -> None:
        super().__init__(found)
        self.found = found
        self.allowed = allowed


def _evaluated(annotation: Any, function: types.FunctionType) -> Any:
    if not isinstance(annotation, str):
        return annotation
    # A decorator's wrapper has the annotations of what it wraps, and its own module's names.
    function = inspect.unwrap(function)
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    names: dict[str, Any] = {}
    for name, cell in cells:
        try:
            names[name] = cell.cell_contents
        except ValueError:  # bound after the function
            continue
    try:
        return eval(annotation, function.__globals__, names)  # noqa: S307 - what typing.get_type_hints does
    except Exception as error:
        if _MEANT.search(annotation):
            raise _Unreadable(f"it cannot be read ({type(error).__name__}: {error})", _WAY_OUT) from error
        return None


def _kind(annotation: Any) -> tuple[str, str | None]:
    """Return whether an annotation is an input or an output, and its type; ``None`` if it is no artifact."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        others = [item for item in typing.get_args(annotation) if item is not type(None)]
        return _kind(others[0]) if len(others) == 1 else ("", None)
    mark = "input"
    if origin is typing.Annotated:
        marks = [_name_of(item) for item in annotation.__metadata__]
        if "OutputAnnotation" in marks:
            mark = "output"
        elif "InputAnnotation" not in marks:
            return _kind(annotation.__origin__)
        kind = _type(annotation.__origin__)
        if kind is None:
            raise _Unreadable(
                f"{_shown(annotation.__origin__)} is no artifact",
                "Artifact, Dataset, Model, Metrics, ClassificationMetrics, HTML, Markdown or another class "
                "with schema_title and schema_version; other values need neither Input nor Output",
            )
        return mark, kind
    if _name_of(annotation) in ("InputPath", "OutputPath"):
        raise _Unreadable(
            "a path of kfp",
            "Output[Artifact], whose path it is, or a returned value; an input needs no annotation",
        )
    return mark, _type(annotation)


def _name_of(item: Any) -> str:
    """Return the name of a mark of ours or kfp's, a class or an object of one."""
    kind = item if isinstance(item, type) else type(item)
    known = kind.__module__.split(".")[0] in ("kfp", "airflow_vertex_provider")
    return kind.__name__ if known else ""


def _type(kind: Any) -> str | None:
    """Return an artifact class as a type of the graph: any class with a schema, as kfp has it."""
    label = ARTIFACT
    if typing.get_origin(kind) is list:
        (kind,) = typing.get_args(kind)
        label = ARTIFACT_LIST
    title, version = getattr(kind, "schema_title", None), getattr(kind, "schema_version", None)
    if not (isinstance(kind, type) and isinstance(title, str) and isinstance(version, str)):
        return None
    if title in _NOT_HERE:
        raise _Unreadable(kind.__name__, _NOT_HERE[title])
    return f"{label} {title}@{version}"


def _shown(annotation: Any) -> str:
    if isinstance(annotation, type):
        return annotation.__name__
    return re.sub(r"[\w.]+\.", "", str(annotation))
