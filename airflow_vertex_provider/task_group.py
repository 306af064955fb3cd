"""``VertexTaskGroup`` and ``@vertex_task_group``: ordinary Airflow tasks in, one Vertex AI pipeline out."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

import attrs
from airflow.sdk import TaskGroup

from airflow_vertex_provider.exceptions import Problem, VertexConfigurationError, VertexGroupError
from airflow_vertex_provider.settings import TASK_KEYS, CustomJob, PipelineSettings, Resources

if TYPE_CHECKING:
    from airflow.sdk.definitions._internal.node import DAGNode


P = ParamSpec("P")
R = TypeVar("R")


#: Attempts of a group beyond any sense.
MAX_RETRIES = 100


def _option(default: Any = None) -> Any:
    return attrs.field(default=default, kw_only=True)


def _seconds(value: timedelta | float) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else value


# DAG.partial_subset copies what a group's class names in __slots__: that must stay TaskGroup's own.
@attrs.define(repr=False, eq=False, slots=False)
class VertexTaskGroup(TaskGroup):
    """A task group that runs as one Vertex AI pipeline job.

    Use it as a context manager, like Airflow's own. When the block ends well, every task in it becomes the
    mirror of a task of the pipeline, between ``submit_pipeline``, which creates the job, and
    ``wait_for_pipeline``, which follows it. What cannot be carried is refused there, all problems at once.

    The first arguments are those of Airflow's ``TaskGroup``. The others, all by keyword:

    :param location: region of the job, for example ``europe-west4`` (L19); the connection's if not given.
    :param pipeline_root: ``gs://`` folder for what the tasks write (L05); the connection's if not given.
    :param project_id: project of the job; the connection's if not given.
    :param image: container image of members that name none.
    :param packages: pip requirements installed before a member's code, for members that name none.
    :param custom_job: machine of members that name none, see :class:`CustomJob`.
    :param resources: plain resources of members that name none, see :class:`Resources`; not with custom_job.
    :param enable_caching: let Vertex reuse earlier results; ``None``: as the tasks say, and off where they
        say nothing, because Airflow's tasks run when they are told to.
    :param code: how members' functions reach their containers: ``"inline"`` (default), ``"bundle"`` or
        ``"image"``, see docs/code.md.
    :param code_paths: what a bundle holds; the folder of the DAG's own modules if not given.
    :param serializers: names of serialisers for members' values, besides the built-in ones.
    :param value_limit: bytes above which a value travels by file.
    :param pip_index_urls: index that packages come from, then further ones.
    :param pip_no_deps: install packages alone, without what they require.
    :param wheel_cache: ``gs://`` folder that keeps wheels from run to run.
    :param service_account: account the job and its custom jobs run as.
    :param network: VPC network as ``projects/<number>/global/networks/<name>`` (L18).
    :param reserved_ip_ranges: names of IP ranges reserved in that network.
    :param psc_network_attachment: network attachment for Private Service Connect; excludes ``network``.
    :param encryption_spec_key_name: CMEK key.
    :param persistent_resource_id: persistent resource the custom jobs run on (L17).
    :param labels: labels of the job (L04).
    :param failure_policy: ``"slow"`` (default) or ``"fast"`` (L20).
    :param display_name: name in the console.
    :param preflight_validations: let the service check the job before it starts anything.
    :param job_overrides: fields of the API's PipelineJob, merged into the request last; one that overrides a
        setting is logged with both values. Fields that something else sets are refused.
    :param gcp_conn_id: Airflow connection of type ``vertex_ai``, or of Google's own type. It may say what
        neither task nor group say.
    :param impersonation_chain: as in Google's provider.
    :param deferrable: wait in the triggerer (default) or on workers.
    :param poll_interval: seconds between two looks at the job; a timedelta is taken as its seconds.
    :param wait_for_completion: ``False`` submits and leaves: the members are not shown in Airflow then.
    :param cancel_on_kill: cancel the job when a user ends ``submit_pipeline`` or ``wait_for_pipeline``.
    :param retries: how often the group is tried again if its job fails: each attempt is a job that runs again
        only what failed and what follows it. Members' own retries are Vertex AI's and come first.
    :param retry_delay: time before each of them.
    :param execution_timeout: longest time the job may take; then it is cancelled and the group fails.
    """

    location: str | None = _option()
    pipeline_root: str | None = _option()
    project_id: str | None = _option()
    image: str | None = _option()
    packages: Sequence[str] | None = _option()
    custom_job: CustomJob | Mapping[str, Any] | None = _option()
    resources: Resources | Mapping[str, Any] | None = _option()
    enable_caching: bool | None = _option()
    code: str | None = _option()
    code_paths: Sequence[str] | None = _option()
    serializers: Sequence[str] | None = _option()
    value_limit: int | str | None = _option()
    pip_index_urls: Sequence[str] | None = _option()
    pip_no_deps: bool | str | None = _option()
    wheel_cache: str | None = _option()
    service_account: str | None = _option()
    network: str | None = _option()
    reserved_ip_ranges: Sequence[str] | None = _option()
    psc_network_attachment: str | None = _option()
    encryption_spec_key_name: str | None = _option()
    persistent_resource_id: str | None = _option()
    labels: Mapping[str, str] | None = _option()
    failure_policy: str | None = _option()
    display_name: str | None = _option()
    preflight_validations: bool | None = _option()
    job_overrides: Mapping[str, Any] | None = _option()
    gcp_conn_id: str = _option("google_cloud_default")
    impersonation_chain: str | Sequence[str] | None = _option()
    deferrable: bool = _option(default=True)
    poll_interval: float = attrs.field(default=30.0, kw_only=True, converter=_seconds)
    wait_for_completion: bool = _option(default=True)
    cancel_on_kill: bool = _option(default=True)
    retries: int = _option(0)
    retry_delay: timedelta = _option(timedelta(minutes=5))
    execution_timeout: timedelta | None = _option()
    _phase: str = attrs.field(default="new", init=False)

    def __getstate__(self) -> dict[str, Any]:
        """Return every field: TaskGroup's own way names the fields of TaskGroup alone."""
        return {field.name: getattr(self, field.name) for field in attrs.fields(type(self))}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Take what :meth:`__getstate__` returned; some fields let nobody set them again."""
        for name, value in state.items():
            object.__setattr__(self, name, value)

    def pipeline_settings(self) -> PipelineSettings:
        """Return the settings of the job.

        :raises VertexSettingsError: one of them is not allowed.
        """
        names = [field.name for field in attrs.fields(type(self))]
        known = PipelineSettings.__dataclass_fields__
        return PipelineSettings.from_dict({name: getattr(self, name) for name in names if name in known})

    def task_settings(self) -> dict[str, Any]:
        """Return the group's level of task settings, as the author gave it."""
        names = [name for name in TASK_KEYS if name != "env"]
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def own_problems(self) -> list[Problem]:
        """Find what is wrong with the arguments that say how Airflow runs the group. Runs at parse.

        The settings of the job and of the tasks are checked with :meth:`pipeline_settings` and
        :meth:`task_settings`.
        """
        from airflow_vertex_provider.graph.templates import environment_of, setting_problems

        problems = [
            self._problem(name, value, "True or False")
            for name in ("deferrable", "wait_for_completion", "cancel_on_kill")
            if not isinstance(value := getattr(self, name), bool)
        ]
        seconds = self.poll_interval
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
            problems.append(self._problem("poll_interval", seconds, "seconds as a number, more than 0"))
        retries, delay = self.retries, self.retry_delay
        if isinstance(retries, bool) or not isinstance(retries, int) or not 0 <= retries <= MAX_RETRIES:
            problems.append(self._problem("retries", retries, f"a whole number from 0 to {MAX_RETRIES}"))
        elif retries and not self.wait_for_completion:
            problems.append(self._problem("retries", retries, "none with wait_for_completion=False"))
        if not isinstance(delay, timedelta) or delay < timedelta():
            problems.append(self._problem("retry_delay", delay, "a timedelta of at least 0"))
        limit = self.execution_timeout
        if limit is not None and not (isinstance(limit, timedelta) and limit > timedelta()):
            problems.append(self._problem("execution_timeout", limit, "a timedelta of more than 0"))
        if limit is not None and not self.wait_for_completion:
            problems.append(
                self._problem(
                    "execution_timeout", limit, "none where nobody waits (wait_for_completion=False)"
                )
            )
        if not isinstance(self.gcp_conn_id, str) or not self.gcp_conn_id:
            problems.append(self._problem("gcp_conn_id", self.gcp_conn_id, "the id of a connection"))
        chain = self.impersonation_chain
        links = [chain] if isinstance(chain, str) else chain
        if links is not None and not (
            isinstance(links, list | tuple) and all(isinstance(link, str) and link for link in links)
        ):
            problems.append(
                self._problem(
                    "impersonation_chain", chain, "the e-mail address of an account, or a list of them"
                )
            )
        texts = {"gcp_conn_id": self.gcp_conn_id, "impersonation_chain": links}
        members = [task.task_id for task in self.iter_tasks()]
        problems.extend(
            Problem(str(self.group_id), *problem)
            for problem in setting_problems("", texts, members, environment_of(self.dag))
        )
        return problems

    def _problem(self, field: str, found: object, allowed: str) -> Problem:
        return Problem(str(self.group_id), field, repr(found), allowed)

    def add(self, task: DAGNode) -> DAGNode:
        """Take a task in, while the ``with`` block is open.

        :raises VertexGroupError: outside it, where the task would silently run in Airflow instead.
        """
        if self._phase not in ("open", "building"):
            state = "closed" if self._phase == "closed" else "not open"
            raise VertexGroupError(
                self.dag.dag_id,
                str(self.group_id),
                [
                    Problem(
                        str(task.node_id),
                        "task_group",
                        f"added while the group's with block is {state}",
                        "tasks made inside `with VertexTaskGroup(...)`",
                    )
                ],
            )
        return super().add(task)

    @contextmanager
    def building(self) -> Iterator[None]:
        """Let the group take in the tasks that it makes itself."""
        self._phase = "building"
        try:
            yield
        finally:
            self._phase = "closed"

    def __enter__(self) -> VertexTaskGroup:
        """Open the group for tasks; once."""
        if self._phase != "new":
            raise VertexGroupError(
                self.dag.dag_id,
                str(self.group_id),
                [Problem(str(self.group_id), "with", "a second with block", "one block for each group")],
            )
        super().__enter__()
        self._phase = "open"
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _tb: TracebackType | None,
    ) -> None:
        """Close the group and make its tasks; a block that raised makes none and its error goes on."""
        super().__exit__(_type, _value, _tb)  # type: ignore[no-untyped-call]
        self._phase = "closed"
        if _type is None:
            from airflow_vertex_provider.assembly import close_group

            close_group(self)


class _VertexTaskGroupFactory(Generic[P, R]):
    """What ``@vertex_task_group`` makes of a function: a callable that builds the group."""

    def __init__(self, function: Callable[P, R], options: Mapping[str, Any]) -> None:
        self.function = function
        self.options = {"group_id": function.__name__, **options}
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R | VertexTaskGroup:
        """Build the group: what the function returns, or the group if it returns nothing."""
        with VertexTaskGroup(**{"add_suffix_on_collision": True, **self.options}) as group:
            doc = self.function.__doc__
            if doc and not group.tooltip:
                group.tooltip = doc
            result = self.function(*args, **kwargs)
        return group if result is None else result

    def override(self, **options: Any) -> _VertexTaskGroupFactory[P, R]:
        """Return the same decorated function with other group arguments."""
        return type(self)(self.function, {**self.options, **options})

    def expand(self, **_: Any) -> Any:
        """Refuse to be mapped."""
        self._refuse("expand")

    def expand_kwargs(self, *_: Any) -> Any:
        """Refuse to be mapped."""
        self._refuse("expand_kwargs")

    def partial(self, **_: Any) -> Any:
        """Refuse to be mapped."""
        self._refuse("partial")

    def _refuse(self, name: str) -> None:
        raise VertexConfigurationError(
            f"{self.options['group_id']}: found .{name}() on a Vertex task group; "
            "allowed: calling it; mapped Vertex task groups are not carried yet"
        )


@overload
def vertex_task_group(python_callable: Callable[P, R]) -> _VertexTaskGroupFactory[P, R]: ...


@overload
def vertex_task_group(
    **options: Any,
) -> Callable[[Callable[P, R]], _VertexTaskGroupFactory[P, R]]: ...


def vertex_task_group(python_callable: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Make a Vertex task group of a function that calls tasks, as ``@task_group`` does.

    :param python_callable: the function, when used without parentheses.
    :param options: arguments of :class:`VertexTaskGroup`; ``group_id`` is the function's name if not given.
    :raises VertexConfigurationError: an argument of the group is given without its name.
    """
    if python_callable is not None:
        if not callable(python_callable):
            raise VertexConfigurationError(
                f"vertex_task_group: found {python_callable!r} as its first argument; "
                "allowed: arguments by name, for example group_id=..., or the function alone"
            )
        return _VertexTaskGroupFactory(python_callable, options)
    return lambda function: _VertexTaskGroupFactory(function, options)
