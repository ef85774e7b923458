"""Recoveries: stretches of the feed that are told again, or to one who began in the past."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service.database import Database

COUNTED_PER_STEP = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where in the past a recovery begins: after a place in the feed, and at a moment (None: what
    stands after the place counts, whenever it was told)."""

    place: int
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What one is asked to tell again: of what stands after `start` in the feed, what was told
    before `until` (None: by now); `acknowledged` ones too. `asked` is the request in words: the
    same words while one is under way are the same recovery."""

    subscription_id: UUID
    start: Start
    asked: str
    until: datetime | None = None
    acknowledged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One page of a recovery. `walked`: it came further. `staged`: there may be something due."""

    walked: bool
    staged: bool


async def find_time(db: Database, since: datetime) -> Start | None:
    """Where to begin for everything told from `since` on; None where that has not come yet."""
    row = await db.row("find_time_in_feed", since)
    if row is None or row["future"]:
        return None
    return Start(place=row["place"], since=since)


async def find_event(db: Database, app_id: UUID, event_id: UUID) -> Start | None:
    """Where to begin for an app's event and all that follows it; None: no such event."""
    row = await db.row("find_event_in_feed", app_id, event_id)
    return None if row is None else Start(place=row["place"])


async def count(db: Database, wanted: Recovery) -> int:
    """How many events it would tell, as things stand now."""
    place, total = wanted.start.place, 0
    while True:
        row = await db.row(
            "count_recoverable",
            wanted.subscription_id,
            wanted.start.since,
            wanted.until,
            wanted.acknowledged,
            place,
            COUNTED_PER_STEP,
        )
        if row is None or row["last"] is None:
            return total
        place, total = row["last"], total + row["count"]


async def create(
    db: Database, wanted: Recovery, *, recovery_id: UUID, who: str, counted: int
) -> int | None:
    """Asks for it; returns how many events it is about, which is what the same request was told
    where one is under way already. None: no such subscription."""
    while True:
        row = await db.row(
            "create_recovery",
            wanted.subscription_id,
            recovery_id,
            wanted.asked,
            who,
            wanted.start.since,
            wanted.until,
            wanted.acknowledged,
            wanted.start.place,
            counted,
        )
        if row is not None and row["count"] is None:
            row = await db.row("find_recovery", wanted.subscription_id, wanted.asked)
            if row is None:  # it has just ended
                continue
        return None if row is None else int(row["count"])


async def go_on(db: Database, *, page: int, shortest: float) -> Step:
    """Takes one recovery further by up to `page` places of the feed; one that sends acknowledged
    events too is under way for `shortest` seconds at least. Raises DatabaseAway."""
    row = await db.row("continue_recovery", page, shortest)
    if row is None:
        return Step(walked=False, staged=False)
    return Step(walked=row["walked"], staged=row["staged"])
