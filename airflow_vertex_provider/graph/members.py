"""The members of a group, one by one: operators in, what their converters made of them and tasks out.

What a member means by itself is read here; what it means among others (skips, loops, rules) is
:mod:`~airflow_vertex_provider.graph.reader`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow.sdk.definitions.mappedoperator import MappedOperator

from airflow_vertex_provider import checks
from airflow_vertex_provider.exceptions import Problem, VertexSettingsError
from airflow_vertex_provider.graph import mapping
from airflow_vertex_provider.graph.converters import class_name, converter_for, supported
from airflow_vertex_provider.graph.converters.base import Conversion, Converter
from airflow_vertex_provider.graph.model import (
    RETURN_OUTPUT,
    Task,
    TaskKind,
)
from airflow_vertex_provider.graph.serializers import name_problems
from airflow_vertex_provider.graph.skips import rule_of
from airflow_vertex_provider.graph.validation import member_problems, retry_of, timeout_of
from airflow_vertex_provider.graph.values import ParameterTable, Values
from airflow_vertex_provider.settings import (
    DEFAULT_CODE,
    INSTALLATION_KEYS,
    Level,
    PipelineSettings,
    code_mode,
    merge_task_settings,
    says_machine,
    task_level,
)


@dataclass
class Member:
    """One member while it is read.

    :param operator: as the author made it. :param shown: what a converter is shown: itself, or the prototype
        of a mapped one.
    """

    operator: Any
    shown: Any
    converter: Converter
    part: mapping.MappedPart | None
    values: Values
    conversion: Conversion


def read_members(
    operators: Mapping[str, Any],
    parts: Mapping[str, mapping.MappedPart],
    table: ParameterTable,
    group_level: Mapping[str, Any],
) -> tuple[dict[str, Member], list[Problem]]:
    """Convert every member that can be; whose value is missing is known before any argument is read."""
    problems: list[Problem] = []
    usable: dict[str, tuple[Any, Converter, mapping.MappedPart | None]] = {}
    for task_id, operator in operators.items():
        part = next((part for part in parts.values() if task_id in part.operators), None)
        shown = operator
        if isinstance(operator, MappedOperator) and part is not None:
            shown, reason = mapping.prototype(operator, part)
            if reason:
                problems.append(
                    Problem(task_id, "expand", reason, "arguments that can be told apart at parse")
                )
                continue
        converter = converter_for(shown)
        if converter is None:
            problems.append(Problem(task_id, "operator", class_name(shown), supported()))
        else:
            usable[task_id] = (shown, converter, part)
    silent = {task_id for task_id, (_, converter, _) in usable.items() if not converter.LEAVES_VALUE}
    members = {}
    for task_id, (shown, converter, part) in usable.items():
        problems.extend(member_problems(shown))
        problems.extend(_limit_problems(shown, part))
        values = Values(
            shown,
            operators,
            silent,
            table,
            loop=part.view if part else None,
            spread=bool(part and part.spread),
            code=_code_mode(shown, group_level),
        )
        conversion = converter.convert(shown, values)
        problems.extend(values.problems)
        if conversion.kind is None:
            problems.extend(_bystander_problems(shown))
        if part is not None:
            part.text_fields |= mapping.text_fields(values.inputs)
            if isinstance(operators[task_id], MappedOperator) and not values.problems:
                problems.extend(
                    Problem(task_id, "expand", repr(key), "arguments whose values reach the container")
                    for key in mapping.unused_items(operators[task_id], part, values.inputs)
                )
        members[task_id] = Member(operators[task_id], shown, converter, part, values, conversion)
    return members, problems


def _code_mode(operator: Any, group_level: Mapping[str, Any]) -> str:
    try:
        return code_mode([author_settings(operator), group_level])
    except VertexSettingsError:  # named where the member's settings are merged
        return DEFAULT_CODE


def silent_ids(members: Mapping[str, Member]) -> set[str]:
    return {task_id for task_id, member in members.items() if not member.converter.LEAVES_VALUE}


def _limit_problems(operator: Any, part: mapping.MappedPart | None) -> Iterator[Problem]:
    if part is not None:
        return
    for name in ("max_active_tis_per_dag", "max_active_tis_per_dagrun"):
        value = getattr(operator, name, None)
        if value is not None:
            yield Problem(
                operator.task_id, name, str(value), "None; on a mapped task it limits the instances at a time"
            )


def _setups(
    member: Member, upstream: tuple[str, ...], rule: str, members: Mapping[str, Member]
) -> tuple[str, ...]:
    """Return the setup tasks further up that Airflow looks at besides the trigger rule.

    With all_success whatever lies between them and the task has looked already.
    """
    if rule == "all_success" or not any(each.operator.is_setup for each in members.values()):
        return ()
    setups = {setup.task_id for setup in member.operator.get_upstreams_only_setups()}
    return tuple(sorted(setups.intersection(members).difference(upstream)))


def task_of(
    member: Member,
    name: str,
    members: Mapping[str, Member],
    group_level: Mapping[str, Any],
    pipeline: PipelineSettings,
) -> tuple[Task, list[Problem]]:
    operator, conversion = member.shown, member.conversion
    upstream = tuple(sorted(member.operator.upstream_task_ids.intersection(members)))
    kind = conversion.kind or TaskKind.EMPTY
    rule = rule_of(member.operator)
    place: dict[str, Any] = {
        "upstream": upstream,
        "rule": rule,
        "setups": _setups(member, upstream, rule, members),
        "loop": member.part.id if member.part else None,
        "setup": bool(member.operator.is_setup),
        "teardown": bool(member.operator.is_teardown),
    }
    if kind is TaskKind.EMPTY:
        return Task(operator.task_id, name, kind, {}, **place), []
    retry, problems = retry_of(operator)
    timeout = timeout_of(operator)
    settings: Mapping[str, Any] = {}
    try:
        settings = task_level({**author_settings(operator), **conversion.settings})
        # The connection may say what these levels do not; submit knows it.
        merged = merge_task_settings([Level(settings), Level(group_level, pipeline.to_dict())], final=False)
    except VertexSettingsError as error:
        problems.append(error.as_problem(operator.task_id))
    else:
        # A component has a container of its own, so the group's custom job does not reach it.
        custom_job = None if kind is TaskKind.COMPONENT else merged.custom_job
        if kind is TaskKind.COMPONENT or says_machine([settings, group_level]):
            problems.extend(_timeout_problems(operator.task_id, timeout, custom_job))
        problems.extend(_region_problems(operator.task_id, custom_job, pipeline))
        problems.extend(name_problems(operator.task_id, merged.serializers))
        problems.extend(_value_problems(operator.task_id, kind, settings))
        if kind in (TaskKind.PYTHON, TaskKind.BASH):
            problems.extend(_installation_problems(operator, {**group_level, **settings}))
        if kind is TaskKind.CONTAINER:
            problems.extend(
                Problem(operator.task_id, key, repr(settings[key]), "none: the image has its own")
                for key in INSTALLATION_KEYS
                if settings.get(key)
            )
    payload = dict(conversion.payload)
    if kind in (TaskKind.PYTHON, TaskKind.BASH) and payload:
        if not operator.do_xcom_push:
            payload["silent"] = True
        if getattr(operator, "multiple_outputs", False):
            payload["multiple_outputs"] = True
    if member.converter.LEAVES_VALUE and kind in (TaskKind.PYTHON, TaskKind.BASH):
        outputs: tuple[str, ...] = (RETURN_OUTPUT, *conversion.output_types)
    else:
        outputs = tuple(conversion.output_types)
    return Task(
        id=operator.task_id,
        name=name,
        kind=kind,
        payload=payload,
        inputs=member.values.inputs,
        outputs=outputs,
        settings=settings,
        retry=retry,
        timeout=timeout,
        may_skip=conversion.may_skip,
        **place,
        input_types={**member.values.input_types, **conversion.input_types},
        output_types=conversion.output_types,
    ), problems


def _value_problems(task_id: str, kind: TaskKind, settings: Mapping[str, Any]) -> Iterator[Problem]:
    """Refuse settings about values of a task whose values are not written by this package."""
    for key, kinds, why in (
        ("serializers", (TaskKind.PYTHON,), "none: only what a function returns is written by serialisers"),
        ("value_limit", (TaskKind.PYTHON, TaskKind.BASH), "none: the container writes its outputs itself"),
    ):
        if settings.get(key) and kind not in kinds:
            yield Problem(task_id, key, repr(settings[key]), why)


def _installation_problems(operator: Any, said: Mapping[str, Any]) -> Iterator[Problem]:
    """Refuse what a member says to pip where no level says what to install.

    What ``default_args`` give to all, and what an operator says itself, as Airflow's own may, passes it by.

    :param said: the settings of all levels.
    """
    if "packages" in said or operator.executor_config in _inherited_configs(operator):
        return
    own = author_settings(operator)
    for key in INSTALLATION_KEYS:
        if own.get(key):
            yield Problem(
                operator.task_id,
                key,
                f"{own[key]!r}, and no packages",
                "packages=[...] that it is for, or none",
            )


def _inherited_configs(operator: Any) -> list[Any]:
    givers = [operator.dag, operator.task_group, *mapping.ancestors(operator.task_group)]
    return [(giver.default_args or {}).get("executor_config") for giver in givers]


def _bystander_problems(operator: Any) -> Iterator[Problem]:
    """Refuse settings of a member that runs nothing, except those that ``default_args`` give to all."""
    try:
        settings = task_level(author_settings(operator))
    except VertexSettingsError as error:
        yield error.as_problem(operator.task_id)
        return
    if settings and operator.executor_config not in _inherited_configs(operator):
        yield Problem(
            operator.task_id,
            'executor_config["vertex"]',
            repr(settings),
            "none: this task runs nothing in Vertex AI",
        )


def _region_problems(task_id: str, custom_job: Any, pipeline: PipelineSettings) -> Iterator[Problem]:
    if custom_job is None:
        return
    try:
        custom_job.check_regions(pipeline.location)
    except VertexSettingsError as error:
        yield error.as_problem(task_id)


def _timeout_problems(task_id: str, timeout: float | None, custom_job: Any) -> Iterator[Problem]:
    if timeout is None:
        return
    if custom_job is None:
        yield Problem(
            task_id,
            "execution_timeout",
            f"{timeout:g} s on a plain pipeline task",
            "None, or a custom_job for this task: only that can be stopped after a time (L15)",
        )
        return
    try:
        as_written = checks.duration("execution_timeout", timeout)
    except VertexSettingsError as error:
        yield Problem(task_id, "execution_timeout", f"{timeout:g} s", error.allowed)
        return
    if custom_job.timeout not in (None, as_written):
        yield Problem(
            task_id,
            "execution_timeout",
            f"{timeout:g} s beside custom_job.timeout {custom_job.timeout}",
            "one of the two",
        )


def author_settings(operator: Any) -> Mapping[str, Any]:
    """Return a member's ``executor_config["vertex"]``.

    :raises VertexSettingsError: one of the two is not a dict.
    """
    config = operator.executor_config or {}
    if not isinstance(config, Mapping):
        raise VertexSettingsError("executor_config", config, 'a dict such as {"vertex": {...}}')
    settings = config.get("vertex", {})
    if not isinstance(settings, Mapping):
        raise VertexSettingsError('executor_config["vertex"]', settings, "a dict")
    return settings
