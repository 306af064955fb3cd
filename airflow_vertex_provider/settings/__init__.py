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
from airflow_vertex_provider.settings.pipeline import PipelineSettings
from airflow_vertex_provider.settings.task import (
    CODE_MODES,
    DEFAULT_CODE,
    DEFAULT_IMAGE,
    INSTALLATION_KEYS,
    TASK_KEYS,
    TaskSettings,
    code_mode,
    merge_task_settings,
    over,
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
    "PipelineSettings",
    "Resources",
    "Settings",
    "TaskSettings",
    "check_keys",
    "code_mode",
    "merge_task_settings",
    "over",
    "task_level",
]
