"""The CustomJob that stands for a plain task: a container of the PipelineSpec in, its job spec out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]

#: Machine of a task without resource limits (vertex-observed section 5).
DEFAULT_MACHINE = "e2-standard-4"

#: Machine family: vCPUs on offer, GB for each vCPU. Smaller families come first.
_FAMILIES: tuple[tuple[str, tuple[int, ...], float], ...] = (
    ("e2-standard", (2, 4, 8, 16, 32), 4.0),
    ("e2-highmem", (2, 4, 8, 16), 8.0),
    ("n2-standard", (48, 64, 80, 96), 4.0),
    ("n2-highmem", (32, 48, 64, 80), 8.0),
    ("m1-ultramem", (40, 80), 24.0),
)
#: What a vCPU weighs against a GB of memory when the smallest machine is looked for.
_CPU_WEIGHT = 8.0
_CPU = re.compile(r"([0-9]*\.?[0-9]+)(m?)")
_MEMORY = re.compile(r"([0-9]*\.?[0-9]+)([KMGTPE]?)(i?)")
_GPU_FAMILIES: tuple[tuple[str, tuple[int, ...], float], ...] = (
    ("n1-standard", (4, 8, 16, 32, 64, 96), 3.75),
    ("n1-highmem", (4, 8, 16, 32, 64, 96), 6.5),
)


def plain_job_spec(
    container: Json,
    command: Sequence[str],
    args: Sequence[str],
    env: dict[str, str],
    service_account: str,
    *,
    resources: Json,
    smallest_machine: bool,
) -> Json:
    """Return the ``jobSpec`` of the custom job that Vertex makes for a plain container task.

    :param container: the executor's ``container``. :param command: resolved; :param args: resolved.
    :param resources: the container's ``resources``, placeholders in them resolved.
    :param smallest_machine: choose a machine for the resource limits, rather than the default one.
    :raises ValueError: a limit cannot be read.
    """
    machine = machine_spec(resources, smallest_machine=smallest_machine)
    spec: Json = {"imageUri": container.get("image", "")}
    if command:
        spec["command"] = list(command)
    if args:
        spec["args"] = list(args)
    spec["env"] = [{"name": name, "value": value} for name, value in env.items()]
    return {
        "workerPoolSpecs": [
            {
                "machineSpec": machine,
                "replicaCount": "1",
                "diskSpec": {"bootDiskType": "pd-ssd", "bootDiskSizeGb": 100},
                "containerSpec": spec,
            }
        ],
        "scheduling": {"disableRetries": True},
        "serviceAccount": service_account,
    }


def machine_spec(resources: Json, *, smallest_machine: bool) -> Json:
    """Return the ``machineSpec`` for a container's resource limits.

    :raises ValueError: a limit cannot be read.
    """
    fitting = machine_type(resources)  # reads the limits whether it is used or not
    machine: Json = {"machineType": fitting if smallest_machine else DEFAULT_MACHINE}
    accelerator = resources.get("accelerator", {})
    kind = accelerator.get("resourceType") or accelerator.get("type")
    if kind:
        count = str(accelerator.get("resourceCount") or accelerator.get("count") or 1)
        if not count.isdecimal():
            raise ValueError(f"accelerator count: found {count!r}; allowed: a whole number")
        machine["acceleratorType"] = kind
        machine["acceleratorCount"] = int(count)
    return machine


def machine_type(resources: Json) -> str:
    """Return the smallest standard machine that has the asked CPUs and memory.

    :raises ValueError: a limit cannot be read.
    """
    cpus = _cpus(resources.get("resourceCpuLimit") or resources.get("cpuLimit") or 0)
    memory = _gigabytes(resources.get("resourceMemoryLimit") or resources.get("memoryLimit") or 0)
    gpu = bool(resources.get("accelerator"))
    if not cpus and not memory:
        return "n1-standard-4" if gpu else DEFAULT_MACHINE
    fits = [
        (size * _CPU_WEIGHT + size * per_cpu, f"{family}-{size}")
        for family, sizes, per_cpu in (_GPU_FAMILIES if gpu else _FAMILIES)
        for size in sizes
        if size >= cpus and size * per_cpu >= memory
    ]
    return min(fits)[1] if fits else DEFAULT_MACHINE


def _cpus(value: str | float) -> float:
    if not isinstance(value, str):
        return float(value)
    found = _CPU.fullmatch(value)
    if not found:
        raise ValueError(f"CPU limit: found {value!r}; allowed: a number, or thousandths such as '500m'")
    return float(found[1]) / (1000 if found[2] else 1)


def _gigabytes(value: str | float) -> float:
    if not isinstance(value, str):
        return float(value)
    found = _MEMORY.fullmatch(value)
    if not found or (found[3] and not found[2]):
        raise ValueError(f"memory limit: found {value!r}; allowed: a number with K to E, or Ki to Ei")
    power = "KMGTPE".index(found[2]) + 1 if found[2] else 0
    return float(found[1]) * float((1024 if found[3] else 1000) ** power) / 1e9
