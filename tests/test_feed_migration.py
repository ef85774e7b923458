"""sql/migrations/0006_feed.sql: the events of before have their app and type afterwards."""

from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest
from own_database import database_before

from service.database import migrate

THIS = "0006_feed"
APP, JOB, GONE = UUID(int=1), UUID(int=2), UUID(int=3)
# A job that was submitted, told to be stuck and failed, and a line of a job that is gone.
PAST = f"""
with app as (
    insert into apps (id, name, default_secret, created_at) values ('{APP}', 'studio', '', now())
),
made as (
    insert into jobs (id, state, version, attempt, app_id, provider, model, input, metadata,
                      deadline_seconds, warnings, upper_bound, late, created_at, finished_at)
    values ('{JOB}', 'failed', 5, 1, '{APP}', 'fal', 'm', '{{}}', '{{}}', 60, '[]', false, false,
            now(), now())
),
happened as (
    insert into job_events (job_id, version, now, was, id, attempt, source, at)
    select '{JOB}', version, past.now, past.was, gen_random_uuid(), 1, past.source, now()
    from (values (1, 'queued', null, 'api'), (2, 'submitting', 'queued', 'submit'),
                 (3, 'submitted', 'submitting', 'submit'), (4, 'submitted', null, 'sweep'),
                 (5, 'failed', 'submitted', 'poll')) as past (version, now, was, source)
)
insert into feed (place, job_id, version, event_id)
values (1, '{JOB}', 3, gen_random_uuid()), (2, '{GONE}', 3, gen_random_uuid()),
       (3, '{JOB}', 4, gen_random_uuid()), (4, '{JOB}', 5, gen_random_uuid())
"""


@pytest.fixture
async def before(server: str) -> AsyncIterator[str]:
    async with database_before(server, THIS, PAST) as url:
        yield url


async def test_the_feed_of_before_has_apps_and_types(before: str) -> None:
    assert THIS in await migrate(before)
    there = await asyncpg.connect(before)
    try:
        rows = await there.fetch("select place, app_id, type from feed order by place")
    finally:
        await there.close()
    assert [tuple(row) for row in rows] == [
        *((1, APP, "job.submitted"), (3, APP, "job.stuck"), (4, APP, "job.failed"))
    ]
