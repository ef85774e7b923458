"""Reads how jobs came to their ends, and which providers have stopped calling back."""

from datetime import datetime
from uuid import UUID

from service.database import Database, Row


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
