"""Gives committed events their place in the feed, as soon as they are there."""

import asyncio
import math
import time

from service.database import Database
from service.store import events


class Placer:
    """One short step, by whichever process gets to it first; two steps of one process begin at
    least `apart` seconds after each other, since one places any number of events."""

    def __init__(self, db: Database, *, wake: asyncio.Event, apart: float = 0.0) -> None:
        self._db = db
        self._apart = apart
        self._began = -math.inf
        self.wake = wake

    async def step(self) -> bool:
        """Places what has no place yet, and tells all processes so once that is committed. True:
        another process is at it, which may have begun too early to see all of it. Raises
        DatabaseAway."""
        await asyncio.sleep(max(0.0, self._began + self._apart - time.monotonic()))
        self._began = time.monotonic()
        placed, busy = await events.place(self._db)
        if placed:
            await events.announce(self._db)
        return busy
