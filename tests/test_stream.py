"""GET /v1/events as a stream, over real HTTP: where it begins, resumes and ends, and its pings."""

import asyncio
import time
from collections.abc import AsyncIterator
from uuid import UUID

import app_client
import httpx
import pytest
from app_client import KEY, is_problem
from embedded_programs import until
from exposed import ours, samples
from following import BEGINNING, Block, following, place, streaming
from scene import make_app, make_job, move

from service import ids
from service.database import Database
from service.job import State
from service.recent import Recent
from service.tail import Tail

OTHER, CHIEF = ("cb_" + letter * 43 for letter in "oc")


@pytest.fixture
async def studio(db: Database) -> UUID:
    return await make_app(db, key=KEY)


@pytest.fixture
async def web(db: Database, studio: UUID) -> AsyncIterator[httpx.AsyncClient]:
    async with following(db, Tail(db)) as client:
        yield client


def told(block: Block | None) -> dict[str, object]:
    """An event as a page shows it, from a stream's block that frames it rightly."""
    assert block is not None
    assert (block.id, block.event) == (block.data["id"], block.data["type"])
    found: dict[str, object] = block.data
    return found


async def page(web: httpx.AsyncClient, **query: str) -> list[dict[str, object]]:
    answer = await web.get("/v1/events", params=query)
    data: list[dict[str, object]] = answer.json()["data"]
    return data


async def test_a_stream_begins_now_and_tells_what_a_page_tells(
    web: httpx.AsyncClient, db: Database, studio: UUID
) -> None:
    await make_job(db, studio, State.COMPLETED)
    await place(db)
    before = await page(web)
    async with streaming(web) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert stream.headers["cache-control"] == "no-store"
        assert stream.headers["last-event-id"] == before[-1]["id"]
        opened = await stream.block()
        await make_job(db, studio, State.COMPLETED)
        await place(db)
        one, two = await stream.events(2)
    assert opened == Block(comment="events follow")
    assert [told(one), told(two)] == (await page(web))[2:]
    assert (one.retry, two.retry) == ("2000", None)


async def test_a_stream_is_timed_until_it_begins_however_long_it_is_read(
    web: httpx.AsyncClient,
) -> None:
    began = time.monotonic()
    async with streaming(web):
        waited = time.monotonic() - began
        await asyncio.sleep(waited)  # as long again
    async with asyncio.timeout(10):
        while not (timed := await durations(web)):  # noqa: ASYNC110  once it was let go
            await asyncio.sleep(0.01)
    assert timed[0] <= waited


async def durations(web: httpx.AsyncClient) -> list[float]:
    """How long streams took, in seconds, as the metrics have it."""
    told = ours(samples((await web.get("/metrics")).text), "request_duration_seconds_sum")
    return [took for (_, route, _), took in told.items() if route == "/v1/events"]


async def test_a_stream_of_nothing_yet_begins_at_the_beginning(
    web: httpx.AsyncClient, db: Database, studio: UUID
) -> None:
    async with streaming(web) as stream:
        assert stream.headers["last-event-id"] == BEGINNING
    await make_job(db, studio, State.SUBMITTED)
    await place(db)
    async with streaming(web, last=stream.headers["last-event-id"]) as stream:
        assert [told(await stream.event())] == await page(web)


@pytest.mark.parametrize("kept", [4096, 0])
async def test_a_stream_resumes_after_the_event_that_is_named(
    kept: int, db: Database, studio: UUID
) -> None:
    """From what is kept in memory, and from the database."""
    tail = Tail(db, recent=Recent(events=kept))
    async with following(db, tail) as web, streaming(web) as first:
        for _ in range(5):
            await make_job(db, studio, State.COMPLETED)
        await place(db)
        await first.events(10)
        events = await page(web)
        async with streaming(web, last=str(events[6]["id"])) as stream:
            assert [told(one) for one in await stream.events(3)] == events[7:]
        async with streaming(web, after=str(events[2]["id"])) as stream:
            assert [told(one) for one in await stream.events(7)] == events[3:]
        async with streaming(web, after=BEGINNING, last=str(events[8]["id"])) as stream:
            assert [told(one) for one in await stream.events(1)] == events[9:]


async def test_a_stream_has_only_the_types_that_were_asked_for(
    web: httpx.AsyncClient, db: Database, studio: UUID
) -> None:
    async with streaming(web, type="job.failed,job.completed") as stream:
        for state in (State.SUBMITTED, State.COMPLETED, State.RUNNING, State.FAILED):
            await make_job(db, studio, state)
        await place(db)
        types = [told(one)["type"] for one in await stream.events(2)]
    assert types == ["job.completed", "job.failed"]


async def test_one_reader_hears_of_its_own_app_and_one_of_all(
    web: httpx.AsyncClient, db: Database, studio: UUID
) -> None:
    other = await make_app(db, name="other", key=OTHER)
    await app_client.make_key(db, CHIEF, "operate", name="house", all_apps=True)
    seen: list[list[object]] = []
    async with (
        streaming(web) as own,
        streaming(with_key(web, OTHER)) as foreign,
        streaming(with_key(web, CHIEF)) as everybodys,
    ):
        apps = (studio, other, studio)
        jobs = [ids.show("job", await make_job(db, app, State.SUBMITTED)) for app in apps]
        await place(db)
        for stream, count in ((own, 2), (foreign, 1), (everybodys, 3)):
            blocks = await stream.events(count)
            seen.append([block.data["data"]["job"]["id"] for block in blocks])
    assert seen == [[jobs[0], jobs[2]], [jobs[1]], jobs]


def with_key(web: httpx.AsyncClient, key: str) -> httpx.AsyncClient:
    web.headers["authorization"] = f"Bearer {key}"
    return web


async def test_a_jobs_stream_tells_its_whole_story_and_ends_with_the_job(
    web: httpx.AsyncClient, db: Database, studio: UUID
) -> None:
    job = await make_job(db, studio, State.SUBMITTED)
    await make_job(db, studio, State.COMPLETED)
    await place(db)
    async with streaming(web, job=ids.show("job", job)) as stream:
        assert told(await stream.event())["type"] == "job.submitted"
        await move(db, job, now=State.RUNNING, due_in=5.0)
        await place(db)
        assert told(await stream.event())["type"] == "job.running"
        await move(db, job, now=State.COMPLETED)
        await place(db)
        end = told(await stream.event())
        assert await stream.block() == Block(
            comment="the job has ended, and all of its events were sent"
        )
        assert await stream.block() is None
    async with streaming(web, job=ids.show("job", job)) as stream:
        assert len(await stream.events(9)) == 3
    async with streaming(web, job=ids.show("job", job), last=str(end["id"])) as stream:
        assert stream.status == 204


async def test_a_jobs_stream_ends_with_the_job_though_ends_are_not_asked_for(
    web: httpx.AsyncClient, db: Database, studio: UUID
) -> None:
    job = await make_job(db, studio, State.SUBMITTED)
    async with streaming(web, job=ids.show("job", job), type="job.expired") as stream:
        await move(db, job, now=State.COMPLETED)
        await place(db)
        assert await stream.event() is None


async def test_an_end_that_has_no_place_yet_is_waited_for(
    web: httpx.AsyncClient, db: Database, studio: UUID
) -> None:
    job = await make_job(db, studio, State.COMPLETED)
    async with streaming(web, job=ids.show("job", job)) as stream:
        assert stream.status == 200
        await place(db)
        types = [told(one)["type"] for one in await stream.events(9)]
    assert types == ["job.submitted", "job.completed"]


async def test_what_follows_an_end_is_told_to_who_resumes(
    web: httpx.AsyncClient, db: Database, studio: UUID
) -> None:
    job = await make_job(db, studio, State.EXPIRED)
    await place(db)
    async with streaming(web, job=ids.show("job", job)) as stream:
        expired = (await stream.events(9))[-1]
    await move(db, job, now=State.COMPLETED)
    await place(db)
    async with streaming(web, job=ids.show("job", job), last=expired.id) as stream:
        assert [told(one)["type"] for one in await stream.events(9)] == ["job.completed"]


async def test_a_quiet_stream_is_pinged_and_told_where_it_stands(
    db: Database, studio: UUID
) -> None:
    await make_job(db, studio, State.SUBMITTED)
    await place(db)
    async with following(db, Tail(db, ping=0.05)) as web:
        before = await page(web)
        async with streaming(web, type="job.failed") as stream:
            await stream.block()
            assert await stream.block() == Block(comment="ping", id=str(before[0]["id"]))
            assert await stream.block() == Block(comment="ping")
            await make_job(db, studio, State.COMPLETED)
            await place(db)
            last = (await page(web))[-1]["id"]
            async with asyncio.timeout(10):
                while (block := await stream.block()) and block.id is None:
                    pass
            assert block == Block(comment="ping", id=str(last))
            await make_job(db, studio, State.FAILED)
            await place(db)
            assert told(await stream.event())["type"] == "job.failed"


async def test_a_stream_ends_with_its_key(db: Database, studio: UUID) -> None:
    await app_client.make_key(db, OTHER, "read")
    tail = Tail(db)
    async with (
        following(db, tail) as web,
        streaming(web) as own,
        streaming(with_key(web, OTHER)) as other,
    ):
        await db.pool.execute("update api_keys set revoked_at = now() where scopes = '{read}'")
        await tail.drop_revoked()
        assert await other.event() is None
        await make_job(db, studio, State.SUBMITTED)
        await place(db)
        assert await own.event()


async def is_refused(web: httpx.AsyncClient) -> None:
    async with asyncio.timeout(20):
        answer = await web.get("/v1/events", headers={"accept": "text/event-stream"})
    assert is_problem(answer, 503, "unavailable")
    assert answer.headers["retry-after"]


async def test_a_server_that_stops_lets_its_readers_go_and_takes_no_more(
    db: Database, studio: UUID
) -> None:
    tail = Tail(db)
    async with following(db, tail) as web:
        async with streaming(web) as stream:
            tail.end()
            assert await stream.event() is None
        await is_refused(web)
        assert tail.readers == set()


async def test_there_is_room_for_so_many_and_again_when_one_has_left(
    db: Database, studio: UUID
) -> None:
    tail = Tail(db, most=2)
    async with following(db, tail) as web:
        async with streaming(web) as one, streaming(web):
            assert one.status == 200
            await is_refused(web)
            assert len(tail.readers) == 2
        await until(lambda: not tail.readers)
        async with streaming(web) as stream:
            assert stream.status == 200


async def test_a_head_request_opens_no_stream(web: httpx.AsyncClient) -> None:
    answer = await web.head("/v1/events", headers={"accept": "text/event-stream"})
    assert (answer.status_code, answer.headers["content-type"]) == (
        200,
        "text/event-stream; charset=utf-8",
    )
