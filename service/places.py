"""Places for what is sent: so many in all, so many to one endpoint, and few to those that fail."""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from service.slots import Slots

FAILING_EACH = 2  # enough to see that it is back: then it has all its places again
FAILING_SHARE = 4  # one place in so many, for all that fail together


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How much may be begun now: `free` in all, `each` to an endpoint and `failing_each` to one
    that fails, less those of it that are `taken`, and `failing` to all that fail together."""

    free: int
    each: int
    failing_each: int
    failing: int
    taken: dict[UUID, int]


class Places:
    """Up to `most` tasks at once, and up to `each` to one endpoint. `wake` is set when a place is
    free for something that the last claim may have had to leave."""

    def __init__(self, most: int, each: int, wake: asyncio.Event) -> None:
        self._most = most
        self._each = each
        self._wake = wake
        self._slots = Slots(most, wake)
        self._slots.sated = True  # whom to wake is decided here
        self._taken: Counter[UUID] = Counter()
        self._failing: Counter[UUID] = Counter()
        self._most_failing = max(1, most // FAILING_SHARE)
        self._wanted: dict[UUID, int] = {}
        self._all_wanted = False
        self._failing_wanted = False
        self.wanted = False  # there are places for what the last claim may have had to leave

    @property
    def taken(self) -> int:
        """How many are under way."""
        return len(self._slots.taken)

    def room(self) -> Room:
        """What there is room for now."""
        return Room(
            free=self._slots.free,
            each=self._each,
            failing_each=min(self._each, FAILING_EACH),
            failing=max(0, self._most_failing - self._failing.total()),
            taken=dict(self._taken),
        )

    def start(self, endpoint: UUID, work: Coroutine[Any, Any, None], *, failing: bool) -> None:
        """Begins `work` for an endpoint, which may be `failing`."""
        self._taken[endpoint] += 1
        if failing:
            self._failing[endpoint] += 1
        task = self._slots.start(work)
        task.add_done_callback(lambda _: self._ended(endpoint, failing))

    def claimed(self, endpoints: Sequence[UUID], room: Room) -> bool:
        """Says for whom a claim into `room` has brought something, all of it begun. Whoever had no
        more room for what may be due has the next places; True: they are free already."""
        offered = Counter(room.taken) + Counter(endpoints)
        failing = sum(self._failing[endpoint] > 0 for endpoint in endpoints)
        self._all_wanted = len(endpoints) >= room.free
        self._failing_wanted = failing >= room.failing
        self._wanted = {}
        for endpoint, number in offered.items():
            most = room.failing_each if self._failing[endpoint] else room.each
            if number >= most:
                self._wanted[endpoint] = most
        self.wanted = self._wakes() or any(map(self._is_roomy, self._wanted))
        return self.wanted

    async def drain(self) -> None:
        """Waits until everything under way has ended by itself."""
        await self._slots.drain()

    async def cancel(self) -> None:
        """Ends everything under way."""
        await self._slots.cancel()

    def _ended(self, endpoint: UUID, failing: bool) -> None:
        self._taken[endpoint] -= 1
        if failing:
            self._failing[endpoint] -= 1
        if self._wakes() or self._is_roomy(endpoint):
            self.wanted = True
            self._wake.set()
        for counted in (self._taken, self._failing):
            if counted[endpoint] <= 0:
                del counted[endpoint]

    def _wakes(self) -> bool:
        """Not for one place: a claim for one costs as much as one for many."""
        all_roomy = self._all_wanted and self.taken <= self._most * 3 // 4
        return all_roomy or (
            self._failing_wanted and self._failing.total() <= self._most_failing * 3 // 4
        )

    def _is_roomy(self, endpoint: UUID) -> bool:
        most = self._wanted.get(endpoint)
        return most is not None and self._taken[endpoint] <= most // 2
