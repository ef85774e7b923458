"""The server of the benchmark: one process, one loop, every variant on a port of its own, each
behind uvicorn as `callboard serve` sets it up. Told by one line of JSON on stdin what it needs;
says the ports on stdout; ends when stdin does.
"""

import asyncio
import contextlib
import gc
import logging
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import uvicorn
import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send

from benchmarks.naive import NaiveReceiver
from service import http, jsontext, logs
from service.database import Database
from service.providers import Provider, fal
from service.receive import Receiver
from service.signature import Keys
from service.store.advance import Outcome
from service.tokens import Tokens
from service.web.app import App
from service.web.callbacks import Door

KEYS_FETCH_SECONDS = 10.0


class Server(uvicorn.Server):
    """Ends with its stdin, not by signals; says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
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


async def usage(scope: Scope, receive: Receive, send: Send) -> None:
    """The processor time that this process has used, in seconds."""
    await answering(str(time.process_time()).encode())(scope, receive, send)


def ours(db: Database, provider: Provider, tokens: Tokens) -> ASGIApp:
    """Callboard's own door. What it wakes after a write is not running, as with `--role api`."""
    placing, delivering = asyncio.Event(), asyncio.Event()

    async def fetch(url: str) -> bytes:
        return await http.fetch(url, total=KEYS_FETCH_SECONDS)

    def moved(outcomes: Sequence[Outcome]) -> None:
        if any(outcome.moved for outcome in outcomes):
            placing.set()
        if any(outcome.staged for outcome in outcomes):
            delivering.set()

    keys = {provider.name: Keys(provider.keys_url, fetch)} if provider.keys_url else {}
    return App(Door(Receiver(db, {provider.name: provider}, tokens, keys, moved)), {})


async def variants(told: Mapping[str, Any], keys_port: int) -> dict[str, ASGIApp]:
    """Every variant by its name."""
    tokens = Tokens([told["secret"]])
    trusted, signed = _fal("token", keys_port), _fal("signed", keys_port)
    db = await Database.connect(told["dsn"])
    apps: dict[str, ASGIApp] = {
        "usage": usage,
        "null": answering(b'{"status": "accepted"}'),
        "token": ours(db, trusted, tokens),
        "signed": ours(db, signed, tokens),
    }
    for size in told["pools"]:
        pool = await Database.connect(told["dsn"], size=size)
        # The door asks for no more than the two methods that this has too.
        naive = cast(Receiver, NaiveReceiver(pool, trusted, tokens))
        apps[f"naive {size}"] = App(Door(naive), {})
    return apps


def _fal(trust: str, keys_port: int) -> Provider:
    """fal, its key set on this machine, whatever the environment says."""
    read = fal.Settings.read(
        _env_file=None,
        fal_key="bench",
        fal_jwks_url=f"http://127.0.0.1:{keys_port}/jwks.json",
        fal_user_id=None,
        fal_trust=trust,
    )
    provider = fal.build(read)
    assert provider is not None  # it has a key
    return provider


def _listening() -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.bind(("127.0.0.1", 0))
    return bound


def _server(app: ASGIApp) -> Server:
    config = uvicorn.Config(
        app, lifespan="off", log_config=None, access_log=False, server_header=False
    )
    return Server(config)


async def serve(told: Mapping[str, Any]) -> None:
    """Serves until stdin ends."""
    sockets = {"keys": _listening()}
    apps = await variants(told, sockets["keys"].getsockname()[1])
    sockets |= {name: _listening() for name in apps}
    apps["keys"] = answering(jsontext.dumps(told["jwks"]).encode())
    servers = {name: _server(app) for name, app in apps.items()}
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


if __name__ == "__main__":
    logs.set_up(logging.WARNING)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(jsontext.loads(sys.stdin.readline())))
