"""The feed, read: by place, of one app, of one job or of everybody."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from service.database import Database, Row
from service.job import ALL_EVENT_TYPES

LAST_PLACE = 2**63 - 1
NOTED_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An event's line in the feed: where it stands, which it is, and whose."""

    place: int
    event_id: UUID
    job_id: UUID
    app_id: UUID
    type: str


async def head(db: Database) -> int:
    """The last place there is; 0 where there is none yet."""
    row = await db.row("feed_head")
    return 0 if row is None else int(row["place"])


async def note_reading(db: Database) -> None:
    """Somebody reads the feed: until a minute from now, events get their places at once."""
    await db.rows("note_reading", NOTED_SECONDS)


async def after(db: Database, place: int, limit: int) -> list[Line]:
    """Everybody's lines after `place`, in their order."""
    return _lines(await db.rows("feed_after", place, limit))


async def of_app(
    db: Database, app_id: UUID, types: Sequence[str], after: int, upto: int, limit: int
) -> list[Line]:
    """An app's lines of these types, after the place `after` and up to `upto`."""
    return _lines(await db.rows("feed_of_app", app_id, types, after, upto, limit))


async def of_all(
    db: Database, types: Sequence[str], after: int, upto: int, limit: int
) -> list[Line]:
    """Every app's lines of these types."""
    return _lines(await db.rows("feed_of_all", types, after, upto, limit))


async def of_job(
    db: Database, job_id: UUID, types: Sequence[str], after: int, upto: int, limit: int
) -> list[Line]:
    """A job's lines of these types."""
    return _lines(await db.rows("feed_of_job", job_id, types, after, upto, limit))


async def last(db: Database, app_id: UUID | None, upto: int) -> UUID | None:
    """The id of the last event up to a place, of an app or (None) of all; None: there is none."""
    if app_id is None:
        row = await db.row("last_of_all", upto)
    else:
        row = await db.row("last_of_app", app_id, ALL_EVENT_TYPES, upto)
    return None if row is None else row["event_id"]


async def find(db: Database, event_id: UUID) -> Line | None:
    """Where an event stands; None: nowhere, or nowhere yet."""
    row = await db.row("find_in_feed", event_id)
    return None if row is None else Line(**row)


async def waits(db: Database, event_id: UUID) -> bool:
    """Whether an event has happened and waits for its place."""
    row = await db.row("find_unplaced", event_id)
    return row is not None and bool(row["waits"])


async def rows_at(db: Database, places: Collection[int]) -> list[Row]:
    """The rows that `document.of_event` takes, with their `place`, in order."""
    return await db.rows("events_at", places)


async def job_is_told(db: Database, job_id: UUID, place: int) -> bool:
    """Whether the job stands at an end that has its place, at most `place`."""
    row = await db.row("job_is_told", job_id, place)
    return row is not None and bool(row["told"])


def _lines(rows: Sequence[Row]) -> list[Line]:
    return [Line(**row) for row in rows]
