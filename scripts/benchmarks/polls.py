"""Jobs that are asked after while callbacks of others come in."""

import asyncio

import asyncpg

PATIENCE_SECONDS = 60.0

_STAGGER = """
update agenda set due_at = now() + make_interval(secs => place / $2::double precision)
from (select id, row_number() over (order by id desc) as place from jobs
      order by id desc limit $1) as last
where agenda.job_id = last.id
"""
_POLLS = "select count(*) from polls where at > now() - make_interval(secs => $1)"
_POLLED = """
select count(*) from jobs where state = 'running'
    and exists (select from polls where polls.job_id = jobs.id and polls.said = 'running')
"""


async def stagger(db: asyncpg.Connection, count: int, per_second: float) -> None:
    """Makes the last `count` jobs due to be asked after from now on, so many a second."""
    await db.execute(_STAGGER, count, per_second)


async def polls_in(db: asyncpg.Connection, seconds: float) -> int:
    """How many polls the last `seconds` saw."""
    return int(await db.fetchval(_POLLS, seconds))


async def all_polled(db: asyncpg.Connection, count: int) -> None:
    """Waits until `count` jobs have been polled, and moved by that. Raises TimeoutError."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await db.fetchval(_POLLED) < count:  # noqa: ASYNC110  another process polls
            await asyncio.sleep(0.05)
