"""Run an Airflow task group as one Vertex AI pipeline, each task on its own machine.

Names in the table below are imported on first use, so that a DAG file pays only for what it needs; each can
also be imported from its own module.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_vertex_provider.artifacts import HTML as HTML
    from airflow_vertex_provider.artifacts import Artifact as Artifact
    from airflow_vertex_provider.artifacts import ClassificationMetrics as ClassificationMetrics
    from airflow_vertex_provider.artifacts import Dataset as Dataset
    from airflow_vertex_provider.artifacts import Input as Input
    from airflow_vertex_provider.artifacts import Markdown as Markdown
    from airflow_vertex_provider.artifacts import Metrics as Metrics
    from airflow_vertex_provider.artifacts import Model as Model
    from airflow_vertex_provider.artifacts import Output as Output
    from airflow_vertex_provider.compiler import compile_group as compile_group
    from airflow_vertex_provider.emulator import VertexEmulator as VertexEmulator
    from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook as VertexPipelineHook
    from airflow_vertex_provider.operators.component import (
        VertexComponentOperator as VertexComponentOperator,
    )
    from airflow_vertex_provider.operators.container import (
        VertexContainerOperator as VertexContainerOperator,
    )
    from airflow_vertex_provider.operators.job_life import (
        CancelVertexPipelineJobOperator as CancelVertexPipelineJobOperator,
    )
    from airflow_vertex_provider.operators.job_life import (
        DeleteVertexPipelineJobOperator as DeleteVertexPipelineJobOperator,
    )
    from airflow_vertex_provider.operators.job_life import (
        GetVertexPipelineJobOperator as GetVertexPipelineJobOperator,
    )
    from airflow_vertex_provider.operators.job_life import (
        ListVertexPipelineJobsOperator as ListVertexPipelineJobsOperator,
    )
    from airflow_vertex_provider.operators.pipeline_job import (
        SubmitVertexPipelineOperator as SubmitVertexPipelineOperator,
    )
    from airflow_vertex_provider.operators.pipeline_job import (
        WaitVertexPipelineOperator as WaitVertexPipelineOperator,
    )
    from airflow_vertex_provider.operators.run_pipeline import (
        RunVertexPipelineOperator as RunVertexPipelineOperator,
    )
    from airflow_vertex_provider.placeholders import Joined as Joined
    from airflow_vertex_provider.placeholders import OutputFile as OutputFile
    from airflow_vertex_provider.sensors.pipeline_job import (
        VertexPipelineJobSensor as VertexPipelineJobSensor,
    )
    from airflow_vertex_provider.settings import CustomJob as CustomJob
    from airflow_vertex_provider.settings import Resources as Resources
    from airflow_vertex_provider.task_group import VertexTaskGroup as VertexTaskGroup
    from airflow_vertex_provider.task_group import vertex_task_group as vertex_task_group
    from airflow_vertex_provider.triggers.pipeline_job import (
        VertexPipelineJobTrigger as VertexPipelineJobTrigger,
    )

__version__ = "0.1.0"

_MODULES = {
    "Artifact": "artifacts",
    "ClassificationMetrics": "artifacts",
    "CustomJob": "settings",
    "Joined": "placeholders",
    "OutputFile": "placeholders",
    "Dataset": "artifacts",
    "HTML": "artifacts",
    "Input": "artifacts",
    "Markdown": "artifacts",
    "Metrics": "artifacts",
    "Model": "artifacts",
    "Output": "artifacts",
    "CancelVertexPipelineJobOperator": "operators.job_life",
    "DeleteVertexPipelineJobOperator": "operators.job_life",
    "GetVertexPipelineJobOperator": "operators.job_life",
    "ListVertexPipelineJobsOperator": "operators.job_life",
    "Resources": "settings",
    "RunVertexPipelineOperator": "operators.run_pipeline",
    "SubmitVertexPipelineOperator": "operators.pipeline_job",
    "VertexComponentOperator": "operators.component",
    "VertexContainerOperator": "operators.container",
    "VertexEmulator": "emulator",
    "VertexPipelineHook": "hooks.pipeline",
    "VertexPipelineJobSensor": "sensors.pipeline_job",
    "VertexPipelineJobTrigger": "triggers.pipeline_job",
    "VertexTaskGroup": "task_group",
    "WaitVertexPipelineOperator": "operators.pipeline_job",
    "compile_group": "compiler",
    "vertex_task_group": "task_group",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
