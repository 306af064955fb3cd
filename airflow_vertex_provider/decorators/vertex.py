"""``@task.vertex``: a function and its machine in, a member of a Vertex task group out.

The same as ``@task`` with ``executor_config={"vertex": {...}}``, with the settings as arguments of the
decorator. Found by Airflow through the provider's metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.decorator import DecoratedOperator, TaskDecorator, task_decorator_factory

from airflow_vertex_provider.exceptions import VertexConfigurationError
from airflow_vertex_provider.settings import TASK_KEYS, CustomJob, Resources

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context


class VertexDecoratedOperator(DecoratedOperator):
    """A function that runs as one task of a Vertex task group; made by ``@task.vertex``.

    :param vertex_settings: settings given to the decorator, by name.
    """

    custom_operator_name = "@task.vertex"
    # What PythonOperator has and a function for Vertex does not.
    templates_dict = None

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        vertex_settings: Mapping[str, Any] | None = None,
        executor_config: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        config = dict(executor_config or {})
        config["vertex"] = {**(vertex_settings or {}), **config.get("vertex", {})}
        super().__init__(
            python_callable=python_callable,
            op_args=op_args,
            op_kwargs=op_kwargs,
            executor_config=config,
            **kwargs,
        )

    def execute(self, context: Context) -> Any:
        """Refuse to run: outside a Vertex task group there is no pipeline to be a task of."""
        raise VertexConfigurationError(
            f"{self.task_id}: @task.vertex: found outside a VertexTaskGroup; "
            "allowed: inside one, which runs it as a task of its pipeline"
        )


def vertex_task(
    python_callable: Callable[..., Any] | None = None,
    *,
    multiple_outputs: bool | None = None,
    custom_job: CustomJob | Mapping[str, Any] | None = None,
    resources: Resources | Mapping[str, Any] | None = None,
    image: str | None = None,
    packages: Sequence[str] | None = None,
    enable_caching: bool | None = None,
    env: Mapping[str, str] | None = None,
    **kwargs: Any,
) -> TaskDecorator:
    """Make a member of a Vertex task group of a function.

    :param python_callable: the function, when used without parentheses.
    :param multiple_outputs: unroll a returned dict into one XCom per key.
    :param custom_job: the task's own machine, see :class:`~airflow_vertex_provider.settings.CustomJob`.
    :param resources: what a plain task asks for, see :class:`~airflow_vertex_provider.settings.Resources`.
    :param image: container image.
    :param packages: pip requirements installed before the function runs.
    :param enable_caching: let Vertex reuse an earlier result.
    :param env: environment variables of the container.
    :param kwargs: arguments of any Airflow task, such as ``task_id`` or ``retries``.
    """
    given = {
        "custom_job": custom_job,
        "resources": resources,
        "image": image,
        "packages": packages,
        "enable_caching": enable_caching,
        "env": env,
    }
    settings = {name: _plain(given[name]) for name in TASK_KEYS if given[name] is not None}
    return task_decorator_factory(
        python_callable=python_callable,
        multiple_outputs=multiple_outputs,
        decorated_operator_class=VertexDecoratedOperator,
        vertex_settings=settings,
        **kwargs,
    )


def _plain(value: Any) -> Any:
    return value.to_dict() if isinstance(value, CustomJob | Resources) else value
