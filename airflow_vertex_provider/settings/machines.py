"""What a task runs on: the machine of a custom job, or the resources of a plain task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from airflow_vertex_provider import checks
from airflow_vertex_provider.settings.base import Settings, setting

#: Machine of a custom job that names none; the one that takes every GPU of the n1 family (L12).
DEFAULT_MACHINE_TYPE = "n1-standard-4"
DEFAULT_BOOT_DISK_TYPE = "pd-ssd"
DEFAULT_BOOT_DISK_SIZE_GB = 100
DEFAULT_TIMEOUT = "604800s"


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
    :param encryption_spec_key_name: CMEK key; the group's if not said.
    :param persistent_resource_id: run on this persistent resource instead of a new machine; needs a service
        account. ``""`` opts out of the group's, and then carries no service account either (L17).
    :param tensorboard: Vertex TensorBoard to write to; needs a service account (L18).
    :param enable_web_access: open an interactive shell into the running container.
    :param base_output_directory: ``gs://`` folder the code finds in ``AIP_MODEL_DIR`` and its siblings.
    :param labels: labels of the custom job, besides those of the pipeline job (L04).
    :param env: environment variables of the container, at most 100 (L14).
    :param strategy: ``STANDARD`` (default), ``SPOT`` or ``FLEX_START``.
    :param max_wait_duration: longest wait for ``FLEX_START``; one day if not said (L15).
    :param display_name: name of the custom job in the console; the task's if not said (L03).
    """

    machine_type: str | None = setting(checks.machine_type)
    accelerator_type: str | None = setting(checks.accelerator)
    accelerator_count: int | str | None = setting(checks.integer(1))
    replica_count: int | str | None = setting(checks.integer(1))
    boot_disk_type: str | None = setting(checks.boot_disk_type)
    boot_disk_size_gb: int | str | None = setting(checks.boot_disk_size_gb)
    timeout: str | float | timedelta | None = setting(checks.duration)
    restart_job_on_worker_restart: bool | str | None = setting(checks.flag)
    service_account: str | None = setting(checks.service_account)
    network: str | None = setting(checks.network)
    reserved_ip_ranges: Sequence[str] | None = setting(checks.texts, scalar=False)
    encryption_spec_key_name: str | None = setting(checks.kms_key)
    persistent_resource_id: str | None = setting(checks.persistent_resource_id)
    tensorboard: str | None = setting(checks.tensorboard)
    enable_web_access: bool | str | None = setting(checks.flag)
    base_output_directory: str | None = setting(checks.gcs_path)
    labels: Mapping[str, str] | None = setting(checks.labels, scalar=False)
    env: Mapping[str, str] | None = setting(checks.environment, scalar=False)
    strategy: str | None = setting(checks.one_of("STANDARD", "SPOT", "FLEX_START"))
    max_wait_duration: str | float | timedelta | None = setting(checks.duration)
    display_name: str | None = setting(checks.matching(r".{1,128}", "1 to 128 characters"))

    @classmethod
    def section(cls) -> str:
        """See :meth:`Settings.section`."""
        return "custom_job"


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
