"""Calls that came before their job: applied as soon as a job has the id that they name.

The receiver looks once its call is stored, the submitter once its id is; the look each minute finds
what both missed, since one of them went away in between.
"""

import asyncio

from service.database import Database
from service.inbox import Inbox
from service.providers import Provider
from service.store import callbacks


class Waiting:
    """Matches waiting calls with their jobs."""

    def __init__(self, db: Database, inbox: Inbox, *, wake: asyncio.Event) -> None:
        self._db = db
        self._inbox = inbox
        self.wake = wake

    async def accepted(self, provider: Provider, provider_id: str) -> None:
        """A provider gave this id, and it is stored. Raises DatabaseAway."""
        if provider.shared_tokens:
            await self._inbox.settle(provider, provider_id)

    async def step(self) -> bool:
        """Looks for calls whose job has come since; whether there may be more of them. Raises
        DatabaseAway."""
        found = await callbacks.whose_job_came(self._db)
        settled = 0
        for name, provider_id in found:
            provider = self._inbox.providers.get(name)
            if provider is not None:
                settled += len(await self._inbox.settle(provider, provider_id))
        return len(found) >= callbacks.MOST_WAITING and settled > 0
