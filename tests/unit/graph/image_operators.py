"""Stand-ins for operators of the Kubernetes and Docker providers, which the tests' environment lacks.

They have the dotted names and the fields, so what recognises classes by name sees no difference. Where the
real providers can be imported, the same tests run with those too.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import BaseOperator
from airflow.sdk.bases.decorator import DecoratedOperator, task_decorator_factory

POD = "airflow.providers.cncf.kubernetes.operators.pod.KubernetesPodOperator"
POD_FUNCTION = "airflow.providers.cncf.kubernetes.decorators.kubernetes._KubernetesDecoratedOperator"
DOCKER = "airflow.providers.docker.operators.docker.DockerOperator"
DOCKER_FUNCTION = "airflow.providers.docker.decorators.docker._DockerDecoratedOperator"


def _codes(value: Any) -> Any:
    return [] if value is None else value if hasattr(value, "__contains__") else [value]


class _Pod(BaseOperator):
    template_fields = ("image", "cmds", "arguments", "env_vars", "container_resources", "namespace")

    def __init__(
        self,
        *,
        kubernetes_conn_id: str | None = "kubernetes_default",
        namespace: str | None = None,
        image: str | None = None,
        name: str | None = None,
        random_name_suffix: bool = True,
        cmds: list[str] | None = None,
        arguments: list[str] | None = None,
        volumes: list[Any] | None = None,
        env_vars: Any = None,
        env_from: list[Any] | None = None,
        secrets: list[Any] | None = None,
        in_cluster: bool | None = None,
        labels: dict[str, str] | None = None,
        startup_timeout_seconds: int = 120,
        get_logs: bool = True,
        image_pull_policy: str | None = None,
        container_resources: Any = None,
        node_selector: dict[str, str] | None = None,
        service_account_name: str | None = None,
        hostnetwork: bool = False,
        do_xcom_push: bool = False,
        pod_template_file: str | None = None,
        skip_on_exit_code: Any = None,
        on_finish_action: str = "delete_pod",
        on_kill_action: str = "delete_pod",
        active_deadline_seconds: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.image = image
        self.cmds = cmds or []
        self.arguments = arguments or []
        self.env_vars = env_vars or []
        self.namespace = namespace
        self.image_pull_policy = image_pull_policy
        self.container_resources = container_resources
        self.do_xcom_push = do_xcom_push
        self.skip_on_exit_code = _codes(skip_on_exit_code)
        self.on_kill_action = SimpleNamespace(value=on_kill_action)


class _PodFunction(DecoratedOperator, _Pod):
    custom_operator_name = "@task.kubernetes"
    template_fields = ("op_args", "op_kwargs", "image", "env_vars", "container_resources", "namespace")

    def __init__(self, namespace: str | None = None, use_dill: bool = False, **kwargs: Any) -> None:
        self.use_dill = use_dill
        super().__init__(namespace=namespace, name="a-pod", cmds=["placeholder-command"], **kwargs)


class _Docker(BaseOperator):
    template_fields: Sequence[str] = (
        "image",
        "command",
        "environment",
        "env_file",
        "container_name",
        "mounts",
    )
    template_ext = (".sh", ".bash", ".env")

    def __init__(
        self,
        *,
        image: str,
        command: Any = None,
        container_name: str | None = None,
        cpus: float = 1.0,
        docker_url: Any = None,
        environment: dict[str, Any] | None = None,
        private_environment: dict[str, Any] | None = None,
        env_file: str | None = None,
        mem_limit: Any = None,
        network_mode: str | None = None,
        mount_tmp_dir: bool = True,
        tmp_dir: str = "/tmp/airflow",
        user: Any = None,
        mounts: list[Any] | None = None,
        entrypoint: Any = None,
        working_dir: str | None = None,
        xcom_all: bool = False,
        auto_remove: str = "never",
        tty: bool = False,
        privileged: bool = False,
        retrieve_output: bool = False,
        retrieve_output_path: str | None = None,
        skip_on_exit_code: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.image = image
        self.command = command
        self.container_name = container_name
        self.environment = environment or {}
        self.env_file = env_file
        self.mem_limit = mem_limit
        self.network_mode = network_mode
        self.mounts = mounts or []
        self.entrypoint = entrypoint
        self.skip_on_exit_code = _codes(skip_on_exit_code)


class _DockerFunction(DecoratedOperator, _Docker):
    custom_operator_name = "@task.docker"
    template_fields: Sequence[str] = (*_Docker.template_fields, "op_args", "op_kwargs")

    def __init__(
        self,
        python_command: str = "python3",
        expect_airflow: bool = True,
        serializer: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.python_command = python_command
        super().__init__(
            command="placeholder command",
            retrieve_output=True,
            retrieve_output_path="/tmp/script.out",
            **kwargs,
        )


STAND_INS: dict[str, type[Any]] = {
    POD: _Pod,
    POD_FUNCTION: _PodFunction,
    DOCKER: _Docker,
    DOCKER_FUNCTION: _DockerFunction,
}
for _name, _kind in STAND_INS.items():
    _kind.__module__, _, _kind.__qualname__ = _name.rpartition(".")


def operator_class(name: str, real: bool) -> type[Any]:
    """Return the stand-in of that dotted name, or the real class; skips the test where there is none."""
    if not real:
        return STAND_INS[name]
    module, _, kind = name.rpartition(".")
    try:
        found: type[Any] = getattr(importlib.import_module(module), kind)
    except ImportError as error:
        pytest.skip(f"the provider is not installed ({error})")
    return found


def decorator(kind: type[Any], **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return the TaskFlow decorator that makes operators of ``kind``."""
    return task_decorator_factory(decorated_operator_class=kind, **options)
