"""The pipeline job's settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_vertex_provider import checks
from airflow_vertex_provider.exceptions import VertexSettingsError
from airflow_vertex_provider.settings import records
from airflow_vertex_provider.settings.base import Settings, check_region, setting
from airflow_vertex_provider.settings.machine_table import location_problem
from airflow_vertex_provider.settings.raw import MISSING, lookup, spelled

#: Fields of a PipelineJob that this package or the service sets; each with who does.
_TAKEN = {
    "name": "the service",
    "create_time": "the service",
    "start_time": "the service",
    "end_time": "the service",
    "update_time": "the service",
    "state": "the service",
    "job_detail": "the service",
    "error": "the service",
    "schedule_name": "the service",
    "template_metadata": "the service",
    "template_uri": "the group: it is the pipeline",
    "pipeline_spec": "the group: it is the pipeline",
    "runtime_config.gcs_output_directory": "pipeline_root",
    "runtime_config.parameter_values": "the group: what comes from outside",
    "runtime_config.parameters": "the group: what comes from outside",
    "runtime_config.failure_policy": "failure_policy",
    **{f"labels.{key}": "submit_pipeline" for key in checks.OUR_LABELS},
    f"labels.{checks.RESERVED_LABEL}": "the service",
}


def _job_overrides(field: str, value: Any) -> dict[str, Any]:
    """Accept fields of the API's PipelineJob, but those that something else sets."""
    given: dict[str, Any] = spelled(records.raw(field, value), frozenset({"labels"}))
    for path, owner in _TAKEN.items():
        found = lookup(given, path.split("."))
        if found is not MISSING:
            raise VertexSettingsError(f"{field}.{path}", found, f"other fields; this one is set by {owner}")
    if isinstance(given.get("labels"), Mapping):
        given["labels"] = checks.job_labels(f"{field}.labels", given["labels"])
    return given


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
    :param preflight_validations: let the service check the job before it starts anything.
    :param job_overrides: fields of the API's PipelineJob, merged into the request last.
    :param display_name: name in the console; ``<dag id>.<group id>`` if not said (L03).
    """

    location: str | None = setting(checks.location)
    pipeline_root: str | None = setting(checks.gcs_path)
    project_id: str | None = setting(checks.text)
    service_account: str | None = setting(checks.service_account)
    network: str | None = setting(checks.network)
    reserved_ip_ranges: Sequence[str] | None = setting(checks.texts, scalar=False)
    psc_network_attachment: str | None = setting(checks.text)
    encryption_spec_key_name: str | None = setting(checks.kms_key)
    persistent_resource_id: str | None = setting(checks.persistent_resource_id)
    labels: Mapping[str, str] | None = setting(checks.job_labels, scalar=False)
    failure_policy: str | None = setting(checks.one_of("slow", "fast"))
    display_name: str | None = setting(checks.matching(r".{1,128}", "1 to 128 characters"))
    preflight_validations: bool | str | None = setting(checks.flag)
    job_overrides: Mapping[str, Any] | None = setting(_job_overrides, scalar=False)

    @classmethod
    def _path(cls, name: str) -> str:
        return name

    @classmethod
    def section(cls) -> str:
        """See :meth:`Settings.section`."""
        return "group"

    def check_together(self) -> None:
        """Refuse fields that exclude each other. Runs at parse, and at submit for templates.

        :raises VertexSettingsError: there are two such fields.
        """
        if self.network is not None and self.psc_network_attachment is not None:
            raise VertexSettingsError(
                "network", self.network, "no network together with psc_network_attachment (L18)"
            )
        allowed = location_problem(self.location)
        if allowed:
            raise VertexSettingsError("location", self.location, allowed)
        check_region("encryption_spec_key_name", self.encryption_spec_key_name, self.location)

    def require_complete(self) -> None:
        """Refuse settings that no job can be made of.

        Runs at submit: a connection may say what a group does not.

        :raises VertexSettingsError: location or pipeline root are missing, or two fields exclude each other.
        """
        if self.location is None:
            raise VertexSettingsError(
                "location", None, 'a region such as "europe-west4", of the group or of the connection'
            )
        if self.pipeline_root is None:
            raise VertexSettingsError(
                "pipeline_root", None, '"gs://<bucket>/<path>", of the group or of the connection'
            )
        self.check_together()
