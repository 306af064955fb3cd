"""Errors as data, for the log, for Airflow and for Vertex AI.

Part of the text that runs in a container, see :mod:`airflow_vertex_provider.runtime.entrypoint`.
"""

from __future__ import annotations

import json
import sys

from airflow_vertex_provider.runtime.container.base import Terminated, VertexRuntimeError
from airflow_vertex_provider.runtime.container.files import write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


#: Longest ``errorMessage`` written, in characters; of what is longer the middle goes.
ERROR_LIMIT = 8000


def is_named(error: BaseException, name: str) -> bool:
    """Say whether an error is of the class ``name``, whichever module has it: Airflow's or ours."""
    return any(kind.__name__ == name for kind in type(error).__mro__)


def report(error: BaseException, config: dict[str, Any]) -> dict[str, Any]:
    """Return the error as data, as the author should see it."""
    import traceback

    trace = error.__traceback__
    unpacked = config.get("bundle", {}).get("folder", "\0") + "/"
    while trace:
        name = trace.tb_frame.f_code.co_filename
        if name == config.get("file") or name.startswith(unpacked):
            break
        trace = trace.tb_next
    if not trace:
        # None of the author's lines was reached: what is left out is this file alone.
        trace = error.__traceback__
        while trace and trace.tb_frame.f_globals is globals():
            trace = trace.tb_next
    kind = type(error).__name__
    try:
        message = str(error)
    except Exception as broken:
        message = "(its message cannot be made: %s)" % type(broken).__name__
    ours = isinstance(error, (VertexRuntimeError, Terminated))
    try:
        shown = "".join(traceback.format_exception(type(error), error, None if ours else trace))
    except Exception as broken:
        shown = "%s%s: %s\n" % ("".join(traceback.format_tb(trace)), kind, message)
        shown += "(what caused it cannot be shown: %s)\n" % type(broken).__name__
    skipped = is_named(error, "AirflowSkipException")
    if skipped:
        note = (
            "the task asked to be skipped, but its code does not name AirflowSkipException, so that nothing "
            "was prepared for it; it counts as failed"
        )
        message = "%s (%s)" % (message, note) if message else note
        shown += note + "\n"
    # Files of a bundle are shown by the names that they have in the DAG folder.
    message, shown = message.replace(unpacked, ""), shown.replace(unpacked, "")
    return {"type": kind, "message": message, "traceback": shown, "skipped": skipped}


def shortened(text: str, limit: int) -> str:
    """Return a text without its middle, if it is too long: a traceback begins and ends with what matters."""
    half = limit // 2
    if len(text) <= limit:
        return text
    return "%s\n... %d characters left out ...\n%s" % (text[:half], len(text) - 2 * half, text[-half:])


def leave(data: dict[str, Any], folder: str, chief: bool) -> None:
    """Print the error; the chief writes it for Airflow and for Vertex."""
    shown = data["traceback"]
    print(shown, file=sys.stderr, end="", flush=True)
    if chief:
        write(folder + "/airflow_error.json", json.dumps(data))
        head = shortened("%s: %s" % (data["type"], data["message"]), ERROR_LIMIT // 4)
        tail = shortened(shown, ERROR_LIMIT - len(head))
        write(folder + "/executor_error.json", json.dumps({"errorMessage": head + "\n\n" + tail}))
