"""Deletes after a week the calls that moved nothing: refused, unreadable, or of no job we know."""

import asyncio

from service.database import Database
from service.store import callbacks

KEPT_SECONDS = 7 * 86400.0
BATCH = 500


class Forgetting:
    """One small batch a step, by whichever process gets to it."""

    def __init__(self, db: Database, *, wake: asyncio.Event) -> None:
        self._db = db
        self.wake = wake

    async def step(self) -> bool:
        """Deletes a batch; whether there may be more. Raises DatabaseAway."""
        return await callbacks.forget(self._db, older_than=KEPT_SECONDS, most=BATCH) == BATCH
