"""The feed: the one order in which everyone reads events."""

from dataclasses import dataclass
from uuid import UUID

from service.database import Database
from service.store.advance import Outcome, new_event_id

READ_SECONDS = 60.0  # who follows the feed says so more often


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """How many events got their places. `busy`: another process is at it; `read`: somebody reads
    the feed."""

    number: int
    busy: bool
    read: bool


async def place(db: Database) -> Placing:
    """Gives places to the events that have none. Raises DatabaseAway."""
    (row,) = await db.rows("place_events", READ_SECONDS)
    return Placing(number=row["placed"], busy=row["busy"], read=row["read"])


async def announce(db: Database) -> None:
    """Wakes whoever listens for placed events: a hint, which may be lost."""
    await db.rows("announce_events")


async def tell_stuck(db: Database, job_id: UUID, version: int) -> list[Outcome]:
    """Tells as an event, once, that the job is overdue, where it still stands at `version`. None
    is told: it was before, or the job has moved on."""
    event_id = new_event_id(job_id)
    row = await db.row("tell_stuck", job_id, version, event_id)
    if row is None:
        return []
    return [
        Outcome(
            verdict="accepted",
            moved=True,
            was=None,
            state=None,
            version=row["version"],
            staged=row["staged"],
        )
    ]
