"""What doctor looks at: one connection, project, location, pipeline root and workload account."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook


@dataclass(frozen=True)
class Target:
    """What jobs are submitted with; ``None``: the connection's, or unknown.

    :param name: DAG and group, or ``--conn-id``.
    """

    name: str
    conn_id: str
    impersonation_chain: str | Sequence[str] | None = None
    project: str | None = None
    location: str | None = None
    pipeline_root: str | None = None
    workload: str | None = None

    def hook(self) -> VertexPipelineHook:
        """Make the hook that submit would make.

        :raises VertexConfigurationError: the connection is not allowed.
        """
        from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook

        return VertexPipelineHook(
            gcp_conn_id=self.conn_id,
            impersonation_chain=self.impersonation_chain,
            project_id=self.project,
        )

    def completed(self, hook: VertexPipelineHook) -> Target:
        """Return the target with what the connection says where it says nothing itself.

        :raises VertexSettingsError: a setting of the connection is not allowed.
        """
        said = hook.defaults.pipeline
        return replace(
            self,
            location=self.location or said.get("location"),
            pipeline_root=self.pipeline_root or said.get("pipeline_root"),
            workload=self.workload or said.get("service_account"),
        )


@contextmanager
def stored_connection(conn_id: str) -> Iterator[None]:
    """Let a hook find a connection that lies in Airflow's database or a secrets backend.

    Outside of tasks hooks look into variables alone. So the connection is one while this lasts, as it is when
    Airflow tests it.

    :raises AirflowNotFoundException: there is no such connection.
    """
    from airflow.models.connection import Connection

    variable = f"AIRFLOW_CONN_{conn_id.upper()}"
    if variable in os.environ:
        yield
        return
    os.environ[variable] = Connection.get_connection_from_secrets(conn_id).as_json()
    try:
        yield
    finally:
        del os.environ[variable]
