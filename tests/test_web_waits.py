"""Somebody who waits for a job has its provider asked more often meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import app_client
import httpx
import pytest
from app_client import JOB, KEY
from posting import answering, provider
from raw_server import serving
from scene import make_app, make_job, move
from sweeping import one_round, sweeper_of
from waiting import until

from service import ids
from service.database import Database
from service.job import State
from service.pooled import Asker

RUNNING = answering("202 Accepted", {"status": "IN_PROGRESS", "logs": None})


@pytest.fixture
async def studio(db: Database) -> UUID:
    return await make_app(db, key=KEY)


@pytest.fixture
async def web(db: Database, studio: UUID) -> AsyncIterator[httpx.AsyncClient]:
    async with app_client.client(app_client.app(db)) as client:
        yield client


async def soon(db: Database) -> bool:
    """Whether somebody waits, and the next poll is due within three seconds."""
    return bool(
        await db.pool.fetchval(
            "select watched_until > now() and due_at <= now() + interval '3 s' from agenda"
        )
    )


async def test_a_submitted_job_is_asked_after_every_three_seconds_while_somebody_waits(
    web: httpx.AsyncClient, db: Database, studio: UUID
) -> None:
    job = await make_job(db, studio, State.SUBMITTED)
    at, asker = f"/v1/jobs/{ids.show('job', job)}", Asker()
    waits = asyncio.create_task(web.get(at, params={"wait": "50"}))
    await until(lambda: soon(db))
    async with serving(RUNNING) as server:
        one = {"fal": provider(server.origin)}
        for _ in range(3):  # the first moves it to `running`
            await db.pool.execute("update agenda set due_at = now()")
            await one_round(sweeper_of(db, one, asker, pause=1000.0))
            await until(lambda: soon(db))
    await asker.aclose()
    assert len(server.requests) == 3
    await move(db, job, now=State.COMPLETED)
    assert (await waits).json()["state"] == "completed"


async def test_who_posts_a_job_and_waits_has_it_asked_after_as_soon_as_it_is_submitted(
    web: httpx.AsyncClient, db: Database
) -> None:
    waits = asyncio.create_task(web.post("/v1/jobs", json=JOB, headers={"Prefer": "wait=50"}))
    await until(lambda: stored(db))
    job = await db.pool.fetchval("select id from jobs")
    await move(db, job, now=State.SUBMITTING, was=State.QUEUED, task="sending", due_in=60.0)
    await move(db, job, now=State.SUBMITTED, provider_id="r", task="poll", due_in=1500.0)
    await until(lambda: soon(db))
    await move(db, job, now=State.FAILED)
    assert (await waits).json()["state"] == "failed"


async def stored(db: Database) -> bool:
    return bool(await db.pool.fetchval("select count(*) from agenda"))


async def test_who_does_not_wait_hastens_nothing(
    web: httpx.AsyncClient, db: Database, studio: UUID
) -> None:
    job = await make_job(db, studio, State.SUBMITTED)
    before = await db.pool.fetchrow("select * from agenda")
    await web.get(f"/v1/jobs/{ids.show('job', job)}")
    assert await db.pool.fetchrow("select * from agenda") == before


async def test_once_nobody_waits_any_more_the_pauses_are_as_before(
    db: Database, studio: UUID
) -> None:
    await make_job(db, studio, State.SUBMITTED)
    await db.pool.execute("update agenda set due_at = now(), watched_until = now()")
    asker = Asker()
    async with serving(RUNNING) as server:
        one = {"fal": provider(server.origin)}
        for _ in range(2):
            await db.pool.execute("update agenda set due_at = now()")
            await one_round(sweeper_of(db, one, asker, pause=1000.0))
    await asker.aclose()
    assert not await soon(db)
