"""What the tests share: one real Postgres, one database per run, rows deleted after each test."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import filled
import pytest
from in_step import out_of_step
from own_database import own_database

from service.database import Database, migrate
from service.embedded import attached

# Everything a test may leave behind; transitions stay, they are part of the schema.
TABLES = (
    *("delivery_tries", "deliveries", "recoveries", "former_secrets", "subscriptions", "callbacks"),
    *("polls", "feed", "feed_times", "unplaced"),
    *(
        "operator_actions",
        "provider_health",
        "failing_endpoints",
        "agenda",
        "job_secrets",
        "idempotency_keys",
        "attempts",
        "job_events",
        "jobs",
        "api_keys",
        "apps",
    ),
)


@pytest.fixture(scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The address of a Postgres: TEST_DATABASE_URL, else an embedded one for this run."""
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield url
        return
    folder: Path = tmp_path_factory.mktemp("postgres")
    async with attached(folder, fsync=False) as embedded:
        yield embedded.dsn


@pytest.fixture(scope="session")
async def dsn(server: str) -> AsyncIterator[str]:
    """A migrated database of this run's own."""
    async with own_database(server, "test") as url:
        await migrate(url)
        yield url


@pytest.fixture(scope="session")
async def past(server: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a database of its own with months of jobs; whoever changes it undoes that."""
    async with own_database(server, "past") as url:
        await migrate(url)
        there = await asyncpg.connect(url, statement_cache_size=0)
        await filled.fill(there)
        yield there
        await there.close()


@pytest.fixture(scope="session")
async def pool_of_run(dsn: str) -> AsyncIterator[Database]:
    database = await Database.connect(dsn, size=20)
    yield database
    await database.close()


@pytest.fixture
async def db(pool_of_run: Database) -> AsyncIterator[Database]:
    """The run's database, empty again after the test. Commits are real: what runs side by side in
    Callboard are several connections, and they must see each other."""
    yield pool_of_run
    left = await out_of_step(pool_of_run)
    # One statement: jobs and their history refer to each other, and keys are checked at its end.
    arms = ", ".join(f"d{n} as (delete from {table})" for n, table in enumerate(TABLES))
    async with pool_of_run.pool.acquire() as connection:
        await connection.execute(f"with {arms} select")
        await connection.execute("update feed_head set place = 0")
        await connection.execute("update feed_read set at = now()")
    assert left == []
