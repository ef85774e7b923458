"""service/tail.py: one look for all readers, woken or not; who is behind reads the database."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import httpx
import pytest
from app_client import KEY
from embedded_programs import until
from following import BEGINNING, Block, following, place, read_block, streaming
from scene import make_app, make_job, move

from service import ids
from service.database import Database
from service.feed import BEGINNING as BEGINNING_ID
from service.feed import Wanted
from service.job import State
from service.loop import until_stored
from service.reader import Reader
from service.recent import Recent
from service.store import events, feed
from service.tail import Tail

NOBODY = UUID(int=1)
HOUR = 3600.0
LARGE = {"text": "x" * 60_000}


@pytest.fixture
async def studio(db: Database) -> UUID:
    return await make_app(db, key=KEY)


@asynccontextmanager
async def reading(tail: Tail, wanted: Wanted, after: int = 0) -> AsyncIterator[Reader]:
    """A reader without any HTTP; the tail ends with it."""
    reader = await tail.join(wanted, place=after, cursor=BEGINNING_ID, key_id=NOBODY)
    try:
        yield reader
    finally:
        tail.leave(reader)
        await tail.aclose()


async def take(reader: Reader, count: int) -> list[str]:
    """The ids of the next so many events."""
    found: list[str] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            if messages := await reader.take():
                found += [str(read_block(one.decode().rstrip()).id) for one in messages]
            else:
                await reader.wait(HOUR)
    return found


async def in_order(db: Database) -> list[str]:
    rows = await db.pool.fetch("select event_id from feed order by place")
    return [ids.show("evt", row["event_id"]) for row in rows]


async def listeners(db: Database) -> list[int]:
    rows = await db.pool.fetch(
        "select pid from pg_stat_activity where datname = current_database()"
        " and query ilike 'listen%' and state = 'idle'"
    )
    return [row["pid"] for row in rows]


async def is_listening(db: Database, count: int = 1, *, besides: int | None = None) -> None:
    async with asyncio.timeout(20):
        while len([pid for pid in await listeners(db) if pid != besides]) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_tail_that_would_look_in_an_hour_is_woken_at_once(
    db: Database, studio: UUID
) -> None:
    async with reading(Tail(db, look=HOUR), Wanted(app_id=studio)) as reader:
        await is_listening(db)
        await make_job(db, studio, State.COMPLETED)
        await place(db)
        assert await take(reader, 2) == await in_order(db)


async def test_a_tail_that_nobody_wakes_looks_by_itself(db: Database, studio: UUID) -> None:
    async with reading(Tail(db, look=0.02), Wanted(app_id=studio)) as reader:
        await make_job(db, studio, State.COMPLETED)
        assert (await events.place(db)).number == 2  # and nothing is announced
        assert await take(reader, 2) == await in_order(db)


async def test_while_somebody_reads_the_feed_is_said_to_be_read(db: Database, studio: UUID) -> None:
    tail = Tail(db, look=HOUR)
    for _ in range(2):  # by the second one it works already
        await db.pool.execute("update feed_read set at = now() - interval '1 hour'")
        reader = await tail.join(Wanted(app_id=studio), place=0, cursor=BEGINNING_ID, key_id=NOBODY)
        assert (await events.place(db)).read
        tail.leave(reader)
    await tail.aclose()


async def test_who_listened_listens_again_after_its_connection_was_lost(
    db: Database, studio: UUID
) -> None:
    async with reading(Tail(db, look=HOUR), Wanted(app_id=studio)) as reader:
        await is_listening(db)
        (pid,) = await listeners(db)
        await db.pool.execute("select pg_terminate_backend($1)", pid)
        await is_listening(db, besides=pid)
        await make_job(db, studio, State.COMPLETED)
        await place(db)
        assert await take(reader, 2) == await in_order(db)


async def test_two_processes_hear_of_each_others_events(
    db: Database, dsn: str, studio: UUID
) -> None:
    other = await Database.connect(dsn, size=3)
    try:
        wanted = Wanted(app_id=studio)
        async with (
            reading(Tail(db, look=HOUR), wanted) as here,
            reading(Tail(other, look=HOUR), wanted) as there,
        ):
            await is_listening(db, 2)
            for at in (db, other):
                await make_job(db, studio, State.SUBMITTED)
                await place(at)
            assert await take(here, 2) == await take(there, 2) == await in_order(db)
    finally:
        await other.close()


@pytest.mark.parametrize("kept", [4096, 4])
async def test_a_reader_that_takes_nothing_falls_behind_and_catches_up(
    kept: int, db: Database, studio: UUID
) -> None:
    """What waits for it is bounded; it reads the rest from memory, or from the database."""
    tail = Tail(db, recent=Recent(events=kept))
    async with reading(tail, Wanted(app_id=studio)) as slow:
        quick = await tail.join(Wanted(app_id=studio), place=0, cursor=BEGINNING_ID, key_id=NOBODY)
        for _ in range(30):
            job = await make_job(db, studio, State.SUBMITTED)
            await move(db, job, now=State.COMPLETED, output=LARGE)
            await place(db)
        everything = await in_order(db)
        assert await take(quick, 60) == everything
        assert len(slow.waiting) < 30
        assert await take(slow, 60) == everything
        assert await slow.take() == await quick.take() == []


async def test_who_comes_while_others_events_were_read_misses_none(
    db: Database, studio: UUID
) -> None:
    """What nobody wanted when it was read has no message in memory."""
    other = await make_app(db, name="other", key="cb_" + "o" * 43)
    tail = Tail(db)
    async with reading(tail, Wanted(app_id=studio)) as reader:
        head = await feed.head(db)
        for app in (other, studio, other):
            await make_job(db, app, State.SUBMITTED)
        await place(db)
        everything = await in_order(db)
        assert await take(reader, 1) == everything[1:2]
        late = await tail.join(Wanted(app_id=other), place=head, cursor=BEGINNING_ID, key_id=NOBODY)
        assert await take(late, 2) == [everything[0], everything[2]]


async def test_who_catches_up_from_memory_has_only_its_own(db: Database, studio: UUID) -> None:
    other = await make_app(db, name="other", key="cb_" + "o" * 43)
    tail = Tail(db)
    async with reading(tail, Wanted(app_id=None)) as everybodys:
        jobs = [await make_job(db, app, State.SUBMITTED) for app in (studio, other, studio)]
        await place(db)
        everything = await take(everybodys, 3)
        for wanted, own in (
            (Wanted(app_id=studio), everything[::2]),
            (Wanted(app_id=None, job_id=jobs[1]), everything[1:2]),
            (Wanted(app_id=studio, types=("job.failed",)), []),
        ):
            late = await tail.join(wanted, place=0, cursor=BEGINNING_ID, key_id=NOBODY)
            assert await take(late, len(own)) == own
            assert await late.take() == []


async def test_what_happened_while_nobody_read_is_read_from_the_database(
    db: Database, studio: UUID
) -> None:
    recent = Recent()
    tail = Tail(db, recent=recent)
    first = await tail.join(Wanted(app_id=studio), place=0, cursor=BEGINNING_ID, key_id=NOBODY)
    tail.leave(first)
    await make_job(db, studio, State.COMPLETED)
    await place(db)
    async with reading(tail, Wanted(app_id=studio)) as reader:
        assert recent.since == await feed.head(db)
        assert await take(reader, 2) == await in_order(db)
        await make_job(db, studio, State.SUBMITTED)
        await place(db)
        assert await take(reader, 1) == (await in_order(db))[2:]


async def test_a_stream_outlives_the_databases_connections(
    db: Database, dsn: str, studio: UUID
) -> None:
    apart = await Database.connect(dsn)
    try:
        async with following(apart, Tail(apart)) as web, streaming(web) as stream:
            await stream.block()
            await db.pool.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
            async with asyncio.timeout(20):
                await until_stored(lambda: db.rows("secrets_of_job", studio))  # ours ended too
                await make_job(db, studio, State.SUBMITTED)
                await place(db)
            assert [(await stream.event() or Block()).id] == await in_order(db)
    finally:
        await apart.close()


async def test_a_slow_reader_is_cut_off_and_resumes(
    db: Database, studio: UUID, caplog: pytest.LogCaptureFixture
) -> None:
    tail = Tail(db, slowest=0.3)
    async with following(db, tail) as web:
        with socket.socket() as slow:
            await ask_and_read_nothing(slow, web)
            await until(lambda: tail.readers)
            for _ in range(60):
                job = await make_job(db, studio, State.SUBMITTED)
                await move(db, job, now=State.COMPLETED, output=LARGE)
            await place(db)
            await until(lambda: not tail.readers)
            assert "too slow and is cut off" in caplog.text
            seen = await asyncio.to_thread(rest_of, slow)
        everything = await in_order(db)
        assert 0 < len(seen) < len(everything)
        async with streaming(web, last=seen[-1]) as stream:
            resumed = [block.id for block in await stream.events(len(everything) - len(seen))]
    assert seen + resumed == everything


async def ask_and_read_nothing(slow: socket.socket, web: httpx.AsyncClient) -> None:
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.setblocking(False)
    request = (
        f"GET /v1/events?after={BEGINNING} HTTP/1.1\r\nHost: callboard.test\r\n"
        f"Accept: text/event-stream\r\nAuthorization: Bearer {KEY}\r\n\r\n"
    )
    loop = asyncio.get_running_loop()
    await loop.sock_connect(slow, (web.base_url.host, web.base_url.port))
    await loop.sock_sendall(slow, request.encode())


def rest_of(slow: socket.socket) -> list[str]:
    """The ids of the whole events that had come until the connection was closed."""
    slow.settimeout(20)
    received = bytearray()
    while part := slow.recv(65536):
        received += part
    blocks = received.partition(b"\r\n\r\n")[2].split(b"\n\n")[:-1]
    lines = [line for block in blocks for line in block.split(b"\n") if line[:3] == b"id:"]
    return [line[4:].decode() for line in lines]
