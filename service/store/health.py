"""How each provider has been answering: failures in a row, pauses, and room for more jobs."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from service.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """One provider's state. `paused`: nothing is submitted to it until `paused_until`; `pauses` in
    a row above 0 without that: one job is being tried. `in_flight` is counted up to `most`, and
    only where there is such a bound."""

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
    in_flight: int
    most: int | None


async def rooms(db: Database, most: Mapping[str, int]) -> dict[str, Room]:
    """Every provider that has work, a history or a bound (`most` jobs in flight), by name."""
    rows = await db.rows("rooms", list(most), list(most.values()))
    return {row["provider"]: Room(**row) for row in rows}


async def fail_submit(db: Database, provider: str, *, most: int) -> bool:
    """Counts one more failed submit. True: that makes `most` in a row, and it is not paused."""
    row = await db.row("fail_submit", provider, most)
    assert row is not None
    return bool(row["opens"])


async def fail_ask(db: Database, provider: str) -> int:
    """Counts one more failed poll; how many that makes in a row."""
    row = await db.row("fail_ask", provider)
    assert row is not None
    return int(row["ask_failures"])


async def pause(
    db: Database, provider: str, *, seconds: float, longest: float, code: str, message: str
) -> float:
    """Pauses it: `seconds`, doubled for each pause in a row, `longest` at most. Returns how long it
    has been or will be paused in all, in seconds."""
    row = await db.row("pause_provider", provider, seconds, longest, code, message)
    assert row is not None
    return float(row["seconds"])


async def restore(db: Database, provider: str) -> None:
    """It took a submit as it should, which ends a pause that is over."""
    await db.rows("restore_provider", provider)


async def restore_asks(db: Database, provider: str) -> None:
    """It answered a poll as it should."""
    await db.rows("restore_asks", provider)


async def try_all(db: Database) -> None:
    """Ends every pause: whatever it was for may have been put right."""
    await db.rows("try_providers")
