"""How often the sweeper looks: at once where more may be due than there was room for."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from posting import answering, provider, provider_at
from raw_server import serving
from scene import make_app, make_job
from sweeping import one_round, sweeper_of
from waiting import until

from service import sweep
from service.database import Database
from service.health import Health
from service.job import State
from service.pooled import Asker
from service.store import agenda
from service.store.agenda import Due
from service.turns import Limits, Turns

RUNNING = answering("202 Accepted", {"status": "IN_PROGRESS", "logs": None})


async def test_whoever_found_all_that_was_due_is_held_back_and_nobody_else(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "APART_SECONDS", 3600.0)
    studio = await make_app(db)
    jobs: list[UUID] = [
        await make_job(db, studio, State.SUBMITTED, provider_id=f"req-{number}")
        for number in range(3)  # one more than there are places for
    ]
    await db.pool.execute("update agenda set due_at = now(), lease_until = null")
    asker = Asker()
    async with serving(RUNNING) as server:
        sweeper = sweeper_of(db, {"fal": provider(server.origin)}, asker, limits=Limits(each=2))
        await one_round(sweeper)
        await asyncio.wait_for(one_round(sweeper), 10)
        assert await db.pool.fetchval("select count(*) from polls") == len(jobs)
        third = asyncio.create_task(sweeper.step())
        assert await asyncio.wait([third], timeout=0.2) == (set(), {third})
        third.cancel()
    await asker.aclose()


async def test_one_that_hangs_has_nobody_looked_at_more_often(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "APART_SECONDS", 3600.0)
    studio = await make_app(db)
    for name, number in (("genviral", 1), ("fal", 1), ("fal", 2), ("fal", 3)):
        await make_job(db, studio, State.SUBMITTED, provider=name, provider_id=f"req-{number}")
    await db.pool.execute("update agenda set due_at = now(), lease_until = null")
    answers = asyncio.Event()

    async def hanging(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answers.wait()
        await RUNNING(reader, writer)

    async def polled() -> bool:
        return bool(await db.pool.fetchval("select count(*) from polls") == 1)

    asker = Asker()
    async with serving(hanging) as slow, serving(RUNNING) as quick:
        at = {"fal": provider(slow.origin), "genviral": provider_at("genviral", quick.origin)}
        sweeper = sweeper_of(db, at, asker, limits=Limits(each=2))
        await sweeper.step()
        await until(polled)
        second = asyncio.create_task(sweeper.step())
        assert await asyncio.wait([second], timeout=0.2) == (set(), {second})
        answers.set()  # there are places again, and a third is due
        await asyncio.wait_for(second, 10)
        await sweeper.turns.drain()
    assert await db.pool.fetchval("select count(*) from polls") == 4
    await asker.aclose()


async def test_places_that_are_free_again_by_the_time_it_has_looked_are_given_at_once(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = await make_app(db)
    for number in range(3):
        await make_job(db, studio, State.SUBMITTED, provider_id=f"req-{number}")
    await db.pool.execute("update agenda set due_at = now() + interval '1 hour'")
    wake, answers = asyncio.Event(), asyncio.Event()
    turns = Turns(db, Health(db), Limits(each=2), lease=60.0, wake=wake)
    claim_asks = agenda.claim_asks

    async def settle(due: Due) -> None:
        await answers.wait()

    async def slowly(*given: Any, **more: Any) -> list[Due]:
        claimed = await claim_asks(*given, **more)
        answers.set()
        await turns.drain()
        return claimed

    one = "select job_id from agenda where lease_until is null limit 1"
    await db.pool.execute(f"update agenda set due_at = now() where job_id = ({one})")
    await turns.start(settle)
    assert not turns.pressing, "one of two places was taken"
    await db.pool.execute("update agenda set due_at = now() where lease_until is null")
    monkeypatch.setattr(agenda, "claim_asks", slowly)
    await turns.start(settle)
    assert turns.pressing, "the other was taken too, and the third is due"
    await turns.drain()
