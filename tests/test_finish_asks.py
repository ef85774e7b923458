"""service/store/agenda.py: polls that end together are written together, each for itself."""

import asyncio
from dataclasses import replace
from uuid import UUID

import pytest
from posting import answering, provider
from raw_server import serving
from scene import job_row, make_app, make_job, move, rows_of
from sweeping import one_round, sweeper_of
from waiting import until

from service.database import Database
from service.ids import new_id
from service.job import State
from service.pooled import Asker
from service.providers import Progress
from service.store import agenda
from service.store.agenda import Asked, Due

RUNNING = State.RUNNING
QUEUED = answering("202 Accepted", {"status": "IN_QUEUE", "queue_position": 4})


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


async def test_it_waits_for_nobody_and_says_whose_row_another_holds(db: Database) -> None:
    """A move locks the job and then its agenda: who holds agendas and waits would keep it waiting,
    and be kept waiting by it."""
    held, free = await leased(db, 2)
    job = held.attempt.job_id
    ends = [asked(held), asked(free)]
    async with db.pool.acquire() as mover, mover.transaction():
        await mover.execute("select from jobs where id = $1 for update", job)
        await mover.execute("update agenda set tries = 0 where job_id = $1", job)
        async with asyncio.timeout(10):
            assert await agenda.finish_asks(db, ends) == [False, True]
        assert [len(await rows_of(db, "polls", one.due.attempt.job_id)) for one in ends] == [1, 1]
    assert (await lease_of(db, job))[0]
    assert await agenda.finish_asks(db, ends[:1]) == [True]
    assert await lease_of(db, job) == (False, pytest.approx(5, abs=4))
    assert len(await rows_of(db, "polls", job)) == 1, "told twice, noted once"


async def test_what_is_gone_is_not_to_be_told_again(db: Database) -> None:
    (due,) = await leased(db, 1)
    await move(db, due.attempt.job_id, now=State.COMPLETED)
    assert await agenda.finish_asks(db, [asked(due)]) == [True]
    assert await rows_of(db, "agenda", due.attempt.job_id) == []


async def test_progress_of_an_attempt_that_is_no_longer_current_is_not_shown(db: Database) -> None:
    (due,) = await leased(db, 1)
    other = replace(due, attempt=replace(due.attempt, number=2))
    await agenda.finish_asks(db, [asked(other, progress=Progress(fraction=0.5))])
    (left,) = await rows_of(db, "agenda", due.attempt.job_id)
    assert (left["lease_until"], left["progress"]) == (None, None)


async def test_nor_is_that_of_one_that_has_expired(db: Database) -> None:
    await make_job(db, await make_app(db), State.EXPIRED)
    await db.pool.execute("update agenda set due_at = now()")
    turn = agenda.Turn(provider="fal", places=1)
    (late,) = await agenda.claim_asks(db, lease_seconds=60.0, turns=[turn], tasks=agenda.ASKS)
    await agenda.finish_asks(db, [asked(late, progress=Progress(fraction=0.5))])
    assert (await rows_of(db, "agenda", late.attempt.job_id))[0]["progress"] is None


async def test_a_sweeper_tells_it_until_it_is_taken(db: Database) -> None:
    """Its poll ends while somebody holds the job."""
    job = await make_job(db, await make_app(db), State.SUBMITTED)
    await db.pool.execute("update agenda set due_at = now()")

    async def was_told() -> bool:
        return bool(await rows_of(db, "polls", job))

    async with db.pool.acquire() as mover:
        moving = mover.transaction()

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await moving.start()
            await mover.execute("select from agenda where job_id = $1 for update", job)
            await QUEUED(reader, writer)

        async with serving(talk) as server:
            asker = Asker()
            sweeper = sweeper_of(db, {"fal": provider(server.origin)}, asker)
            asks = asyncio.create_task(one_round(sweeper))
            await until(was_told)
            await moving.rollback()
            await asks
            await asker.aclose()
    assert not (await lease_of(db, job))[0]
    assert len(await rows_of(db, "polls", job)) == 1
