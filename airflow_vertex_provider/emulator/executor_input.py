"""A task's executor input, and what its container wrote: values and folders in, executor input out; files
in, outputs out. Forms and file names are those of vertex-observed sections 4 and 5.

The same input is built twice: as Vertex would record it, with ``/gcs/bucket/...`` paths and ``gs://``
artifacts, and for a process of this machine, with paths below the state directory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_vertex_provider.emulator import protos
from airflow_vertex_provider.emulator.parameters import check_type, compact, parse_output, typed
from airflow_vertex_provider.emulator.plan import Component

Json = dict[str, Any]

#: Where Vertex mounts Cloud Storage in a container.
VERTEX_MOUNT = "/gcs/"


class OutputError(Exception):
    """What a container wrote cannot be read as its declared outputs."""


def build(
    component: Component,
    values: Json,
    artifacts: Mapping[str, list[Json]],
    outputs: Mapping[str, list[Json]],
    folder: str,
    *,
    mount: str = VERTEX_MOUNT,
    keep_inputs: bool = False,
) -> Json:
    """Build an executor input.

    :param values: input parameters by name. :param artifacts: input artifacts by name.
    :param outputs: output artifacts, registered before the container runs.
    :param folder: the task's output folder as a ``gs://`` URI.
    :param mount: where the buckets are for the reader of this input, with a final slash.
    :param keep_inputs: write ``inputs`` even if there are none.
    """
    local = mount + folder.removeprefix("gs://")
    inputs: Json = {}
    if values:
        inputs["parameterValues"] = values
        inputs["parameters"] = {name: typed(value) for name, value in values.items()}
    if artifacts:
        inputs["artifacts"] = {name: _entries(items, mount) for name, items in artifacts.items()}
    result: Json = {"inputs": inputs} if inputs or keep_inputs else {}
    result["outputs"] = {"outputFile": f"{local}/executor_output.json"}
    if component.output_parameters:
        result["outputs"]["parameters"] = {
            name: {"outputFile": f"{local}/{name}"} for name in component.output_parameters
        }
    if outputs:
        result["outputs"]["artifacts"] = {name: _entries(items, mount) for name, items in outputs.items()}
    return result


def _entries(items: list[Json], mount: str) -> Json:
    return {
        "artifacts": [
            {
                "name": item["name"],
                "type": {"schemaTitle": item.get("schemaTitle", "")},
                "uri": item.get("uri", "")
                if mount == VERTEX_MOUNT or not item.get("uri", "").startswith("gs://")
                else mount + item["uri"].removeprefix("gs://"),
                "metadata": item.get("metadata", {}),
            }
            for item in items
        ]
    }


def read_outputs(
    component: Component, folder: Path, outputs: Mapping[str, list[Json]], mount: str
) -> tuple[Json, dict[str, list[Json]]]:
    """Read a finished task's outputs; ``executor_output.json`` wins over single files.

    :param folder: the task's output folder on this machine.
    :param mount: what a local path of the emulated buckets begins with.
    :raises OutputError: a file is damaged, or holds a value of the wrong type.
    """
    written = _executor_output(folder)
    parameters = _object(written.get("parameterValues"), "parameterValues")
    values: Json = {}
    for name, kind in component.output_parameters.items():
        try:
            if name in parameters:
                value = check_type(kind, parameters[name])
            elif (folder / name).is_file():
                value = parse_output(kind, (folder / name).read_bytes().decode("utf-8"))
            else:
                continue
            values[name] = protos.as_value(value)
        except (ValueError, RecursionError) as error:
            raise OutputError(f"output parameter {name!r}: {error}") from error
    artifacts: dict[str, list[Json]] = {}
    for name, items in outputs.items():
        changed = _changes(written, name)
        artifacts[name] = [
            _updated(item, changed[index] if index < len(changed) else {}, mount)
            for index, item in enumerate(items)
        ]
    return values, artifacts


def _object(value: Any, what: str) -> Json:
    """Return what should be a JSON object; null is one that is not there, as protobuf's JSON has it.

    :raises OutputError: it is something else.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise OutputError(f"executor_output.json: {what} is {compact(value)[:80]}, not an object")
    return value


def _changes(written: Json, name: str) -> list[Json]:
    """Return what a container wrote about one of its output artifacts."""
    lists = _object(written.get("artifacts"), "artifacts")
    where = f"artifacts[{name!r}]"
    items = _object(lists.get(name), where).get("artifacts")
    if items is None:
        return []
    if not isinstance(items, list):
        raise OutputError(f"executor_output.json: {where}.artifacts is not a list")
    changes = [_object(item, f"an entry of {where}") for item in items]
    for change in changes:
        if not isinstance(change.get("uri") or "", str):
            raise OutputError(f"executor_output.json: the uri of {where} is not a text")
        try:
            change["metadata"] = protos.as_value(_object(change.get("metadata"), f"the metadata of {where}"))
        except (ValueError, RecursionError) as error:
            raise OutputError(f"executor_output.json: the metadata of {where}: {error}") from error
    return changes


def _executor_output(folder: Path) -> Json:
    path = folder / "executor_output.json"
    if not path.is_file():
        return {}
    try:
        written = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise OutputError(f"executor_output.json is not JSON: {error}") from error
    if not isinstance(written, dict):
        raise OutputError("executor_output.json is not a JSON object")
    return written


def _updated(artifact: Json, written: Json, mount: str) -> Json:
    result = dict(artifact)
    uri = written.get("uri") or ""
    if uri:
        result["uri"] = f"gs://{uri.removeprefix(mount)}" if uri.startswith(mount) else uri
    if written.get("metadata"):
        result["metadata"] = {**artifact.get("metadata", {}), **written["metadata"]}
    return result


def read_error(folder: Path) -> str:
    """Return the error text a container left in ``executor_error.json``, or an empty string."""
    path = folder / "executor_error.json"
    if not path.is_file():
        return ""
    try:
        written = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return ""
    message = (
        written.get("errorMessage", written.get("error_message", "")) if isinstance(written, dict) else ""
    )
    return str(message)
