"""Which due jobs are taken up now: each provider has places and a pace of its own.

A provider that hangs, or is asked slowly, takes nothing from another; jobs about which nobody can
be asked do not wait for those about which one can, nor one kind of work for all of another's.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from service.database import Database
from service.health import Health, slow
from service.slots import Allowance, Shares
from service.store import agenda
from service.store.agenda import ASKS, DOUBTS, Due, Turn
from service.store.health import Room

DOUBT = "a look for jobs in doubt"  # one a second: it passes over all that a slow provider leaves


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one provider is asked: `each` jobs at once, and `per_second`."""

    each: int = 32
    per_second: float = 100.0


class Turns:
    """Claims due jobs, for `lease` seconds, and starts what is to be done about each."""

    def __init__(
        self,
        db: Database,
        health: Health,
        limits: Limits,
        *,
        lease: float,
        wake: asyncio.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._db = db
        self._health = health
        self._limits = limits
        self._lease = lease
        self._allowance = Allowance(clock)
        self._asking = Shares(limits.each, wake)
        self._doubting = Shares(limits.each, wake)
        self._full: list[Room] = []
        self._asks, self._doubts = deque(ASKS), deque(DOUBTS)  # each begins with another task

    @property
    def pressing(self) -> bool:
        """Whether there is a place by now for a provider that had all that there were at the last
        look, so that more may be due."""
        return any(self._to_ask(room).places > 0 for room in self._full)

    async def start(self, settle: Callable[[Due], Coroutine[Any, Any, None]]) -> None:
        """Starts `settle` for each job whose turn has come. Raises DatabaseAway."""
        rooms = [*(await self._health.rooms()).values()]
        if self._allowance.left(DOUBT, 1.0) > 0:
            self._allowance.take(DOUBT)
            for due in await self._claim(self._doubts, [self._in_doubt(room) for room in rooms]):
                self._doubting.of(due.provider).start(settle(due))
        turns = [self._to_ask(room) for room in rooms]
        claimed = await self._claim(self._asks, turns)
        for due in claimed:
            self._allowance.take(due.provider)
            self._asking.of(due.provider).start(settle(due))
        took = Counter(due.provider for due in claimed)
        asked = zip(rooms, turns, strict=True)
        self._full = [room for room, turn in asked if took[turn.provider] >= turn.places]

    async def drain(self) -> None:
        """Waits until everything under way has ended by itself."""
        await asyncio.gather(self._asking.drain(), self._doubting.drain())

    async def cancel(self) -> None:
        """Ends everything under way."""
        await asyncio.gather(self._asking.cancel(), self._doubting.cancel())

    async def _claim(self, tasks: deque[str], turns: Sequence[Turn]) -> list[Due]:
        turns = [turn for turn in turns if turn.places > 0]
        if not turns:
            return []
        tasks.rotate()
        return await agenda.claim_asks(
            self._db, lease_seconds=self._lease, turns=turns, tasks=tasks
        )

    def _to_ask(self, room: Room) -> Turn:
        slowly = slow(room)
        free = self._asking.of(room.provider).free
        if slowly:
            free -= self._limits.each - 1  # one at a time
        left = self._allowance.left(room.provider, 1.0 if slowly else self._limits.per_second)
        return Turn(provider=room.provider, places=min(free, left))

    def _in_doubt(self, room: Room) -> Turn:
        """Nobody is asked, so that it does not matter how the provider is."""
        return Turn(provider=room.provider, places=self._doubting.of(room.provider).free)
