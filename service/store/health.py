"""How each provider has been answering: failures in a row, and pauses."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from service.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """One provider's state. `failures` are submits in a row, `ask_failures` polls. `paused`: none
    is submitted until `paused_until`; `pauses` in a row above 0 without that: one job is being
    tried, or the next one will be. `queued` and `in_flight` are counted up to a bound."""

    provider: str
    failures: int
    ask_failures: int
    pauses: int
    paused: bool
    paused_at: datetime | None
    paused_until: datetime | None
    code: str | None
    message: str | None
    silent_since: datetime | None
    queued: int
    in_flight: int


async def rooms(db: Database, names: Collection[str] = (), *, count_to: int = 0) -> dict[str, Room]:
    """The providers `names`, and all others that have work or a history, by name. Jobs are counted
    up to `count_to`."""
    rows = await db.rows("rooms", list(names), count_to)
    return {row["provider"]: Room(**row) for row in rows}


async def fail_submit(db: Database, provider: str, *, most: int, trial: bool) -> bool:
    """Counts one more failed submit. True: it is to be paused, since that makes `most` in a row or
    was the one that was tried."""
    row = await db.row("fail_submit", provider, most, trial)
    assert row is not None
    return bool(row["opens"])


async def fail_ask(db: Database, provider: str) -> int:
    """Counts one more failed poll; how many that makes in a row."""
    row = await db.row("fail_ask", provider)
    assert row is not None
    return int(row["ask_failures"])


async def pause(
    db: Database,
    provider: str,
    *,
    seconds: float,
    longest: float,
    code: str,
    message: str,
    trial: bool = False,
) -> float | None:
    """Pauses it: `seconds`, doubled each time that the job that was tried (`trial`) meets the same
    `code` again, `longest` at most. Returns for how many seconds it now is; None: for as long, to
    a second, it was already."""
    row = await db.row("pause_provider", provider, seconds, longest, code, message, trial)
    return None if row is None else float(row["seconds"])


async def restore(db: Database, provider: str, *, trial: bool) -> bool:
    """It took a submit as it should, which ends its failures, and after a `trial` the pause that
    is over. False: there was nothing that this could end."""
    return await db.row("restore_provider", provider, trial) is not None


async def untry(db: Database, provider: str) -> None:
    """The job that was to be tried was not sent: another may be."""
    await db.rows("untry_provider", provider)


async def restore_asks(db: Database, provider: str) -> None:
    """It answered a poll as it should."""
    await db.rows("restore_asks", provider)


async def try_all(db: Database) -> None:
    """Ends every pause, so that one job is tried at once: whatever a pause was for may have been
    put right."""
    await db.rows("try_providers")
