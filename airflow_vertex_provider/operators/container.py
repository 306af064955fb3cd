"""A container in a Vertex task group: image, command and arguments in, one pipeline task out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_vertex_provider.exceptions import VertexConfigurationError

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context


class VertexContainerOperator(BaseOperator):
    """Runs a container as one task of a Vertex task group.

    Each item of ``command`` and ``arguments`` reaches the process as one argument, whatever is in it:
    nothing is passed through a shell. An item or an ``env`` value may hold Jinja, or be the output of
    another task; a value that is not text is passed as JSON.
    :class:`~airflow_vertex_provider.placeholders.Joined` makes one argument of text and values. Stands inside
    a ``VertexTaskGroup`` only.

    What the container writes to the file that
    :class:`~airflow_vertex_provider.placeholders.OutputFile` stands for is an output. The single output
    ``Output`` is the task's value; others are a dict by name, and ``op.output["name"]`` is one of them.

    :param image: container image; the group's if not given. One of the two must say it.
    :param command: list of the program and its first arguments; the image's own entry point if empty.
    :param arguments: list of further arguments.
    :param env: environment variables by name, at most 100, none empty (L14).
    :param outputs: output name to its type: ``str``, ``int``, ``float``, ``bool``, ``list`` or ``dict``.
    """

    template_fields: Sequence[str] = ("image", "command", "arguments", "env")
    template_fields_renderers = {"command": "json", "arguments": "json", "env": "json"}  # noqa: RUF012
    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        image: str | None = None,
        command: Sequence[Any] | None = None,
        arguments: Sequence[Any] | None = None,
        env: Mapping[str, Any] | None = None,
        outputs: Mapping[str, type] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.image = image
        # As given: what is no list or dict is named with the group's other problems.
        self.command = [] if command is None else command
        self.arguments = [] if arguments is None else arguments
        self.env = {} if env is None else env
        self.outputs = {} if outputs is None else outputs

    def execute(self, context: Context) -> None:
        """Refuse to run: outside a Vertex task group there is no pipeline to be a task of."""
        raise VertexConfigurationError(
            f"{self.task_id}: VertexContainerOperator: found outside a VertexTaskGroup; "
            "allowed: inside one, which runs it as a task of its pipeline"
        )
