"""The feed: the one order in which everyone reads events."""

from uuid import UUID

from service.database import Database
from service.store.advance import Outcome, new_event_id


async def place(db: Database) -> tuple[int, bool]:
    """Gives places to the events that have none: to how many. True: another process is at it."""
    row = await db.row("place_events")
    return (0, False) if row is None else (int(row["placed"]), bool(row["busy"]))


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
