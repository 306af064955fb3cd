"""The connection's level of the settings: its extras in, job settings and task settings out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_vertex_provider.checks import is_template
from airflow_vertex_provider.exceptions import VertexSettingsError
from airflow_vertex_provider.settings.pipeline import PipelineSettings
from airflow_vertex_provider.settings.task import task_level

#: Extras that are settings of the job, by the same names as the group's arguments.
CONNECTION_PIPELINE_KEYS = (
    "location",
    "pipeline_root",
    "service_account",
    "network",
    "reserved_ip_ranges",
    "psc_network_attachment",
    "encryption_spec_key_name",
    "persistent_resource_id",
    "labels",
    "failure_policy",
)
#: Extras that are settings of each task.
CONNECTION_TASK_KEYS = ("image", "custom_job")


@dataclass(frozen=True)
class ConnectionSettings:
    """What a connection says where neither task nor group do.

    :param pipeline: settings of the job, as :meth:`PipelineSettings.to_dict` gives them.
    :param task: task settings, as :func:`task_level` gives them.
    """

    pipeline: Mapping[str, Any] = field(default_factory=dict)
    task: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, extras: Mapping[str, Any], conn_id: str) -> ConnectionSettings:
        """Check a connection's extras and take those that are settings. Runs where the hook is made.

        :param extras: typed: lists and dicts are lists and dicts, not their JSON text.
        :param conn_id: for messages.
        :raises VertexSettingsError: a value is not allowed.
        """
        try:
            _refuse_templates("", extras)
            pipeline = PipelineSettings.from_dict(_of(extras, CONNECTION_PIPELINE_KEYS)).to_dict()
            return cls(pipeline, task_level(_of(extras, CONNECTION_TASK_KEYS)))
        except VertexSettingsError as error:
            raise error.at(f"connection {conn_id!r}") from None


def _refuse_templates(field: str, value: Any) -> None:
    """Refuse Jinja: Airflow renders a task's fields, not a connection's."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if field or key in (*CONNECTION_PIPELINE_KEYS, *CONNECTION_TASK_KEYS):
                _refuse_templates(f"{field}.{key}" if field else key, item)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _refuse_templates(f"{field}[{index}]", item)
    elif is_template(value):
        raise VertexSettingsError(field, value, "no template: Airflow renders none there")


def _of(extras: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key in keys if (value := extras.get(key)) not in (None, "")}
