"""Mapped members: a ``MappedOperator`` of the author in, one whose instances are mirrors out.

The object stays what the scheduler knows: a mapped task with the author's ``expand`` input, by which Airflow
counts the instances, and with its trigger rule, pool and edges. Only what an instance is made of changes. A
worker that runs one does not resolve the mapped arguments: they are the pipeline's, and so is the author's
code in ``.map(...)``.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.bases.decorator import DecoratedMappedOperator
from airflow.sdk.definitions.mappedoperator import MappedOperator

from airflow_vertex_provider.operators.member import VertexMemberOperator
from airflow_vertex_provider.operators.waiting import LOST_WORKER_DELAY, LOST_WORKER_RETRIES

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk.definitions.context import Context

#: What Airflow keeps with a mapped task beside the arguments of BaseOperator.
_FLAGS = ("is_setup", "is_teardown", "on_failure_fail_dagrun")


class MappedVertexMember(MappedOperator):
    """A mapped member; its instances take no arguments of the author's."""

    __slots__ = ()

    def unmap(self, resolve: Mapping[str, Any]) -> BaseOperator:
        """Return one instance."""
        return super().unmap({})

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        """Put one instance into ``context`` and render that. On a worker."""
        _render_instance(self.unmap({}), context, jinja_env)


class DecoratedMappedVertexMember(DecoratedMappedOperator):
    """A mapped ``@task``; its instances take no arguments of the author's."""

    __slots__ = ()

    def unmap(self, resolve: Mapping[str, Any]) -> BaseOperator:
        """Return one instance."""
        return super().unmap({"op_kwargs": {}})

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        """Put one instance into ``context`` and render that. On a worker."""
        _render_instance(self.unmap({}), context, jinja_env)


def _render_instance(instance: BaseOperator, context: Context, jinja_env: jinja2.Environment | None) -> None:
    from airflow.sdk.execution_time.context import context_update_for_unmapped

    context_update_for_unmapped(context, instance)
    instance.render_template_fields(context, jinja_env)


def adopt_mapped(
    operator: MappedOperator,
    mirror_class: type[VertexMemberOperator],
    fields: Mapping[str, Any],
    executor_config: Mapping[str, Any],
) -> MappedOperator:
    """Let the instances of a mapped operator be mirrors, in place. Runs at parse.

    :param fields: the mirror's fields, see :func:`~airflow_vertex_provider.operators.member.adopt`.
    :param executor_config: the author's without what is Vertex's.
    """
    mapped: Any = operator
    decorated = isinstance(operator, DecoratedMappedOperator)
    mapped.__class__ = DecoratedMappedVertexMember if decorated else MappedVertexMember
    known = {*inspect.signature(BaseOperator.__init__).parameters, *_FLAGS} - {"self", "kwargs"}
    mapped.partial_kwargs = {
        **{name: value for name, value in operator.partial_kwargs.items() if name in known},
        "retries": LOST_WORKER_RETRIES,
        "retry_delay": LOST_WORKER_DELAY,
        "retry_exponential_backoff": 0,
        "max_retry_delay": None,
        "execution_timeout": None,
        "executor_config": dict(executor_config),
        "vertex_member": dict(fields),
    }
    if decorated:
        # Airflow reads both when it makes an instance.
        mapped.partial_kwargs.update(op_args=[], op_kwargs={})
    mapped.operator_class = mirror_class
    mapped._operator_name = f"Vertex: {operator.operator_name}"
    mapped._task_module = mirror_class.__module__
    mapped.task_type = mirror_class.__name__
    for name in ("operator_extra_links", "template_ext", "template_fields", "template_fields_renderers"):
        setattr(mapped, name, getattr(mirror_class, name))
    mapped.ui_color, mapped.ui_fgcolor = mirror_class.ui_color, mirror_class.ui_fgcolor
    mapped.start_from_trigger, mapped.start_trigger_args = False, None
    return operator
