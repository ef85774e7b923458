"""service/forget.py: after a week what moved nothing goes, in small steps, and nothing else."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from calling import SHARED, call, fal_provider, kept, receiver, sharing, token, told
from scene import make_app, make_job

from service import forget, ids
from service.database import Database
from service.forget import BATCH, KEPT_SECONDS, Forgetting
from service.job import State


@pytest.fixture
async def job(db: Database) -> UUID:
    return await make_job(db, await make_app(db), State.SUBMITTED)


async def age(db: Database, seconds: float) -> None:
    """Makes every call so much older: ids begin with their time."""
    for one in await kept(db):
        older = UUID(int=one.id.int - (int(seconds * 1000) << 80))
        await db.pool.execute(
            "update callbacks set id = $2, received_at = received_at - $3::interval where id = $1",
            *(one.id, older, timedelta(seconds=seconds)),
        )


async def of_every_kind(db: Database, job: UUID) -> None:
    door = receiver(db, sharing(fal_trust="token"))
    unknown = ids.new_id()
    for one in (
        *(call(token(job)), call(token(job)), call(token(job, lasts=-1.0))),
        *(call(token(job), b"<html>", {}), call(token(unknown))),
        call(SHARED, b'{"request_id": "req-77", "status": "OK"}', {}, shared=True),
    ):
        await door.receive(one)
    await db.pool.execute("insert into attempts (job_id, number) values ($1, 2)", job)
    await db.pool.execute("update jobs set attempt = 2 where id = $1", job)
    await door.receive(call(token(job)))


LASTING = [("accepted", None), ("duplicate", None), ("ignored", "old_attempt")]


async def test_only_what_moved_nothing_goes_and_only_after_a_week(db: Database, job: UUID) -> None:
    await of_every_kind(db, job)
    every = await told(db)
    assert len(every) == 7
    work = Forgetting(db, wake=asyncio.Event())
    await age(db, KEPT_SECONDS - 60)
    assert await work.step() is False
    assert await told(db) == every
    await age(db, 120)
    assert await work.step() is False
    assert sorted(map(str, await told(db))) == sorted(map(str, LASTING))


async def test_it_goes_in_small_steps_and_two_at_it_do_not_wait_for_each_other(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await db.pool.execute(
        "insert into callbacks (id, provider, received_at, verdict, address, headers, body)"
        " select (lpad(to_hex(n), 12, '0') || '7000' || '8000000000000000')::uuid, 'fal',"
        " now() - interval '8 days', 'refused', '', '{}', '' from generate_series(1, $1) as n",
        2 * BATCH + 10,
    )
    first, second = (Forgetting(db, wake=asyncio.Event()) for _ in range(2))
    assert await asyncio.gather(first.step(), second.step()) == [True, True]
    assert await first.step() is False
    assert await kept(db) == []


def test_a_week_is_what_the_bound_on_strangers_counts_with() -> None:
    assert forget.KEPT_SECONDS == 7 * 24 * 3600
    assert fal_provider().shared_tokens == ()
