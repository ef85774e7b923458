"""The feed as it is told: the events that somebody wants, in the one order that all readers see."""

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from service import document, ids, jsontext
from service.database import Database
from service.job import ALL_EVENT_TYPES
from service.store import feed as stored
from service.store.feed import LAST_PLACE, Line

BEGINNING = UUID(int=0)  # as a cursor: before the oldest event that is kept
PLACED_WITHIN_SECONDS = 5.0
LOOK_SECONDS = 0.05
AT_ONCE = 25  # events whose documents are read together
PAGE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Whose events: an app's or (None) every app's; of one job, or of all; of which types."""

    app_id: UUID | None
    job_id: UUID | None = None
    types: tuple[str, ...] = ALL_EVENT_TYPES

    def sees(self, line: Line) -> bool:
        """Whether an event is among these, its type apart."""
        return self.app_id in (None, line.app_id) and self.job_id in (None, line.job_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An event as everybody is told it: `text` is JSON, `{"id", "type", "timestamp", "data"}`."""

    place: int
    id: UUID
    type: str
    text: str


async def page(
    db: Database, wanted: Wanted, *, after: int, limit: int, upto: int = LAST_PLACE
) -> tuple[list[Told], bool]:
    """At most `limit` events between two places, and whether there are more; fewer where they are
    large. Raises DatabaseAway."""
    lines = await _lines(db, wanted, after, upto, limit + 1)
    shown, size = lines[:limit], 0
    events: list[Told] = []
    for first in range(0, len(shown), AT_ONCE):
        events += await tell(db, shown[first : first + AT_ONCE])
        size = sum(len(event.text) for event in events)
        if size >= PAGE_BYTES and first + AT_ONCE < len(shown):
            return events, True
    return events, len(lines) > limit


async def tell(db: Database, lines: Collection[Line]) -> list[Told]:
    """The events on these lines, in order. Raises DatabaseAway."""
    by_place = {line.place: line for line in lines}
    if not by_place:
        return []
    told = []
    for row in await stored.rows_at(db, list(by_place)):
        line = by_place[row["place"]]
        body = {"id": ids.show("evt", line.event_id)} | document.of_event(row)
        told.append(
            Told(
                place=line.place,
                id=line.event_id,
                type=body["type"],
                text=jsontext.joined(body),
            )
        )
    return told


def framed(event: Told) -> bytes:
    """An event as a server-sent one (https://html.spec.whatwg.org/multipage/server-sent-events.html).
    JSON has no line breaks of its own, so that it is one line of data."""
    return f"id: {ids.show('evt', event.id)}\nevent: {event.type}\ndata: {event.text}\n\n".encode()


async def find(db: Database, event_id: UUID, app_id: UUID | None) -> Line | None:
    """An event's line, where it is an event of the app's (None: of any). One that has happened
    just now is waited for. None: there is none. Raises DatabaseAway."""
    until = time.monotonic() + PLACED_WITHIN_SECONDS
    while (line := await stored.find(db, event_id)) is None:
        if time.monotonic() > until or not await stored.waits(db, event_id):
            line = await stored.find(db, event_id)  # it may have got its place in between
            break
        await asyncio.sleep(LOOK_SECONDS)
    return line if line is not None and app_id in (None, line.app_id) else None


async def cursor(db: Database, text: str, app_id: UUID | None) -> tuple[int, UUID] | None:
    """Where a cursor stands, and the event that it names: an id, or BEGINNING's. None: it is no
    id, or none of an event that the app sees. Raises DatabaseAway."""
    event_id = ids.read("evt", text)
    if event_id is None or event_id == BEGINNING:
        return None if event_id is None else (0, BEGINNING)
    line = await find(db, event_id, app_id)
    return None if line is None else (line.place, event_id)


async def _lines(db: Database, wanted: Wanted, after: int, upto: int, limit: int) -> list[Line]:
    if wanted.job_id is not None:
        lines = await stored.of_job(db, wanted.job_id, wanted.types, after, upto, limit)
        return [line for line in lines if wanted.sees(line)]
    if wanted.app_id is not None:
        return await stored.of_app(db, wanted.app_id, wanted.types, after, upto, limit)
    return await stored.of_all(db, wanted.types, after, upto, limit)
