"""Deliveries: one event to one endpoint, leased while it is being sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from service.database import Database, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A delivery under our lease. `url` is None where the subscription is gone; `secret`, the
    `former_secrets` that sign beside it and `headers` are still encrypted. `tries` are those made
    so far, `past_tries` of them by an earlier schedule. `event` is the row that
    `document.of_event` takes."""

    job_id: UUID
    id: UUID
    lease: int
    tries: int
    past_tries: int
    event_id: UUID
    url: str | None
    secret: bytes | None
    former_secrets: Sequence[bytes]
    headers: bytes | None
    event: Row


async def claim(db: Database, *, limit: int, lease_seconds: float) -> list[Delivery]:
    """Leases up to `limit` deliveries that are due. Raises DatabaseAway."""
    rows = await db.rows("claim_deliveries", limit, lease_seconds)
    return [
        Delivery(
            job_id=row["id"],
            id=row["delivery_id"],
            lease=row["lease"],
            tries=row["tries"],
            past_tries=row["past_tries"],
            event_id=row["event_id"],
            url=row["url"],
            secret=row["secret"],
            former_secrets=row["former_secrets"],
            headers=row["headers"],
            event=row,
        )
        for row in rows
    ]


async def finish(
    db: Database,
    delivery: Delivery,
    *,
    state: str,
    status: int | None,
    duration_ms: int,
    error: str | None,
    response: bytes,
    again_in: float,
    disable: str | None = None,
) -> bool:
    """Records a try: `state` is `succeeded`, `failed` or `pending` (again in `again_in` seconds).
    `disable`, a reason, turns the endpoint off. False: the lease had ended."""
    row = await db.row(
        "finish_delivery",
        delivery.job_id,
        delivery.id,
        delivery.lease,
        state,
        status,
        duration_ms,
        error,
        response,
        again_in,
        disable,
        delivery.past_tries,
    )
    return row is not None
