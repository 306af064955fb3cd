"""Settings of tasks and of the pipeline job: what authors write in, checked values in one order out.

Everything goes in as small objects or as the plain dicts that travel in
``executor_config={"vertex": {...}}``; both forms carry the same names and an unknown name is an error.
A field that is ``None`` was not said, so the next level decides:

====================  ========================================================================
level                 where it is written
====================  ========================================================================
1. task               ``@task.vertex(...)`` or ``executor_config={"vertex": {...}}``
2. group              arguments of ``VertexTaskGroup``
3. built-in           the defaults in this module
====================  ========================================================================

:func:`merge_task_settings` is the one function that decides; docs/settings.md shows its table to users.
"""

from __future__ import annotations

import difflib
from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any, TypeVar

from airflow_vertex_provider import checks
from airflow_vertex_provider.exceptions import VertexSettingsError

#: Runs a member that names no image. Any image with Python 3.8 or newer will do.
DEFAULT_IMAGE = "python:3.11-slim"
#: Machine of a custom job that names none; the one that takes every GPU of the n1 family (L12).
DEFAULT_MACHINE_TYPE = "n1-standard-4"
DEFAULT_BOOT_DISK_TYPE = "pd-ssd"
DEFAULT_BOOT_DISK_SIZE_GB = 100
DEFAULT_TIMEOUT = "604800s"

_S = TypeVar("_S", bound="Settings")


def _setting(check: checks.Check, *, scalar: bool = True) -> Any:
    """Declare a setting; one that is not scalar may have templates in its parts, but be none itself."""
    return field(default=None, metadata={"check": check, "scalar": scalar})


@dataclass(frozen=True)
class Settings:
    """What the settings objects share: checks on creation, a dict form, and merging."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if value is None or (item.metadata["scalar"] and checks.is_template(value)):
                continue
            object.__setattr__(self, item.name, item.metadata["check"](self._path(item.name), value))

    @classmethod
    def _path(cls, name: str) -> str:
        return f"{cls.section()}.{name}"

    @classmethod
    def section(cls) -> str:
        """Name of the settings key this object stands under, as errors print it."""
        return cls.__name__

    @classmethod
    def from_dict(cls: type[_S], data: Mapping[str, Any] | _S) -> _S:
        """Read the plain-dict form.

        :raises VertexSettingsError: a key is unknown or a value is not allowed.
        """
        if isinstance(data, cls):
            return data
        if not isinstance(data, Mapping):
            raise VertexSettingsError(cls.section(), data, f"a {cls.__name__} or a dict of its fields")
        known = [item.name for item in fields(cls)]
        check_keys(cls.section(), data, known)
        return cls(**data)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that were said, as plain JSON-ready data."""
        return {item.name: value for item in fields(self) if (value := getattr(self, item.name)) is not None}


@dataclass(frozen=True, kw_only=True)
class CustomJob(Settings):
    """The machine a task gets for itself: one Vertex AI custom job per task.

    :param machine_type: Compute Engine machine type; ``n1-standard-4`` if not said.
    :param accelerator_type: name of the GPU or TPU, for example ``NVIDIA_TESLA_T4`` (L11).
    :param accelerator_count: how many of them; goes with ``accelerator_type``.
    :param replica_count: machines of this shape; one is the chief, the others form a second worker pool. All
        run the same code; the chief's value and error are the task's.
    :param boot_disk_type: ``pd-ssd`` (default), ``pd-standard`` or ``hyperdisk-balanced`` (L13).
    :param boot_disk_size_gb: 100 (default) to 64000 GB (L13).
    :param timeout: longest run: seconds, a timedelta or ``"86400s"``; seven days if not said (L15).
    :param restart_job_on_worker_restart: restart the whole job when one worker restarts.
    :param service_account: account the task's code runs as; the group's if not said.
    :param network: VPC network as ``projects/<number>/global/networks/<name>``; else the group's (L18).
    :param reserved_ip_ranges: names of IP ranges reserved in that network; the group's if not said.
    :param encryption_spec_key_name: CMEK key; the group's if not said.
    :param persistent_resource_id: run on this persistent resource instead of a new machine; needs a service
        account. ``""`` opts out of the group's, and then carries no service account either (L17).
    :param tensorboard: Vertex TensorBoard to write to; needs a service account (L18).
    :param enable_web_access: open an interactive shell into the running container.
    :param base_output_directory: ``gs://`` folder the code finds in ``AIP_MODEL_DIR`` and its siblings.
    :param labels: labels of the custom job, besides those of the pipeline job (L04).
    :param env: environment variables of the container, at most 100 (L14).
    :param strategy: ``STANDARD`` (default), ``SPOT`` or ``FLEX_START``.
    :param max_wait_duration: longest wait for ``FLEX_START``; one day if not said (L15).
    :param display_name: name of the custom job in the console; the task's if not said (L03).
    """

    machine_type: str | None = _setting(checks.machine_type)
    accelerator_type: str | None = _setting(checks.accelerator)
    accelerator_count: int | str | None = _setting(checks.integer(1))
    replica_count: int | str | None = _setting(checks.integer(1))
    boot_disk_type: str | None = _setting(checks.boot_disk_type)
    boot_disk_size_gb: int | str | None = _setting(checks.boot_disk_size_gb)
    timeout: str | float | timedelta | None = _setting(checks.duration)
    restart_job_on_worker_restart: bool | str | None = _setting(checks.flag)
    service_account: str | None = _setting(checks.service_account)
    network: str | None = _setting(checks.network)
    reserved_ip_ranges: Sequence[str] | None = _setting(checks.texts, scalar=False)
    encryption_spec_key_name: str | None = _setting(checks.kms_key)
    persistent_resource_id: str | None = _setting(checks.persistent_resource_id)
    tensorboard: str | None = _setting(checks.tensorboard)
    enable_web_access: bool | str | None = _setting(checks.flag)
    base_output_directory: str | None = _setting(checks.gcs_path)
    labels: Mapping[str, str] | None = _setting(checks.labels, scalar=False)
    env: Mapping[str, str] | None = _setting(checks.environment, scalar=False)
    strategy: str | None = _setting(checks.one_of("STANDARD", "SPOT", "FLEX_START"))
    max_wait_duration: str | float | timedelta | None = _setting(checks.duration)
    display_name: str | None = _setting(checks.matching(r".{1,128}", "1 to 128 characters"))

    @classmethod
    def section(cls) -> str:
        """See :meth:`Settings.section`."""
        return "custom_job"


@dataclass(frozen=True, kw_only=True)
class Resources(Settings):
    """What a plain pipeline task asks for; the service picks the machine (L10).

    :param cpu_limit: CPUs at most, ``"4"``, ``"4.5"`` or ``"500m"``.
    :param cpu_request: CPUs at least.
    :param memory_limit: memory at most, ``"16G"`` or ``"512Mi"``.
    :param memory_request: memory at least.
    :param accelerator_type: name of the GPU (L11).
    :param accelerator_count: how many; goes with ``accelerator_type``.
    """

    cpu_limit: str | None = _setting(checks.cpu)
    cpu_request: str | None = _setting(checks.cpu)
    memory_limit: str | None = _setting(checks.memory)
    memory_request: str | None = _setting(checks.memory)
    accelerator_type: str | None = _setting(checks.accelerator)
    accelerator_count: int | str | None = _setting(checks.integer(1))

    @classmethod
    def section(cls) -> str:
        """See :meth:`Settings.section`."""
        return "resources"


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
    """What one task runs on, after merging: every field is decided.

    :param image: container image.
    :param packages: pip requirements installed before the author's code.
    :param enable_caching: let the service reuse an earlier result of the same task.
    :param env: environment variables of the container.
    :param custom_job: settings of the task's own machine, or ``None`` for a plain task.
    :param resources: what a plain task asks for.
    """

    image: str = DEFAULT_IMAGE
    packages: tuple[str, ...] = ()
    enable_caching: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    custom_job: CustomJob | None = None
    resources: Resources = field(default_factory=Resources)


@dataclass(frozen=True, kw_only=True)
class PipelineSettings(Settings):
    """Settings of the pipeline job as a whole.

    :param location: region of the job, for example ``europe-west4`` (L19).
    :param pipeline_root: ``gs://`` folder for what the tasks write (L05).
    :param project_id: project of the job; the connection's if not said.
    :param service_account: account the job runs as (the seed's workload service account).
    :param network: VPC network as ``projects/<number>/global/networks/<name>`` (L18).
    :param reserved_ip_ranges: names of IP ranges reserved in that network.
    :param psc_network_attachment: network attachment for Private Service Connect; excludes ``network``.
    :param encryption_spec_key_name: CMEK key for the job and what it makes.
    :param persistent_resource_id: persistent resource that custom jobs run on unless they say otherwise.
    :param labels: labels of the job (L04).
    :param failure_policy: ``slow`` (default): what can still run does; ``fast``: start nothing more (L20).
    :param display_name: name in the console; ``<dag id>.<group id>`` if not said (L03).
    """

    location: str | None = _setting(checks.location)
    pipeline_root: str | None = _setting(checks.gcs_path)
    project_id: str | None = _setting(checks.text)
    service_account: str | None = _setting(checks.service_account)
    network: str | None = _setting(checks.network)
    reserved_ip_ranges: Sequence[str] | None = _setting(checks.texts, scalar=False)
    psc_network_attachment: str | None = _setting(checks.text)
    encryption_spec_key_name: str | None = _setting(checks.kms_key)
    persistent_resource_id: str | None = _setting(checks.persistent_resource_id)
    labels: Mapping[str, str] | None = _setting(checks.job_labels, scalar=False)
    failure_policy: str | None = _setting(checks.one_of("slow", "fast"))
    display_name: str | None = _setting(checks.matching(r".{1,128}", "1 to 128 characters"))

    @classmethod
    def _path(cls, name: str) -> str:
        return name

    @classmethod
    def section(cls) -> str:
        """See :meth:`Settings.section`."""
        return "group"

    def require_complete(self) -> None:
        """Refuse settings that no job can be made of.

        :raises VertexSettingsError: location or pipeline root are missing, or two fields exclude each other.
        """
        if self.location is None:
            raise VertexSettingsError("location", None, 'a region such as "europe-west4"')
        if self.pipeline_root is None:
            raise VertexSettingsError("pipeline_root", None, '"gs://<bucket>/<path>"')
        if self.network is not None and self.psc_network_attachment is not None:
            raise VertexSettingsError(
                "network", self.network, "no network together with psc_network_attachment (L18)"
            )


#: Keys of ``executor_config["vertex"]``, each with the check of its plain value.
TASK_KEYS: Mapping[str, checks.Check] = {
    "custom_job": lambda _field, value: CustomJob.from_dict(value).to_dict(),
    "resources": lambda _field, value: Resources.from_dict(value).to_dict(),
    "image": checks.text,
    "packages": checks.texts,
    "enable_caching": checks.flag,
    "env": checks.environment,
}


#: Keys that may be one template; the values of the others are parts, each of which may be one.
_SCALAR_KEYS = frozenset({"image", "enable_caching"})


def check_keys(section: str, data: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse a key that is not among ``known``, with the nearest one that is.

    :raises VertexSettingsError: there is an unknown key.
    """
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise VertexSettingsError(f"{section}.{key}", data[key], "one of " + ", ".join(known) + hint)


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
        if key in ("custom_job", "resources", "env") and isinstance(value, Mapping):
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
        said.update(
            {key: value for key, value in level.items() if key in ("image", "packages", "enable_caching")}
        )
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
    return TaskSettings(
        image=said.get("image", DEFAULT_IMAGE),
        packages=tuple(said.get("packages", ())),
        enable_caching=said.get("enable_caching", False),
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
