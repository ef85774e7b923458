"""The feed: the one order in which everyone reads events."""

from service.database import Database


async def place(db: Database) -> int:
    """Gives places to the events that have none; how many. 0 too where another process is at it."""
    row = await db.row("place_events")
    return 0 if row is None else int(row["placed"])
