"""Deliveries: one event to one endpoint, leased while it is being sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from service.database import Database, Row


@dataclass(slots=True, kw_only=True)
class Delivery:
    """A delivery under our lease. `url` is None where the subscription is gone; `secret`, the
    `former_secrets` that sign beside it and `headers` are still encrypted. `tries` are those made
    so far, `past_tries` of them by an earlier schedule. `event` is the row that
    `document.of_event` takes. `failing`: the endpoint's last try failed."""

    job_id: UUID
    id: UUID
    lease: int
    tries: int
    past_tries: int
    event_id: UUID
    endpoint: UUID
    failing: bool
    url: str | None
    secret: bytes | None
    former_secrets: Sequence[bytes]
    headers: bytes | None
    event: Row


@dataclass(slots=True, kw_only=True)
class Finished:
    """A try that is over: `state` is `succeeded`, `failed` or `pending` (again in `again_in`
    seconds). `gone`: the endpoint wants no more, and is disabled."""

    delivery: Delivery
    state: str
    status: int | None
    duration_ms: int
    error: str | None
    response: bytes
    again_in: float
    gone: bool


async def claim(
    db: Database,
    *,
    limit: int,
    lease_seconds: float,
    each: int | None = None,
    failing_each: int | None = None,
    failing: int | None = None,
    taken: Mapping[UUID, int] | None = None,
) -> list[Delivery]:
    """Leases up to `limit` deliveries that are due: to one endpoint up to `each`, to one that
    fails `failing_each`, less those `taken`; `failing` at most to all that fail (None: no bound).
    Raises DatabaseAway."""
    taken = taken or {}
    rows = await db.rows(
        "claim_deliveries",
        limit,
        lease_seconds,
        list(taken.keys()),
        list(taken.values()),
        each if each is not None else limit,
        failing_each if failing_each is not None else limit,
        failing if failing is not None else limit,
    )
    return [_delivery(row) for row in rows]


async def claim_staged(
    db: Database,
    job_ids: Sequence[UUID],
    *,
    limit: int,
    lease_seconds: float,
    each: int,
    taken: Mapping[UUID, int],
) -> list[Delivery]:
    """Leases what was staged for these jobs just now, up to `limit`: to one endpoint up to `each`,
    less those `taken`, and nothing to one that fails. Raises DatabaseAway."""
    endpoints, numbers = list(taken.keys()), list(taken.values())
    rows = await db.rows("claim_staged", job_ids, limit, lease_seconds, each, endpoints, numbers)
    return [_delivery(row) for row in rows]


def _delivery(row: Row) -> Delivery:
    return Delivery(
        job_id=row["id"],
        id=row["delivery_id"],
        lease=row["lease"],
        tries=row["tries"],
        past_tries=row["past_tries"],
        event_id=row["event_id"],
        endpoint=row["endpoint"],
        failing=row["failing"],
        url=row["url"],
        secret=row["secret"],
        former_secrets=row["former_secrets"],
        headers=row["headers"],
        event=row,
    )


async def finish(
    db: Database, tries: Sequence[Finished], *, patience_seconds: float
) -> list[str | None]:
    """Records tries, each of another delivery; an endpoint that has failed for `patience_seconds`
    is disabled. Returns where each delivery stands now; None: its lease had ended, or this was
    recorded before. Raises DatabaseAway."""
    rows = await db.rows(
        "finish_deliveries",
        [one.delivery.job_id for one in tries],
        [one.delivery.id for one in tries],
        [one.delivery.lease for one in tries],
        [one.state for one in tries],
        [one.status for one in tries],
        [one.duration_ms for one in tries],
        [one.error for one in tries],
        [one.response for one in tries],
        [one.again_in for one in tries],
        [one.gone for one in tries],
        [one.delivery.past_tries for one in tries],
        patience_seconds,
    )
    return [row["state"] for row in rows]
