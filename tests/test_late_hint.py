"""A hint about a job that was given up without an id to ask by: from then on it is asked after."""

import time
from uuid import UUID

import pytest
import signing
from calling import call, receiver, token
from scene import make_app, make_job, move, rows_of

from service.database import Database
from service.job import State


@pytest.fixture
async def given_up(db: Database) -> UUID:
    """Its POST's outcome was never known, and nobody called."""
    job = await make_job(db, await make_app(db), State.UNCONFIRMED)
    expired = await move(db, job, was=State.UNCONFIRMED, now=State.EXPIRED, source="sweep")
    assert expired.moved
    assert not await rows_of(db, "agenda", job)
    return job


async def test_a_hint_has_a_job_asked_after_that_had_no_id_until_then(
    db: Database, given_up: UUID
) -> None:
    body = signing.success()
    stale = signing.headers(body, at=int(time.time()) - 3600)
    for _ in range(2):
        answer = await receiver(db).receive(call(token(given_up), body, stale))
        assert (answer.status, answer.word) == (200, "accepted")
    (attempt,) = await rows_of(db, "attempts", given_up)
    assert attempt["provider_id"] == "req-1"
    (left,) = await rows_of(db, "agenda", given_up)
    assert (left["task"], left["provider"], left["lease_until"]) == ("late", "fal", None)
    assert left["due_at"] <= await db.pool.fetchval("select now()")


async def test_a_hint_without_an_id_leaves_nothing_that_could_be_asked(
    db: Database, given_up: UUID
) -> None:
    hinted = await move(db, given_up, now=State.SUBMITTED, ask=True, task="poll", due_in=0.0)
    assert hinted.state is State.EXPIRED
    assert not await rows_of(db, "agenda", given_up)
