"""How Postgres goes about our queries before it knows anything of what will be in the tables: the
plans of a connection outlive the day on which they were empty."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import filled
import pytest
from own_database import own_database
from plan_nodes import QUERIES, explained, nodes, walked_by_index, walked_through

from service.database import Database, migrate

# What a statement takes the whole of, at the start or where a person asks for it.
WHOLE = {"list_keys": {"api_keys"}, "count_unknown_token_keys": {"attempts"}}
# What is run at each hop of each job.
HOT = (
    *("create_job", "claim_submits", "advance", "claim_asks", "finish_asks"),
    *("claim_staged", "claim_deliveries", "finish_deliveries"),
)
# Joins its batch to all jobs as long as a plan holds that was made when these were few: until
# autovacuum analyses what has grown, which makes Postgres plan anew. Keys in every arm would mend
# it, and cost an eighth more Postgres for each callback.
JOINED = {"advance"}


@pytest.fixture(scope="module")
async def fresh(server: str) -> AsyncIterator[asyncpg.Connection]:
    """One of our own connections to a migrated, empty database that nothing has analysed."""
    async with own_database(server, "fresh") as url:
        await migrate(url)
        database = await Database.connect(url, size=1)
        async with database.pool.acquire() as connection:
            yield connection
        await database.close()


@pytest.fixture(scope="module")
async def young(server: str) -> AsyncIterator[asyncpg.Connection]:
    """The same, to one that was analysed when it held 50 jobs."""
    async with own_database(server, "young") as url:
        await migrate(url)
        database = await Database.connect(url, size=1)
        async with database.pool.acquire() as connection:
            await filled.fill(connection, every=1000)
            yield connection
        await database.close()


async def of(connection: asyncpg.Connection, name: str) -> Any:
    """A query's plan, which is one for whatever values."""
    values = (await connection.prepare(QUERIES[name])).get_parameters()
    return await explained(connection, name, ["null"] * len(values))


@pytest.mark.parametrize("name", QUERIES)
async def test_nothing_that_will_grow_is_read_from_end_to_end(
    fresh: asyncpg.Connection, name: str
) -> None:
    assert walked_through(await of(fresh, name)) <= WHOLE.get(name, set())


def read_whole(plan: Any) -> set[str]:
    """The growing tables that are read from end to end, by an index too."""
    return walked_through(plan) | walked_by_index(plan[0]["Plan"])


@pytest.mark.parametrize("name", HOT)
async def test_what_is_run_at_each_hop_goes_by_keys(fresh: asyncpg.Connection, name: str) -> None:
    assert read_whole(await of(fresh, name)) == set()


@pytest.mark.parametrize("name", sorted({*HOT} - JOINED))
async def test_it_does_so_too_where_the_tables_were_last_seen_small(
    young: asyncpg.Connection, name: str
) -> None:
    assert read_whole(await of(young, name)) == set()


async def test_what_is_staged_is_never_looked_for_among_all_that_waits(
    fresh: asyncpg.Connection, young: asyncpg.Connection
) -> None:
    for connection in (fresh, young):
        plan = await of(connection, "claim_staged")
        ways = {node.get("Index Name", "") for node in nodes(plan)}
        assert "deliveries_due" not in ways
        assert "deliveries_pkey" in ways
