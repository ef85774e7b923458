"""Subscriptions: which endpoint of an app hears of which events, and what signs them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from service.database import Database
from service.store.recoveries import Start

HELD_PER_STEP = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is to be changed of an endpoint; None leaves it. `headers` come encrypted."""

    url: str | None = None
    events: Sequence[str] | None = None
    headers: bytes | None = None
    enabled: bool | None = None


async def create(
    db: Database,
    *,
    subscription_id: UUID,
    app_id: UUID,
    url: str,
    events: Sequence[str],
    secret: bytes,
    headers: bytes,
    start: Start | None = None,
    who: str = "",
) -> None:
    """Stores an endpoint; `secret` and `headers` come encrypted. It is told whatever commits after
    this has returned, and with a `start` also what was told from there on. Sent again, it changes
    nothing."""
    await db.rows(
        "create_subscription",
        subscription_id,
        app_id,
        url,
        list(events),
        secret,
        headers,
        None if start is None else start.since,
        None if start is None else start.place,
        who,
    )


async def get(db: Database, app_id: UUID | None, subscription_id: UUID) -> dict[str, Any] | None:
    """None: no such one, or another app's (`app_id` None: whosesoever)."""
    row = await db.row("get_subscription", app_id, subscription_id)
    return None if row is None else dict(row)


async def page(
    db: Database, app_id: UUID | None, *, after: UUID, limit: int
) -> list[dict[str, Any]]:
    """An app's or (None) everybody's, oldest first, after the id `after`."""
    if app_id is None:
        rows = await db.rows("list_all_subscriptions", after, limit)
    else:
        rows = await db.rows("list_subscriptions", app_id, after, limit)
    return [dict(row) for row in rows]


async def change(
    db: Database, app_id: UUID | None, subscription_id: UUID, wanted: Change
) -> Mapping[str, Any] | None:
    """The endpoint as it is from now on, with `enabled_again`; None: no such one, or another
    app's."""
    events = None if wanted.events is None else list(wanted.events)
    return await db.row(
        "change_subscription",
        app_id,
        subscription_id,
        wanted.url,
        events,
        wanted.headers,
        wanted.enabled,
    )


async def send_held(db: Database, subscription_id: UUID, *, page: int = HELD_PER_STEP) -> None:
    """Makes due at once whatever waits for a later try at this endpoint, `page` by `page`."""
    last: datetime | None = None
    while True:
        row = await db.row("send_held", subscription_id, last, page)
        if row is None or row["sent"] < page:
            return
        last = row["last"]


async def rotate(
    db: Database,
    app_id: UUID | None,
    subscription_id: UUID,
    *,
    secret: bytes,
    overlap: float,
    former_id: UUID,
    most: int,
) -> datetime | None:
    """Signs with `secret` (encrypted) from now on, and with the one before it too for `overlap`
    seconds; until when. None: no such one, another app's, or `most` former ones still sign."""
    row = await db.row("rotate_secret", app_id, subscription_id, secret, overlap, former_id, most)
    return None if row is None else row["valid_until"]


async def delete(db: Database, app_id: UUID | None, subscription_id: UUID) -> bool:
    """False: no such one, or another app's."""
    return await db.row("delete_subscription", app_id, subscription_id) is not None
