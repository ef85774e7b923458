"""Jobs that have lived: sent with a callback registered, ended and called about at given times."""

from typing import Any
from uuid import UUID

from in_step import follow
from scene import S, make_job, move

from service import ids
from service.database import Database
from service.job import Charged, ErrorCode, JobError, State
from service.store.advance import InboundCall, Outcome

UNCONFIRMED = JobError(
    code=ErrorCode.SUBMISSION_UNCONFIRMED,
    message="sent, and neither a reply nor a callback ever came",
    retryable=False,
    charged=Charged.UNKNOWN,
)


async def call(
    db: Database,
    job: UUID | None,
    now: State | None = None,
    *,
    provider: str = "fal",
    verdict: str | None = None,
    reason: str | None = None,
    **more: Any,
) -> Outcome:
    """A provider's call about a job, or about none; where `verdict` is set, that is what became of
    it before the job was looked at."""
    kept = InboundCall(
        id=ids.new_id(ids.bucket_of(job) if job else None),
        provider=provider,
        address="192.0.2.7",
        headers="{}",
        body=b"{}",
        verdict=verdict,
        reason=reason,
    )
    made = {"attempt": None} if job is None else {}
    event = kept.id if job is None else None
    return await move(
        db, job, now=now, source="callback", call=kept, event_id=event, **made, **more
    )


async def hint(db: Database, job: UUID, provider: str = "relay") -> Outcome:
    """A call that says no more than that there is news."""
    return await call(db, job, S.SUBMITTED, provider=provider, ask=True, task="poll", due_in=0.0)


async def sent(db: Database, app: UUID, state: State = S.SUBMITTED, **more: Any) -> UUID:
    """A job that was sent with a callback registered."""
    job = await make_job(db, app, state, **more)
    await move(db, job, now=None, token_key="newest")
    return job


async def asked(db: Database, job: UUID, said: State | None, *, at: float, took: float = 0) -> None:
    """A poll that was answered `at` seconds from now (negative: ago), `took` seconds after it was
    begun."""
    await db.pool.execute(
        "insert into polls (job_id, id, attempt, at, duration_ms, said)"
        " values ($1, $2, 1, now() + make_interval(secs => $3), $4, $5)",
        *(job, ids.new_id(ids.bucket_of(job)), at, round(took * 1000), said),
    )


async def happened(
    db: Database,
    job: UUID,
    *,
    posted: float | None = None,
    ended: float | None = None,
    called: tuple[float, ...] = (),
) -> UUID:
    """Moves what the job has been through to these times, in seconds from now (negative: ago): its
    POST, its end, and its calls in the order in which they came."""
    await db.pool.execute(
        """
        with moved as (
            update jobs set posted_at = coalesce(now() + make_interval(secs => $2), posted_at),
                finished_at = coalesce(now() + make_interval(secs => $3), finished_at)
            where id = $1
        ),
        told as (
            update attempts set outcome_at = now() + make_interval(secs => $3)
            where job_id = $1 and outcome_at is not null and $3 is not null
        )
        update callbacks set received_at = now() + make_interval(secs => times.at)
        from (select id, row_number() over (order by id) as n from callbacks
              where job_id = $1) as numbered
        join unnest($4::double precision[]) with ordinality as times (at, n) using (n)
        where callbacks.id = numbered.id
        """,
        *(job, posted, ended, list(called)),
    )
    await follow(db)
    return job
