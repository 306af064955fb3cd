"""Buttons on a task in Airflow's UI: an XCom with a URL in, a link out.

Airflow 3's API server draws a link from the XCom the class names, so the task (or the trigger that ends it
without a worker) only has to push the URL; nothing of ours runs in the web server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk.types import TaskInstanceKey

#: XCom keys of the two addresses; the same on submit, on every member and on wait.
VERTEX_URL = "vertex_url"
VERTEX_LOGS_URL = "vertex_logs_url"


class _XComLink(BaseOperatorLink):
    """A link whose address stands in an XCom of the task."""

    key: str

    @property
    def xcom_key(self) -> str:
        """Name the XCom; the API server reads it without loading this class."""
        return self.key

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return the address pushed by the task, or nothing while it has not been pushed."""
        from airflow.sdk.execution_time.xcom import XCom

        return XCom.get_value(key=self.key, ti_key=ti_key) or ""


class VertexPipelineLink(_XComLink):
    """Opens the pipeline job in the console."""

    name = "Vertex pipeline"
    key = VERTEX_URL


class VertexLogsLink(_XComLink):
    """Opens the logs of the job, or of one task's container, in Logs Explorer."""

    name = "Vertex logs"
    key = VERTEX_LOGS_URL
