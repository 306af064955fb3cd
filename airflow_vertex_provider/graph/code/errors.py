"""The error of a function that cannot be carried."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_vertex_provider.exceptions import VertexConfigurationError


class CarryError(VertexConfigurationError):
    """A function cannot be carried into a container.

    :param function: name of the function.
    :param file: the author's file.
    :param reason: what is wrong, and the way out.
    :param names: the names that cannot be carried, each with the line it is used, or made, at.
    """

    def __init__(self, function: str, file: str, reason: str, names: Sequence[tuple[str, int]] = ()) -> None:
        self.function = function
        self.file = file
        self.reason = reason
        self.names = list(names)
        super().__init__(f"function {function!r} in {file} cannot be carried into a container: {reason}")

    def __reduce__(self) -> tuple[type[CarryError], tuple[str, str, str, list[tuple[str, int]]]]:
        """Rebuild from the four arguments; Exception's own way would pass the message alone."""
        return type(self), (self.function, self.file, self.reason, self.names)
