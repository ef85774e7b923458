"""service/sweep.py: who is asked when, what an answer may end, and when we give up."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
from in_step import follow
from pydantic import SecretStr
from raw_server import Server, Talk, serving
from scene import job_row, make_app, make_job, rows_of
from sweeping import one_round, sweeper_of

from service.database import Database
from service.job import State
from service.pooled import Asker
from service.providers import fal
from service.sweep import Sweeper


class Conversation:
    """What the provider answers: to the path's last part, a status and a body."""

    def __init__(self, **answers: tuple[str, object]) -> None:
        self.answers = answers

    def talk(self, server: list[Server]) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            path = server[0].requests[-1].split(b" ")[1].decode()
            word = "status" if path.partition("?")[0].endswith("/status") else "result"
            status, body = self.answers[word]
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            head = f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n\r\n"
            writer.write(head.encode() + content)
            await writer.drain()

        return talk


RUNNING = ("202 Accepted", {"status": "IN_PROGRESS", "logs": None})
QUEUED = ("202 Accepted", {"status": "IN_QUEUE", "queue_position": 8663})
DONE = ("200 OK", {"status": "COMPLETED"})
RESULT = ("200 OK", {"video": {"url": "https://media.example/v.mp4"}})


opened: list[Asker] = []


@pytest.fixture(autouse=True)
async def closes_what_it_opened() -> AsyncIterator[None]:
    yield
    while opened:
        await opened.pop().aclose()


@asynccontextmanager
async def asking(
    db: Database, *, give_up: float = 86400.0, **answers: tuple[str, object]
) -> AsyncIterator[tuple[Sweeper, Server]]:
    known: list[Server] = []
    async with serving(Conversation(**answers).talk(known)) as server:
        known.append(server)
        sweeper = sweeper_at(db, server.origin, give_up=give_up)
        yield sweeper, server


def sweeper_at(db: Database, url: str, *, give_up: float = 86400.0) -> Sweeper:
    provider = fal.build(fal.Settings(fal_key=SecretStr("id:secret"), fal_queue_url=url))
    assert provider is not None
    opened.append(Asker())
    return sweeper_of(db, {"fal": provider}, opened[-1], give_up=give_up)


async def due_job(db: Database, state: State = State.SUBMITTED) -> UUID:
    job = await make_job(db, await make_app(db), state)
    await db.pool.execute("update agenda set due_at = now()")
    return job


async def age(db: Database, job: UUID, seconds: float) -> None:
    """Moves the POST into the past."""
    await db.pool.execute(
        "update jobs set posted_at = now() - make_interval(secs => $2) where id = $1", job, seconds
    )
    await db.pool.execute("update agenda set due_at = now(), lease_until = null")
    await follow(db)


async def pause_of(db: Database, job: UUID) -> float:
    left: float = await db.pool.fetchval(
        "select extract(epoch from due_at - now())::float8 from agenda where job_id = $1"
        " and lease_until is null",
        job,
    )
    return left


async def test_a_lost_callback_is_made_up_for_by_a_poll(db: Database) -> None:
    job = await due_job(db)
    async with asking(db, status=DONE, result=RESULT) as (sweeper, server):
        await one_round(sweeper)
        await one_round(sweeper)
    assert len(server.requests) == 2
    row = await job_row(db, job)
    assert (row["state"], row["learnt_by"]) == ("completed", "poll")
    assert await rows_of(db, "agenda", job) == []
    (poll,) = await rows_of(db, "polls", job)
    assert poll["said"] == "completed"


async def test_news_on_the_way_moves_the_job_and_shows_its_place_in_the_queue(
    db: Database,
) -> None:
    job = await due_job(db)
    async with asking(db, status=QUEUED) as (sweeper, _):
        await one_round(sweeper)
    row = await job_row(db, job)
    assert row["state"] == "submitted"
    assert json.loads(row["progress"])["queue_position"] == 8663
    assert await pause_of(db, job) > 1
    await db.pool.execute("update agenda set due_at = now()")
    async with asking(db, status=RUNNING) as (sweeper, _):
        await one_round(sweeper)
    row = await job_row(db, job)
    assert (row["state"], row["progress"]) == ("running", None)


@pytest.mark.parametrize(
    "status",
    [
        ("500 Oops", {}),
        ("401 Who", {"detail": "bad key"}),
        ("429 Slow", {}),
        ("404 Not Found", {"detail": "not found"}),
        ("502 Bad", b"<html>nginx</html>"),
        ("200 OK", {"status": "SOMETHING_NEW"}),
        ("200 OK", b"{"),
    ],
)
async def test_no_get_that_fails_ends_a_job(db: Database, status: tuple[str, object]) -> None:
    job = await due_job(db)
    async with asking(db, status=status) as (sweeper, _):
        for _ in range(3):
            await one_round(sweeper)
            await db.pool.execute("update agenda set due_at = now()")
    assert (await job_row(db, job))["state"] == "submitted"
    polls = await rows_of(db, "polls", job)
    assert len(polls) == 3
    assert all(poll["note"] for poll in polls)


async def test_a_provider_that_cannot_be_reached_ends_nothing(db: Database) -> None:
    job = await due_job(db)
    await one_round(sweeper_at(db, "http://127.0.0.1:9"))
    assert (await job_row(db, job))["state"] == "submitted"
    assert (await rows_of(db, "polls", job))[0]["note"].startswith("no answer")


async def test_the_pauses_grow_up_to_a_cap_below_half_of_the_retention(db: Database) -> None:
    job = await due_job(db)
    pauses = []
    async with asking(db, status=RUNNING) as (sweeper, _):
        for _ in range(20):
            await one_round(sweeper)
            pauses.append(await pause_of(db, job))
            await db.pool.execute("update agenda set due_at = now()")
    assert pauses[1] < pauses[6] < pauses[10]
    assert max(pauses) <= 150
    assert pauses[-1] > 100


async def test_a_job_is_asked_once_at_a_time(db: Database) -> None:
    await due_job(db)
    async with asking(db, status=RUNNING) as (sweeper, server):
        others = [sweeper_at(db, server.origin) for _ in range(3)]
        await asyncio.gather(*(one_round(one) for one in (sweeper, *others)))
    assert len(server.requests) == 1


async def test_a_poll_whose_asker_died_is_made_again_when_its_lease_ends(db: Database) -> None:
    job = await due_job(db)
    assert len(await db.rows("claim_asks", 60.0, ["fal"], [10], ["poll"])) == 1
    async with asking(db, status=DONE, result=RESULT) as (sweeper, server):
        await one_round(sweeper)
        assert server.requests == []
        await db.pool.execute("update agenda set due_at = now(), lease_until = now()")
        await one_round(sweeper)
    assert (await job_row(db, job))["state"] == "completed"


async def test_a_hint_during_a_poll_asks_again_at_once(db: Database) -> None:
    job = await due_job(db)
    async with asking(db, status=RUNNING) as (sweeper, _):
        await sweeper.step()
        await db.pool.execute("update agenda set due_at = now() where job_id = $1", job)
        await sweeper.turns.drain()
    assert await pause_of(db, job) <= 0


async def test_past_its_deadline_a_job_that_still_works_stays_open_and_stuck(db: Database) -> None:
    job = await due_job(db)
    await age(db, job, 7300)
    async with asking(db, status=RUNNING) as (sweeper, _):
        await one_round(sweeper)
    row = await job_row(db, job)
    assert (row["state"], row["stuck"]) == ("running", True)


async def test_past_its_deadline_a_job_that_the_provider_does_not_know_expires(
    db: Database,
) -> None:
    job = await due_job(db)
    async with asking(db, status=("404 Not Found", {"detail": "not found"})) as (sweeper, _):
        await one_round(sweeper)
        assert (await job_row(db, job))["state"] == "submitted"
        await age(db, job, 7300)
        await one_round(sweeper)
    row = await job_row(db, job)
    assert row["state"] == "expired"
    error = json.loads(row["error"])
    assert (error["code"], error["charged"]) == ("expired", "unknown")


async def test_given_up_it_is_still_asked_after_rarely_and_a_late_success_completes_it(
    db: Database,
) -> None:
    job = await due_job(db)
    await age(db, job, 90000)
    async with asking(db, status=RUNNING) as (sweeper, _):
        await one_round(sweeper)
    assert (await job_row(db, job))["state"] == "expired"
    assert 900 < await pause_of(db, job) <= 1500
    await db.pool.execute("update agenda set due_at = now()")
    async with asking(db, status=RUNNING) as (sweeper, _):
        await one_round(sweeper)
    assert 900 < await pause_of(db, job) <= 1500
    await db.pool.execute("update agenda set due_at = now()")
    async with asking(db, status=DONE, result=RESULT) as (sweeper, _):
        await one_round(sweeper)
    row = await job_row(db, job)
    assert (row["state"], row["late"]) == ("completed", True)
    assert await rows_of(db, "agenda", job) == []


async def test_after_the_late_window_nobody_asks_any_more(db: Database) -> None:
    job = await due_job(db, State.EXPIRED)
    await db.pool.execute("update jobs set finished_at = now() - interval '2 days'")
    await follow(db)
    async with asking(db, status=RUNNING) as (sweeper, _):
        await one_round(sweeper)
    assert await rows_of(db, "agenda", job) == []
    assert (await job_row(db, job))["state"] == "expired"


async def test_an_unconfirmed_job_is_given_up_at_its_own_time_and_a_callback_still_completes_it(
    db: Database,
) -> None:
    job = await make_job(db, await make_app(db), State.UNCONFIRMED)
    await age(db, job, 10801.0)
    async with asking(db, status=RUNNING) as (sweeper, server):
        await one_round(sweeper)
    assert server.requests == []
    row = await job_row(db, job)
    error = json.loads(row["error"])
    assert (row["state"], error["code"]) == ("expired", "submission_unconfirmed")
    assert error["charged"] == "unknown"
    assert await rows_of(db, "agenda", job) == []


async def test_a_provider_without_a_key_keeps_its_jobs(db: Database) -> None:
    job = await due_job(db)
    await db.pool.execute("update jobs set provider = 'gone'")
    await follow(db)
    await one_round(sweeper_at(db, "http://127.0.0.1:9"))
    assert (await job_row(db, job))["state"] == "submitted"
    assert "no key" in (await rows_of(db, "polls", job))[0]["note"]
    assert await pause_of(db, job) > 0
