"""How Postgres claims deliveries where an endpoint has a backlog, or a thousand of them fail."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from filled import APP, OTHER_APP
from plan_nodes import rows_met, walked_through
from planned import RUNS
from test_plans import CUSTOM, GENERIC, plan

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


@pytest.mark.parametrize("mode", [CUSTOM, GENERIC])
@pytest.mark.parametrize("enabled", [True, False])
async def test_a_backlog_is_not_met_by_claims_for_others(
    crowd: asyncpg.Connection, enabled: bool, mode: str
) -> None:
    await crowd.execute("update subscriptions set enabled = $1 where id = $2", enabled, APP)
    carried_out = await plan(crowd, "claim_deliveries", RUNS["claim_deliveries"], mode, run=True)
    assert walked_through(carried_out) == set()
    taken = 64 if enabled else 32
    # One of each endpoint, and what is taken a few times over.
    assert rows_met(carried_out, "deliveries") < ENDPOINTS + 10 * taken
    assert rows_met(carried_out, "jobs") <= taken


@pytest.mark.parametrize("mode", [CUSTOM, GENERIC])
async def test_what_is_staged_is_found_by_key(crowd: asyncpg.Connection, mode: str) -> None:
    carried_out = await plan(crowd, "claim_staged", RUNS["claim_staged"], mode, run=True)
    assert walked_through(carried_out) == set()
    assert rows_met(carried_out, "deliveries") < 5
    assert rows_met(carried_out, "failing_endpoints") <= ENDPOINTS
