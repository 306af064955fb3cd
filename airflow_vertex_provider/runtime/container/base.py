"""What every part of the container's side stands on: constants, errors, and parts reached by name.

Part of the text that runs in a container, see :mod:`airflow_vertex_provider.runtime.entrypoint`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Stands for an argument that this run has no value for: the function's own default is left to hold.
ABSENT = object()
#: Stands for an output of a task that was skipped; its value is ``None``.
SKIPPED = '{"$state":"skipped"}'
#: Stands for an output that never came: the default of an input from a task that may have failed.
FAILED = '{"$state":"failed"}'
#: The value of a task that is skipped, within this file.
NOT_RUN = object()


class VertexRuntimeError(Exception):
    """The task could not be run as configured; the message is meant for the author, no traceback needed."""


class Terminated(BaseException):
    """Somebody asked the container to stop, as Vertex does when a job is cancelled."""


class ProtocolError(VertexRuntimeError, ValueError):
    """A value cannot be written, or a text cannot be read, in the protocol."""


class UpstreamFailed(VertexRuntimeError):
    """The task's trigger rule does not let it run after what became of the tasks before it."""


class XComForMappingNotPushed(VertexRuntimeError):
    """There is no value, though tasks are mapped over it; named as in Airflow."""


class UnmappableXComTypePushed(VertexRuntimeError):
    """Tasks are mapped over a value that has no items; named as in Airflow."""


#: Every name of the container's side; as separate modules they are brought together by ``entrypoint``.
NAMES = globals()


def part(name: str) -> Any:
    """Return the function ``name`` of the container's side: the parts that not every task's text holds."""
    return NAMES.get(name)
