"""Wakes that one process passes on to others: what an `api` process writes is work for a `worker`.

A hint goes out after the commits that made it, in a transaction of its own: a commit that notifies
makes all others wait for it. Whoever misses one looks by itself too.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from service.database import Database
from service.errors import DatabaseAway, StatementRefused
from service.loop import every, jittered
from service.wakes import Wakes

log = logging.getLogger(__name__)

CHANNEL = "callboard_work"
APART_SECONDS = 0.02  # a crowd of commits is one hint
SELDOM_SECONDS = 3600.0
LISTEN_AGAIN_SECONDS = 60.0  # a connection that died silently is found out then
LISTEN_SOON_SECONDS = 1.0


async def listen(db: Database, channel: str, heard: Callable[[str], None]) -> None:
    """Keeps calling `heard` with what is said on `channel`, and with nothing each time that it
    begins to listen, since something may have been missed; until it is canceled."""
    while True:
        try:
            async with db.listening(channel, heard) as lost:
                heard("")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LISTEN_AGAIN_SECONDS):
                        await lost.wait()
        except (DatabaseAway, StatementRefused) as fault:
            log.warning("not listening on %s: %s", channel, fault)
            await asyncio.sleep(jittered(LISTEN_SOON_SECONDS))


async def take_up(db: Database, wakes: Wakes) -> None:
    """Wakes whoever works here for what other processes wrote, until it is canceled."""

    def heard(kind: str) -> None:
        woken = [wakes.kinds[kind]] if kind in wakes.kinds else wakes.kinds.values()
        for wake in woken:
            wake.set()

    await listen(db, CHANNEL, heard)


def passing_on(db: Database, wakes: Wakes, stop: asyncio.Event) -> list[Coroutine[Any, Any, None]]:
    """Loops that say to other processes what nobody is woken for in this one, until `stop`."""
    return [
        every(SELDOM_SECONDS, partial(_say, db, kind), wake, stop)
        for kind, wake in wakes.kinds.items()
    ]


async def pass_on(db: Database, wakes: Wakes) -> None:
    """Says once what is to be woken: for a process that ends now. Raises nothing: it is a hint."""
    for kind, wake in wakes.kinds.items():
        if wake.is_set():
            with contextlib.suppress(DatabaseAway, StatementRefused):
                await db.rows("hint", kind)


async def _say(db: Database, kind: str) -> bool:
    await db.rows("hint", kind)
    await asyncio.sleep(APART_SECONDS)
    return False
