"""How many of a provider's jobs are in flight at once (CALLBOARD_IN_FLIGHT), and whose turn."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
from posting import ACCEPTED, hang_up, one_round, provider, submitter
from pydantic import SecretStr
from raw_server import Server, serving
from scene import job_row, make_app, make_job, move
from waiting import until

from service.database import Database
from service.job import State
from service.loop import every
from service.providers import relay
from service.store import health
from service.store.agenda import Turn, claim_asks, claim_submits

TWO = {"fal": 2}


@pytest.fixture
async def studio(db: Database) -> UUID:
    return await make_app(db)


async def queued(db: Database, studio: UUID, count: int, **more: object) -> list[UUID]:
    return [await make_job(db, studio, **more) for _ in range(count)]


async def stands(db: Database, jobs: list[UUID], *states: str) -> bool:
    return [(await job_row(db, job))["state"] for job in jobs] == list(states)


@asynccontextmanager
async def slow_server(release: asyncio.Event) -> AsyncIterator[Server]:
    """A provider that answers nobody before `release`."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        await ACCEPTED(reader, writer)

    async with serving(talk) as server:
        yield server


async def test_two_processes_together_have_no_more_in_flight_than_the_bound_oldest_first(
    db: Database, studio: UUID
) -> None:
    jobs = await queued(db, studio, 5)
    release = asyncio.Event()
    async with slow_server(release) as server:
        both = [submitter(db, provider(server.origin), most=TWO) for _ in range(2)]
        for _ in range(2):
            for one in both:
                await one.step()
        release.set()
        for one in both:
            await one.finish()
            await one_round(one)
        assert len(server.requests) == 2
        assert await stands(db, jobs, *["submitted"] * 2, *["queued"] * 3)
        await move(db, jobs[0], now=State.COMPLETED)
        for one in both:
            await one_round(one)
        assert len(server.requests) == 3
        assert await stands(db, jobs[:3], "completed", "submitted", "submitted")


async def test_what_has_ended_makes_room_within_a_look(db: Database, studio: UUID) -> None:
    jobs = await queued(db, studio, 3)
    async with serving(ACCEPTED) as server:
        one, stop = submitter(db, provider(server.origin), most=TWO), asyncio.Event()
        loop = asyncio.create_task(every(0.05, one.step, one.wake, stop))
        await until(lambda: stands(db, jobs, "submitted", "submitted", "queued"))
        await move(db, jobs[1], now=State.FAILED)
        await until(lambda: stands(db, jobs, "submitted", "failed", "submitted"))
        stop.set()
        one.wake.set()
        await loop
        await one.finish()


@pytest.mark.parametrize("state", [State.SUBMITTING, State.UNCONFIRMED, State.RUNNING])
async def test_what_may_be_rendering_is_in_flight(db: Database, studio: UUID, state: State) -> None:
    await make_job(db, studio, state)
    await queued(db, studio, 3)
    turn = Turn(provider="fal", places=9, most=2)
    assert len(await claim_submits(db, lease_seconds=60.0, turns=[turn])) == 1
    assert await claim_submits(db, lease_seconds=60.0, turns=[turn]) == [], "one is about to go"


async def test_an_expired_job_is_not_in_flight(db: Database, studio: UUID) -> None:
    await make_job(db, studio, State.EXPIRED)
    await queued(db, studio, 3)
    turn = Turn(provider="fal", places=9, most=2)
    assert len(await claim_submits(db, lease_seconds=60.0, turns=[turn])) == 2


async def test_a_full_provider_takes_nothing_from_another(db: Database, studio: UUID) -> None:
    """Each has its own places, however many jobs another has that are older."""
    await queued(db, studio, 40)
    (other,) = await queued(db, studio, 1, provider="relay", model="veo3")
    full, free = Turn(provider="fal", places=9, most=0), Turn(provider="relay", places=9)
    claimed = await claim_submits(db, lease_seconds=60.0, turns=[full, free])
    assert [due.attempt.job_id for due in claimed] == [other]


async def test_a_hung_provider_holds_no_place_of_another(db: Database, studio: UUID) -> None:
    release = asyncio.Event()
    await queued(db, studio, 6)
    (other,) = await queued(db, studio, 1, provider="relay", model="veo3")
    async with slow_server(release) as hung, serving(hang_up) as well:
        second = relay.build(relay.Settings(relay_key=SecretStr("key"), relay_url=well.origin))
        assert second is not None
        one = submitter(db, provider(hung.origin), second, each=2)
        await one.step()
        await until(lambda: stands(db, [other], "unconfirmed"))
        await one.step()
        leased = "select count(*) from agenda where lease_until > now() and provider = 'fal'"
        assert await db.pool.fetchval(leased) == 2
        assert [hung.connections, len(well.requests)] == [2, 1]
        release.set()
        await one.finish()


async def test_a_backlog_of_one_provider_starves_no_other(db: Database, studio: UUID) -> None:
    for name in ("a", "b", "fal"):
        for _ in range(8 if name == "a" else 2):
            await make_job(db, studio, State.RUNNING, provider=name, provider_id="x")
    await db.pool.execute("update agenda set due_at = now() - interval '1 hour'")
    turns = [Turn(provider=name, places=3) for name in ("a", "b", "fal")]
    claimed = await claim_asks(db, lease_seconds=60.0, turns=turns, tasks=["poll"])
    assert sorted(due.provider for due in claimed) == ["a", "a", "a", "b", "b", "fal", "fal"]
    again = await claim_asks(db, lease_seconds=60.0, turns=turns, tasks=["poll"])
    assert [due.provider for due in again] == ["a", "a", "a"]
    assert {due.attempt.job_id for due in again}.isdisjoint(d.attempt.job_id for d in claimed)


async def test_jobs_are_counted_for_whoever_looks(db: Database, studio: UUID) -> None:
    await queued(db, studio, 3)
    for state in (State.SUBMITTING, State.SUBMITTED, State.EXPIRED, State.COMPLETED):
        await make_job(db, studio, state)
    room = (await health.rooms(db, count_to=100))["fal"]
    assert (room.queued, room.in_flight) == (3, 2)
    bounded = (await health.rooms(db, count_to=2))["fal"]
    assert (bounded.queued, bounded.in_flight) == (2, 2)
    assert list(await health.rooms(db, ["prism"])) == ["fal", "prism"]


async def test_tasks_take_turns_each_with_its_most_overdue_first(
    db: Database, studio: UUID
) -> None:
    """Whatever has been left of one for a day, the other is looked at."""
    late = [await make_job(db, studio, State.EXPIRED) for _ in range(5)]
    asked = [await make_job(db, studio, State.RUNNING) for _ in range(2)]
    for ago, job in enumerate([*reversed(asked), *reversed(late)], start=1):
        await db.pool.execute(
            "update agenda set due_at = now() - make_interval(hours => $1) where job_id = $2",
            *(ago, job),
        )
    turns = [Turn(provider="fal", places=3)]
    tasks = ["poll", "late"]
    claimed = [
        {
            due.attempt.job_id
            for due in await claim_asks(db, lease_seconds=60.0, turns=turns, tasks=order)
        }
        for order in (tasks[::-1], tasks, tasks)
    ]
    assert claimed == [{*late[:2], asked[0]}, {asked[1], *late[2:4]}, {late[4]}]


@pytest.mark.parametrize("first", ["poll", "late"])
async def test_the_task_named_first_has_the_only_place(
    db: Database, studio: UUID, first: str
) -> None:
    for state in (State.EXPIRED, State.RUNNING, State.EXPIRED):
        await make_job(db, studio, state)
    await db.pool.execute("update agenda set due_at = now()")
    turns, tasks = [Turn(provider="fal", places=1)], sorted(("poll", "late"), key=first.__ne__)
    (claimed,) = await claim_asks(db, lease_seconds=60.0, turns=turns, tasks=tasks)
    assert claimed.task == first
