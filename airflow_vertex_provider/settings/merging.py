"""Which level decides: the levels of settings in, nearest first, one merged result out.

=============  ==================================================  =======================================
level          of a task                                           of the job
=============  ==================================================  =======================================
1. task        ``@task.vertex(...)``, or                           (none)
               ``executor_config={"vertex": {...}}``
2. group       arguments of ``VertexTaskGroup``                    arguments of ``VertexTaskGroup``
3. connection  extras ``image`` and ``custom_job``                 the other extras that are settings
4. built-in    the defaults of this package                        the defaults of this package
=============  ==================================================  =======================================

The nearest level that says a field wins. Decided key by key: variables, labels, the fields of ``custom_job``
and ``resources``, and ``additional_training_job_args``. Decided together: ``network``, its
``reserved_ip_ranges`` and Private Service Connect, by the nearest level that names a network or an
attachment.

A custom job takes service account, network, CMEK key and persistent resource from the job's settings where
it says nothing itself. Those of one level go before a wider level's ``custom_job``: the group's network
before the network in the connection's custom job.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_vertex_provider import checks
from airflow_vertex_provider.exceptions import VertexSettingsError
from airflow_vertex_provider.settings import raw
from airflow_vertex_provider.settings.additional import KEYED, OPAQUE, RAW, split, warnings_about
from airflow_vertex_provider.settings.base import Settings
from airflow_vertex_provider.settings.machine_table import pair_problem
from airflow_vertex_provider.settings.machines import DEFAULT_MACHINE_TYPE, CustomJob, Resources
from airflow_vertex_provider.settings.pipeline import PipelineSettings
from airflow_vertex_provider.settings.task import (
    CODE_MODES,
    DEFAULT_CODE,
    STRUCTURED_KEYS,
    TaskSettings,
    task_level,
)

#: What a custom job takes from the job's settings as it is, besides network and persistent resource.
_INHERITED = ("service_account", "encryption_spec_key_name")


@dataclass(frozen=True)
class Level:
    """What one level says.

    :param task: task settings, as :func:`task_level` returns them; templates rendered unless at parse.
    :param job: settings of the job, as :meth:`PipelineSettings.to_dict` returns them.
    """

    task: Mapping[str, Any] = field(default_factory=dict)
    job: Mapping[str, Any] = field(default_factory=dict)


def merge_pipeline_settings(levels: Sequence[Mapping[str, Any]]) -> PipelineSettings:
    """Decide the settings of the job. Runs at submit.

    :param levels: as of :attr:`Level.job`, nearest first.
    :raises VertexSettingsError: a value is not allowed, or two are not allowed together.
    """
    result: dict[str, Any] = {}
    for level in levels:
        result = _lay(result, level, attachment="psc_network_attachment")
    pipeline = PipelineSettings.from_dict(result)
    pipeline.check_together()
    return pipeline


def merge_task_settings(levels: Sequence[Level | Mapping[str, Any]], *, final: bool = True) -> TaskSettings:
    """Decide what one task runs on; the table at the top of this module says how.

    A level's variables are those of its ``env`` and, before them, of its custom job where that is used. The
    nearest level that names a machine also decides its kind: resources on a task make it a plain task
    although its group has a custom job.

    :param levels: nearest first; one with task settings alone may be given as these.
    :param final: whether these are all levels. At parse they are not: what a connection may still say is not
        missed then.
    :raises VertexSettingsError: the merged values are not allowed together.
    """
    whole = [level if isinstance(level, Level) else Level(level) for level in levels]
    tasks = [task_level(level.task) for level in whole]
    said: dict[str, Any] = {}
    for level in reversed(tasks):
        said.update({key: value for key, value in level.items() if key not in STRUCTURED_KEYS})
    envs = [dict(level.get("env", {})) for level in tasks]

    kind: str | None = None
    closed = False
    machine: dict[str, Any] = {}
    layers: list[tuple[bool, Mapping[str, Any]]] = []
    for level, own, env in zip(whole, tasks, envs, strict=True):
        if kind is None and "custom_job" in own and own["custom_job"] is None:
            # From here outwards only resources can still say something.
            kind = "resources"
        here = next((key for key in ("custom_job", "resources") if own.get(key) is not None), None)
        closed = closed or (here is not None and kind not in (None, here))
        if here is not None and not closed:
            kind = here
            machine = {**own[here], **machine}
            layers.append((True, own[here]))
            env.update(own[here].get("env", {}))
        layers.append((False, level.job))

    custom_job: CustomJob | None = None
    warnings: tuple[str, ...] = ()
    resources = Resources()
    if kind == "custom_job":
        custom_job, last_env, warnings = _custom_job(layers)
        envs.insert(0, dict(last_env))
        _check_custom_job(custom_job, final=final)
    elif kind == "resources":
        resources = Resources(**machine)
        _check_accelerator("resources", resources.accelerator_type, resources.accelerator_count, final=final)
    decided: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in said.items()
    }
    return TaskSettings(
        **decided,
        env=checks.environment("env", dict(ChainMap(*envs))),
        custom_job=custom_job,
        resources=resources,
        warnings=warnings,
    )


def says_machine(levels: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether one of the levels of task settings decides whether a task is a plain one. At parse."""
    return any("custom_job" in level or level.get("resources") is not None for level in levels)


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
    result = dict(wide)
    for key, value in near.items():
        below = result.get(key)
        if key in STRUCTURED_KEYS and isinstance(value, Mapping):
            result[key] = _lay(
                {name: item for name, item in value.items() if item is not None},
                below if isinstance(below, Mapping) else {},
                attachment="psc_interface_config",
            )
        elif value is not None or key == "custom_job":
            result[key] = value
    return result


def _lay(near: Mapping[str, Any], wide: Mapping[str, Any], *, attachment: str) -> dict[str, Any]:
    """Lay what a nearer level says over what a wider one does, field by field.

    :param attachment: name of the field that stands for Private Service Connect.
    """
    result = {**wide, **near}
    if "network" in near or attachment in near:
        # IP ranges are ranges *of a network*: they follow it or stay behind with it.
        for name in ("network", attachment, "reserved_ip_ranges"):
            if name not in near:
                result.pop(name, None)
    for name in KEYED:
        if isinstance(near.get(name), Mapping) and isinstance(wide.get(name), Mapping):
            result[name] = {**wide[name], **near[name]}
    for name in (RAW, "job_overrides"):
        if isinstance(near.get(name), Mapping) and isinstance(wide.get(name), Mapping):
            result[name] = raw.merged(raw.spelled(near[name], OPAQUE), raw.spelled(wide[name], OPAQUE))
    return result


def _custom_job(
    layers: Sequence[tuple[bool, Mapping[str, Any]]],
) -> tuple[CustomJob, Mapping[str, str], tuple[str, ...]]:
    """Merge what says something about a custom job.

    :param layers: nearest first: whether it is a ``custom_job`` or the job's settings of a level, and it.
    :return: the merged job, whose ``additional_training_job_args`` hold only what has no field here; the
        variables that stood there; and what these arguments override.
    """
    own: dict[str, Any] = {}
    for is_own, layer in layers:
        if is_own:
            own = _lay(own, layer, attachment="psc_interface_config")
    by_field, rest = split(own.pop(RAW, None) or {})
    warnings = tuple(warnings_about(CustomJob(**own), by_field, rest))
    args = CustomJob.from_dict(
        {name: value for name, value in by_field.items() if value is not None}
    ).to_dict()

    said_by = next(
        (is_own for is_own, layer in [(True, args), *layers] if "persistent_resource_id" in layer), True
    )
    result: dict[str, Any] = _lay({}, args, attachment="psc_interface_config")
    for is_own, layer in layers:
        said = dict(layer) if is_own else _inherited(layer)
        if not is_own and said_by and result.get("persistent_resource_id") == "":
            # The custom job opted out of a persistent resource: without one there is no account (L17).
            said.pop("service_account", None)
        result = _lay(result, said, attachment="psc_interface_config")
    for name in by_field:
        if by_field[name] is None:
            result.pop(name, None)
    if not said_by and not result["persistent_resource_id"]:
        # The job's settings of a nearer level opted out of a wider one's: the custom job has none to refuse.
        del result["persistent_resource_id"]
    result.pop(RAW, None)
    if rest:
        result[RAW] = rest
    return CustomJob(**result), args.get("env", {}), warnings


def _inherited(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a custom job takes from one level's settings of the job."""
    result = {
        name: job[name] for name in (*_INHERITED, "persistent_resource_id") if job.get(name) is not None
    }
    if job.get("network") is not None or job.get("reserved_ip_ranges") is not None:
        result |= {name: job[name] for name in ("network", "reserved_ip_ranges") if job.get(name) is not None}
    if job.get("psc_network_attachment") is not None:
        result["psc_interface_config"] = {"network_attachment": job["psc_network_attachment"]}
    return result


def _check_custom_job(job: CustomJob, *, final: bool) -> None:
    _check_accelerator("custom_job", job.accelerator_type, job.accelerator_count, final=final)
    if job.network is not None and job.psc_interface_config is not None:
        raise VertexSettingsError(
            "custom_job.network", job.network, "no network together with psc_interface_config (L18)"
        )
    if final and job.persistent_resource_id and job.service_account is None:
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
    if final and job.tensorboard is not None and job.service_account is None:
        raise VertexSettingsError(
            "custom_job.tensorboard", job.tensorboard, "a service_account beside it (L18)"
        )
    if (
        job.max_wait_duration is not None
        and job.strategy != "FLEX_START"
        and not (job.strategy is None and not final)
        and not checks.is_template(job.strategy)
    ):
        raise VertexSettingsError(
            "custom_job.max_wait_duration", job.max_wait_duration, 'strategy="FLEX_START" beside it (L15)'
        )
    if not job.allow_unlisted_machine and (final or job.machine_type is not None):
        allowed = pair_problem(
            job.machine_type or DEFAULT_MACHINE_TYPE, job.accelerator_type, job.accelerator_count
        )
        if allowed:
            machine = job.machine_type or DEFAULT_MACHINE_TYPE
            found = f"{job.accelerator_count} x {job.accelerator_type} on {machine}"
            raise VertexSettingsError("custom_job.accelerator_type", found, allowed)


def _check_accelerator(section: str, kind: object, count: object, *, final: bool) -> None:
    if final and (kind is None) != (count is None):
        found = {"accelerator_type": kind, "accelerator_count": count}
        raise VertexSettingsError(
            f"{section}.accelerator_count" if count is None else f"{section}.accelerator_type",
            found,
            "accelerator_type and accelerator_count together, or neither (L11)",
        )
