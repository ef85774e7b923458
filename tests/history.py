"""An app with a past: completed jobs whose events have their places, written by one statement."""

from uuid import UUID

from service.database import Database

WRITE = """
with n as materialized (
    select n, (lpad(to_hex((extract(epoch from now()) * 1000)::bigint - 86400000 + n), 12, '0')
               || '7' || left(md5(n::text), 3) || '8' || substr(md5(n::text), 4, 15))::uuid as id,
           now() - interval '1 day' + n * interval '1 millisecond' as at
    from generate_series(1, $2) as n
),
made as (
    insert into jobs (id, state, version, attempt, app_id, provider, model, input, metadata,
                      deadline_seconds, warnings, upper_bound, late, created_at, posted_at,
                      submitted_at, finished_at)
    select id, 'completed', 3, 1, $1, 'fal', 'm', '{}', '{}', 7200, '[]', false, false, at, at,
           at, at
    from n
),
tried as (insert into attempts (job_id, number) select id, 1 from n),
happened as (
    insert into job_events (job_id, version, now, was, id, attempt, source, at)
    select id, v, case v when 1 then 'queued' when 2 then 'submitting' else 'completed' end,
           case v when 2 then 'queued' when 3 then 'submitting' end,
           case v when 3 then id else gen_random_uuid() end, 1, 'submit', at
    from n, generate_series(1, 3) as v
)
insert into unplaced (job_id, version, at) select id, 3, at from n
"""


async def completed_jobs(db: Database, app: UUID, number: int) -> None:
    """So many jobs, completed a day ago and told to nobody."""
    await db.pool.execute(WRITE, app, number)
    await db.rows("place_events", 60.0)
