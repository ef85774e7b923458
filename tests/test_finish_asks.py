"""service/store/agenda.py: polls that end together are written together, each for itself."""

import asyncio
from uuid import UUID

import pytest
from scene import job_row, make_app, make_job, rows_of

from service.database import Database
from service.ids import new_id
from service.job import State
from service.providers import Progress
from service.store import agenda
from service.store.agenda import Asked, Due

RUNNING = State.RUNNING
_WAITS = "select exists (select from pg_locks where not granted)"


async def leased(db: Database, count: int) -> list[Due]:
    """So many jobs under our lease, each about to be asked after."""
    app = await make_app(db)
    for number in range(count):
        await make_job(db, app, RUNNING, provider_id=f"req-{number}")
    await db.pool.execute("update agenda set due_at = now()")
    turn = agenda.Turn(provider="fal", places=count)
    return await agenda.claim_asks(db, lease_seconds=60.0, turns=[turn], tasks=agenda.ASKS)


def asked(due: Due, **more: float | Progress | None) -> Asked:
    return Asked(
        **{"again_in": 5.0, **more}, due=due, poll_id=new_id(), duration_ms=7, said=RUNNING
    )


async def lease_of(db: Database, job: UUID) -> tuple[bool, float]:
    """Whether it is leased, and how many seconds from now it is due."""
    return tuple(
        await db.pool.fetchrow(
            "select lease_until is not null, extract(epoch from due_at - now())::float8"
            " from agenda where job_id = $1",
            job,
        )
    )


async def test_each_is_dated_dropped_and_noted_for_itself(db: Database) -> None:
    soon, later, never, lost = await leased(db, 4)
    await db.pool.execute(
        "update agenda set lease = lease + 1 where job_id = $1", lost.attempt.job_id
    )
    near = Progress(queue_position=3)
    ends = [asked(soon), asked(later, again_in=500.0, progress=near), asked(never, again_in=None)]
    await agenda.finish_asks(db, [*ends, asked(lost)])
    assert await lease_of(db, soon.attempt.job_id) == (False, pytest.approx(5, abs=4))
    assert await lease_of(db, later.attempt.job_id) == (False, pytest.approx(500, abs=4))
    assert await rows_of(db, "agenda", never.attempt.job_id) == []
    assert (await lease_of(db, lost.attempt.job_id))[0], "somebody else has it"
    for one in (soon, later, never, lost):
        (poll,) = await rows_of(db, "polls", one.attempt.job_id)
        assert (poll["said"], poll["duration_ms"]) == ("running", 7)
    assert '"queue_position":3' in (await job_row(db, later.attempt.job_id))["progress"]
    assert (await job_row(db, soon.attempt.job_id))["progress"] is None


async def test_told_twice_it_is_noted_once(db: Database) -> None:
    (due,) = await leased(db, 1)
    same = asked(due)
    await agenda.finish_asks(db, [same])
    await agenda.finish_asks(db, [same])
    assert len(await rows_of(db, "polls", due.attempt.job_id)) == 1


async def test_it_waits_for_whoever_moves_the_job_before_it_holds_anything(db: Database) -> None:
    """A move locks the job and then its agenda: the other way round they would wait for each
    other for ever."""
    (due,) = await leased(db, 1)
    job = due.attempt.job_id
    async with db.pool.acquire() as mover, mover.transaction():
        await mover.execute("select from jobs where id = $1 for update", job)
        ends = asyncio.create_task(agenda.finish_asks(db, [asked(due)]))
        async with asyncio.timeout(10):
            while not await mover.fetchval(_WAITS):  # noqa: ASYNC110  another session waits
                await asyncio.sleep(0.01)
        await mover.execute("set local lock_timeout = '2s'")
        await mover.execute("update agenda set tries = 0 where job_id = $1", job)
    await ends
    assert not (await lease_of(db, job))[0]
