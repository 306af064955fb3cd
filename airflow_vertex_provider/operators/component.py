"""A component of KFP in a Vertex task group: the component and its arguments in, one pipeline task out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_vertex_provider.exceptions import VertexConfigurationError

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context


class VertexComponentOperator(BaseOperator):
    """Runs a component of KFP, Google's own components among them, as one task of a Vertex task group.

    The component's inputs and their types are checked while the DAG is parsed. An argument is a literal, a
    template, or the output of another task; an artifact comes from another component of the group. The
    single output ``Output`` is the task's value; several outputs are a dict by name, and
    ``op.output["name"]`` is one of them. Stands inside a ``VertexTaskGroup`` only.

    :param component: a component object of kfp; the path (a relative one starts at the DAG file's folder) or
        ``file://`` URL of a file that kfp 2 compiled; or an ``https`` address, of Artifact Registry for one,
        of which a copy lies in the folder ``vertex_components`` beside the DAG file. Nothing is fetched.
    :param arguments: input name to value.
    """

    template_fields: Sequence[str] = ("arguments",)
    template_fields_renderers = {"arguments": "json"}  # noqa: RUF012
    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        component: Any,
        arguments: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.component = component
        # As given: what is no dict is named with the group's other problems.
        self.arguments = {} if arguments is None else arguments

    def execute(self, context: Context) -> None:
        """Refuse to run: outside a Vertex task group there is no pipeline to be a task of."""
        raise VertexConfigurationError(
            f"{self.task_id}: VertexComponentOperator: found outside a VertexTaskGroup; "
            "allowed: inside one, which runs it as a task of its pipeline"
        )
