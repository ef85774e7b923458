"""One who reads the feed as it grows: what is handed over, and from the database what is not."""

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from uuid import UUID

from service import feed
from service.database import Database
from service.errors import DatabaseAway
from service.feed import Wanted, framed
from service.job import END_EVENT_TYPES
from service.recent import Entry, Recent
from service.store import feed as stored
from service.store.feed import Line

WAITING_BYTES = 256 * 1024  # for one reader; past that it reads from the database
CHUNK_BYTES = 64 * 1024
PAGE = 25  # events that one who is behind reads at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What the readers of a process have in common. `room` bounds how many of them use the
    database at once."""

    db: Database
    recent: Recent
    room: asyncio.Semaphore


class Reader:
    """Takes one event after the other. `cursor` is the event to resume after; `ended` says that
    nothing more will come here; `wake` is set where there may be something to take; `waiting` is
    what was handed over and not taken yet."""

    __slots__ = (
        *("_bytes", "_look_for_end", "_passed", "_place", "_shared", "_upto", "waiting"),
        *("cursor", "ended", "key_id", "wake", "wanted"),
    )

    def __init__(
        self, shared: Shared, wanted: Wanted, *, place: int, cursor: UUID, key_id: UUID
    ) -> None:
        self.wanted = wanted
        self.cursor = cursor
        self.key_id = key_id
        self.wake = asyncio.Event()
        self.ended = False
        self._shared = shared
        self._place = place  # everything up to here was taken
        self._upto = max(place, shared.recent.place)  # what comes later is handed over
        self.waiting: deque[Entry] = deque()
        self._bytes = 0
        self._passed: Line | None = None
        self._look_for_end = wanted.job_id is not None

    def wants(self, line: Line) -> bool:
        """Whether it is told this event, and has not been."""
        return line.type in self.wanted.types and line.place > self._upto

    def hand(self, entry: Entry) -> None:
        """Hands over an event that was just read for all, and that is among the wanted ones."""
        line = entry.line
        if line.place <= self._upto:
            return
        self._passed = line
        if self.wanted.job_id is not None and line.type in END_EVENT_TYPES:
            self._look_for_end = True
            self.wake.set()
        if not self.wants(line):
            return
        if entry.message is None or self._bytes + entry.size > WAITING_BYTES:
            self._fall_behind(line.place)
        else:
            self.waiting.append(entry)
            self._bytes += entry.size
        self.wake.set()

    def end(self) -> None:
        """Lets the reader go."""
        self.ended = True
        self.wake.set()

    async def wait(self, seconds: float) -> None:
        """Returns where there may be something to take, or after so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.wake.wait()

    async def take(self) -> list[bytes]:
        """The messages that come next, about 64 KiB at once; none where there are none now.
        Raises DatabaseAway."""
        self.wake.clear()
        while self._place < self._upto:
            if messages := await self._catch_up():
                return messages
        return self._take_waiting()

    async def job_is_told(self) -> bool:
        """Whether the job that is read has ended, with nothing left to take. Asks only where that
        may be so. Raises DatabaseAway."""
        if self.wanted.job_id is None or not self._look_for_end:
            return False
        self._look_for_end = False
        place = max(self._upto, self._shared.recent.place)
        try:
            told = await stored.job_is_told(self._shared.db, self.wanted.job_id, place)
        except DatabaseAway:
            self._look_for_end = True
            raise
        return told and self._has_all()

    def moved_on(self) -> UUID:
        """The event to resume after: the last one taken, or a later one that was not wanted."""
        if self._passed and self._passed.place > self._place and self._has_all():
            self._place, self.cursor = self._passed.place, self._passed.event_id
        return self.cursor

    def _has_all(self) -> bool:
        return not self.waiting and self._place >= self._upto

    def _fall_behind(self, place: int) -> None:
        """What waits is let go, since it can be read again."""
        self.waiting.clear()
        self._bytes = 0
        self._upto = place

    async def _catch_up(self) -> list[bytes]:
        upto = self._upto
        kept = self._from_recent(upto)
        if kept is not None:
            return self._taken(kept, upto)
        async with self._shared.room:
            events, more = await feed.page(
                self._shared.db, self.wanted, after=self._place, upto=upto, limit=PAGE
            )
        if events:
            self._place, self.cursor = events[-1].place, events[-1].id
        if not more:
            self._place = upto
        return [framed(event) for event in events]

    def _from_recent(self, upto: int) -> list[Entry] | None:
        """What is wanted of the last events, about 64 KiB; None where not all of that is here."""
        entries = self._shared.recent.after(self._place)
        if entries is None:
            return None
        found, size = [], 0
        for entry in entries:
            line = entry.line
            if line.place > upto or size > CHUNK_BYTES:
                break
            if self.wanted.sees(line) and line.type in self.wanted.types:
                if entry.message is None:
                    return None
                found.append(entry)
                size += entry.size
        return found

    def _taken(self, entries: list[Entry], upto: int) -> list[bytes]:
        """The messages of these; with none of them, everything up to there was taken."""
        self._place = upto
        if entries:
            self._place, self.cursor = entries[-1].line.place, entries[-1].line.event_id
        return [entry.message for entry in entries if entry.message is not None]

    def _take_waiting(self) -> list[bytes]:
        taken: list[Entry] = []
        size = 0
        while self.waiting and size < CHUNK_BYTES:
            taken.append(self.waiting.popleft())
            size += taken[-1].size
        self._bytes -= size
        return self._taken(taken, self._place)
