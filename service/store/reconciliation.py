"""Reads how jobs came to their ends, and which providers have stopped calling back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service.database import Database, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """A provider of which it was noticed just now that its callbacks stopped, or (`since` is None)
    that they come again."""

    provider: str
    since: datetime | None


async def figures(
    db: Database,
    app_id: UUID | None,
    *,
    first: UUID,
    end: UUID,
    settled_seconds: float,
    after: tuple[str, str],
    limit: int | None,
) -> list[Row]:
    """The figures of the jobs with ids from `first` up to `end`, of one app or (None) of all: a row
    per provider, and up to `limit` rows (None: all) of one provider's model each, `after` that
    provider and model. sql/queries/reconciliation.sql says what each figure is."""
    return await db.rows("reconcile", app_id, first, end, settled_seconds, *after, limit)


async def stranger_calls(db: Database, *, first: UUID, end: UUID) -> dict[str, int]:
    """How many calls were refused that name no job of ours, by provider."""
    rows = await db.rows("count_stranger_calls", first, end)
    return {row["provider"]: row["refused"] for row in rows}


async def silent(db: Database) -> dict[str, datetime]:
    """Since when each provider is silent that used to call back."""
    return {row["provider"]: row["silent_since"] for row in await db.rows("list_silent")}


async def look_for_silence(
    db: Database, providers: Sequence[str], *, jobs: int, settled_seconds: float
) -> list[Silence]:
    """Notes which of the providers have fallen silent (none of their last `jobs` had its callback
    within `settled_seconds`) and which call again; returns what is new, and to one caller only."""
    rows = await db.rows("look_for_silence", list(providers), jobs, settled_seconds)
    return [Silence(provider=row["provider"], since=row["since"]) for row in rows]
