"""The server of the benchmark: one process, one loop, every variant on a port of its own, each
behind uvicorn as `callboard serve` sets it up. Told by one line of JSON on stdin what it needs.
"""

import asyncio
import logging
import sys
import time
from collections.abc import Mapping
from typing import Any, cast

import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send

from benchmarks.endpoint import answering, serve
from benchmarks.naive import NaiveReceiver
from benchmarks.provider import KEYS
from benchmarks.sweeping import Sweeping
from service import http, jsontext, logs
from service.database import Database
from service.moves import Moves
from service.providers import Provider, fal
from service.receive import Receiver
from service.signature import Keys
from service.tokens import Tokens
from service.wakes import Wakes
from service.web.app import App
from service.web.callbacks import Door

KEYS_FETCH_SECONDS = 10.0


async def usage(scope: Scope, receive: Receive, send: Send) -> None:
    """The processor time that this process has used, in seconds."""
    await answering(str(time.process_time()).encode())(scope, receive, send)


def ours(db: Database, provider: Provider, tokens: Tokens, moves: Moves) -> ASGIApp:
    """Callboard's own door. What it wakes after a write is not running, as with `--role api`."""

    async def fetch(url: str) -> bytes:
        return await http.fetch(url, total=KEYS_FETCH_SECONDS)

    keys = {provider.name: Keys(provider.keys_url, fetch)} if provider.keys_url else {}
    return App(Door(Receiver(db, {provider.name: provider}, tokens, keys, moves)), {})


async def run(told: Mapping[str, Any]) -> None:
    """Serves every variant by its name, what this process has used, and the sweeper's switch."""
    tokens, stop = Tokens([told["secret"]]), asyncio.Event()
    trusted, signed = _fal("token", told["provider"]), _fal("signed", told["provider"])
    db = await Database.connect(told["dsn"])
    moves = Moves(db, Wakes().moved)
    sweeping = Sweeping(db, trusted, moves)
    apps: dict[str, ASGIApp] = {
        "usage": usage,
        "sweeper": sweeping.switch(),
        "null": answering(b'{"status": "accepted"}'),
        "token": ours(db, trusted, tokens, moves),
        "signed": ours(db, signed, tokens, moves),
    }
    for size in told["pools"]:
        pool = await Database.connect(told["dsn"], size=size)
        # The door asks for no more than the two methods that this has too.
        naive = cast(Receiver, NaiveReceiver(pool, trusted, tokens))
        apps[f"naive {size}"] = App(Door(naive), {})
    loop = asyncio.create_task(sweeping.run(stop))
    await serve(apps)
    stop.set()
    await loop


def _fal(trust: str, provider: str) -> Provider:
    """fal as the pretend one at `provider` plays it, whatever the environment says."""
    read = fal.Settings.read(
        _env_file=None,
        fal_key="bench",
        fal_queue_url=provider,
        fal_jwks_url=f"{provider}{KEYS}",
        fal_user_id=None,
        fal_trust=trust,
    )
    built = fal.build(read)
    assert built is not None  # it has a key
    return built


if __name__ == "__main__":
    logs.set_up(logging.WARNING)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(jsontext.loads(sys.stdin.readline())))
