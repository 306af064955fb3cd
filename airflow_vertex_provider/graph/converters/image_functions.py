"""``@task.kubernetes`` and ``@task.docker``: a function and its image in, a PYTHON task in that image out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_vertex_provider.graph.converters import class_name, docker, kubernetes
from airflow_vertex_provider.graph.converters.images import function_in_image, image_setting
from airflow_vertex_provider.graph.converters.settings import environment, refuse_unless

if TYPE_CHECKING:
    from airflow_vertex_provider.graph.converters.base import Conversion
    from airflow_vertex_provider.graph.values import Values

_KUBERNETES = "airflow.providers.cncf.kubernetes.decorators.kubernetes._KubernetesDecoratedOperator"
_DOCKER = "airflow.providers.docker.decorators.docker._DockerDecoratedOperator"
CLASSES = (_KUBERNETES, _DOCKER)
LEAVES_VALUE = True
TITLE = "@task.kubernetes, @task.docker"

#: The function's value is what the operator retrieves; how it is pickled has no part in it.
_OF_DOCKER = ("expect_airflow", "python_command", "retrieve_output", "retrieve_output_path", "serializer")


def convert(operator: Any, values: Values) -> Conversion:
    """See :mod:`airflow_vertex_provider.graph.converters.base`."""
    if class_name(operator) == _KUBERNETES:
        kubernetes.check_pod(operator, values, also=("use_dill",))
        name, given = "env_vars", kubernetes.variables(operator, values)
        machine = kubernetes.resources(operator, values)
    else:
        docker.check_container(operator, values, also=_OF_DOCKER)
        refuse_unless(
            operator.python_command == "python3",
            operator,
            "python_command",
            "python3: that is what runs the function",
            values,
        )
        name, given = "environment", docker.variables(operator, values)
        machine = docker.resources(operator, values)
    settings = {**image_setting(operator), **machine}
    if given:
        settings["env"] = environment(operator, name, given, values, templated=True)
    return function_in_image(operator, values, settings)
