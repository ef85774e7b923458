"""ASGI apps on ports of their own, in one process that ends with its stdin."""

import asyncio
import contextlib
import gc
import socket
import sys
from collections.abc import Iterator, Mapping

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from service import jsontext


class Server(uvicorn.Server):
    """Set up as `callboard serve` does it; ends when it is told to, not by signals."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                app, lifespan="off", log_config=None, access_log=False, server_header=False
            )
        )
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def answering(body: bytes) -> ASGIApp:
    """An endpoint that reads the request and does nothing else."""
    head = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body})

    return answer


async def serve(apps: Mapping[str, ASGIApp]) -> None:
    """Serves all of them until stdin ends; says their ports on stdout, by their names."""
    sockets = {name: _bound() for name in apps}
    servers = {name: Server(app) for name, app in apps.items()}
    serving = [
        asyncio.create_task(server.serve(sockets=[sockets[name]]))
        for name, server in servers.items()
    ]
    await asyncio.gather(*(server.listening.wait() for server in servers.values()))
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    print(jsontext.dumps({name: s.getsockname()[1] for name, s in sockets.items()}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for server in servers.values():
        server.should_exit = True
    await asyncio.gather(*serving)


def _bound() -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.bind(("127.0.0.1", 0))
    return bound
