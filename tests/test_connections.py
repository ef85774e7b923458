"""service/connections.py: those at hand are of use to whoever comes next, or not at hand."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from waiting import until

from service.database import Database

QUERIES = {
    "who": "select pg_backend_pid() as pid",
    "nap": "select pg_sleep($1), pg_backend_pid() as pid",
    "began": "select now() as at",
}
LONG = 600.0
NAPS = "select count(*) from pg_stat_activity where query = $1 and state = 'active'"


@pytest.fixture
async def own(dsn: str) -> AsyncIterator[Database]:
    """Two connections at most, of which one may be at hand."""
    database = Database((await Database.connect(dsn, size=2)).connections, QUERIES)
    yield database
    database.pool.terminate()


async def idle_of(own: Database, idle: int, of: int) -> None:
    async def counted() -> bool:
        return (own.pool.get_idle_size(), own.pool.get_size()) == (idle, of)

    await until(counted)


async def pid(own: Database) -> int:
    row = await own.row("who")
    assert row is not None
    return int(row["pid"])


async def test_the_next_statement_takes_the_connection_that_is_at_hand(own: Database) -> None:
    assert len({await pid(own) for _ in range(5)}) == 1
    await idle_of(own, 0, 1)  # the pool, which has nothing to do between them, does not have it


async def test_one_that_the_server_has_ended_is_passed_over(own: Database, db: Database) -> None:
    for _ in range(3):  # more often than there are connections: none is lost
        ended = await pid(own)
        await db.pool.execute("select pg_terminate_backend($1)", ended)
        await idle_of(own, 0, 0)
        assert await pid(own) != ended


async def test_whoever_waits_has_the_next_one_that_is_free(own: Database) -> None:
    long = asyncio.create_task(own.rows("nap", LONG))
    short = asyncio.create_task(own.rows("nap", 0.2))
    await idle_of(own, 0, 2)
    async with asyncio.timeout(LONG / 10):
        await asyncio.gather(*(pid(own) for _ in range(5)), short)
    long.cancel()


async def test_a_transaction_that_somebody_left_open_goes_no_further(own: Database) -> None:
    async def begins_and_fails() -> None:
        async with own._connection() as connection:
            await connection.execute("begin")
            raise LookupError

    with pytest.raises(LookupError):
        await begins_and_fails()
    first, second = await own.row("began"), await own.row("began")
    assert first != second


async def test_closing_lets_those_at_hand_go_and_those_that_come_back(
    dsn: str, db: Database
) -> None:
    own = Database((await Database.connect(dsn, size=2)).connections, QUERIES)
    await pid(own)
    under_way = asyncio.create_task(own.rows("nap", 1.0))

    async def naps() -> bool:
        return bool(await db.pool.fetchval(NAPS, QUERIES["nap"]))

    await until(naps)
    async with asyncio.timeout(5):  # less than the patience of `close`
        await own.close()
    await under_way
    assert own.pool.get_size() == 0
