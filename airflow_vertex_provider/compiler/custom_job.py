"""Custom jobs: a task's own container and its machine settings in, the launcher's container out.

Vertex AI Pipelines runs a task on a machine of its choice by running Google's launcher, which creates a
custom job from a JSON payload, waits for it and reports its state. Image, command, arguments and the shape
of the payload are read from the installed google-cloud-pipeline-components (GCPC), once per process, so a
newer GCPC carries over. Our settings go into the payload as constants: no argument of the author's
function can replace one, whatever it is called (L09).
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from airflow_vertex_provider import checks
from airflow_vertex_provider.exceptions import VertexSettingsError
from airflow_vertex_provider.settings import (
    DEFAULT_BOOT_DISK_SIZE_GB,
    DEFAULT_BOOT_DISK_TYPE,
    DEFAULT_MACHINE_TYPE,
    CustomJob,
    raw,
)

_DISTRIBUTION = "google-cloud-pipeline-components"
_SLOT = re.compile(r"\{\{\$\.inputs\.parameters\['(\w+)'\]\}\}")
_QUOTED_SLOT = re.compile(r'"?' + _SLOT.pattern + r'"?')
#: Output that the launcher writes and the service reads, so that a cancelled pipeline cancels the job.
GCP_RESOURCES = "gcp_resources"

#: Settings that describe the machine and its container; together they make ``worker_pool_specs``.
_POOL_SETTINGS = frozenset(
    {
        "machine_type",
        "accelerator_type",
        "accelerator_count",
        "replica_count",
        "boot_disk_type",
        "boot_disk_size_gb",
        "nfs_mounts",
        "reservation_affinity",
        "env",
    }
)
#: Settings that the launcher has no parameter for.
_NO_PARAMETERS = frozenset({"additional_training_job_args", "allow_unlisted_machine"})
#: All others have the launcher's own names.
_JOB_SETTINGS = tuple(
    item.name for item in fields(CustomJob) if item.name not in _POOL_SETTINGS | _NO_PARAMETERS
)
#: Parameters of the launcher that every job sets.
_ALWAYS_SET = ("display_name", "worker_pool_specs", "project", "location")


@dataclass(frozen=True)
class _Slot:
    """The place of a launcher parameter's value."""

    name: str


@dataclass(frozen=True)
class LauncherTemplate:
    """Google's launcher, as the installed GCPC defines it.

    :param image: its container image.
    :param command: its command.
    :param args: its arguments; one that takes a value of ours is a slot.
    :param payload: index in ``args`` of the payload's text, and the payload with slots.
    :param defaults: parameter name to default value, of the parameters that have one.
    :param slots: names of all parameters it takes.
    """

    image: str
    command: tuple[str, ...]
    args: tuple[str | _Slot, ...]
    payload: tuple[int, Any]
    defaults: Mapping[str, Any]
    slots: frozenset[str]


@functools.cache
def launcher_template() -> LauncherTemplate:
    """Read the launcher from the installed GCPC, which loads kfp: some two seconds, once per process.

    :raises VertexSettingsError: GCPC's launcher has another form than the one known here.
    """
    from google.protobuf import json_format
    from google_cloud_pipeline_components.v1.custom_job import component

    return read_template(json_format.MessageToDict(component.custom_training_job.pipeline_spec))


def read_template(spec: Mapping[str, Any]) -> LauncherTemplate:
    """Read the launcher from the PipelineSpec of GCPC's custom training job component.

    :raises VertexSettingsError: the component has another form than the one known here.
    """
    try:
        (component,) = spec["components"].values()
        (executor,) = spec["deploymentSpec"]["executors"].values()
        container = executor["container"]
        parameters: Mapping[str, Mapping[str, Any]] = component["inputDefinitions"]["parameters"]
        args: list[str] = list(container["args"])
        position = args.index("--payload") + 1
        # A parameter that is not a string stands there without quotes; with them the text is JSON.
        payload = _with_slots(
            json.loads(_QUOTED_SLOT.sub(lambda slot: f'"{slot[0].strip(chr(34))}"', args[position]))
        )
        slots = frozenset(_slots([*_with_slots(args), payload]))
        template = LauncherTemplate(
            image=container["image"],
            command=tuple(container["command"]),
            args=tuple(_with_slots(args)),
            payload=(position, payload),
            defaults={
                name: definition["defaultValue"]
                for name, definition in parameters.items()
                if "defaultValue" in definition
            },
            slots=slots,
        )
        written = container["args"][args.index("--gcp_resources") + 1]
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise _unusable(f"a launcher of another form ({type(error).__name__}: {error})") from error

    if not isinstance(payload.get("job_spec"), dict):
        raise _unusable("no job_spec in its payload")
    for name in _ALWAYS_SET:
        if name not in slots:
            raise _unusable(f"no parameter {name!r}")
    for name in sorted(slots):
        if name not in _ALWAYS_SET and name not in template.defaults:
            raise _unusable(f"a parameter {name!r} without a default")
    if GCP_RESOURCES not in written:
        raise _unusable(f"no output {GCP_RESOURCES!r}")
    return template


def launcher_container(
    container: Mapping[str, Any],
    job: CustomJob,
    *,
    display_name: str,
    project: str | None = None,
    location: str | None = None,
    timeout: float | None = None,
) -> dict[str, Any]:
    """Wrap a task's container in Google's launcher, with the job's settings as constants.

    Runs at submit. Strings of ``container`` may hold placeholders of the pipeline; they stand inside JSON
    here, so each must be of the kind that the service escapes (``.json_escape[1]``). The result writes the
    output ``gcp_resources``, which the component has to declare.

    :param container: the task's own container: ``image``, ``command``, ``args`` and ``env`` (name to value).
    :param job: merged settings, templates rendered.
    :param display_name: name of the custom job where ``job`` names none (L03).
    :param project: project of the job; ``None`` is the pipeline's, filled in by the service.
    :param location: region of the job; ``None`` is the pipeline's, filled in by the service.
    :param timeout: longest run in seconds, besides ``job.timeout``; the shorter one holds (L15).
    :raises VertexSettingsError: the installed GCPC is not known here or lacks a setting that ``job`` uses.
    """
    template = launcher_template()
    values: dict[str, Any] = {
        name: value for name in _JOB_SETTINGS if (value := getattr(job, name)) is not None
    }
    values.setdefault("display_name", display_name)
    values["worker_pool_specs"] = _worker_pool_specs(container, job)
    if project is not None:
        values["project"] = project
    if location is not None:
        values["location"] = location
    if timeout is not None:
        said = values.get("timeout")
        limit = checks.duration("timeout", timeout)
        values["timeout"] = limit if said is None else min(said, limit, key=lambda text: float(text[:-1]))
    if "labels" in values:
        values["labels"] = dict(sorted(values["labels"].items()))

    position, payload = template.payload
    for name in values:
        if name not in template.slots:
            raise VertexSettingsError(
                f"custom_job.{name}",
                values[name],
                f"nothing: the installed {_DISTRIBUTION} {_version()} cannot set it",
            )
    values = {**template.defaults, **values}
    args = _fill(list(template.args), values)
    filled = _fill(payload, values)
    if job.additional_training_job_args:
        filled["job_spec"] = raw.merged(job.additional_training_job_args, filled["job_spec"])
    args[position] = json.dumps(filled, separators=(",", ":"))
    return {"image": template.image, "command": list(template.command), "args": args}


def _worker_pool_specs(container: Mapping[str, Any], job: CustomJob) -> list[dict[str, Any]]:
    """Describe the machines: one chief and, in a second pool, the other replicas, all of the same kind."""
    machine: dict[str, Any] = {"machine_type": job.machine_type or DEFAULT_MACHINE_TYPE}
    if job.accelerator_type is not None:
        machine["accelerator_type"] = job.accelerator_type
        machine["accelerator_count"] = job.accelerator_count
    if job.reservation_affinity is not None:
        machine["reservation_affinity"] = dict(job.reservation_affinity)
    pool = {
        "machine_spec": machine,
        "replica_count": 1,
        "container_spec": {
            "image_uri": container["image"],
            "command": list(container.get("command", ())),
            "args": list(container.get("args", ())),
            "env": [
                {"name": name, "value": value} for name, value in sorted(container.get("env", {}).items())
            ],
        },
        "disk_spec": {
            "boot_disk_type": job.boot_disk_type or DEFAULT_BOOT_DISK_TYPE,
            "boot_disk_size_gb": job.boot_disk_size_gb or DEFAULT_BOOT_DISK_SIZE_GB,
        },
    }
    if job.nfs_mounts:
        pool["nfs_mounts"] = [dict(mount) for mount in job.nfs_mounts]
    others = int(job.replica_count or 1) - 1
    return [pool, {**pool, "replica_count": others}] if others else [pool]


def _with_slots(data: Any) -> Any:
    """Replace every string that is one parameter's placeholder by its slot."""
    if isinstance(data, dict):
        return {key: _with_slots(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_with_slots(value) for value in data]
    if isinstance(data, str) and (match := _SLOT.fullmatch(data)):
        return _Slot(match[1])
    return data


def _fill(data: Any, values: Mapping[str, Any]) -> Any:
    """Put the values into their slots."""
    if isinstance(data, dict):
        return {key: _fill(value, values) for key, value in data.items()}
    if isinstance(data, list):
        return [_fill(value, values) for value in data]
    return values[data.name] if isinstance(data, _Slot) else data


def _slots(data: Any) -> set[str]:
    """Collect the names of all slots."""
    if isinstance(data, dict):
        data = list(data.values())
    if isinstance(data, list):
        return {name for value in data for name in _slots(value)}
    return {data.name} if isinstance(data, _Slot) else set()


def _version() -> str:
    return importlib.metadata.version(_DISTRIBUTION)


def _unusable(what: str) -> VertexSettingsError:
    return VertexSettingsError(
        _DISTRIBUTION,
        f"{_version()}, with {what}",
        "a version whose custom job component has the form of 2.22",
    )
