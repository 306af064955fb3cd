"""KubernetesPodOperator: image, command, arguments and environment of a pod in, a CONTAINER task out.

Recognised by its dotted name: the provider is not imported, and objects of Kubernetes' client are read by
their attributes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_vertex_provider.graph.converters.base import Conversion
from airflow_vertex_provider.graph.converters.container import container_payload
from airflow_vertex_provider.graph.converters.images import image_setting, refuse_others
from airflow_vertex_provider.graph.converters.settings import (
    refuse_outputs,
    refuse_unless,
    skip_codes,
    with_resources,
)
from airflow_vertex_provider.graph.model import TaskKind
from airflow_vertex_provider.graph.template_files import with_files
from airflow_vertex_provider.placeholders import Joined

if TYPE_CHECKING:
    from airflow_vertex_provider.graph.values import Values

CLASSES = ("airflow.providers.cncf.kubernetes.operators.pod.KubernetesPodOperator",)
LEAVES_VALUE = False

#: Fields that are carried.
_READ = frozenset(
    {
        "arguments",
        "cmds",
        "container_resources",
        "do_xcom_push",
        "env_vars",
        "image",
        "image_pull_policy",
        "on_kill_action",
        "skip_on_exit_code",
    }
)
#: Fields that say how Airflow reaches its cluster, names its pod, follows it and cleans up after it.
_OF_AIRFLOWS_POD = frozenset(
    {
        "base_container_name",
        "base_container_status_polling_interval",
        "cluster_context",
        "config_file",
        "container_logs",
        "container_name_log_prefix_enabled",
        "deferrable",
        "durable",
        "get_logs",
        "in_cluster",
        "is_delete_operator_pod",
        "kubernetes_conn_id",
        "log_events_on_failure",
        "log_events_on_startup",
        "log_formatter",
        "log_pod_spec_on_failure",
        "logging_interval",
        "name",
        "namespace",
        "on_finish_action",
        "poll_interval",
        "random_name_suffix",
        "reattach_on_restart",
        "schedule_timeout_seconds",
        "startup_check_interval_seconds",
        "startup_timeout_seconds",
        "termination_message_policy",
        "trigger_kwargs",
    }
)
_MACHINE = 'none; executor_config={"vertex": {"custom_job": ...}} chooses the machine'
_ENV = "none; env_vars gives variables, each a text, a template or an output"
_IMAGE = "none; put it into the image, or read it from Cloud Storage"
_ACCOUNT = "none; service_account of the group or of custom_job is who the task is"
_POD = "none; image, cmds, arguments, env_vars and container_resources say all that is carried"
_WAYS_OUT: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "affinity",
            "node_selector",
            "priority_class_name",
            "runtime_class_name",
            "schedulername",
            "tolerations",
        ),
        _MACHINE,
    ),
    **dict.fromkeys(("configmaps", "env_from", "pod_runtime_info_envs"), _ENV),
    **dict.fromkeys(("init_containers", "volume_mounts", "volumes"), _IMAGE),
    **dict.fromkeys(
        ("automount_service_account_token", "image_pull_secrets", "service_account_name"), _ACCOUNT
    ),
    **dict.fromkeys(("full_pod_spec", "pod_template_dict", "pod_template_file"), _POD),
    "active_deadline_seconds": "None; execution_timeout, with a custom_job",
    "annotations": "none; labels of the group or of custom_job mark what runs in Vertex AI",
    "labels": "none; labels of the group or of custom_job mark what runs in Vertex AI",
    "secrets": "none; read secrets in the task, as its service account (Secret Manager)",
}
_DOLLARS = re.compile(r"\$\$|\$\(([^()]+)\)")
_LIMITS = {"limits": "limit", "requests": "request"}


def convert(operator: Any, values: Values) -> Conversion:
    """See :mod:`airflow_vertex_provider.graph.converters.base`."""
    refuse_unless(
        not operator.do_xcom_push,
        operator,
        "do_xcom_push",
        "False: there is no sidecar that reads /airflow/xcom/return.json; @task.kubernetes leaves a value",
        values,
    )
    check_pod(operator, values)
    env = variables(operator, values)
    for field in ("cmds", "arguments"):
        _check_dollars(field, getattr(operator, field), env, values)
    _check_dollars("env_vars", env.values(), env, values)
    settings = {**image_setting(operator), **resources(operator, values)}
    return Conversion(
        TaskKind.CONTAINER,
        container_payload(
            values,
            command=("cmds", with_files(operator, "cmds", operator.cmds, values)),
            arguments=("arguments", with_files(operator, "arguments", operator.arguments, values)),
            env=("env_vars", with_files(operator, "env_vars", env, values)),
        ),
        settings,
    )


def check_pod(operator: Any, values: Values, also: Iterable[str] = ()) -> None:
    """Refuse what a pod has and a pipeline task has not.

    :param also: further fields that somebody reads.
    """
    refuse_outputs(operator, ("container_resources",), values)
    if skip_codes(operator.skip_on_exit_code, values):
        values.refuse("skip_on_exit_code", operator.skip_on_exit_code, "None; a BashOperator can skip by it")
    refuse_unless(
        operator.image_pull_policy != "Never",
        operator,
        "image_pull_policy",
        "None, Always or IfNotPresent: Vertex AI pulls images itself",
        values,
    )
    action = getattr(operator, "on_kill_action", "delete_pod")
    refuse_unless(
        getattr(action, "value", action) == "delete_pod",
        operator,
        "on_kill_action",
        "delete_pod; cancel_on_kill=False of the group lets the whole pipeline go on",
        values,
    )
    refuse_others(operator, {*_READ, *_OF_AIRFLOWS_POD, *also}, _WAYS_OUT, values)


def variables(operator: Any, values: Values) -> dict[str, Any]:
    """Return the pod's variables as one dict: they are a dict, or a list of V1EnvVar."""
    given = operator.env_vars
    if isinstance(given, Mapping):
        return dict(given)
    if not isinstance(given, list | tuple):
        values.refuse("env_vars", given, "a dict, or a list of V1EnvVar")
        return {}
    found = {}
    for index, item in enumerate(given):
        name = getattr(item, "name", None)
        if not isinstance(name, str) or getattr(item, "value_from", None) is not None:
            values.refuse(f"env_vars[{index}]", item, "a V1EnvVar with a name and a value")
            continue
        found[name] = "" if item.value is None else item.value
    return found


def resources(operator: Any, values: Values) -> dict[str, Any]:
    """Return ``container_resources`` as settings: CPU and memory; the rest has no equal."""
    given = operator.container_resources
    if given is None:
        return {}
    found: dict[str, str] = {}
    for part, ending in _LIMITS.items():
        amounts = given.get(part) if isinstance(given, Mapping) else getattr(given, part, None)
        if not isinstance(amounts, Mapping | None):
            values.refuse(f"container_resources.{part}", amounts, "a dict of cpu and memory")
            continue
        for name, amount in (amounts or {}).items():
            if name in ("cpu", "memory"):
                found[f"{name}_{ending}"] = amount
            else:
                values.refuse(
                    f"container_resources.{part}",
                    f"{name}: {amount}",
                    'cpu and memory; executor_config={"vertex": {"resources": ...}} names a GPU by its type',
                )
    claims = given.get("claims") if isinstance(given, Mapping) else getattr(given, "claims", None)
    if claims:
        values.refuse("container_resources.claims", claims, "none")
    return with_resources(operator, found)


def _check_dollars(field: str, items: Any, env: Mapping[str, Any], values: Values) -> None:
    """Refuse texts that Kubernetes itself would change: ``$(NAME)`` of a variable, and ``$$``."""
    for index, item in enumerate(items if isinstance(items, Iterable) else ()):
        texts = [
            part for part in (item.parts if isinstance(item, Joined) else (item,)) if isinstance(part, str)
        ]
        for match in (match for text in texts for match in _DOLLARS.finditer(text)):
            if match[1] is None or match[1] in env:
                values.refuse(
                    f"{field}[{index}]",
                    match[0],
                    "no text that Kubernetes replaces; a shell in the command reads variables: $NAME",
                )
