"""``additional_training_job_args``: fields of the API in; those that are ours and those that are not out."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from airflow_vertex_provider.exceptions import VertexSettingsError
from airflow_vertex_provider.settings import raw
from airflow_vertex_provider.settings.machines import CustomJob

RAW = "additional_training_job_args"
#: Fields of a custom job that are decided key by key.
KEYED = ("env", "labels")
#: Fields of ``additional_training_job_args`` whose keys are the author's own.
OPAQUE = frozenset({"labels", "env"})
#: Keys of a variable as the API has it.
_VARIABLE = {"name", "value"}


def split(args: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part ``additional_training_job_args`` into fields of :class:`CustomJob` and fields of the API alone."""
    known = {item.name: item for item in fields(CustomJob)}
    by_field: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for name, value in _regrouped(raw.spelled(args, OPAQUE)).items():
        if name in (RAW, "allow_unlisted_machine"):
            raise VertexSettingsError(
                f"custom_job.{RAW}.{name}", value, "fields of a custom job; this one is not the API's"
            )
        # The API has a message where this package has its one field.
        is_message = name == "base_output_directory" and isinstance(value, Mapping)
        (by_field if name in known and not is_message else rest)[name] = value
    return by_field, rest


def _regrouped(args: Mapping[str, Any]) -> dict[str, Any]:
    """Bring arguments of GCPC's own wrapper, which people move over, into the form of our fields."""
    result = dict(args)
    affinity = {
        part: result.pop(f"reservation_affinity_{part}")
        for part in ("type", "key", "values")
        if f"reservation_affinity_{part}" in result
    }
    if affinity:
        kind = {"reservation_affinity_type": affinity.pop("type")} if "type" in affinity else {}
        result["reservation_affinity"] = {**result.get("reservation_affinity", {}), **kind, **affinity}
    env = result.get("env")
    if isinstance(env, list) and all(isinstance(item, Mapping) and set(item) == _VARIABLE for item in env):
        result["env"] = {item["name"]: item["value"] for item in env}
    return result


def _overridden(job: CustomJob, by_field: Mapping[str, Any], rest: Mapping[str, Any]) -> Iterator[str]:
    """Name both values wherever additional arguments override one that a ``custom_job`` says."""
    for name, old in job.to_dict().items():
        path = CustomJob.api_path(name)
        said = name
        new = by_field.get(name, raw.MISSING)
        if new is raw.MISSING:
            new, said = raw.lookup(rest, path), ".".join(path)
        if new is raw.MISSING or new == old:
            continue
        if name in KEYED and isinstance(new, Mapping):
            for key in sorted(key for key in new if key in old and new[key] != old[key]):
                # People put secrets into variables.
                values = ("***", "***") if name == "env" else (new[key], old[key])
                yield _override(f"{said}.{key}", values[0], f"{name}.{key}", values[1])
        else:
            yield _override(said, new, name, old)


def _mistaken(rest: Mapping[str, Any]) -> Iterator[str]:
    """Name fields of the API that look like ours misspelt; the API may have them, so they are sent."""
    ours = [item.name for item in fields(CustomJob)]
    places = {CustomJob.api_path(name)[0] for name in ours}
    for name in rest:
        near = difflib.get_close_matches(name, ours, n=1, cutoff=0.8)
        if near and name not in places:
            yield f"custom_job.{RAW}.{name} is sent to the API as it is; did you mean {near[0]!r}?"


def _override(said: str, new: Any, name: str, old: Any) -> str:
    return f"custom_job.{RAW}.{said} {new!r} overrides custom_job.{name} {old!r}"


def warnings_about(job: CustomJob, by_field: Mapping[str, Any], rest: Mapping[str, Any]) -> Iterator[str]:
    """Tell what additional arguments override, with both values, and what looks misspelt.

    :param job: what all levels say of the job without them.
    """
    yield from _overridden(job, by_field, rest)
    yield from _mistaken(rest)
