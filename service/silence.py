"""Notices when a provider that used to call back no longer does, and when it does again."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping

from service.database import Database
from service.document import moment
from service.providers import Provider, Trust
from service.store import reconciliation

log = logging.getLogger(__name__)

LOOK_SECONDS = 60.0
JOBS = 5  # in a row without their callbacks
SETTLED_SECONDS = 600.0  # after its end, until a job counts as one without its callback


class Listener:
    """Looks, once a minute, at the last jobs of each provider that has callbacks. Whichever process
    notices first says it."""

    def __init__(
        self,
        db: Database,
        providers: Mapping[str, Provider],
        *,
        wake: asyncio.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._db = db
        self._names = [
            name for name, provider in providers.items() if provider.callbacks is not Trust.NONE
        ]
        self._clock = clock
        self._looked_at = -math.inf
        self.wake = wake

    async def step(self) -> bool:
        """Looks where it is time to. Raises DatabaseAway."""
        if self._names and self._clock() - self._looked_at >= LOOK_SECONDS:
            await self._look()
            self._looked_at = self._clock()
        return False

    async def _look(self) -> None:
        for news in await reconciliation.look_for_silence(
            self._db, self._names, jobs=JOBS, settled_seconds=SETTLED_SECONDS
        ):
            if news.since is None:
                log.info("the callbacks of %s come again", news.provider)
            else:
                log.error(
                    "the callbacks of %s have stopped: none came for the last %d jobs or more that"
                    " ended, since %s; their ends are learnt by polls. Look at"
                    " CALLBOARD_PUBLIC_URL, at the proxy before it, and for refused calls"
                    " (tokens, signatures)",
                    news.provider,
                    JOBS,
                    moment(news.since),
                )
