"""A task's settings: the levels that an author writes in, one merged result out."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_vertex_provider import checks
from airflow_vertex_provider.exceptions import VertexSettingsError
from airflow_vertex_provider.settings.base import Settings, check_keys
from airflow_vertex_provider.settings.machines import CustomJob, Resources
from airflow_vertex_provider.settings.pipeline import PipelineSettings

#: Runs a member that names no image. Any image with Python 3.8 or newer will do.
DEFAULT_IMAGE = "python:3.11-slim"
#: How the author's code reaches the container, and how it does if nobody says.
CODE_MODES = ("inline", "bundle", "image")
DEFAULT_CODE = "inline"


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
    """What one task runs on, after merging: every field is decided.

    :param image: container image.
    :param packages: pip requirements installed before the author's code.
    :param enable_caching: let the service reuse an earlier result of the same task.
    :param env: environment variables of the container.
    :param custom_job: settings of the task's own machine, or ``None`` for a plain task.
    :param resources: what a plain task asks for.
    :param code: how the author's code reaches the container: ``inline``, ``bundle`` or ``image``.
    :param code_paths: what a bundle holds; nothing said: the folder of the DAG's own modules.
    :param serializers: names of serialisers that values may be written with, besides the built-in ones.
    :param value_limit: bytes above which a value travels by file; ``None``: as the command line allows.
    :param pip_index_urls: index that packages come from, then further ones.
    :param pip_no_deps: install the packages alone, without what they require.
    :param wheel_cache: ``gs://`` folder with wheels, read and filled before packages are installed.
    """

    image: str = DEFAULT_IMAGE
    packages: tuple[str, ...] = ()
    enable_caching: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    custom_job: CustomJob | None = None
    resources: Resources = field(default_factory=Resources)
    code: str = DEFAULT_CODE
    code_paths: tuple[str, ...] = ()
    serializers: tuple[str, ...] = ()
    value_limit: int | None = None
    pip_index_urls: tuple[str, ...] = ()
    pip_no_deps: bool = False
    wheel_cache: str | None = None


#: Keys that say what pip installs in the container, and how.
INSTALLATION_KEYS = ("packages", "pip_index_urls", "pip_no_deps", "wheel_cache")

#: Keys of ``executor_config["vertex"]``, each with the check of its plain value.
TASK_KEYS: Mapping[str, checks.Check] = {
    "custom_job": lambda _field, value: CustomJob.from_dict(value).to_dict(),
    "resources": lambda _field, value: Resources.from_dict(value).to_dict(),
    "image": checks.text,
    "packages": checks.requirements,
    "enable_caching": checks.flag,
    "env": checks.environment,
    "code": checks.one_of(*CODE_MODES),
    "code_paths": checks.literal_texts,
    "serializers": checks.literal_texts,
    "value_limit": checks.integer(1),
    "pip_index_urls": checks.addresses,
    "pip_no_deps": checks.flag,
    "wheel_cache": checks.gcs_path,
}
#: Keys that hold more than one decision; the nearest level that says any other key decides it.
_STRUCTURED = ("custom_job", "resources", "env")


#: Keys that may be one template; the values of the others are parts, each of which may be one.
_SCALAR_KEYS = frozenset({"image", "enable_caching", "value_limit", "pip_no_deps", "wheel_cache"})


def task_level(data: Mapping[str, Any]) -> dict[str, Any]:
    """Check one level's task settings and return them as plain data, ready to be templated and merged.

    ``None`` for ``custom_job`` is kept: it says that the task wants none although a wider level has one.

    :raises VertexSettingsError: an unknown key, a value that is not allowed, or a custom job together
        with resources on the same level.
    """
    check_keys('executor_config["vertex"]', data, list(TASK_KEYS))
    result: dict[str, Any] = {}
    for key, value in data.items():
        if value is None:
            if key == "custom_job":
                result[key] = None
            continue
        whole = key in _SCALAR_KEYS and checks.is_template(value)
        result[key] = value if whole else TASK_KEYS[key](key, value)
    if result.get("custom_job") is not None and result.get("resources") is not None:
        raise VertexSettingsError(
            "resources",
            result["resources"],
            "either custom_job (a machine of its own) or resources (a plain task), not both",
        )
    return result


def code_mode(levels: Sequence[Mapping[str, Any]]) -> str:
    """Return how the author's code reaches the container. Runs at parse; the setting is never a template.

    :param levels: as of :func:`merge_task_settings`. One that says no mode that there is, which is refused
        where settings are checked, says nothing.
    """
    return next((level["code"] for level in levels if level.get("code") in CODE_MODES), DEFAULT_CODE)


def over(near: Mapping[str, Any], wide: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one level of task settings over a wider one and return both as one level, not yet checked.

    For settings that reach one task in two ways. Field by field, as :func:`merge_task_settings` decides
    between levels. Runs at parse.
    """
    near, wide = (
        {key: value.to_dict() if isinstance(value, Settings) else value for key, value in level.items()}
        for level in (near, wide)
    )
    if near.get("resources") is not None or near.get("custom_job", ...) is None:
        wide.pop("custom_job", None)
    if near.get("custom_job") is not None:
        wide.pop("resources", None)
    job, env = wide.get("custom_job"), near.get("env")
    if isinstance(env, Mapping) and isinstance(job, Mapping) and isinstance(job.get("env"), Mapping):
        # Within one level the job's variables go before env's, but not the wider job's before the near env's.
        job_env = {name: value for name, value in job["env"].items() if name not in env}
        wide["custom_job"] = {**job, "env": job_env}
    return _overlay(near, wide)


def _overlay(near: Mapping[str, Any], wide: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(wide)
    for key, value in near.items():
        below = result.get(key)
        if key in _STRUCTURED and isinstance(value, Mapping):
            result[key] = _overlay(value, below if isinstance(below, Mapping) else {})
        elif value is not None or key == "custom_job":
            result[key] = value
    return result


def merge_task_settings(
    levels: Sequence[Mapping[str, Any]], pipeline: PipelineSettings | None = None
) -> TaskSettings:
    """Decide what one task runs on.

    The nearest level that says a field wins; variables and the fields of ``custom_job`` and ``resources``
    are decided one by one. A level's variables are those of its ``env`` and, before them, of its custom job
    where that is used. The nearest level that names a machine also decides its kind: resources on a task
    make it a plain task although its group has a custom job. A custom job takes service account, network
    (with its IP ranges) and CMEK key from the job where it says nothing itself.

    :param levels: what :func:`task_level` returned for each level, nearest first, templates rendered.
    :param pipeline: settings of the job, for what a custom job inherits.
    :raises VertexSettingsError: the merged values are not allowed together.
    """
    levels = [task_level(level) for level in levels]
    said: dict[str, Any] = {}
    for level in reversed(levels):
        said.update({key: value for key, value in level.items() if key not in _STRUCTURED})
    envs = [dict(level.get("env", {})) for level in levels]

    kind: str | None = None
    machine: dict[str, Any] = {}
    for level, env in zip(levels, envs, strict=True):
        if kind is None and "custom_job" in level and level["custom_job"] is None:
            # From here outwards only resources can still say something.
            kind = "resources"
        here = next((key for key in ("custom_job", "resources") if level.get(key) is not None), None)
        if here is None:
            continue
        if kind not in (None, here):
            break
        kind = here
        machine = {**level[here], **machine}
        env.update(level[here].get("env", {}))

    custom_job = None
    resources = Resources()
    if kind == "custom_job":
        custom_job = CustomJob(**_inherit(machine, pipeline))
        _check_custom_job(custom_job)
    elif kind == "resources":
        resources = Resources(**machine)
        _check_accelerator("resources", resources.accelerator_type, resources.accelerator_count)
    decided: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in said.items()
    }
    return TaskSettings(
        **decided,
        env=checks.environment("env", dict(ChainMap(*envs))),
        custom_job=custom_job,
        resources=resources,
    )


def _inherit(machine: Mapping[str, Any], pipeline: PipelineSettings | None) -> dict[str, Any]:
    """Fill in what a custom job takes from its pipeline job, where it says nothing itself."""
    if pipeline is None:
        return dict(machine)
    wider: dict[str, Any] = {
        "encryption_spec_key_name": pipeline.encryption_spec_key_name,
        # "" is said to opt out of a wider level's; a job has none above it.
        "persistent_resource_id": pipeline.persistent_resource_id or None,
    }
    if machine.get("persistent_resource_id") != "":
        wider["service_account"] = pipeline.service_account
    if "network" not in machine:
        # IP ranges are ranges *of a network*: they follow it or stay behind with it.
        wider["network"] = pipeline.network
        wider["reserved_ip_ranges"] = pipeline.reserved_ip_ranges
    return {**{key: value for key, value in wider.items() if value is not None}, **machine}


def _check_custom_job(job: CustomJob) -> None:
    _check_accelerator("custom_job", job.accelerator_type, job.accelerator_count)
    if job.persistent_resource_id and job.service_account is None:
        raise VertexSettingsError(
            "custom_job.service_account",
            None,
            f"a service account, since persistent_resource_id is {job.persistent_resource_id!r} (L17)",
        )
    if job.persistent_resource_id == "" and job.service_account is not None:
        raise VertexSettingsError(
            "custom_job.service_account",
            job.service_account,
            'none, since persistent_resource_id is "" (L17)',
        )
    if job.tensorboard is not None and job.service_account is None:
        raise VertexSettingsError(
            "custom_job.tensorboard", job.tensorboard, "a service_account beside it (L18)"
        )
    if job.max_wait_duration is not None and job.strategy != "FLEX_START":
        raise VertexSettingsError(
            "custom_job.max_wait_duration", job.max_wait_duration, 'strategy="FLEX_START" beside it (L15)'
        )


def _check_accelerator(section: str, kind: object, count: object) -> None:
    if (kind is None) != (count is None):
        found = {"accelerator_type": kind, "accelerator_count": count}
        raise VertexSettingsError(
            f"{section}.accelerator_count" if count is None else f"{section}.accelerator_type",
            found,
            "accelerator_type and accelerator_count together, or neither (L11)",
        )
