"""Jobs: made once per Idempotency-Key, read one by one."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from service import jsontext
from service.database import Database, Row
from service.ids import new_id

FIRST_ID, LAST_ID = UUID(int=0), UUID(int=2**128 - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to be made. `fingerprint` is of the request that came under `idempotency_key`;
    `secrets` is what the input, which has *** there, holds in secret, encrypted."""

    id: UUID
    app_id: UUID
    provider: str
    model: str
    input: Mapping[str, Any]
    deadline_seconds: float
    metadata: Mapping[str, Any]
    reference: str | None = None
    notify_hook: str | None = None
    warnings: tuple[str, ...] = ()
    currency: str | None = None
    estimate: Decimal | None = None
    upper_bound: bool = False
    secrets: bytes | None = None
    idempotency_key: str | None = None
    fingerprint: bytes | None = None


async def create(db: Database, job: NewJob) -> Row | None:
    """Makes the job, in one statement with its key, and returns its row as `get` does; None: the
    key or the id is taken. Sent again after a lost answer, it makes nothing twice."""
    return await db.row(
        "create_job",
        job.id,
        job.app_id,
        job.idempotency_key,
        job.fingerprint,
        job.provider,
        job.model,
        jsontext.dumps(job.input),
        job.reference,
        jsontext.dumps(job.metadata),
        job.notify_hook,
        job.deadline_seconds,
        jsontext.dumps(job.warnings),
        job.currency,
        job.estimate,
        job.upper_bound,
        new_id(job.id.int & 0xFF),
        job.secrets,
    )


async def find_idempotent(db: Database, app_id: UUID, key: str) -> tuple[UUID, bytes] | None:
    """The job made under an app's key, and the fingerprint of its request; None: none."""
    row = await db.row("find_idempotent", app_id, key)
    return None if row is None else (row["job_id"], row["fingerprint"])


async def get(db: Database, job_id: UUID) -> Mapping[str, Any] | None:
    """A job's row with its current attempt, as `document.of_job` takes it; None: no such job."""
    return await db.row("get_job", job_id)


async def timeline(db: Database, job_id: UUID) -> list[dict[str, Any]]:
    """Everything that happened to a job, oldest first."""
    rows = await db.rows("timeline_of_job", job_id)
    return [dict(row) | {"detail": jsontext.loads(row["detail"])} for row in rows]


async def secrets_of(db: Database, job_id: UUID) -> bytes | None:
    """What a job's input holds in secret, encrypted; None: nothing."""
    row = await db.row("secrets_of_job", job_id)
    return None if row is None else row["stored"]


async def find_attempt(db: Database, provider: str, provider_id: str) -> tuple[UUID, int] | None:
    """The job and the attempt's number that a provider knows under this id; None: none yet."""
    row = await db.row("find_attempt", provider, provider_id)
    return None if row is None else (row["job_id"], row["number"])


async def add_warning(db: Database, job_id: UUID, text: str) -> None:
    """Says something to whoever reads the job; said again, it changes nothing."""
    await db.rows("add_warning", job_id, text)


async def answer_cancel(db: Database, job_id: UUID, attempt: int, answer: str) -> None:
    """Keeps what the provider said to a cancel; the first answer stays."""
    await db.rows("answer_cancel", job_id, attempt, answer)
