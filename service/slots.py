"""A bounded number of things under way at once, each claimed only when there is a place for it."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from service.errors import DatabaseAway

log = logging.getLogger(__name__)


class Slots:
    """Up to `most` tasks. A place that becomes free sets `wake`; a task that fails is logged, and
    the lease it worked under ends by itself."""

    def __init__(self, most: int, wake: asyncio.Event) -> None:
        self._most = most
        self._wake = wake
        self.taken: set[asyncio.Task[None]] = set()

    @property
    def free(self) -> int:
        """How many places are free."""
        return self._most - len(self.taken)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Starts `work` in a free place."""
        task = asyncio.create_task(work)
        self.taken.add(task)
        task.add_done_callback(self._done)

    async def drain(self) -> None:
        """Waits until everything under way has ended by itself."""
        while self.taken:
            await asyncio.wait(set(self.taken))

    async def cancel(self) -> None:
        """Ends everything under way."""
        for task in self.taken:
            task.cancel()
        await asyncio.gather(*self.taken, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self.taken.discard(task)
        self._wake.set()
        fault = None if task.cancelled() else task.exception()
        if isinstance(fault, DatabaseAway):
            log.warning("a task was left undone, its lease will end: %s", fault)
        elif fault is not None:
            log.error("a task failed; its lease will end", exc_info=fault)
