"""job.stuck: told once per attempt that a job is overdue, where it stands."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from in_step import follow
from posting import agenda_of, answering, provider
from raw_server import Talk, serving
from scene import job_row, make_app, make_job, move, rows_of, subscribe
from sweeping import one_round, sweeper_of

from service import document, jsontext
from service.commands import timeline
from service.database import Database
from service.job import Charged, ErrorCode, JobError, State
from service.pooled import Asker
from service.store import deliveries, events, jobs

QUEUED = answering("202 Accepted", {"status": "IN_QUEUE", "queue_position": 4})
RUNNING = answering("202 Accepted", {"status": "IN_PROGRESS", "logs": None})
DAY = 86400.0


@pytest.fixture
async def asker() -> AsyncIterator[Asker]:
    made = Asker()
    yield made
    await made.aclose()


@pytest.fixture
async def studio(db: Database) -> UUID:
    """An app with two subscriptions: to stuck jobs, and to the ends."""
    made = await make_app(db)
    await subscribe(db, made, "https://app.example/stuck", ["job.stuck"])
    await subscribe(db, made, "https://app.example/ends", ["job.completed", "job.expired"])
    return made


async def posted(db: Database, job: UUID, ago: float) -> None:
    """Moves its POST into the past, and makes it due."""
    await db.pool.execute(
        "update jobs set posted_at = now() - make_interval(secs => $2) where id = $1", job, ago
    )
    await db.pool.execute("update agenda set due_at = now(), lease_until = null")
    await follow(db)


async def looked(db: Database, asker: Asker, talk: Talk = QUEUED) -> None:
    """One look of a sweeper that has just begun, at a provider that answers so."""
    async with serving(talk) as server:
        await one_round(sweeper_of(db, {"fal": provider(server.origin)}, asker))


async def told(db: Database) -> list[tuple[str, dict[str, Any]]]:
    """To which address each event goes, and its body; each is sent once."""
    claimed = await deliveries.claim(db, limit=100, lease_seconds=30.0)
    return [
        (one.url or "", jsontext.loads(jsontext.joined(document.of_event(one.event))))
        for one in claimed
    ]


async def test_an_overdue_job_is_told_once_where_it_stands(
    db: Database, studio: UUID, asker: Asker
) -> None:
    job = await make_job(db, studio, State.SUBMITTED, deadline_seconds=60.0)
    await posted(db, job, 61)
    before = await job_row(db, job)
    await looked(db, asker)
    row = await job_row(db, job)
    assert (row["state"], row["stuck"], row["version"]) == (
        "submitted",
        True,
        before["version"] + 1,
    )
    ((url, event),) = await told(db)
    assert (url, event["type"]) == ("https://app.example/stuck", "job.stuck")
    shown = event["data"]["job"]
    assert (shown["state"], shown["stuck"], shown["version"]) == (
        "submitted",
        True,
        row["version"],
    )
    assert shown["provider_id"] == "req-1"
    assert (shown["finished_at"], shown["learnt_by"]) == (None, None)
    await posted(db, job, 70)
    await looked(db, asker)
    assert await told(db) == []
    assert (await job_row(db, job))["version"] == row["version"]


async def test_it_is_in_the_feed_and_in_the_timeline_and_the_history_is_legal(
    db: Database, studio: UUID, asker: Asker
) -> None:
    job = await make_job(db, studio, State.SUBMITTED, deadline_seconds=60.0)
    await posted(db, job, 61)
    await looked(db, asker, RUNNING)
    history = await rows_of(db, "job_events", job, "version")
    assert [(one["was"], one["now"], one["source"]) for one in history][-2:] == [
        ("submitted", "running", "poll"),
        (None, "running", "sweep"),
    ]
    await events.place(db)
    placed = await db.pool.fetch("select version from feed where job_id = $1 order by place", job)
    assert [one["version"] for one in placed] == [3, 4, 5]
    lines = [timeline.line(one | {"at": str(one["at"])}) for one in await jobs.timeline(db, job)]
    assert sum("overdue, and still running" in line for line in lines) == 1
    assert sum("may leave" in line for line in lines) == 1
    assert (await move(db, job, now=State.COMPLETED)).moved


async def test_a_job_that_is_not_overdue_is_not_told(
    db: Database, studio: UUID, asker: Asker
) -> None:
    job = await make_job(db, studio, State.SUBMITTED, deadline_seconds=600.0)
    await posted(db, job, 590)
    await looked(db, asker)
    assert await told(db) == []
    assert not (await job_row(db, job))["stuck"]


async def test_an_unconfirmed_job_is_told_at_its_deadline_and_given_up_later(
    db: Database, studio: UUID, asker: Asker
) -> None:
    job = await make_job(db, studio, State.UNCONFIRMED, deadline_seconds=600.0)
    doubt = JobError(
        code=ErrorCode.SUBMISSION_UNCONFIRMED,
        message="who knows",
        retryable=False,
        charged=Charged.UNKNOWN,
    )
    await db.pool.execute("update jobs set error = $1", json.dumps(doubt.as_dict()))
    await posted(db, job, 500)
    await looked(db, asker)
    assert await told(db) == []
    assert await agenda_of(db, job) == ("give_up", pytest.approx(100, abs=10))
    await posted(db, job, 601)
    await looked(db, asker)
    ((_, event),) = await told(db)
    shown = event["data"]["job"]
    assert (event["type"], shown["state"], shown["stuck"]) == ("job.stuck", "unconfirmed", True)
    assert shown["error"]["code"] == "submission_unconfirmed"
    assert shown["provider_id"] is None
    assert await agenda_of(db, job) == ("give_up", pytest.approx(10800 - 601, abs=10))
    await posted(db, job, 10801)
    await looked(db, asker)
    ((_, event),) = await told(db)
    assert (event["type"], event["data"]["job"]["stuck"]) == ("job.expired", False)


async def test_another_attempt_is_told_anew(db: Database, studio: UUID, asker: Asker) -> None:
    job = await make_job(db, studio, State.SUBMITTED, deadline_seconds=60.0)
    await posted(db, job, 61)
    await looked(db, asker)
    begins = {"now": State.QUEUED, "was": State.SUBMITTED, "to_attempt": 2, "task": "submit"}
    sends = {"now": State.SUBMITTING, "was": State.QUEUED, "attempt": 2, "task": "sending"}
    accepted = {"now": State.SUBMITTED, "provider_id": "req-2", "attempt": 2, "task": "poll"}
    for step in (begins, sends, accepted):
        assert (await move(db, job, source="submit", due_in=0.0, **step)).moved
    await posted(db, job, 50)
    await looked(db, asker)
    assert [event["data"]["job"]["attempt"] for _, event in await told(db)] == [1]
    await posted(db, job, 61)
    await looked(db, asker)
    assert [event["data"]["job"]["attempt"] for _, event in await told(db)] == [2]


async def test_a_job_that_was_told_or_has_moved_on_is_not_told(db: Database, studio: UUID) -> None:
    job = await make_job(db, studio, State.RUNNING)
    version = (await job_row(db, job))["version"]
    assert await events.tell_stuck(db, job, version - 1) == []
    (outcome,) = await events.tell_stuck(db, job, version)
    assert await events.tell_stuck(db, job, outcome.version or 0) == [], "told before"
    job = await make_job(db, studio, State.RUNNING)
    await move(db, job, now=State.COMPLETED)
    assert await events.tell_stuck(db, job, version) == []
    assert await events.tell_stuck(db, job, version + 1) == []
    sending = await make_job(db, studio, State.SUBMITTING)
    assert await events.tell_stuck(db, sending, 2) == []


async def test_without_a_key_an_overdue_job_is_told_too(
    db: Database, studio: UUID, asker: Asker
) -> None:
    job = await make_job(db, studio, State.SUBMITTED, provider="gone", deadline_seconds=60.0)
    await posted(db, job, 61)
    await one_round(sweeper_of(db, {}, asker))
    assert [event["type"] for _, event in await told(db)] == ["job.stuck"]


async def test_a_job_whose_id_nobody_told_waits_as_long_as_any_that_works(
    db: Database, studio: UUID, asker: Asker
) -> None:
    job = await make_job(db, studio, State.SUBMITTED, deadline_seconds=60.0)
    await db.pool.execute("update attempts set provider_id = null")
    await posted(db, job, 10900)
    await looked(db, asker)
    assert [event["type"] for _, event in await told(db)] == ["job.stuck"]
    assert await agenda_of(db, job) == ("poll", pytest.approx(DAY - 10900, abs=10))
    await posted(db, job, DAY + 1)
    await looked(db, asker)
    row = await job_row(db, job)
    assert (row["state"], json.loads(row["error"])["code"]) == ("expired", "expired")
