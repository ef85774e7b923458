"""service/health.py: after a pause one job is tried, by one process, and what follows from it."""

import asyncio
import logging
from uuid import UUID

import pytest
from in_step import follow
from pausing import (
    NO_FREE_TIER,
    OUT_OF_BALANCE,
    jobs,
    pause_ends,
    pauses_told,
    prism_at,
    room_of,
    sent,
)
from posting import ACCEPTED, answering, hang_up, one_round, sending, submitter
from raw_server import serving
from scene import job_row, make_app
from waiting import until

from service.database import Database
from service.store import health


@pytest.fixture
async def studio(db: Database) -> UUID:
    return await make_app(db)


async def one_waits(db: Database) -> bool:
    """Whether a claim waits for what another does."""
    waits: bool = await db.pool.fetchval(
        "select exists (select from pg_stat_activity"
        " where wait_event_type = 'Lock' and query like '%turn to be submitted%')"
    )
    return waits


async def test_after_the_pause_one_job_is_tried_and_each_failure_doubles_the_next_pause(
    db: Database, studio: UUID, caplog: pytest.LogCaptureFixture
) -> None:
    await jobs(db, studio, 5)
    await sent(db, hang_up)
    await jobs(db, studio, 20)
    for _ in range(6):
        await pause_ends(db)
        assert await sent(db, hang_up, rounds=2) == 1
    assert pauses_told(caplog) == [30, 60, 120, 240, 480, 600, 600]


async def test_another_reason_begins_with_its_own_first_pause(
    db: Database, studio: UUID, caplog: pytest.LogCaptureFixture
) -> None:
    await jobs(db, studio, 8)
    for talk in (hang_up, hang_up, OUT_OF_BALANCE, hang_up):
        await sent(db, talk)
        await pause_ends(db)
        await jobs(db, studio, 1)
    assert pauses_told(caplog) == [30, 60, 60, 30]


async def test_a_trial_that_succeeds_lets_all_others_go(
    db: Database, studio: UUID, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await jobs(db, studio, 5)
    await sent(db, hang_up)
    await pause_ends(db)
    waiting = await jobs(db, studio, 4)
    async with sending(db, ACCEPTED) as (submits, server):
        await one_round(submits)
        assert len(server.requests) == 1
        assert "provider fal takes jobs again" in caplog.text
        await one_round(submits)
    assert len(server.requests) == 4
    assert {(await job_row(db, job))["state"] for job in waiting} == {"submitted"}
    room = await room_of(db)
    assert (room.pauses, room.failures, room.code, room.paused_at) == (0, 0, None, None)


async def test_of_two_processes_one_tries(db: Database, studio: UUID) -> None:
    """Both claim at the same moment: the second waits for what the first has done."""
    await health.pause(db, "fal", seconds=0, longest=0, code="x", message="y", trial=False)
    await jobs(db, studio, 4)
    values = (60.0, ["fal"], [32], [None])
    async with db.pool.acquire() as first:
        undecided = first.transaction()
        await undecided.start()
        claimed = await first.fetch(db.queries["claim_submits"], *values)
        second = asyncio.create_task(db.rows("claim_submits", *values))
        await until(lambda: one_waits(db))
        await undecided.commit()
        assert [row["trial"] for row in claimed] == [True]
        assert await second == []
    assert await db.rows("claim_submits", *values) == [], "nor one that comes later"
    await db.pool.execute("update provider_health set tried_until = now()")
    assert len(await db.rows("claim_submits", *values)) == 1, "its process died: another tries"


async def test_a_trial_that_has_nothing_to_send_leaves_it_to_the_next(
    db: Database, studio: UUID
) -> None:
    first, second = await jobs(db, studio, 2)
    await db.pool.execute("update jobs set cancel_requested_at = now() where id = $1", first)
    await follow(db)
    await health.pause(db, "fal", seconds=0, longest=0, code="x", message="y", trial=False)
    assert await sent(db, ACCEPTED, rounds=2) == 1
    assert (await job_row(db, first))["state"] == "canceled"
    assert (await job_row(db, second))["state"] == "submitted"


async def test_what_was_sent_before_the_pause_neither_lengthens_nor_ends_it(
    db: Database, studio: UUID, caplog: pytest.LogCaptureFixture
) -> None:
    fails = asyncio.Event()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await fails.wait()
        raise ConnectionError

    await jobs(db, studio, 12)
    async with sending(db, late) as (submits, server):
        await submits.step()
        fails.set()
        await submits.finish()
    assert len(server.requests) == 12
    room = await room_of(db)
    assert (room.failures, room.pauses) == (12, 1)
    assert set(pauses_told(caplog)) == {30}
    assert not await health.restore(db, "fal", trial=False)
    await pause_ends(db)
    assert not await health.fail_submit(db, "fal", most=5, trial=False)
    assert not await health.restore(db, "fal", trial=False)
    assert (await room_of(db)).pauses == 1
    assert await health.restore(db, "fal", trial=True)


async def test_a_new_pause_outlives_a_trial_that_succeeds_meanwhile(db: Database) -> None:
    told = {"code": "rate_limited", "message": "slow", "trial": False}
    await health.pause(db, "fal", seconds=40, longest=40, **told)
    assert not await health.restore(db, "fal", trial=True)
    assert await health.pause(db, "fal", seconds=5, longest=5, **told) is None
    assert (await room_of(db)).paused


async def test_only_what_the_trial_meets_doubles_a_pause(db: Database) -> None:
    told = {"seconds": 60, "longest": 1800, "code": "provider_auth", "message": "bad key"}
    for trial, seconds in ((False, 60), (False, 60), (True, 120), (True, 240)):
        assert await health.pause(db, "fal", trial=trial, **told) == seconds
        await pause_ends(db)


async def test_a_start_tries_every_provider_at_once_with_the_jobs_that_wait_for_it(
    db: Database, studio: UUID
) -> None:
    (refused,) = await jobs(db, studio, 1, provider="prism")
    accepted = answering("200 OK", {"data": {"generations": [{"id": "g", "status": "queued"}]}})
    async with serving(NO_FREE_TIER) as server:
        await one_round(submitter(db, prism_at(server.origin)))
    await health.try_all(db)
    async with serving(accepted) as server:
        await one_round(submitter(db, prism_at(server.origin)))
    assert len(server.requests) == 1
    assert (await job_row(db, refused))["state"] == "submitted"
    assert (await room_of(db, "prism")).pauses == 0
