"""service/place.py: one order for all readers, nothing skipped, a job's events by version."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg
from in_step import follow
from scene import make_app, make_job, move

from service.database import Database
from service.job import State
from service.place import Placer
from service.store.feed import note_reading
from service.tail import CHANNEL


async def feed(db: Database) -> list[tuple[int, UUID, int]]:
    rows = await db.pool.fetch("select place, job_id, version from feed order by place")
    return [(row["place"], row["job_id"], row["version"]) for row in rows]


async def test_events_get_places_once_and_a_jobs_by_version(db: Database) -> None:
    app = await make_app(db)
    for _ in range(10):
        await make_job(db, app, State.COMPLETED)
    placer = Placer(db, wake=asyncio.Event())
    await placer.step()
    await placer.step()
    placed = await feed(db)
    assert [place for place, _, _ in placed] == list(range(1, 21))
    assert await db.pool.fetchval("select count(*) from unplaced") == 0
    last: dict[UUID, int] = {}
    for _, job, version in placed:
        assert version > last.get(job, 0)
        last[job] = version


async def test_a_jobs_events_keep_their_order_though_the_clock_was_put_back(db: Database) -> None:
    await make_job(db, await make_app(db), State.COMPLETED)
    await db.pool.execute("update unplaced set at = at - interval '1 hour' where version = 4")
    await Placer(db, wake=asyncio.Event()).step()
    assert [version for _, _, version in await feed(db)] == [3, 4]


async def test_what_commits_late_comes_later_and_is_not_skipped(db: Database) -> None:
    app = await make_app(db)
    slow, quick = [await make_job(db, app, State.SUBMITTED) for _ in range(2)]
    placer = Placer(db, wake=asyncio.Event())
    await placer.step()
    async with db.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(
            "insert into job_events (job_id, version, now, was, id, attempt, source, at)"
            " values ($1, 4, 'running', 'submitted', $1, 1, 'poll', now())",
            slow,
        )
        await connection.execute("insert into unplaced values ($1, 4, now())", slow)
        await move(db, quick, now=State.RUNNING, due_in=5.0)
        await placer.step()
        seen = await feed(db)
        await connection.execute(
            "update jobs set state = 'running', version = 4 where id = $1", slow
        )
        await transaction.commit()
    await follow(db)
    assert [job for _, job, version in seen if version == 4] == [quick]
    await placer.step()
    assert (await feed(db))[: len(seen)] == seen
    assert (await feed(db))[-1][1] == slow


async def test_many_writers_and_placers_lose_and_repeat_nothing(db: Database) -> None:
    app = await make_app(db)
    made = [await make_job(db, app, State.SUBMITTED) for _ in range(30)]
    placers = [Placer(db, wake=asyncio.Event()) for _ in range(3)]
    done = asyncio.Event()

    async def write(job: UUID) -> None:
        for now in (State.RUNNING, random.choice([State.COMPLETED, State.FAILED])):
            await move(db, job, now=now, due_in=5.0)

    async def place(placer: Placer) -> None:
        while not done.is_set():
            await placer.step()

    placing = [asyncio.create_task(place(placer)) for placer in placers]
    await asyncio.gather(*(write(job) for job in made))
    done.set()
    await asyncio.gather(*placing)
    await placers[0].step()
    placed = await feed(db)
    assert [place for place, _, _ in placed] == list(range(1, 91))
    for job in made:
        assert [version for _, one, version in placed if one == job] == [3, 4, 5]


@asynccontextmanager
async def another_at_it(dsn: str) -> AsyncIterator[None]:
    other = await asyncpg.connect(dsn)
    try:
        async with other.transaction():
            await other.execute("select 1 from feed_head for update")
            yield
    finally:
        await other.close()


async def test_a_placer_gives_way_to_another_and_comes_again(db: Database, dsn: str) -> None:
    await make_job(db, await make_app(db), State.COMPLETED)
    placer = Placer(db, wake=asyncio.Event())
    async with another_at_it(dsn):
        assert await placer.step()
        assert await feed(db) == []
    assert not await placer.step()
    assert len(await feed(db)) == 2


async def test_where_there_is_nothing_to_place_nobody_waits_for_it(db: Database, dsn: str) -> None:
    async with another_at_it(dsn):
        assert not await Placer(db, wake=asyncio.Event()).step()
    before = await db.pool.fetchval("select xmax from feed_head")
    await Placer(db, wake=asyncio.Event()).step()
    assert await db.pool.fetchval("select xmax from feed_head") == before


async def unread(db: Database) -> None:
    """Nobody has read the feed for a while."""
    await db.pool.execute("update feed_read set at = now() - interval '61 seconds'")


async def test_while_nobody_reads_the_feed_its_places_wait_for_the_next_look(db: Database) -> None:
    app = await make_app(db)
    await unread(db)
    placer = Placer(db, wake=asyncio.Event(), unread=3600.0)
    await make_job(db, app, State.SUBMITTED)
    await placer.step()
    await make_job(db, app, State.SUBMITTED)
    await placer.step()
    assert len(await feed(db)) == 1
    await note_reading(db)
    again = Placer(db, wake=asyncio.Event(), unread=3600.0)
    for placed in (2, 3):
        await again.step()
        assert len(await feed(db)) == placed
        await make_job(db, app, State.SUBMITTED)


async def test_whoever_reads_the_feed_says_so_each_few_seconds(db: Database) -> None:
    for seconds, noted in ((9, False), (11, True)):
        await db.pool.execute(
            "update feed_read set at = now() - make_interval(secs => $1)", seconds
        )
        await note_reading(db)
        age = await db.pool.fetchval("select extract(epoch from now() - at) from feed_read")
        assert (age < seconds - 1) is noted


async def test_only_to_readers_is_anything_announced(db: Database) -> None:
    app, heard = await make_app(db), asyncio.Queue[str]()
    placer = Placer(db, wake=asyncio.Event())

    def hear(*told: object) -> None:
        heard.put_nowait(str(told[-1]))

    async with db.pool.acquire() as listener:
        await listener.add_listener(CHANNEL, hear)
        try:
            await unread(db)
            await make_job(db, app, State.SUBMITTED)
            await placer.step()
            await db.pool.execute("select pg_notify($1, 'between')", CHANNEL)
            await note_reading(db)
            await make_job(db, app, State.SUBMITTED)
            await placer.step()
            assert [await asyncio.wait_for(heard.get(), 20) for _ in range(2)] == ["between", ""]
        finally:
            await listener.remove_listener(CHANNEL, hear)


async def test_the_first_step_is_made_at_once_and_the_next_one_waits(db: Database) -> None:
    app = await make_app(db)
    placer = Placer(db, wake=asyncio.Event(), apart=3600.0)
    await make_job(db, app, State.SUBMITTED)
    await placer.step()
    assert len(await feed(db)) == 1
    next_step = asyncio.create_task(placer.step())
    await make_job(db, app, State.SUBMITTED)
    assert not next_step.done()
    next_step.cancel()
    assert len(await feed(db)) == 1
