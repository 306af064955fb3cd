"""Settings of one job at submit: what group, tasks and connection say in, what job and tasks run with out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from airflow_vertex_provider.exceptions import VertexGroupError, VertexSettingsError
from airflow_vertex_provider.graph.model import Graph, Task, TaskKind
from airflow_vertex_provider.graph.refusals import fast_policy_problems
from airflow_vertex_provider.settings import (
    ConnectionSettings,
    Level,
    PipelineSettings,
    TaskSettings,
    merge_pipeline_settings,
    merge_task_settings,
)


@dataclass(frozen=True)
class JobSettings:
    """What one job and its tasks run with.

    :param pipeline: settings of the job.
    :param tasks: Airflow task id to merged settings, one for every task.
    :param inherited: what of it the connection says, as texts for the log.
    """

    pipeline: PipelineSettings
    tasks: Mapping[str, TaskSettings]
    inherited: tuple[str, ...] = ()

    def warnings(self) -> Iterator[str]:
        """Tell what ``additional_training_job_args`` override."""
        for task_id, settings in self.tasks.items():
            for text in settings.warnings:
                yield f"{task_id}: {text}"


def job_settings(
    graph: Graph,
    *,
    pipeline: Mapping[str, Any],
    group_settings: Mapping[str, Any],
    task_settings: Mapping[str, Mapping[str, Any]],
    connection: ConnectionSettings,
    project_id: str | None,
) -> JobSettings:
    """Merge all levels of settings, templates rendered, and check them as a whole. Runs at submit.

    :param pipeline: what the group says of the job.
    :param group_settings: what it says of its tasks.
    :param task_settings: Airflow task id to what the task says itself, where it says something.
    :param connection: what the connection says of both.
    :param project_id: project of the job.
    :raises VertexSettingsError: a value is not allowed or missing; names task or group.
    :raises VertexGroupError: the job's settings and the tasks do not go together.
    """
    try:
        own = PipelineSettings.from_dict(pipeline).to_dict()
        merged = merge_pipeline_settings([own, connection.pipeline])
        if project_id is not None:
            merged = replace(merged, project_id=project_id)
        merged.require_complete()
    except VertexSettingsError as error:
        raise error.at(graph.group_id) from None
    wider = [Level(group_settings, own), Level(connection.task, connection.pipeline)]
    tasks = {
        task.id: task_run_settings(task, [Level(task_settings.get(task.id, {})), *wider], merged.location)
        for task in graph.tasks
    }
    if merged.failure_policy == "fast" and own.get("failure_policy") != "fast":
        problems = list(fast_policy_problems(graph))
        if problems:
            raise VertexGroupError(graph.dag_id, graph.group_id, problems)
    return JobSettings(merged, tasks, tuple(_inherited(own, group_settings, connection)))


def task_run_settings(task: Task, levels: list[Level], location: str | None) -> TaskSettings:
    """Merge one task's settings; errors name the task.

    :param levels: nearest first.
    :param location: region of the job.
    :raises VertexSettingsError: see :func:`merge_task_settings`; or a container has no image.
    """
    try:
        merged = merge_task_settings(levels)
        if merged.custom_job is not None:
            merged.custom_job.check_regions(location)
    except VertexSettingsError as error:
        raise error.at(task.id) from None
    if task.kind is TaskKind.CONTAINER and not any("image" in level.task for level in levels):
        raise VertexSettingsError(
            "image", None, "an image, of the operator, of the group or of the connection", task.id
        )
    return merged


def _inherited(
    own: Mapping[str, Any], group_settings: Mapping[str, Any], connection: ConnectionSettings
) -> Iterator[str]:
    """Tell what the connection says that the group does not."""
    for level, wider in ((own, connection.pipeline), (group_settings, connection.task)):
        for name, value in wider.items():
            if name not in level:
                yield f"{name}={_shown(value)!r}"
            elif isinstance(value, Mapping) and isinstance(level[name], Mapping):
                rest = {key: item for key, item in value.items() if key not in level[name]}
                if rest:
                    yield f"of {name} {_shown(rest)!r}"


def _shown(value: Any) -> Any:
    """Keep the values of environment variables out of the log: people put secrets there."""
    if isinstance(value, list):
        return [_shown(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {
        key: _shown(item)
        if key != "env"
        else dict.fromkeys(item, "***")
        if isinstance(item, Mapping)
        else "***"
        for key, item in value.items()
    }
