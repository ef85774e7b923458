"""Gives committed events their place in the feed: at once while somebody reads it."""

import asyncio
import math
import time

from service.database import Database
from service.store import events


class Placer:
    """One short step, by whichever process gets to it first; two steps of one process begin at
    least `apart` seconds after each other, since one places any number of events, and while nobody
    reads the feed at least `unread` seconds."""

    def __init__(
        self, db: Database, *, wake: asyncio.Event, apart: float = 0.0, unread: float = 0.0
    ) -> None:
        self._db = db
        self._apart = apart
        self._unread = unread
        self._began = -math.inf
        self._may_wait = False
        self.wake = wake

    async def step(self) -> bool:
        """Places what has no place yet, and tells all processes so once that is committed, where
        somebody reads. True: another process is at it, which may have begun too early to see all
        of it. Raises DatabaseAway."""
        if self._may_wait and time.monotonic() < self._began + self._unread:
            return False
        await asyncio.sleep(max(0.0, self._began + self._apart - time.monotonic()))
        self._began = time.monotonic()
        placing = await events.place(self._db)
        self._may_wait = not (placing.read or placing.busy)
        if placing.number and placing.read:
            await events.announce(self._db)
        return placing.busy
