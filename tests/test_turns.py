"""service/turns.py: no provider takes places from another, and a slow one is asked slowly."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
from pausing import room_of
from posting import ACCEPTED, answering, one_round, provider, submitter
from pydantic import SecretStr
from raw_server import Talk, hangs, serving
from scene import job_row, make_app, make_job, move, rows_of
from sweeping import one_round as one_look
from sweeping import sweeper_of
from waiting import until

from service.database import Database
from service.health import slow
from service.inquiry import request_seconds
from service.job import State
from service.loop import every
from service.pooled import Asker
from service.providers import Provider, relay
from service.store import health
from service.store.agenda import Due
from service.sweep import Sweeper
from service.turns import Limits

RUNNING = answering("202 Accepted", {"status": "IN_PROGRESS", "logs": None})
AT_WORK = answering("200 OK", {"status": "IN_PROGRESS", "progress": "10%"})
AWAY = answering("503 Away", {})
DENIED = answering("401 Who", {"detail": "bad key"})


@pytest.fixture
async def studio(db: Database) -> UUID:
    return await make_app(db)


@pytest.fixture
async def asker() -> AsyncIterator[Asker]:
    made = Asker()
    yield made
    await made.aclose()


async def due_jobs(
    db: Database, studio: UUID, count: int, name: str = "fal", state: State = State.SUBMITTED
) -> list[UUID]:
    made = [
        await make_job(db, studio, state, provider=name, provider_id=f"{name}-{n}")
        for n in range(count)
    ]
    await all_due(db)
    return made


async def all_due(db: Database) -> None:
    await db.pool.execute(
        "update agenda set due_at = now() - interval '1 minute', lease_until = null"
    )


async def asked(db: Database, name: str) -> int:
    count: int = await db.pool.fetchval(
        "select count(*) from polls join jobs on jobs.id = polls.job_id where provider = $1", name
    )
    return count


def relay_at(url: str) -> Provider:
    built = relay.build(relay.Settings(relay_key=SecretStr("key"), relay_url=url))
    assert built is not None
    return built


@asynccontextmanager
async def looping(sweeper: Sweeper) -> AsyncIterator[None]:
    stop = asyncio.Event()
    loop = asyncio.create_task(every(0.05, sweeper.step, sweeper.wake, stop))
    try:
        yield
    finally:
        stop.set()
        sweeper.wake.set()
        await loop
        await sweeper.finish()


async def test_a_provider_that_hangs_takes_no_places_from_another(
    db: Database, studio: UUID, asker: Asker
) -> None:
    await due_jobs(db, studio, 20)
    await due_jobs(db, studio, 40, "relay")
    async with serving(hangs) as hung, serving(AT_WORK) as well:
        both = {"fal": provider(hung.origin), "relay": relay_at(well.origin)}
        sweeper = sweeper_of(db, both, asker, limits=Limits(each=4, per_second=1000.0))
        async with looping(sweeper):
            await until(lambda: polled(db, "relay", 40))
            assert hung.connections == 4
    assert await asked(db, "fal") == 0


async def polled(db: Database, name: str, count: int) -> bool:
    return await asked(db, name) == count


async def test_a_backlog_is_worked_off_to_its_end_each_job_asked_once(
    db: Database, studio: UUID, asker: Asker
) -> None:
    await due_jobs(db, studio, 150)
    async with serving(RUNNING) as server:
        limits = Limits(each=16, per_second=1000.0)
        one = {"fal": provider(server.origin)}
        two = [sweeper_of(db, one, asker, limits=limits) for _ in range(2)]
        async with looping(two[0]), looping(two[1]):
            await until(lambda: polled(db, "fal", 150))
    paths = [request.split(b" ")[1] for request in server.requests]
    assert len(paths) == len(set(paths)) == 150


async def test_no_more_are_asked_a_second_than_is_allowed(
    db: Database, studio: UUID, asker: Asker
) -> None:
    await due_jobs(db, studio, 9)
    async with serving(RUNNING) as server:
        slowest = Limits(per_second=0.001)
        sweeper = sweeper_of(db, {"fal": provider(server.origin)}, asker, limits=slowest)
        for _ in range(3):
            await one_look(sweeper)
    assert len(server.requests) == 1


def test_all_the_requests_of_one_poll_fit_into_its_lease() -> None:
    """A cancel, the status, the result: else another process would ask meanwhile."""
    for lease in (3.0, 60.0, 3600.0):
        assert 3 * request_seconds(lease) < lease


@pytest.mark.parametrize("talk", [AWAY, DENIED, answering("429 Slow", {})])
async def test_after_five_polls_that_fail_in_a_row_one_job_is_asked_at_a_time(
    db: Database, studio: UUID, asker: Asker, talk: Talk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await due_jobs(db, studio, 5)
    async with serving(talk) as server:
        sweeper = sweeper_of(db, {"fal": provider(server.origin)}, asker)
        await one_look(sweeper)
        await all_due(db)
        await one_look(sweeper)
        assert len(server.requests) == 6
        await one_look(sweeper)
        assert len(server.requests) == 6, "one a second"
    assert slow(await room_of(db))
    assert "provider fal is asked slowly: 5 polls in a row failed" in caplog.text
    await all_due(db)
    async with serving(RUNNING) as server:
        await one_look(sweeper_of(db, {"fal": provider(server.origin)}, asker))
        assert len(server.requests) == 1
        assert "provider fal answers polls again" in caplog.text
        await one_look(sweeper_of(db, {"fal": provider(server.origin)}, asker))
        assert len(server.requests) == 5, "one answer is enough"
    assert not slow(await room_of(db))


async def test_a_slow_provider_that_hangs_is_asked_about_one_job_only(
    db: Database, studio: UUID, asker: Asker
) -> None:
    await due_jobs(db, studio, 3)
    for _ in range(5):
        await health.fail_ask(db, "fal")
    now = 0.0
    async with serving(hangs) as server:
        sweeper = sweeper_of(db, {"fal": provider(server.origin)}, asker, clock=lambda: now)
        for _ in range(3):
            now += 2.0
            await sweeper.step()
        leased = "select count(*) from agenda where lease_until > now()"
        assert await db.pool.fetchval(leased) == 1
        await sweeper.turns.cancel()


async def test_four_failed_polls_slow_nothing_and_an_unknown_job_is_no_failure(
    db: Database, studio: UUID, asker: Asker
) -> None:
    unknown = answering("404 Not Found", {"detail": "not found"})
    for talk, count in ((AWAY, 4), (unknown, 1), (AWAY, 4), (unknown, 6)):
        await db.pool.execute("update agenda set due_at = now() + interval '1 hour'")
        made = await due_jobs(db, studio, count)
        await db.pool.execute(
            "update agenda set due_at = now() + interval '1 hour' where job_id <> all ($1)", made
        )
        async with serving(talk) as server:
            await one_look(sweeper_of(db, {"fal": provider(server.origin)}, asker))
        assert len(server.requests) == count
    assert (await room_of(db)).ask_failures == 0


async def test_polls_that_are_denied_pause_submitting_once(
    db: Database, studio: UUID, asker: Asker
) -> None:
    """Jobs of an account whose key is gone must not hold up those of the new one for ever."""
    await due_jobs(db, studio, 6)
    async with serving(DENIED) as server:
        one = {"fal": provider(server.origin)}
        await one_look(sweeper_of(db, one, asker))
        room = await room_of(db)
        assert (room.paused, room.code) == (True, "provider_auth")
        await health.try_all(db)
        await make_job(db, studio)
        async with serving(ACCEPTED) as taking:
            await one_round(submitter(db, provider(taking.origin)))
        assert (await room_of(db)).pauses == 0
        await all_due(db)
        await one_look(sweeper_of(db, one, asker))
    room = await room_of(db)
    assert (room.paused, slow(room)) == (False, True)


async def test_a_provider_whose_submits_fail_is_asked_slowly_and_one_without_credits_is_not(
    db: Database,
) -> None:
    for name, code in (("fal", "provider_unavailable"), ("prism", "insufficient_credits")):
        told = {"code": code, "message": "why", "trial": False}
        await health.pause(db, name, seconds=60, longest=60, **told)
    assert slow(await room_of(db, "fal"))
    assert not slow(await room_of(db, "prism"))
    await db.pool.execute("update provider_health set paused_until = now()")
    assert not slow(await room_of(db, "fal")), "with nothing to send it would stay slow for ever"


async def test_what_a_callback_only_hints_at_is_asked_at_the_next_look(
    db: Database, studio: UUID, asker: Asker
) -> None:
    job = await make_job(db, studio, State.SUBMITTED)
    hint = {"now": State.SUBMITTED, "source": "callback", "ask": True, "due_in": 0.0}
    assert (await move(db, job, **hint)).verdict == "hint"
    async with serving(RUNNING) as server:
        await one_look(sweeper_of(db, {"fal": provider(server.origin)}, asker))
    assert len(server.requests) == 1
    assert (await job_row(db, job))["state"] == "running"


async def test_a_job_in_doubt_waits_for_nobody_who_can_be_asked(
    db: Database, studio: UUID, asker: Asker
) -> None:
    lost: list[Due] = []

    async def note(due: Due) -> None:
        lost.append(due)

    await due_jobs(db, studio, 10)
    gone = await make_job(db, studio, State.SUBMITTING)
    await db.pool.execute(
        "update agenda set due_at = now(), lease_until = now() where job_id = $1", gone
    )
    async with serving(hangs) as server:
        sweeper = sweeper_of(
            db, {"fal": provider(server.origin)}, asker, limits=Limits(each=1), lost=note
        )
        await sweeper.step()
        await asyncio.wait_for(server.arrived.wait(), 10)
        await sweeper.turns.cancel()
    assert [due.attempt.job_id for due in lost] == [gone]


@pytest.mark.parametrize(
    ("many", "one"), [(State.EXPIRED, State.SUBMITTED), (State.SUBMITTED, State.EXPIRED)]
)
async def test_a_backlog_of_one_task_keeps_no_other_waiting(
    db: Database, studio: UUID, asker: Asker, many: State, one: State
) -> None:
    """Though they have one place, and the others have been due for longer."""
    for _ in range(4):
        await make_job(db, studio, many, provider_id="many")
    await all_due(db)
    job = await make_job(db, studio, one)
    await db.pool.execute("update agenda set due_at = now() where job_id = $1", job)
    async with serving(RUNNING) as server:
        limits = Limits(each=1, per_second=1000.0)
        sweeper = sweeper_of(db, {"fal": provider(server.origin)}, asker, limits=limits)
        await one_look(sweeper)
        await one_look(sweeper)
    assert len(server.requests) == 2
    assert len(await rows_of(db, "polls", job)) == 1
