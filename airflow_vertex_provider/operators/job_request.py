"""The request of a job: graph, compiled pipeline, values and settings in, the PipelineJob to create out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from airflow_vertex_provider.graph import naming
from airflow_vertex_provider.graph.model import Graph
from airflow_vertex_provider.settings import PipelineSettings, raw

#: How the API numbers our two failure policies (L20).
FAILURE_POLICIES = {"slow": "PIPELINE_FAILURE_POLICY_FAIL_SLOW", "fast": "PIPELINE_FAILURE_POLICY_FAIL_FAST"}

#: Setting of the job to where a PipelineJob has it.
_PLACES = {
    "display_name": ("display_name",),
    "service_account": ("service_account",),
    "network": ("network",),
    "reserved_ip_ranges": ("reserved_ip_ranges",),
    "psc_network_attachment": ("psc_interface_config", "network_attachment"),
    "encryption_spec_key_name": ("encryption_spec", "kms_key_name"),
    "preflight_validations": ("preflight_validations",),
}


def job_request(
    graph: Graph,
    spec: Mapping[str, Any],
    values: Mapping[str, Any],
    pipeline: PipelineSettings,
    *,
    run_id: str,
) -> tuple[dict[str, Any], list[str]]:
    """Return the PipelineJob to create, in the API's JSON form, and what ``job_overrides`` override.

    Runs at submit.
    Labels: those of the settings, and DAG, group and run as label values; those of the attempt come later.

    :param spec: the PipelineSpec.
    :param values: run parameter name to value.
    """
    labels = {
        "airflow_dag_id": naming.label_value(graph.dag_id),
        "airflow_group_id": naming.label_value(graph.group_id),
        "airflow_run_id": naming.label_value(run_id),
    }
    return request_of(spec, values, pipeline, display_name=f"{graph.dag_id}.{graph.group_id}", labels=labels)


def request_of(
    spec: Mapping[str, Any],
    values: Mapping[str, Any],
    pipeline: PipelineSettings,
    *,
    display_name: str,
    labels: Mapping[str, str],
) -> tuple[dict[str, Any], list[str]]:
    """Return the PipelineJob of any pipeline, and what ``job_overrides`` override. Runs at submit.

    :param spec: the PipelineSpec.
    :param values: run parameter name to value.
    :param display_name: the name if the settings have none; cut to what is allowed (L03).
    :param labels: ours, beside those of the settings.
    """
    job: dict[str, Any] = {
        "display_name": display_name[:128],
        "pipeline_spec": dict(spec),
        "labels": {**(pipeline.labels or {}), **labels},
        "runtime_config": {
            "gcs_output_directory": pipeline.pipeline_root,
            "parameter_values": dict(values),
            "failure_policy": FAILURE_POLICIES[pipeline.failure_policy or "slow"],
        },
    }
    for name, (place, *inner) in _PLACES.items():
        value = getattr(pipeline, name)
        if value is not None:
            job[place] = {inner[0]: value} if inner else value
    overrides = pipeline.job_overrides or {}
    warnings = list(_overridden(pipeline, overrides))
    return raw.merged(overrides, job), warnings


def _overridden(pipeline: PipelineSettings, overrides: Mapping[str, Any]) -> Iterator[str]:
    """Name both values wherever an override takes the place of a setting."""
    places = {**_PLACES, **{f"labels.{key}": ("labels", key) for key in pipeline.labels or {}}}
    for name, path in places.items():
        old = (pipeline.labels or {})[path[1]] if path[0] == "labels" else getattr(pipeline, name)
        new = raw.lookup(overrides, path)
        if old is not None and new is not raw.MISSING and new != old:
            yield f"job_overrides.{'.'.join(path)} {new!r} overrides {name} {old!r}"
