"""Reads events from the database, for commands on the service's own machine."""

import asyncio
from collections.abc import AsyncGenerator
from uuid import UUID

from service import feed, ids, jsontext
from service.commands.feed_source import Asked, Event, Patience
from service.database import Database
from service.encryption import AtRest
from service.errors import DatabaseAway, FieldFault, InvalidRequest, NotFound
from service.feed import Wanted
from service.job import ALL_EVENT_TYPES
from service.store import access, jobs
from service.store import feed as stored
from service.store.feed import LAST_PLACE, Line

LOOK_SECONDS = 0.3
PAGE = 100


class LocalFeed:
    """A FeedSource over the database: every app's events."""

    def __init__(self, db: Database, at_rest: AtRest) -> None:
        self._db = db
        self._at_rest = at_rest

    async def follow(self, asked: Asked) -> AsyncGenerator[Event, None]:
        """By page. Raises what a FeedSource does."""
        wanted = await self._wanted(asked)
        place, patience = await self._start(asked, wanted), Patience()
        while True:
            try:
                ended = wanted.job_id is not None and await stored.job_is_told(
                    self._db, wanted.job_id, LAST_PLACE
                )
                await stored.note_reading(self._db)
                events, more = await feed.page(self._db, wanted, after=place, limit=PAGE)
                patience.renew()
            except DatabaseAway:
                if patience.is_over:
                    raise
                events, more, ended = [], False, False
            for event in events:
                place = event.place
                yield jsontext.loads(event.text)
            if ended and not more:
                return
            if not more:
                await asyncio.sleep(LOOK_SECONDS)

    async def event(self, event_id: str) -> Event:
        """Raises NotFound."""
        told = await feed.tell(self._db, [await self._line(event_id)])
        return dict(jsontext.loads(told[0].text))

    async def secret(self, event_id: str) -> str:
        """Raises NotFound."""
        line = await self._line(event_id)
        return self._at_rest.decrypt(await access.default_secret(self._db, line.app_id))

    async def _line(self, event_id: str) -> Line:
        found = ids.read("evt", event_id)
        line = None if found is None else await feed.find(self._db, found, None)
        if line is None:
            raise NotFound(f"there is no event {event_id[:60]}", code="not_found")
        return line

    async def _wanted(self, asked: Asked) -> Wanted:
        unknown = [one for one in asked.types if one not in ALL_EVENT_TYPES]
        if unknown:
            raise _fault("type", f"must be of {', '.join(ALL_EVENT_TYPES)}")
        types = asked.types or ALL_EVENT_TYPES
        if asked.job is None:
            return Wanted(app_id=None, types=types)
        job_id = ids.read("job", asked.job)
        if job_id is None or await jobs.get(self._db, job_id) is None:
            raise NotFound(f"there is no job {asked.job[:60]}", code="not_found")
        return Wanted(app_id=None, job_id=job_id, types=types)

    async def _start(self, asked: Asked, wanted: Wanted) -> int:
        if asked.after is not None:
            found: tuple[int, UUID] | None = await feed.cursor(self._db, asked.after, None)
            if found is None:
                raise _fault("after", "names no event that is kept")
            return found[0]
        return 0 if wanted.job_id is not None else await stored.head(self._db)


def _fault(field: str, problem: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {problem}", fields=(FieldFault(field, problem),))
