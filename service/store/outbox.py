"""Deliveries as people see them: found by what they ask for, shown with their tries, sent again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from service.database import Database, Row
from service.store.jobs import FIRST_ID, LAST_ID

STATES = ("pending", "held", "succeeded", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """Which deliveries a page shows; None is no bound. They come newest event first, their ids
    above `after` and below `before`."""

    job_id: UUID | None = None
    subscription_id: UUID | None = None
    event_id: UUID | None = None
    state: str | None = None
    after: UUID = FIRST_ID
    before: UUID = LAST_ID


async def page(
    db: Database, app_id: UUID | None, sought: Sought, *, limit: int, tries: int
) -> list[dict[str, Any]]:
    """Up to `limit` of an app's deliveries or (None) everybody's; each with its last `tries` tries
    as `tries`."""
    bounds = (app_id, sought.after, sought.before, sought.subscription_id, sought.event_id)
    if sought.job_id is not None:
        more = (sought.state, limit, sought.job_id)
        found = await db.rows("find_deliveries_of_job", *bounds, *more)
    elif sought.state == "failed":
        found = await db.rows("find_failed_deliveries", *bounds, limit)
    elif sought.state in ("pending", "held"):
        held = sought.state == "held"
        found = await db.rows("find_pending_deliveries", *bounds, held, limit)
    else:
        found = await db.rows("find_deliveries", *bounds, sought.state, limit)
    return await _shown(db, found, tries)


async def get(
    db: Database, app_id: UUID | None, delivery_id: UUID, *, tries: int
) -> dict[str, Any] | None:
    """One delivery, with its last `tries` tries; None: no such one, or another app's."""
    just_it = Sought(
        after=UUID(int=max(0, delivery_id.int - 1)),
        before=UUID(int=min(LAST_ID.int, delivery_id.int + 1)),
    )
    found = await page(db, app_id, just_it, limit=1, tries=tries)
    return found[0] if found else None


async def resend(db: Database, job_id: UUID, delivery_id: UUID, *, act_id: UUID, who: str) -> bool:
    """Makes it due at once, and keeps that as an act; False: its endpoint is gone. Sent again, it
    keeps no second act."""
    return await db.row("resend_delivery", job_id, delivery_id, act_id, who) is not None


async def _shown(db: Database, found: Sequence[Row], tries: int) -> list[dict[str, Any]]:
    keys = [row["job_id"] for row in found], [row["id"] for row in found]
    if not found:
        return []
    rows = [dict(row) | {"tries": []} for row in await db.rows("show_deliveries", *keys)]
    by_id: dict[UUID, list[Row]] = {row["id"]: row["tries"] for row in rows}
    for one in await db.rows("show_tries", *keys, tries):
        by_id[one["delivery_id"]].append(one)
    return rows
