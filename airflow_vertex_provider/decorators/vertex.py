"""``@task.vertex``: a function and its machine in, a member of a Vertex task group out.

The same as ``@task`` with ``executor_config={"vertex": {...}}``, with the settings as arguments of the
decorator. Found by Airflow through the provider's metadata.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.decorator import DecoratedOperator, TaskDecorator, task_decorator_factory

from airflow_vertex_provider.exceptions import VertexConfigurationError
from airflow_vertex_provider.graph.artifacts import ports_of
from airflow_vertex_provider.settings import TASK_KEYS, CustomJob, Resources, over

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context


class VertexDecoratedOperator(DecoratedOperator):
    """A function that runs as one task of a Vertex task group; made by ``@task.vertex``.

    A setting may reach it in four ways. The nearest wins, field by field: ``executor_config`` of the call
    (``.override``), settings of the call by name, the decorator's arguments, ``executor_config`` of
    ``default_args``.

    :param vertex_settings: settings given to the decorator, by name.
    :param kwargs: arguments of any Airflow task, and the settings of ``@task.vertex`` by name, as
        ``.override(custom_job=...)`` gives them.
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
        # Not named above: Airflow would fill them from default_args, where an "env" or "image" is meant for
        # other operators.
        by_name = {name: kwargs.pop(name) for name in TASK_KEYS if name in kwargs}
        # Airflow fills what the author left out from default_args, with the very same object.
        inherited = kwargs.get("default_args") or {}
        is_inherited = executor_config is not None and executor_config is inherited.get("executor_config")
        op_args, op_kwargs = _with_outputs(python_callable, op_args or (), op_kwargs or {})
        super().__init__(
            python_callable=python_callable,
            op_args=op_args,
            op_kwargs=op_kwargs,
            executor_config=_with_settings(
                executor_config, over(by_name, vertex_settings or {}), is_nearest=not is_inherited
            ),
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
    code: str | None = None,
    code_paths: Sequence[str] | None = None,
    serializers: Sequence[str] | None = None,
    value_limit: int | str | None = None,
    pip_index_urls: Sequence[str] | None = None,
    pip_no_deps: bool | str | None = None,
    wheel_cache: str | None = None,
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
    :param code: how the function reaches the container: ``"inline"`` (default), ``"bundle"``, ``"image"``.
    :param code_paths: what a bundle holds; the folder of the DAG's own modules if not given.
    :param serializers: names of serialisers for values, besides the built-in ones.
    :param value_limit: bytes above which a value travels by file.
    :param pip_index_urls: index that packages come from, then further ones.
    :param pip_no_deps: install the packages alone, without what they require.
    :param wheel_cache: ``gs://`` folder that keeps wheels from run to run.
    :param kwargs: arguments of any Airflow task, such as ``task_id`` or ``retries``.
    """
    given = {
        "custom_job": custom_job,
        "resources": resources,
        "image": image,
        "packages": packages,
        "enable_caching": enable_caching,
        "env": env,
        "code": code,
        "code_paths": code_paths,
        "serializers": serializers,
        "value_limit": value_limit,
        "pip_index_urls": pip_index_urls,
        "pip_no_deps": pip_no_deps,
        "wheel_cache": wheel_cache,
    }
    settings = {name: given[name] for name in TASK_KEYS if given[name] is not None}
    config = kwargs.get("executor_config")
    if isinstance(config, Mapping) and isinstance(config.get("vertex"), Mapping):
        # Both are the decorator's: what a call says by name goes before either.
        settings = over(config["vertex"], settings)
        kwargs["executor_config"] = {key: value for key, value in config.items() if key != "vertex"}
    return task_decorator_factory(
        python_callable=python_callable,
        multiple_outputs=multiple_outputs,
        decorated_operator_class=VertexDecoratedOperator,
        vertex_settings=settings,
        **kwargs,
    )


def _with_outputs(
    function: Callable[..., Any], args: Collection[Any], kwargs: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Complete a call by its ``Output[...]`` parameters, which are no part of it: each is given ``None``."""
    outputs = ports_of(function).outputs
    rest, given = list(args), dict(kwargs)
    found: list[Any] = []
    for name, parameter in inspect.signature(function).parameters.items() if outputs else ():
        positional = parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        if name not in outputs:
            if positional and rest:
                found.append(rest.pop(0))
        elif name not in given:
            # By position only where it must be: something that was given so stands behind it.
            if positional and (rest or parameter.kind is parameter.POSITIONAL_ONLY):
                found.append(None)
            else:
                given[name] = None
    return [*found, *rest], given


def _with_settings(config: Any, settings: Mapping[str, Any], *, is_nearest: bool) -> Any:
    """Put ``settings`` below or above those of a config; the reader names what is no dict."""
    if not isinstance(config or {}, Mapping):
        return config
    rest = dict(config or {})
    own = rest.get("vertex", {})
    if not isinstance(own, Mapping):
        return rest
    return {**rest, "vertex": over(own, settings) if is_nearest else over(settings, own)}
