"""Gives committed events their place in the feed, as soon as they are there."""

import asyncio

from service.database import Database
from service.store import events


class Placer:
    """One short step, by whichever process gets to it first."""

    def __init__(self, db: Database, *, wake: asyncio.Event) -> None:
        self._db = db
        self.wake = wake

    async def step(self) -> bool:
        """Places what has no place yet; whether there was any. Raises DatabaseAway."""
        return await events.place(self._db) > 0
