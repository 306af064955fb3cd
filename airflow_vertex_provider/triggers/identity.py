"""As whom the service is called in a triggerer: a connection's name in, calls made in threads out.

Google's client blocks and looks up the Airflow connection synchronously, which the triggerer's event loop
forbids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook

_T = TypeVar("_T")


async def in_thread(function: Callable[[], _T]) -> _T:
    """Run a blocking function in a worker thread of the triggerer.

    Not by ``asyncio.to_thread``: what the function asks of Airflow (a connection, an XCom) goes through one
    channel, which in Airflow 3.1 breaks down unless asgiref can lead the call back to the event loop.
    """
    from asgiref.sync import sync_to_async

    return await sync_to_async(function, thread_sensitive=False)()


@dataclass(frozen=True)
class Identity:
    """As whom the service is called: what a hook is made of, and what may share one.

    :param gcp_conn_id: Airflow connection.
    :param impersonation_chain: accounts to impersonate, the last one acts.
    :param project_id: project of the jobs, or ``None`` for the connection's.
    """

    gcp_conn_id: str
    impersonation_chain: str | tuple[str, ...] | None = None
    project_id: str | None = None

    @classmethod
    def of(
        cls, gcp_conn_id: str, impersonation_chain: str | Sequence[str] | None, project_id: str | None
    ) -> Identity:
        """Make one from operator arguments; a list becomes a tuple, so that it can be a key."""
        chain = impersonation_chain
        if chain is not None and not isinstance(chain, str):
            chain = tuple(chain)
        return cls(gcp_conn_id, chain, project_id)

    def hook(self) -> VertexPipelineHook:
        """Make a hook. Blocks (the connection is looked up): never call it on an event loop."""
        from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook

        chain = self.impersonation_chain
        return VertexPipelineHook(
            gcp_conn_id=self.gcp_conn_id,
            impersonation_chain=list(chain) if isinstance(chain, tuple) else chain,
            project_id=self.project_id,
        )

    async def call(self, function: Callable[[VertexPipelineHook], _T]) -> _T:
        """Run ``function`` with a new hook in a worker thread."""
        return await in_thread(lambda: function(self.hook()))
