"""The published API types as judge: JSON in, the same JSON checked and normalised by aiplatform_v1 out.

Requests and answers both pass through here, so that the emulator neither accepts nor returns a field
that the real API does not have. Google's package takes seconds to load; it is loaded at first use.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from airflow_vertex_provider.emulator.errors import ApiError
from airflow_vertex_provider.emulator.parameters import whole

Json = dict[str, Any]

#: Deepest nesting of a request. In an answer the same values stand a few levels deeper, and protobuf's JSON
#: readers, so also Google's clients, stop at 100.
REQUEST_DEPTH = 90
#: Deepest nesting of a task's outputs, for the same reason.
VALUE_DEPTH = 80


@cache
def _message_class(name: str) -> Any:
    if name == "Operation":
        _message_class("PipelineJob")  # registers the types that an operation's Any fields hold
        from google.longrunning import operations_pb2

        return operations_pb2.Operation
    from google.cloud import aiplatform_v1

    return getattr(aiplatform_v1, name).pb()


def load() -> None:
    """Load the API types now, so that the first request is not the slow one."""
    for name in ("PipelineJob", "CustomJob", "Operation"):
        _message_class(name)
    check_spec({})


def normalise(name: str, body: Mapping[str, Any], *, enums_as_ints: bool = False) -> Json:
    """Check ``body`` against the message ``name`` and return it in the API's JSON form.

    :param name: name of a message of ``google.cloud.aiplatform_v1``, or ``Operation``.
    :param body: JSON object; field names in camelCase or snake_case, enums by name or number.
    :param enums_as_ints: write enums as numbers, as clients that send ``enum-encoding=int`` ask.
    :raises ApiError: INVALID_ARGUMENT; the body has an unknown field or a value of the wrong type.
    """
    from google.protobuf import json_format

    try:
        message = json_format.ParseDict(dict(body), _message_class(name)())
    except json_format.ParseError as error:
        raise ApiError(
            "INVALID_ARGUMENT",
            f"Invalid JSON payload received. {_readable(str(error))}",
            [
                {
                    "@type": "type.googleapis.com/google.rpc.BadRequest",
                    "fieldViolations": [{"description": _readable(str(error))}],
                }
            ],
        ) from error
    result: Json = whole(json_format.MessageToDict(message, use_integers_for_enums=enums_as_ints))
    return result


def _readable(text: str) -> str:
    unknown = re.search(r'no field named "([^"]*)" at "([^"]*)"', text)
    if unknown:
        return f"Unknown name \"{unknown[1]}\" at '{unknown[2]}': Cannot find field."
    return text.split("\n")[0]


def shallow(value: Any, depth: int) -> bool:
    """Tell whether a JSON value is nested at most ``depth`` deep."""
    level = [value]
    for _ in range(depth + 1):
        level = [
            inner
            for item in level
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return True
    return False


def as_value(value: Any) -> Any:
    """Return what ``value`` becomes after travelling as a ``google.protobuf.Value``.

    Every number is a double there, so an integer above 2**53 comes back rounded; the emulator rounds it
    too. ``NaN`` and infinities cannot travel.

    :raises ValueError: the value cannot be written as a protobuf value.
    """
    from google.protobuf import json_format, struct_pb2

    if not shallow(value, VALUE_DEPTH):
        raise ValueError(f"nested more than {VALUE_DEPTH} deep")
    try:
        message = json_format.ParseDict(value, struct_pb2.Value())
        return whole(json_format.MessageToDict(message))
    except (json_format.ParseError, json_format.SerializeToJsonError, TypeError, OverflowError) as error:
        raise ValueError(f"not a JSON value that the API can carry: {error}") from error


@cache
def _pipeline_spec_module() -> Any:
    """Return the module of Kubeflow's PipelineSpec, without the seconds that importing all of kfp takes."""
    name = "kfp.pipeline_spec.pipeline_spec_pb2"
    package = None if name in sys.modules else importlib.util.find_spec("kfp")
    for folder in (package.submodule_search_locations or ()) if package else ():
        path = Path(folder) / "pipeline_spec" / "pipeline_spec_pb2.py"
        spec = importlib.util.spec_from_file_location("airflow_vertex_provider_pipeline_spec_pb2", path)
        if path.is_file() and spec and spec.loader:
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    from kfp.pipeline_spec import pipeline_spec_pb2

    return pipeline_spec_pb2


def check_spec(spec: Mapping[str, Any]) -> str | None:
    """Check a PipelineSpec against Kubeflow's published type; return what is wrong with it, or None."""
    from google.protobuf import json_format

    try:
        json_format.ParseDict(dict(spec), _pipeline_spec_module().PipelineSpec())
        # In the spec this part is a free-form Struct, but it has a type of its own.
        deployment = spec.get("deploymentSpec") or {}
        json_format.ParseDict(dict(deployment), _pipeline_spec_module().PipelineDeploymentConfig())
    except json_format.ParseError as error:
        return _readable(str(error))
    return None
