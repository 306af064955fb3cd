"""What a compiled pipeline takes: its root inputs and an author's values in, the values to send out.

Checked before the service is asked: a name that the pipeline does not have, a value of another type, one that
is missing (vertex-rules L07). ``None`` means that nothing is said, as in Google's SDK.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from airflow_vertex_provider.exceptions import VertexSettingsError

#: Parameter types of a PipelineSpec, each with the Python types that stand for it and how people call them.
_TYPES: Mapping[str, tuple[tuple[type, ...], str]] = {
    "STRING": ((str,), "a text"),
    "NUMBER_INTEGER": ((int,), "a whole number"),
    "NUMBER_DOUBLE": ((float, int), "a number"),
    "BOOLEAN": ((bool,), "True or False"),
    "LIST": ((list, tuple), "a list"),
    "STRUCT": ((dict,), "a dict"),
}
#: The API holds every number as a double: beyond this whole numbers would change.
MAX_INTEGER = 2**53
#: Resource name of an artifact in the metadata store; the API takes its last part.
_ARTIFACT = re.compile(r"projects/[^/]+/locations/[^/]+/metadataStores/default/artifacts/([^/]+)")


def parameter_values(
    spec: Mapping[str, Any], given: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the run parameters to send. Runs at submit.

    A text that reads as the declared type is taken for it: that is what a template of Airflow leaves.

    :param spec: the PipelineSpec.
    :param given: the author's, rendered. :param defaults: the template's own, which yield to these.
    :raises VertexSettingsError: a name is not known, a value is missing or of another type.
    """
    declared = _declared(spec, "parameters")
    _check_names("parameter_values", given, declared)
    said = {name: value for name, value in given.items() if value is not None}
    result = {name: value for name, value in (defaults or {}).items() if name in declared}
    for name, value in said.items():
        result[name] = _typed(f"parameter_values.{name}", value, str(declared[name].get("parameterType", "")))
    for name, item in declared.items():
        if name not in result and "defaultValue" not in item and not item.get("isOptional"):
            _, words = _TYPES.get(str(item.get("parameterType", "")), ((), "a value"))
            raise VertexSettingsError(
                f"parameter_values.{name}", None, f"{words}: the pipeline has no default for it"
            )
    return result


def input_artifacts(spec: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return the input artifacts to send: name to the id of one in the metadata store. Runs at submit.

    :param given: name to id or resource name; rendered.
    :raises VertexSettingsError: a name is not known, an artifact is missing, or something is no id.
    """
    declared = _declared(spec, "artifacts")
    _check_names("input_artifacts", given, declared)
    result = {}
    for name, value in given.items():
        if value is None:
            continue
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        match = _ARTIFACT.fullmatch(text) if isinstance(text, str) else None
        identifier = match[1] if match else text
        if not isinstance(identifier, str) or not identifier or "/" in identifier:
            raise VertexSettingsError(
                f"input_artifacts.{name}",
                value,
                "the id of an artifact in the metadata store of the job's project and location, or "
                "projects/<project>/locations/<location>/metadataStores/default/artifacts/<id>",
            )
        result[name] = {"artifact_id": identifier}
    for name, item in declared.items():
        if name not in result and not item.get("isOptional"):
            kind = item.get("artifactType", {}).get("schemaTitle", "artifact")
            raise VertexSettingsError(
                f"input_artifacts.{name}", None, f"the id of an artifact ({kind}): the pipeline needs it"
            )
    return result


def _declared(spec: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = spec["root"].get("inputDefinitions", {}).get(kind, {})
    return found


def _check_names(field: str, given: Mapping[str, Any], declared: Mapping[str, Any]) -> None:
    for name in given:
        if name not in declared:
            near = difflib.get_close_matches(str(name), declared, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise VertexSettingsError(
                field, name, f"inputs of the pipeline: {', '.join(sorted(declared)) or 'it has none'}{hint}"
            )


def _typed(field: str, value: Any, kind: str) -> Any:
    """Return a value of a declared type, as the API takes it."""
    types, words = _TYPES.get(kind, ((), ""))
    if not types:
        return value
    found = value
    if isinstance(value, str) and kind != "STRING":
        found = _read(value)
    if isinstance(found, float) and found.is_integer() and kind == "NUMBER_INTEGER":
        found = int(found)
    if not isinstance(found, types) or (isinstance(found, bool) and kind != "BOOLEAN"):
        raise VertexSettingsError(field, value, words)
    return _carried(field, found)


def _read(text: str) -> Any:
    """Read what a rendered template left of a number, a flag, a list or a dict."""
    stripped = text.strip()
    if stripped.lower() in ("true", "false"):
        return stripped.lower() == "true"
    try:
        return json.loads(stripped)
    except (ValueError, RecursionError):
        return text


def _carried(field: str, value: Any) -> Any:
    """Return a value in JSON's types; refuse what the API would change on the way."""
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise VertexSettingsError(field, value, "whole numbers up to 2**53; the API holds doubles alone")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise VertexSettingsError(field, value, "a finite number; JSON knows no other")
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise VertexSettingsError(field, key, "texts as keys")
        return {key: _carried(f"{field}.{key}", item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_carried(f"{field}[{index}]", item) for index, item in enumerate(value)]
    raise VertexSettingsError(field, value, "texts, numbers, True, False, None, lists and dicts")
