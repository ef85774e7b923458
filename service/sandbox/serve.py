"""Serves a sandbox: the app with every pretend provider's routes, and a server around it."""

import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from service.sandbox import control, fal, genviral, prism, relay
from service.sandbox.cut import CuttableProtocol
from service.sandbox.options import Options
from service.sandbox.state import Sandbox

_BACKLOG = 2048
_DRAIN_SECONDS = 1


def build(sandbox: Sandbox) -> Starlette:
    """The ASGI app; a further provider adds its routes here."""

    def life(_: Starlette) -> AbstractAsyncContextManager[None]:
        return sandbox.open()

    async def left(_: Request, __: Exception) -> Response:
        return Response(status_code=400)

    parts = (control, fal, genviral, prism, relay)
    return Starlette(
        routes=[route for part in parts for route in part.routes(sandbox)],
        lifespan=life,
        exception_handlers={ClientDisconnect: left},
    )


@asynccontextmanager
async def running(
    options: Options, port: int = 0, *, host: str = "127.0.0.1"
) -> AsyncIterator[str]:
    """Serves a sandbox in this process for as long as the context lasts; yields its address.

    Port 0 takes a free one. Raises OSError where the address cannot be listened on. At the end
    whatever is still rendering or being called back is dropped.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    # asyncio sets this on sockets that it made itself only; without it every reply waits 40 ms
    # for the client's delayed acknowledgement. Accepted connections inherit it.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sandbox = Sandbox(options)
    server = _server(build(sandbox))
    # uvicorn's own serve() takes over the process's signals; its parts do not.
    await server.startup(sockets=[listener])
    shown = f"[{host}]" if ":" in host else host
    try:
        yield f"http://{shown}:{listener.getsockname()[1]}"
    finally:
        await sandbox.drop()
        await server.shutdown(sockets=[listener])


def _server(app: Starlette) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        http=CuttableProtocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        date_header=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    return server
