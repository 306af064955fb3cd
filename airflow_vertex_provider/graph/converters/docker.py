"""DockerOperator: image, command, entry point and environment of a container in, a CONTAINER task out.

Recognised by its dotted name; the provider is not imported.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_vertex_provider.checks import is_template
from airflow_vertex_provider.graph.converters.base import Conversion
from airflow_vertex_provider.graph.converters.container import container_payload
from airflow_vertex_provider.graph.converters.images import image_setting, refuse_others
from airflow_vertex_provider.graph.converters.settings import refuse_unless, skip_codes, with_resources
from airflow_vertex_provider.graph.model import TaskKind
from airflow_vertex_provider.graph.template_files import with_files
from airflow_vertex_provider.graph.values import has_reference

if TYPE_CHECKING:
    from airflow_vertex_provider.graph.values import Values

CLASSES = ("airflow.providers.docker.operators.docker.DockerOperator",)
LEAVES_VALUE = False

_READ = frozenset(
    {
        "command",
        "do_xcom_push",
        "entrypoint",
        "environment",
        "image",
        "mem_limit",
        "network_mode",
        "skip_on_exit_code",
    }
)
#: Fields that say how Airflow reaches its Docker, names its container, logs it and cleans up after it.
_OF_AIRFLOWS_DOCKER = frozenset(
    {
        "api_version",
        "auto_remove",
        "container_name",
        "docker_conn_id",
        "docker_url",
        "force_pull",
        "log_opts_max_file",
        "log_opts_max_size",
        "mount_tmp_dir",
        "timeout",
        "tls_ca_cert",
        "tls_client_cert",
        "tls_client_key",
        "tls_hostname",
        "tls_ssl_version",
        "tls_verify",
        "tty",
    }
)
_RESOURCES = 'the default; executor_config={"vertex": {"resources": {"cpu_limit": ...}}}'
_FILES = "none; put it into the image, or read it from Cloud Storage"
_WAYS_OUT: Mapping[str, str] = {
    **dict.fromkeys(("host_tmp_dir", "mounts", "tmp_dir"), _FILES),
    **dict.fromkeys(
        ("retrieve_output", "retrieve_output_path", "xcom_all"), "the default; @task.docker leaves a value"
    ),
    "cpus": _RESOURCES,
    "device_requests": 'none; executor_config={"vertex": {"resources": ...}} names a GPU by its type',
    "env_file": "None; environment gives variables, each a text, a template or an output",
    "labels": "none; labels of the group or of custom_job mark what runs in Vertex AI",
    "private_environment": "none: it would be readable in the pipeline; read secrets in the task, as its "
    "service account (Secret Manager)",
    "user": "None; the image decides the user",
    "working_dir": "None; the image decides the folder",
}
#: As Docker counts memory: powers of 1024, whether the unit ends with b or not.
_MEMORY = re.compile(r"(\d+)([bkmg]?)b?")
_UNITS = {"": "", "b": "", "k": "Ki", "m": "Mi", "g": "Gi"}


def convert(operator: Any, values: Values) -> Conversion:
    """See :mod:`airflow_vertex_provider.graph.converters.base`."""
    refuse_unless(
        not operator.do_xcom_push,
        operator,
        "do_xcom_push",
        "False: a container leaves no value (the last line of its log is not read); @task.docker leaves one",
        values,
    )
    check_container(operator, values)
    return Conversion(
        TaskKind.CONTAINER,
        container_payload(
            values,
            command=("entrypoint", _words("entrypoint", operator.entrypoint, values)),
            arguments=(
                "command",
                _words("command", with_files(operator, "command", operator.command, values), values),
            ),
            env=("environment", variables(operator, values)),
        ),
        {**image_setting(operator), **resources(operator, values)},
    )


def check_container(operator: Any, values: Values, also: Iterable[str] = ()) -> None:
    """Refuse what Docker's container has and a pipeline task has not.

    :param also: further fields that somebody reads.
    """
    if skip_codes(operator.skip_on_exit_code, values):
        values.refuse("skip_on_exit_code", operator.skip_on_exit_code, "None; a BashOperator can skip by it")
    refuse_unless(
        operator.network_mode in (None, "bridge", "default"),
        operator,
        "network_mode",
        "None or bridge; network of the group or of custom_job",
        values,
    )
    refuse_others(operator, {*_READ, *_OF_AIRFLOWS_DOCKER, *also}, _WAYS_OUT, values)


def variables(operator: Any, values: Values) -> dict[str, Any]:
    """Return the container's variables; what is no text is written as Docker's client does."""
    given = operator.environment
    if not isinstance(given, Mapping):
        values.refuse("environment", given, "a dict of variables, each a text, a template or an output")
        return {}
    read = with_files(operator, "environment", given, values)
    return {
        name: item if isinstance(item, str) or item is None or has_reference(item) else str(item)
        for name, item in read.items()
    }


def resources(operator: Any, values: Values) -> dict[str, Any]:
    """Return ``mem_limit`` as a setting."""
    limit = operator.mem_limit
    if limit is None:
        return {}
    match = _MEMORY.fullmatch(f"{limit:.0f}" if isinstance(limit, int | float) else str(limit).lower())
    if match is None:
        values.refuse("mem_limit", limit, 'bytes, or a whole number with a unit, such as "512m" or "4g"')
        return {}
    return with_resources(operator, {"memory_limit": match[1] + _UNITS[match[2]]})


def _words(field: str, given: Any, values: Values) -> Any:
    """Return a command as a list: as it is, from Python's notation, or split as a shell does."""
    if given is None:
        return []
    if not isinstance(given, str):
        return given
    if is_template(given):
        values.refuse(
            field, given, "a list, each item of which may be a template: a text is split once it is rendered"
        )
        return []
    try:
        if not given.strip().startswith("["):
            return shlex.split(given)
        written = ast.literal_eval(given)
    except (ValueError, SyntaxError) as error:
        values.refuse(field, given, f"a command that can be split ({error})")
        return []
    return written
