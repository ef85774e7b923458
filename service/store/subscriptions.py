"""Subscriptions: which endpoint of an app hears of which events."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from service.database import Database


async def create(
    db: Database,
    *,
    subscription_id: UUID,
    app_id: UUID,
    url: str,
    events: Sequence[str],
    secret: bytes,
    headers: bytes,
) -> None:
    """Stores an endpoint; `secret` and `headers` come encrypted. Sent again, it changes nothing."""
    await db.rows(
        "create_subscription", subscription_id, app_id, url, list(events), secret, headers
    )


async def get(db: Database, app_id: UUID, subscription_id: UUID) -> dict[str, Any] | None:
    """None: no such one, or another app's."""
    row = await db.row("get_subscription", app_id, subscription_id)
    return None if row is None else dict(row)


async def page(db: Database, app_id: UUID, *, after: UUID, limit: int) -> list[dict[str, Any]]:
    """An app's, oldest first, after the id `after`."""
    rows = await db.rows("list_subscriptions", app_id, after, limit)
    return [dict(row) for row in rows]


async def delete(db: Database, app_id: UUID, subscription_id: UUID) -> bool:
    """False: no such one, or another app's."""
    return await db.row("delete_subscription", app_id, subscription_id) is not None
