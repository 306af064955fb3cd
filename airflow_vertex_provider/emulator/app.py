"""The ASGI application: HTTP requests in, answers of the API, of Cloud Storage and of the page out.

Every API request passes one door, where it is recorded and where scripted faults happen.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import struct
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import Route

from airflow_vertex_provider.emulator import routes
from airflow_vertex_provider.emulator.errors import ApiError
from airflow_vertex_provider.emulator.page_api import PageApi
from airflow_vertex_provider.emulator.request_log import RequestLog
from airflow_vertex_provider.emulator.routes import Call
from airflow_vertex_provider.emulator.services import Services
from airflow_vertex_provider.emulator.storage import StorageApi
from airflow_vertex_provider.emulator.vertex_api import VertexApi

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

log = logging.getLogger(__name__)

_HOSTS = frozenset({"127.0.0.1", "localhost"})
_TRANSPORT = "airflow_vertex_provider.transport"


class App:
    """Answers everything that arrives at the emulator's port."""

    def __init__(self, services: Services, vertex: VertexApi, storage: StorageApi, page: PageApi) -> None:
        self._services = services
        self._vertex = vertex
        self._storage = storage
        self.requests = RequestLog()
        self._starlette = Starlette(
            routes=[
                *page.routes(self.requests),
                Route("/{path:path}", self._api, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "http" and not _is_local(scope):
            await _FORBIDDEN(scope, receive, send)
            return
        # uvicorn's ``send`` is a method of the request's cycle, which knows the connection to reset.
        scope[_TRANSPORT] = getattr(getattr(send, "__self__", None), "transport", None)
        await self._starlette(scope, receive, send)

    async def _api(self, request: Request) -> Response:
        path = request.scope.get("raw_path", request.url.path.encode()).decode("ascii").partition("?")[0]
        name, values = routes.match(request.method, path)
        call = Call(
            request.method,
            path,
            name,
            values,
            dict(reversed(parse_qsl(request.url.query, keep_blank_values=True))),
            {key.lower(): value for key, value in request.headers.items()},
            await request.body(),
        )
        self.requests.append(call)
        fault = self._services.faults.for_request(call.method, call.rest_method)
        if fault is None:
            return await run_in_threadpool(self._answer, call)
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.error:
            return ApiError(fault.error, fault.message or f"Injected fault: {fault.error}").response()
        if fault.reset:
            return _Reset()
        response = await run_in_threadpool(self._answer, call)
        return _Reset() if fault.lose_response else response

    def _answer(self, call: Call) -> Response:
        try:
            return self._served(call)
        except ApiError as error:
            return error.response()
        except Exception as error:
            log.exception("the emulator failed to answer %s %s", call.method, call.path)
            return ApiError("INTERNAL", f"The emulator failed: {error!r}").response()

    def _served(self, call: Call) -> Response:
        if call.rest_method.startswith("storage."):
            return self._storage.handle(call)
        if call.rest_method:
            body = json.dumps(self._vertex.handle(call), ensure_ascii=False)
            return Response(body, media_type="application/json")
        if routes.is_api(call.path):
            raise ApiError("UNIMPLEMENTED", f"The emulator does not serve {call.method} {call.path}.")
        return Response("Not Found", 404, media_type="text/plain")


def _is_local(scope: Scope) -> bool:
    """Tell whether a request may come in.

    The emulator runs what it is sent, so a web page must not be able to send it anything: not from
    another origin, and not under a host name that was made to point here.
    """
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    host = headers.get("host", "")
    try:
        if urlsplit(f"//{host}").hostname not in _HOSTS:
            return False
    except ValueError:
        return False
    own = f"http://{host}"
    return bool(headers.get("origin", own) == own)


_FORBIDDEN = Response("The emulator answers to this machine only.", 403, media_type="text/plain")


class _Reset(Response):
    """Resets the connection instead of answering."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport: asyncio.Transport | None = scope[_TRANSPORT]
        if transport is None:
            raise RuntimeError("the server does not give access to its connection")
        connection = transport.get_extra_info("socket")
        # Lingering for zero seconds makes closing send a reset rather than an orderly end.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
