"""A recovery whose process is killed is carried on by the next one."""

import asyncio
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from history import completed_jobs
from running import environment, running
from scene import SECRETS, make_app, subscribe

from service.database import Database
from service.recover import Recovering

LONG_AGO = datetime.now(UTC) - timedelta(days=400)
# Somebody else is just writing what a line of the second page is to make: its key is taken until
# that is undone.
HELD = """
insert into deliveries (job_id, id, app_id, version, subscription_id, state, next_at, created_at)
select job_id, delivery_id(event_id, $1), app_id, version, $1, 'failed', now(), now()
from feed where place = 1500
"""


@pytest.mark.slow
async def test_a_process_that_is_killed_in_the_middle_leaves_the_rest_to_the_next(
    db: Database, dsn: str, tmp_path: Path
) -> None:
    app = await make_app(db)
    await completed_jobs(db, app, 2500)
    wanted = await subscribe(db, app, "https://a.example", ["job.completed"])
    await db.pool.execute("update subscriptions set enabled = false")
    recovering = Recovering(db, wake=asyncio.Event())
    assert await recovering.ask(None, wanted, since=LONG_AGO, who="key_x") == 2500
    env = environment(DATABASE_URL=dsn, CALLBOARD_SECRETS=",".join(SECRETS), CALLBOARD_PORT="0")
    async with db.pool.acquire() as other:
        under_way = other.transaction()
        await under_way.start()
        await other.execute(HELD, wanted)
        async with running("serve", "--role", "worker", env=env, cwd=str(tmp_path)) as process:
            async with asyncio.timeout(30):
                while not await db.pool.fetchval(  # noqa: ASYNC110  it is in Postgres
                    "select exists (select from pg_locks where not granted)"
                ):
                    await asyncio.sleep(0.02)
            process.send(signal.SIGKILL)
            assert await process.ended() == -signal.SIGKILL
        assert await db.pool.fetchval("select place from recoveries") == 1000
        assert await db.pool.fetchval("select count(*) from deliveries") == 1000
        await db.pool.execute(
            "select pg_terminate_backend(pid) from pg_locks where not granted and pid is not null"
        )
        await under_way.rollback()
    async with running("serve", "--role", "worker", env=env, cwd=str(tmp_path)) as process:
        async with asyncio.timeout(30):
            while await db.pool.fetchval(  # noqa: ASYNC110  it is in Postgres
                "select exists (select from recoveries where done_at is null)"
            ):
                await asyncio.sleep(0.02)
        process.send(signal.SIGTERM)
        assert await process.ended() == 0
    row = await db.pool.fetchrow("select count(*), count(distinct job_id) as jobs from deliveries")
    assert (row["count"], row["jobs"]) == (2500, 2500)
