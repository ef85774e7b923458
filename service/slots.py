"""A bounded number of things under way at once, each claimed only when there is a place for it."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from service.errors import DatabaseAway

log = logging.getLogger(__name__)


class Slots:
    """Up to `most` tasks. A place that becomes free sets `wake`, unless `sated` says that the last
    claim took all that was due. A task that fails is logged, and the lease it worked under ends by
    itself."""

    def __init__(self, most: int, wake: asyncio.Event) -> None:
        self._most = most
        self._wake = wake
        self.sated = False
        self.taken: set[asyncio.Task[None]] = set()

    @property
    def free(self) -> int:
        """How many places are free."""
        return self._most - len(self.taken)

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Starts `work` in a free place, which is free again when the task's callbacks are run."""
        task = asyncio.create_task(work)
        self.taken.add(task)
        task.add_done_callback(self._done)
        return task

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
        if not self.sated:
            self._wake.set()
        fault = None if task.cancelled() else task.exception()
        if isinstance(fault, DatabaseAway):
            log.warning("a task was left undone, its lease will end: %s", fault)
        elif fault is not None:
            log.error("a task failed; its lease will end", exc_info=fault)


class Shares:
    """Slots for each name: what takes long under one takes no place from another."""

    def __init__(self, each: int, wake: asyncio.Event) -> None:
        self._each = each
        self._wake = wake
        self._slots: dict[str, Slots] = {}

    def of(self, name: str) -> Slots:
        """The Slots of one name."""
        return self._slots.setdefault(name, Slots(self._each, self._wake))

    async def drain(self) -> None:
        """Waits until everything under way has ended by itself."""
        while any(slots.taken for slots in self._slots.values()):
            await asyncio.gather(*(slots.drain() for slots in self._slots.values()))

    async def cancel(self) -> None:
        """Ends everything under way."""
        await asyncio.gather(*(slots.cancel() for slots in self._slots.values()))


class Allowance:
    """How many more of each kind may be begun now, at so many a second: a second's worth at most
    is saved up."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._saved: dict[str, tuple[float, float]] = {}

    def left(self, kind: str, per_second: float) -> int:
        """How many may be begun now."""
        now, most = self._clock(), max(1.0, per_second)
        saved, at = self._saved.get(kind, (most, now))
        saved = min(most, saved + (now - at) * per_second)
        self._saved[kind] = (saved, now)
        return int(saved)

    def take(self, kind: str) -> None:
        """One more is begun."""
        saved, at = self._saved.get(kind, (0.0, self._clock()))
        self._saved[kind] = (saved - 1.0, at)
