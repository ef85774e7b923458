"""The end of the feed, followed once for all readers of this process.

The database's notifications only wake it up: it looks each second by itself too. Whoever is behind
reads pages from the database, by place, until it has caught up.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain
from uuid import UUID

from service import feed
from service.database import Database
from service.errors import Unavailable
from service.feed import Wanted, framed
from service.hints import listen
from service.loop import every
from service.reader import Reader, Shared
from service.recent import Entry, Recent
from service.store import access
from service.store import feed as stored
from service.store.feed import Line

CHANNEL = "callboard_feed"
LOOK_SECONDS = 1.0
KEYS_SECONDS = 10.0
READ_AT_ONCE = 50
CATCHING_UP_AT_ONCE = 4  # readers; the pool's other connections are for callbacks
MOST_READERS = 10_000
PING_SECONDS, SLOWEST_SECONDS = 15.0, 30.0
AGAIN_SECONDS = 2


class Tail:
    """Reads what is placed, once, and hands it to everybody who wants it. Works while somebody
    reads, and looks each `look` seconds unless it is woken. `most` may read at once; a quiet stream
    says so each `ping` seconds, and one that takes nothing for `slowest` seconds is cut off."""

    def __init__(
        self,
        db: Database,
        *,
        most: int = MOST_READERS,
        look: float = LOOK_SECONDS,
        ping: float = PING_SECONDS,
        slowest: float = SLOWEST_SECONDS,
        recent: Recent | None = None,
    ) -> None:
        self.readers: set[Reader] = set()
        self.ping = ping
        self.slowest = slowest
        self.wake = asyncio.Event()
        self._db = db
        self._most = most
        self._look = look
        self._recent = recent or Recent()
        room = asyncio.Semaphore(CATCHING_UP_AT_ONCE)
        self._shared = Shared(db=db, recent=self._recent, room=room)
        # By the job or the app that is read; None: everybody's.
        self._beside: defaultdict[UUID | None, set[Reader]] = defaultdict(set)
        self._stop = asyncio.Event()
        self._work: list[asyncio.Task[None]] = []

    async def join(self, wanted: Wanted, *, place: int, cursor: UUID, key_id: UUID) -> Reader:
        """A reader, with that key, of what comes after `place`, where the event `cursor` stands;
        it has to leave. Raises Unavailable where there is no room here, DatabaseAway."""
        if not self.readers:
            await stored.note_reading(self._db)
            head = await stored.head(self._db)
            if not self.readers:  # what happened while nobody read is not kept
                self._recent.start(head)
        if self._stop.is_set():
            raise _no_room("this server is about to stop")
        if len(self.readers) >= self._most:
            raise _no_room(f"there are {self._most} readers here")
        self._start()
        reader = Reader(self._shared, wanted, place=place, cursor=cursor, key_id=key_id)
        self.readers.add(reader)
        self._beside[wanted.job_id or wanted.app_id].add(reader)
        return reader

    def leave(self, reader: Reader) -> None:
        """Nothing is handed to it any more."""
        self.readers.discard(reader)
        beside = self._beside[key := reader.wanted.job_id or reader.wanted.app_id]
        beside.discard(reader)
        if not beside:
            del self._beside[key]

    def end(self) -> None:
        """Lets all readers go and takes no more: each resumes at another process."""
        self._stop.set()
        self.wake.set()
        for reader in self.readers:
            reader.end()

    async def aclose(self) -> None:
        """Ends the work too."""
        self.end()
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)

    def _start(self) -> None:
        if not self._work:
            self._work = [
                asyncio.create_task(listen(self._db, CHANNEL, lambda _: self.wake.set())),
                asyncio.create_task(every(self._look, self._read, self.wake, self._stop)),
                asyncio.create_task(
                    every(stored.NOTED_SECONDS, self._note, asyncio.Event(), self._stop)
                ),
                asyncio.create_task(
                    every(KEYS_SECONDS, self.drop_revoked, asyncio.Event(), self._stop)
                ),
            ]

    async def _read(self) -> bool:
        """Reads on, for all; whether there may be more already. Raises DatabaseAway."""
        if not self.readers:
            return False
        began = self._recent.place
        lines = await stored.after(self._db, began, READ_AT_ONCE)
        told = await feed.tell(self._db, [line for line in lines if self._is_wanted(line)])
        if self._recent.place != began:  # all readers left meanwhile, and others came
            return True
        messages = {event.place: framed(event) for event in told}
        for line in lines:
            entry = Entry(line=line, message=messages.get(line.place))
            self._recent.add(entry)
            for reader in self._readers_of(line):
                reader.hand(entry)
        return len(lines) == READ_AT_ONCE

    async def _note(self) -> bool:
        """Says that somebody reads. Raises DatabaseAway."""
        if self.readers:
            await stored.note_reading(self._db)
        return False

    async def drop_revoked(self) -> bool:
        """Lets readers go whose key was revoked meanwhile. Raises DatabaseAway."""
        if self.readers:
            keys = list({reader.key_id for reader in self.readers})
            dead = set(keys) - await access.live_keys(self._db, keys)
            for reader in self.readers:
                if reader.key_id in dead:
                    reader.end()
        return False

    def _readers_of(self, line: Line) -> Iterator[Reader]:
        beside = (line.app_id, line.job_id, None)
        return chain.from_iterable(self._beside[one] for one in beside if one in self._beside)

    def _is_wanted(self, line: Line) -> bool:
        return any(reader.wants(line) for reader in self._readers_of(line))


def _no_room(why: str) -> Unavailable:
    return Unavailable(
        f"{why}: ask again", code="unavailable", retryable=True, retry_after=AGAIN_SECONDS
    )
