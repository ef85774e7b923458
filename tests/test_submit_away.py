"""service/submit.py while the database is away, or its answers are lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg
import pytest
from lossy import lossy
from posting import ACCEPTED, agenda_of, one_round, provider, submitter
from raw_server import serving
from scene import job_row, make_app, make_job, rows_of

from service.database import Database


@pytest.fixture
async def job(db: Database) -> UUID:
    return await make_job(db, await make_app(db))


async def test_a_lost_answer_to_the_claim_is_read_back_and_the_job_is_sent_once(
    db: Database, job: UUID, dsn: str
) -> None:
    async with lossy(dsn) as way, serving(ACCEPTED) as server:
        far = await Database.connect(way.dsn, size=2)
        way.lose("-- The one statement that moves jobs.")
        await one_round(submitter(far, provider(server.origin)))
        await far.close()
    assert way.lost == 1
    assert len(server.requests) == 1
    assert (await job_row(db, job))["state"] == "submitted"
    assert [event["now"] for event in await rows_of(db, "job_events", job, "version")] == [
        "queued",
        "submitting",
        "submitted",
    ]


async def test_a_claim_whose_answer_came_too_late_is_not_sent(db: Database, job: UUID) -> None:
    async with serving(ACCEPTED) as server:
        slow = submitter(db, provider(server.origin), lease=0.0)  # nothing starts in time
        await slow.step()
        await slow.finish()
    assert server.requests == []
    row = await job_row(db, job)
    assert (row["state"], row["version"]) == ("queued", 3)
    assert await agenda_of(db, job) == ("submit", pytest.approx(0, abs=5))


async def test_a_reply_in_hand_outlives_the_database(db: Database, job: UUID, dsn: str) -> None:
    """The database goes away between the POST and its reply, and comes back later."""
    name = dsn.partition("?")[0].rpartition("/")[2]
    away = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await away.wait()
        await ACCEPTED(reader, writer)

    async with serving(answer) as server, own_connection(dsn) as outside:
        own = await Database.connect(dsn, size=2)
        submits = submitter(own, provider(server.origin))
        await submits.step()
        finishing = asyncio.create_task(submits.finish())
        await server.arrived.wait()
        await outside.execute(f"alter database {name} allow_connections false")
        await outside.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name
        )
        try:
            away.set()
            done, _ = await asyncio.wait({finishing}, timeout=0.5)
            assert not done, "there is nowhere to store it yet"
        finally:
            await outside.execute(f"alter database {name} allow_connections true")
        await asyncio.wait_for(finishing, 30)
        await own.close()
    assert len(server.requests) == 1
    assert (await job_row(db, job))["state"] == "submitted"


@asynccontextmanager
async def own_connection(dsn: str) -> AsyncIterator[object]:
    """A connection to another database of the same server."""
    before, mark, query = dsn.partition("?")
    url = f"{before.rpartition('/')[0]}/template1{mark}{query}"
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()
