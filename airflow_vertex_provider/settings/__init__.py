"""Settings of tasks and of the pipeline job: what authors write in, checked values in one order out.

Everything goes in as small objects or as the plain dicts that travel in
``executor_config={"vertex": {...}}``; both forms carry the same names and an unknown name is an error.
A field that is ``None`` was not said, so the next level decides: task, group, connection, built-in, in this
order. :func:`merge_task_settings` and :func:`merge_pipeline_settings` decide;
:mod:`~airflow_vertex_provider.settings.merging` has the table, which docs/settings.md shows to users.
"""

from airflow_vertex_provider.settings.base import Settings, check_keys
from airflow_vertex_provider.settings.connection import ConnectionSettings
from airflow_vertex_provider.settings.machines import (
    DEFAULT_BOOT_DISK_SIZE_GB,
    DEFAULT_BOOT_DISK_TYPE,
    DEFAULT_MACHINE_TYPE,
    DEFAULT_TIMEOUT,
    CustomJob,
    Resources,
)
from airflow_vertex_provider.settings.merging import (
    Level,
    code_mode,
    merge_pipeline_settings,
    merge_task_settings,
    over,
    says_machine,
)
from airflow_vertex_provider.settings.pipeline import PipelineSettings
from airflow_vertex_provider.settings.task import (
    CODE_MODES,
    DEFAULT_CODE,
    DEFAULT_IMAGE,
    INSTALLATION_KEYS,
    TASK_KEYS,
    TaskSettings,
    task_level,
)

__all__ = [
    "CODE_MODES",
    "DEFAULT_BOOT_DISK_SIZE_GB",
    "DEFAULT_BOOT_DISK_TYPE",
    "DEFAULT_CODE",
    "DEFAULT_IMAGE",
    "DEFAULT_MACHINE_TYPE",
    "DEFAULT_TIMEOUT",
    "INSTALLATION_KEYS",
    "TASK_KEYS",
    "ConnectionSettings",
    "CustomJob",
    "Level",
    "PipelineSettings",
    "Resources",
    "Settings",
    "TaskSettings",
    "check_keys",
    "code_mode",
    "merge_pipeline_settings",
    "merge_task_settings",
    "over",
    "says_machine",
    "task_level",
]
