"""What a task runs on: the machine of a custom job, or the resources of a plain task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from airflow_vertex_provider import checks
from airflow_vertex_provider.exceptions import VertexSettingsError
from airflow_vertex_provider.settings import records
from airflow_vertex_provider.settings.base import Settings, check_region, setting

#: Machine of a custom job that names none; the one that takes every GPU of the n1 family (L12).
DEFAULT_MACHINE_TYPE = "n1-standard-4"
DEFAULT_BOOT_DISK_TYPE = "pd-ssd"
DEFAULT_BOOT_DISK_SIZE_GB = 100
DEFAULT_TIMEOUT = "604800s"
#: The node selector of GKE by which ZenML names an accelerator.
GKE_ACCELERATOR = "cloud.google.com/gke-accelerator"

# Where a CustomJobSpec has what describes a machine.
_POOL = "worker_pool_specs.0"
_MACHINE = f"{_POOL}.machine_spec"
_DISK = f"{_POOL}.disk_spec"


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
    :param psc_interface_config: Private Service Connect instead of a network: a dict of
        ``network_attachment`` and, if need be, ``dns_peering_configs``; else the group's attachment (L18).
    :param encryption_spec_key_name: CMEK key; the group's if not said.
    :param persistent_resource_id: run on this persistent resource instead of a new machine; needs a service
        account. ``""`` opts out of the group's, and then carries no service account either (L17).
    :param tensorboard: Vertex TensorBoard to write to; needs a service account (L18).
    :param nfs_mounts: NFS shares to mount: dicts of ``server``, ``path`` and ``mount_point``; the container
        finds each under ``/mnt/nfs/<mount_point>``.
    :param reservation_affinity: which reservations the machines may be taken from: a dict of
        ``reservation_affinity_type`` (``NO_RESERVATION``, ``ANY_RESERVATION``, or ``SPECIFIC_RESERVATION``
        with ``key`` and ``values``).
    :param enable_web_access: open an interactive shell into the running container.
    :param base_output_directory: ``gs://`` folder the code finds in ``AIP_MODEL_DIR`` and its siblings.
    :param labels: labels of the custom job, besides those of the pipeline job (L04).
    :param env: environment variables of the container, at most 100 (L14).
    :param strategy: ``STANDARD`` (default), ``SPOT`` or ``FLEX_START``; the API's former names ``ON_DEMAND``
        and ``LOW_COST`` too.
    :param max_wait_duration: longest wait for ``FLEX_START``; one day if not said (L15).
    :param display_name: name of the custom job in the console; the task's if not said (L03).
    :param additional_training_job_args: merged last, over every level: fields of this class by their names
        here, or any field of the API's CustomJobSpec by its name there, known to this package or not. One
        that overrides an explicit value is logged with both values.
    :param allow_unlisted_machine: take a machine and accelerator that the table of pairs (L12) does not list.
    """

    machine_type: str | None = setting(checks.machine_type, api=f"{_MACHINE}.machine_type")
    accelerator_type: str | None = setting(checks.accelerator, api=f"{_MACHINE}.accelerator_type")
    accelerator_count: int | str | None = setting(checks.integer(1), api=f"{_MACHINE}.accelerator_count")
    replica_count: int | str | None = setting(checks.integer(1), api=f"{_POOL}.replica_count")
    boot_disk_type: str | None = setting(checks.boot_disk_type, api=f"{_DISK}.boot_disk_type")
    boot_disk_size_gb: int | str | None = setting(checks.boot_disk_size_gb, api=f"{_DISK}.boot_disk_size_gb")
    timeout: str | float | timedelta | None = setting(checks.duration, api="scheduling.timeout")
    restart_job_on_worker_restart: bool | str | None = setting(
        checks.flag, api="scheduling.restart_job_on_worker_restart"
    )
    service_account: str | None = setting(checks.service_account)
    network: str | None = setting(checks.network)
    reserved_ip_ranges: Sequence[str] | None = setting(checks.texts, scalar=False)
    psc_interface_config: Mapping[str, Any] | None = setting(records.psc_interface_config, scalar=False)
    encryption_spec_key_name: str | None = setting(checks.kms_key)
    persistent_resource_id: str | None = setting(checks.persistent_resource_id)
    tensorboard: str | None = setting(checks.tensorboard)
    nfs_mounts: Sequence[Mapping[str, str]] | None = setting(
        records.nfs_mounts, scalar=False, api=f"{_POOL}.nfs_mounts"
    )
    reservation_affinity: Mapping[str, Any] | None = setting(
        records.reservation_affinity, scalar=False, api=f"{_MACHINE}.reservation_affinity"
    )
    enable_web_access: bool | str | None = setting(checks.flag)
    base_output_directory: str | None = setting(
        checks.gcs_path, api="base_output_directory.output_uri_prefix"
    )
    labels: Mapping[str, str] | None = setting(checks.labels, scalar=False)
    env: Mapping[str, str] | None = setting(checks.environment, scalar=False)
    strategy: str | None = setting(
        checks.one_of("STANDARD", "SPOT", "FLEX_START", "ON_DEMAND", "LOW_COST"), api="scheduling.strategy"
    )
    max_wait_duration: str | float | timedelta | None = setting(
        checks.duration, api="scheduling.max_wait_duration"
    )
    display_name: str | None = setting(checks.matching(r".{1,128}", "1 to 128 characters"))
    additional_training_job_args: Mapping[str, Any] | None = setting(records.raw, scalar=False)
    allow_unlisted_machine: bool | str | None = setting(checks.flag)

    @classmethod
    def section(cls) -> str:
        """See :meth:`Settings.section`."""
        return "custom_job"

    def check_regions(self, location: str | None) -> None:
        """Refuse a key or a TensorBoard of another region than the job's (L18), as far as they are known.

        :raises VertexSettingsError: there is one.
        """
        for name in ("encryption_spec_key_name", "tensorboard"):
            check_region(f"custom_job.{name}", getattr(self, name), location)


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

    cpu_limit: str | None = setting(checks.cpu)
    cpu_request: str | None = setting(checks.cpu)
    memory_limit: str | None = setting(checks.memory)
    memory_request: str | None = setting(checks.memory)
    accelerator_type: str | None = setting(checks.accelerator)
    accelerator_count: int | str | None = setting(checks.integer(1))

    @classmethod
    def section(cls) -> str:
        """See :meth:`Settings.section`."""
        return "resources"

    @classmethod
    def from_zenml(
        cls,
        *,
        cpu_count: float | str | None = None,
        memory: str | None = None,
        gpu_count: int | str | None = None,
        node_selectors: Mapping[str, str] | None = None,
    ) -> Resources:
        """Make one of what ZenML's ``ResourceSettings`` and ``pod_settings`` say, for those who move over.

        :param cpu_count: CPUs at most. :param memory: as ZenML writes it: ``"16GB"``, ``"512MiB"``.
        :param gpu_count: how many accelerators; one if only the selector says that there are some.
        :param node_selectors: ``{"cloud.google.com/gke-accelerator": "NVIDIA_TESLA_T4"}``; no other selector
            means anything to Vertex AI.
        :raises VertexSettingsError: another selector, or a value that is not allowed.
        """
        selectors = dict(node_selectors or {})
        kind = selectors.pop(GKE_ACCELERATOR, None)
        for key, value in selectors.items():
            raise VertexSettingsError(
                f"resources.node_selectors.{key}", value, f"{GKE_ACCELERATOR!r} and no other selector"
            )
        if gpu_count is not None and kind is None and str(gpu_count) != "0":
            raise VertexSettingsError(
                "resources.gpu_count",
                gpu_count,
                f"the accelerator's name in node_selectors[{GKE_ACCELERATOR!r}]",
            )
        return cls(
            cpu_limit=checks.as_text(cpu_count),
            memory_limit=memory.removesuffix("B") if isinstance(memory, str) else memory,
            accelerator_type=kind,
            accelerator_count=None if kind is None else gpu_count or 1,
        )
