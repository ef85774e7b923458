"""Inbound calls as they are kept: read, listed, found again when their job comes, forgotten."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from service import jsontext
from service.database import Database, Row
from service.job import OPEN
from service.store.advance import Move, Outcome, columns, outcome_of
from service.store.jobs import FIRST_ID, LAST_ID

# Beside the caller's own headers: how long the body was, where only its beginning is kept. No
# header that comes in is kept under this name.
FULL_LENGTH = "callboard-body-bytes"
SHOWN_BYTES = 4096
MOST_WAITING = 100
VERDICTS = ("accepted", "duplicate", "ignored", "hint", "refused", "unreadable")
UNWELCOME = frozenset({"refused", "unreadable"})
# All other reasons stand beside a verdict of these two, or are unknown_job.
WELCOME_REASONS = frozenset({"old_attempt", "signature_stale"})


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCall:
    """One call as it was kept. `provider_id` is the provider's id in a call that named no job;
    `whole` says whether all of its body is there."""

    id: UUID
    provider: str
    job_id: UUID | None
    attempt: int | None
    provider_id: str | None
    received_at: datetime
    verdict: str
    reason: str | None
    address: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def whole(self) -> bool:
        return FULL_LENGTH not in self.headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Meant:
    """An attempt that a call may be about. `by`: what names it, the `body` or the `token`; `open`:
    it is current and has not ended; `secrets`: what its job's input holds in secret, encrypted."""

    by: str
    job_id: UUID
    attempt: int
    open: bool
    secrets: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which calls a page shows; None is no bound. Calls come newest first, ids below `before`."""

    provider: str | None = None
    verdict: str | None = None
    reason: str | None = None
    job_id: UUID | None = None
    after: UUID = FIRST_ID
    before: UUID = LAST_ID


def stored(row: Row) -> StoredCall:
    """The call in a row of the table."""
    return StoredCall(
        id=row["id"],
        provider=row["provider"],
        job_id=row["job_id"],
        attempt=row["attempt"],
        provider_id=row["provider_id"],
        received_at=row["received_at"],
        verdict=row["verdict"],
        reason=row["reason"],
        address=row["address"],
        headers=jsontext.loads(row["headers"]),
        body=row["body"],
    )


async def get(db: Database, callback_id: UUID) -> Row | None:
    """A call's row, whole, with `app_id`, the app whose job it names; None: no such call."""
    return await db.row("get_callback", callback_id)


async def page(db: Database, app_id: UUID | None, wanted: Wanted, limit: int) -> list[Row]:
    """Up to `limit` rows, newest first, of one app's jobs or (None) all there are; of each body the
    first 4 KiB."""
    rare = wanted.verdict in UNWELCOME or (
        wanted.reason is not None and wanted.reason not in WELCOME_REASONS
    )
    name = "list_unwelcome_callbacks" if rare else "list_callbacks"
    values: list[Any] = [wanted.after, wanted.before, SHOWN_BYTES]
    values += [wanted.provider, wanted.verdict, wanted.reason, limit]
    if wanted.job_id is not None:
        return await db.rows("list_callbacks_of_job", *values, wanted.job_id, app_id)
    if app_id is not None:
        return await db.rows(f"{name}_of_app", *values, app_id)
    return await db.rows(name, *values)


async def find_meant(
    db: Database, provider: str, provider_id: str | None, named: tuple[UUID, int] | None
) -> list[Meant]:
    """The attempts that a call may be about: that which the provider knows under `provider_id`, and
    that which its token names; those that we have."""
    job_id, attempt = named or (None, None)
    rows = await db.rows("find_meant", provider, provider_id, job_id, attempt)
    return [
        Meant(
            by=row["named_by"],
            job_id=row["job_id"],
            attempt=row["attempt"],
            open=row["current"] and row["state"] in OPEN,
            secrets=row["stored"],
        )
        for row in rows
    ]


async def waiting(db: Database, provider: str, provider_id: str) -> list[StoredCall]:
    """Calls that came for a job that nobody knew by this id, oldest first, 100 at most."""
    rows = await db.rows("waiting_callbacks", provider, provider_id, MOST_WAITING)
    return [stored(row) for row in rows]


async def whose_job_came(db: Database) -> list[tuple[str, str]]:
    """Providers and their ids under which calls still wait, though a job has them; 100 at most."""
    rows = await db.rows("callbacks_whose_job_came", MOST_WAITING)
    return [(row["provider"], row["provider_id"]) for row in rows]


async def rehearse(db: Database, move: Move) -> Outcome:
    """What would become of a move; nothing does. Raises DatabaseAway."""
    (row,) = await db.rehearse("advance", *columns([move]))
    return outcome_of(row, move)


async def forget(db: Database, *, older_than: float, most: int) -> int:
    """Deletes up to `most` calls older than so many seconds that were refused, could not be read or
    never found their job; how many."""
    return len(await db.rows("forget_callbacks", older_than, most))


async def refusals_of_open_jobs(db: Database, *, seconds: float) -> list[dict[str, Any]]:
    """What was refused in the last `seconds` though an open job was meant, by provider and reason:
    `provider reason calls jobs last_at`, the latest first."""
    return [dict(row.items()) for row in await db.rows("refusals_of_open_jobs", seconds)]
