"""Checks of single settings: a value as the author wrote it in, the value in its one normal form out.

Each check takes ``(field, value)``, returns the value as the API wants it, or raises
:class:`~airflow_vertex_provider.exceptions.VertexSettingsError` naming the field, what was found and what
is allowed. A string with Jinja in it passes untouched: it is checked again at submit, once rendered.
L-numbers name the rule of Vertex AI or KFP that a check enforces; docs/settings.md lists them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from airflow_vertex_provider.exceptions import VertexSettingsError

Check = Callable[[str, Any], Any]

#: L11: names of the API's AcceleratorType, kept here so that parsing a DAG does not load Google's client.
ACCELERATOR_TYPES = (
    "NVIDIA_TESLA_K80",
    "NVIDIA_TESLA_P100",
    "NVIDIA_TESLA_V100",
    "NVIDIA_TESLA_P4",
    "NVIDIA_TESLA_T4",
    "NVIDIA_TESLA_A100",
    "NVIDIA_A100_80GB",
    "NVIDIA_L4",
    "NVIDIA_H100_80GB",
    "NVIDIA_H100_MEGA_80GB",
    "NVIDIA_H200_141GB",
    "NVIDIA_B200",
    "NVIDIA_GB200",
    "NVIDIA_RTX_PRO_6000",
    "TPU_V2",
    "TPU_V3",
    "TPU_V4_POD",
    "TPU_V5_LITEPOD",
)

_JINJA = re.compile(r"\{\{|\{%|\{#")
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
#: Set by the service on every job; a value of the author's would be overwritten (L04).
RESERVED_LABEL = "vertex-ai-pipelines-run-billing-id"
#: L10.
MAX_CPUS = 96
MAX_MEMORY = 624 << 30
#: Bytes per unit of memory.
MEMORY_UNITS: Mapping[str, int] = {
    "": 1,
    **{unit: 10 ** (3 * power) for power, unit in enumerate("KMGTPE", 1)},
    **{f"{unit}i": 1 << (10 * power) for power, unit in enumerate("KMGTPE", 1)},
}
MAX_LABELS = 64
#: Labels that submit adds to jobs: DAG, group or task, run, and those of the attempt (operators/attempts.py).
OUR_LABELS = (
    "airflow_dag_id",
    "airflow_group_id",
    "airflow_task_id",
    "airflow_run_id",
    "airflow_attempt",
    "airflow_max_tries",
    "airflow_try_number",
    "airflow_fingerprint",
    "airflow_retries_left",
)
MAX_ENV = 100


def is_template(value: object) -> bool:
    """Tell whether Airflow will render ``value``: a string with Jinja's opening marks in it."""
    return isinstance(value, str) and _JINJA.search(value) is not None


def as_text(value: Any) -> Any:
    """Write a number as text: that is what a DAG that renders native objects makes of ``{{ ds_nodash }}``."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def text(field: str, value: Any) -> str:
    """Accept a string that is not empty, or a number."""
    value = as_text(value)
    if not isinstance(value, str) or not value.strip():
        raise VertexSettingsError(field, value, "a string that is not empty")
    return value


def flag(field: str, value: Any) -> bool:
    """Accept ``True`` and ``False``, and the words a rendered template leaves."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    raise VertexSettingsError(field, value, "True or False")


def matching(pattern: str, allowed: str) -> Check:
    """Accept a text that the whole of ``pattern`` matches; ``allowed`` says so in words."""
    compiled = re.compile(pattern)

    def check(field: str, value: Any) -> str:
        written = as_text(value)
        if not isinstance(written, str) or not compiled.fullmatch(written):
            raise VertexSettingsError(field, value, allowed)
        return written

    return check


def one_of(*choices: str) -> Check:
    """Accept one of ``choices``."""

    def check(field: str, value: Any) -> str:
        if value not in choices:
            raise VertexSettingsError(field, value, "one of " + ", ".join(choices))
        return str(value)

    return check


def integer(least: int, most: int | None = None) -> Check:
    """Accept a whole number from ``least`` to ``most``, also as the digits a rendered template leaves."""
    allowed = f"a whole number of at least {least}" if most is None else f"a whole number, {least} to {most}"

    def check(field: str, value: Any) -> int:
        number = value
        if isinstance(value, str) and re.fullmatch(r"-?\d{1,18}", value.strip()):
            number = int(value)
        if not isinstance(number, int) or isinstance(number, bool):
            raise VertexSettingsError(field, value, allowed)
        if number < least or (most is not None and number > most):
            raise VertexSettingsError(field, value, allowed)
        return number

    return check


def duration(field: str, value: Any) -> str:
    """Accept seconds as a number, a timedelta, or the API's ``"86400s"``; return the API's form (L15)."""
    allowed = 'seconds as a number, a timedelta, or text like "86400s"; more than 0'
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, str) and re.fullmatch(r"\d+(\.\d{1,9})?s?", value.strip()):
        value = float(value.strip().removesuffix("s"))
    # The API counts in billionths of a second; less than one would be written as none.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1e-9 <= value < 1e10:
        raise VertexSettingsError(field, value, allowed)
    return f"{value:.9f}".rstrip("0").rstrip(".") + "s"


def texts(field: str, value: Any) -> list[str]:
    """Accept a list of strings that are not empty."""
    if isinstance(value, str) or not isinstance(value, list | tuple):
        raise VertexSettingsError(field, value, "a list of strings")
    for index, item in enumerate(value):
        if not isinstance(item, str) or not item.strip():
            raise VertexSettingsError(f"{field}[{index}]", item, "a string that is not empty")
    return list(value)


def requirements(field: str, value: Any) -> list[str]:
    """Accept requirements as pip takes them: a list of texts, none of which is an option of pip."""
    for index, item in enumerate(texts(field, value)):
        if not is_template(item) and (item.lstrip().startswith("-") or "\n" in item):
            raise VertexSettingsError(
                f"{field}[{index}]",
                item,
                "one requirement, without options of pip; pip_index_urls and pip_no_deps are settings",
            )
    return list(value)


def addresses(field: str, value: Any) -> list[str]:
    """Accept a list of addresses: texts without blanks, none of which is an option of pip."""
    for index, item in enumerate(texts(field, value)):
        if not is_template(item) and (item.startswith("-") or re.search(r"\s", item)):
            raise VertexSettingsError(
                f"{field}[{index}]", item, 'the address of an index, such as "https://host/simple"'
            )
    return list(value)


def literal_texts(field: str, value: Any) -> list[str]:
    """Accept a list of strings that are not empty and no templates: what they say is needed at parse."""
    for index, item in enumerate(texts(field, value)):
        if is_template(item):
            raise VertexSettingsError(f"{field}[{index}]", item, "a text without a template")
    return list(value)


def labels(field: str, value: Any) -> dict[str, str]:
    """Accept labels as Google Cloud takes them (L04)."""
    return _labels(field, value, MAX_LABELS, "")


def job_labels(field: str, value: Any) -> dict[str, str]:
    """Accept the labels of a pipeline job: as any (L04), but fewer, since submit adds some of its own."""
    why = f"; {len(OUR_LABELS)} more are added, for DAG, group or task, run and attempt (L04)"
    found = _labels(field, value, MAX_LABELS - len(OUR_LABELS), why)
    for key in OUR_LABELS:
        if key in found:
            raise VertexSettingsError(
                f"{field}.{key}", found[key], "another key; this one is set by submit_pipeline"
            )
    return found


def _labels(field: str, value: Any, most: int, why: str) -> dict[str, str]:
    if not isinstance(value, Mapping) or len(value) > most:
        found = f"{len(value)} labels" if isinstance(value, Mapping) else value
        raise VertexSettingsError(field, found, f"a dict of at most {most} labels{why}")
    result = {}
    for key, item in value.items():
        if key == RESERVED_LABEL:
            raise VertexSettingsError(f"{field}.{key}", item, "another key; this one is set by the service")
        # A template too: Airflow renders the values of a dict, not its keys.
        if not isinstance(key, str) or not _LABEL_KEY.fullmatch(key):
            raise VertexSettingsError(
                field,
                key,
                "keys of 1 to 63 lower-case letters, digits, '_' and '-' that start with a letter",
            )
        written = as_text(item)
        if not isinstance(written, str) or not (is_template(written) or _LABEL_VALUE.fullmatch(written)):
            raise VertexSettingsError(
                f"{field}.{key}", item, "at most 63 lower-case letters, digits, '_' and '-'"
            )
        result[key] = written
    return result


def variable_name(field: str, value: Any) -> str:
    """Accept the name of an environment variable."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise VertexSettingsError(field, value, "names of letters, digits and '_', no leading digit")
    return value


def environment(field: str, value: Any) -> dict[str, str]:
    """Accept environment variables: at most 100, none with an empty value (L14)."""
    if not isinstance(value, Mapping) or len(value) > MAX_ENV:
        raise VertexSettingsError(field, value, f"a dict of at most {MAX_ENV} variables")
    for key, item in value.items():
        variable_name(field, key)
        if as_text(item) == "" or not isinstance(as_text(item), str):
            raise VertexSettingsError(f"{field}.{key}", item, "a string that is not empty, or a number")
    return {key: as_text(item) for key, item in value.items()}


def cpu(field: str, value: Any) -> str:
    """Accept CPUs as Kubernetes writes them, more than 0 and at most 96 (L10)."""
    written = as_text(value)
    if isinstance(written, str) and re.fullmatch(r"[0-9]+m|[0-9]+(\.[0-9]+)?", written):
        number = float(written[:-1]) / 1000 if written.endswith("m") else float(written)
        if 0 < number <= MAX_CPUS:
            return written
    raise VertexSettingsError(field, value, f'CPUs such as "4", "0.5" or "500m", at most "{MAX_CPUS}"')


def memory(field: str, value: Any) -> str:
    """Accept memory as whole number and unit, from 1M to 624Gi (L10).

    Without a unit the number counts bytes, for the service as for Kubernetes: ``"16"`` is refused.
    """
    written = as_text(value)
    match = re.fullmatch(r"([0-9]+)([EPTGMK]i?)?", written) if isinstance(written, str) else None
    if match and 10**6 <= int(match[1]) * MEMORY_UNITS[match[2] or ""] <= MAX_MEMORY:
        return str(written)
    raise VertexSettingsError(
        field, value, 'a whole number with a unit, such as "16G" or "512Mi", from "1M" to "624Gi"'
    )


accelerator = one_of(*ACCELERATOR_TYPES)
machine_type = matching(r"[a-z][a-z0-9-]*", 'a machine type such as "n1-standard-4"')
boot_disk_type = one_of("pd-ssd", "pd-standard", "hyperdisk-balanced")
boot_disk_size_gb = integer(100, 64000)
network = matching(
    r"projects/\d+/global/networks/[a-z]([-a-z0-9]*[a-z0-9])?",
    '"projects/<project NUMBER>/global/networks/<name>"',
)
service_account = matching(
    r"[^@\s]+@[^@\s]+\.[^@\s]+",
    'the e-mail address of a service account, such as "ml@acme.iam.gserviceaccount.com"',
)
kms_key = matching(
    r"projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+",
    '"projects/<project>/locations/<location>/keyRings/<ring>/cryptoKeys/<key>"',
)
tensorboard = matching(
    r"projects/[^/]+/locations/[^/]+/tensorboards/[^/]+",
    '"projects/<project>/locations/<location>/tensorboards/<id>"',
)
gcs_path = matching(
    r"gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/.*)?",
    '"gs://<bucket>/<path>", the bucket of 3 to 222 lower-case letters, digits, ".", "_" and "-"',
)
location = matching(r"[a-z]+-[a-z]+\d+", 'a region such as "europe-west4"')
persistent_resource_id = matching(r"|[a-z]([a-z0-9-]*[a-z0-9])?", 'an id such as "gpu-pool", or "" for none')
