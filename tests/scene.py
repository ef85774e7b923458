"""Apps and jobs as the tests need them, made by the same statements as in service."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from in_step import follow

from service import ids
from service.database import Database, Row
from service.encryption import AtRest
from service.job import State
from service.store import access, jobs, subscriptions
from service.store.advance import Move, Outcome, advance, new_event_id
from service.store.jobs import NewJob

SECRETS = ("the newest secret of the tests", "an older secret of the tests")
WEBHOOK_SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
S = State
# How a job gets to each state, in the moves that Callboard itself makes.
WAYS: dict[State, list[tuple[State, str]]] = {
    S.QUEUED: [],
    S.SUBMITTING: [(S.SUBMITTING, "submit")],
    S.UNCONFIRMED: [(S.SUBMITTING, "submit"), (S.UNCONFIRMED, "submit")],
    S.SUBMITTED: [(S.SUBMITTING, "submit"), (S.SUBMITTED, "submit")],
    S.RUNNING: [(S.SUBMITTING, "submit"), (S.SUBMITTED, "submit"), (S.RUNNING, "poll")],
    S.COMPLETED: [(S.SUBMITTING, "submit"), (S.SUBMITTED, "submit"), (S.COMPLETED, "poll")],
    S.FAILED: [(S.SUBMITTING, "submit"), (S.SUBMITTED, "submit"), (S.FAILED, "poll")],
    S.CANCELED: [(S.SUBMITTING, "submit"), (S.SUBMITTED, "submit"), (S.CANCELED, "poll")],
    S.EXPIRED: [(S.SUBMITTING, "submit"), (S.SUBMITTED, "submit"), (S.EXPIRED, "sweep")],
}
TASKS = {S.SUBMITTING: "sending", S.UNCONFIRMED: "give_up", S.EXPIRED: "late"}
AT_ONCE = 200  # moves in a statement
OURS = {S.SUBMITTING, S.UNCONFIRMED, S.EXPIRED}


async def make_app(db: Database, *, name: str = "studio", key: str = "cb_" + "k" * 43) -> UUID:
    """An app with one key of all scopes."""
    return await access.create_key(
        db,
        app=name,
        app_id=ids.new_id(),
        app_secret=AtRest(SECRETS).encrypt(WEBHOOK_SECRET),
        key_id=ids.new_id(),
        key=key,
        scopes=["submit", "read", "operate"],
        all_apps=False,
    )


async def app_of(db: Database, job_id: UUID) -> UUID:
    """The app whose job it is."""
    found: UUID = (await job_row(db, job_id))["app_id"]
    return found


async def make_job(
    db: Database, app_id: UUID, state: State = S.QUEUED, *, provider_id: str = "req-1", **more: Any
) -> UUID:
    """A job of that state, with a history that leads there."""
    (job_id,) = await make_jobs(db, app_id, state, [{"provider_id": provider_id, **more}])
    return job_id


async def make_jobs(
    db: Database, app_id: UUID, state: State, made: Sequence[Mapping[str, Any]]
) -> list[UUID]:
    """Jobs of that state, one for each of `made`, which says what is special about it."""
    jobs_of = [_new(app_id, **one) for one in made]
    for job in jobs_of:
        assert await jobs.create(db, job)
    was = S.QUEUED
    for now, source in WAYS[state]:
        moves = [
            move_of(
                job.id,
                now=now,
                was=was if now in OURS else None,
                source=source,
                provider_id=one.get("provider_id", "req-1") if now is S.SUBMITTED else None,
                task=TASKS.get(now, "poll"),
                due_in=1500.0 if now not in (S.COMPLETED, S.FAILED, S.CANCELED) else None,
            )
            for job, one in zip(jobs_of, made, strict=True)
        ]
        for at in range(0, len(moves), AT_ONCE):
            outcomes = await advance(db, moves[at : at + AT_ONCE])
            assert all(outcome.moved for outcome in outcomes), (was, now)
        was = now
    return [job.id for job in jobs_of]


def _new(app_id: UUID, *, provider_id: str = "", **more: Any) -> NewJob:
    """A job before it is stored."""
    return NewJob(
        id=ids.new_id(),
        app_id=app_id,
        provider=more.pop("provider", "fal"),
        model=more.pop("model", "fal-ai/veo3/fast"),
        input=more.pop("input", {"prompt": "a paper boat"}),
        deadline_seconds=more.pop("deadline_seconds", 7200.0),
        metadata=more.pop("metadata", {}),
        **more,
    )


async def move(db: Database, job_id: UUID, *, now: State | None, **more: Any) -> Outcome:
    """One move of attempt 1, unless another is given."""
    (outcome,) = await advance(db, [move_of(job_id, now=now, **more)])
    return outcome


def move_of(job_id: UUID, *, now: State | None, **more: Any) -> Move:
    """It, not yet put to the database."""
    return Move(
        job_id=job_id,
        attempt=more.pop("attempt", 1),
        event_id=more.pop("event_id", None) or new_event_id(job_id),
        source=more.pop("source", "poll"),
        now=now,
        **more,
    )


async def posted_ago(db: Database, seconds: float, *job_ids: UUID) -> None:
    """Moves the POSTs of these jobs into the past."""
    await db.pool.execute(
        "update jobs set posted_at = now() - make_interval(secs => $1) where id = any ($2::uuid[])",
        *(seconds, job_ids),
    )
    await follow(db)
    await db.pool.execute(
        "update agenda set overdue_at = posted_at + make_interval(secs => deadline_seconds)"
        " where job_id = any ($1::uuid[]) and overdue_at is not null",
        job_ids,
    )


async def subscribe(db: Database, app_id: UUID, url: str, events: list[str]) -> UUID:
    """An enabled subscription signed with WEBHOOK_SECRET."""
    subscription_id = ids.new_id()
    at_rest = AtRest(SECRETS)
    await subscriptions.create(
        db,
        subscription_id=subscription_id,
        app_id=app_id,
        url=url,
        events=events,
        secret=at_rest.encrypt(WEBHOOK_SECRET),
        headers=at_rest.encrypt("{}"),
    )
    return subscription_id


async def job_row(db: Database, job_id: UUID) -> Row:
    """The job as it stands."""
    row = await jobs.get(db, job_id)
    assert row is not None
    return row


async def rows_of(db: Database, table: str, job_id: UUID, order: str = "1") -> list[Row]:
    """A job's rows in one table."""
    column = "id" if table == "jobs" else "job_id"
    found = await db.pool.fetch(
        f"select * from {table} where {column} = $1 order by {order}", job_id
    )
    return [dict(row) for row in found]
