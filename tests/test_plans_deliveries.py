"""How Postgres claims deliveries where an endpoint has a backlog, or a thousand of them fail."""

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from filled import APP, OTHER_APP
from test_plans import CUSTOM, GENERIC, RUNS, past, walked_through

from service.database import load_queries

__all__ = ["past"]  # the fixture
QUERIES = load_queries()
ENDPOINTS = 1000
# The filled database's deliveries, all of them due at one endpoint but for the last thousand, which
# are another one's, and 1,000 endpoints that fail and have one each that is not due yet.
CROWD = f"""
with last as (select id from deliveries order by id desc limit 1000),
crowd as (
    insert into failing_endpoints
    select id, now() from (
        select id from subscriptions where id <> '{APP}' order by id limit {ENDPOINTS}
    ) as picked returning endpoint
),
numbered as (select endpoint, row_number() over (order by endpoint) as n from crowd),
waiting as (
    insert into deliveries (job_id, id, app_id, version, subscription_id, state, next_at,
                            created_at)
    select job_id, gen_random_uuid(), '{APP}', version, endpoint, 'pending',
           now() + interval '1 day', now()
    from numbered join (select job_id, version, row_number() over () as n from deliveries
                        limit {ENDPOINTS}) as picked using (n)
)
update deliveries set state = 'pending', next_at = created_at,
    subscription_id = case when id in (select id from last) then '{OTHER_APP}'::uuid
        else '{APP}'::uuid end
"""


@pytest.fixture
async def crowd(past: asyncpg.Connection) -> AsyncIterator[asyncpg.Connection]:
    undo = past.transaction()
    await undo.start()
    await past.execute(CROWD)
    await past.execute("analyze deliveries")
    await past.execute("analyze failing_endpoints")
    yield past
    await undo.rollback()


async def run(past: asyncpg.Connection, name: str, mode: str) -> Any:
    """The plan of a query that is carried out, with the rows that each of its parts met."""
    types = ", ".join(one.name for one in (await past.prepare(QUERIES[name])).get_parameters())
    await past.execute(f"set plan_cache_mode = {mode}")
    await past.execute(f"prepare one ({types}) as {QUERIES[name]}")
    try:
        values = ", ".join(RUNS[name])
        return json.loads(
            await past.fetchval(f"explain (analyze, format json) execute one({values})")
        )
    finally:
        await past.execute("deallocate one")


def met(node: Any, table: str) -> float:
    """The rows of a table that were read, those too that were then left."""
    if isinstance(node, list):
        return sum(met(one, table) for one in node)
    if not isinstance(node, dict):
        return 0
    rows = 0.0
    if node.get("Relation Name") == table and "Scan" in node["Node Type"]:
        read = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        rows = read * node["Actual Loops"]
    return rows + sum(met(one, table) for one in node.values())


@pytest.mark.parametrize("mode", [CUSTOM, GENERIC])
@pytest.mark.parametrize("enabled", [True, False])
async def test_a_backlog_is_not_met_by_claims_for_others(
    crowd: asyncpg.Connection, enabled: bool, mode: str
) -> None:
    await crowd.execute("update subscriptions set enabled = $1 where id = $2", enabled, APP)
    carried_out = await run(crowd, "claim_deliveries", mode)
    assert walked_through(carried_out) == set()
    taken = 64 if enabled else 32
    # One of each endpoint, and what is taken a few times over.
    assert met(carried_out, "deliveries") < ENDPOINTS + 10 * taken
    assert met(carried_out, "jobs") <= taken


@pytest.mark.parametrize("mode", [CUSTOM, GENERIC])
async def test_what_is_staged_is_found_by_key(crowd: asyncpg.Connection, mode: str) -> None:
    carried_out = await run(crowd, "claim_staged", mode)
    assert walked_through(carried_out) == set()
    assert met(carried_out, "deliveries") < 5
    assert met(carried_out, "failing_endpoints") <= ENDPOINTS
