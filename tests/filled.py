"""A database as it is after months: 50,000 jobs, most of them ended, written by one statement."""

import asyncpg

APP = "00000000-0000-7000-8000-000000000001"
OTHER_APP = "00000000-0000-7000-8000-000000000002"
JOBS = 50_000
# 30,000 have ended, six of them badly, 10,000 wait to be submitted, 10,000 are with the provider;
# five of each of the open kinds are due, and so are five of 20,005 deliveries; five of them have
# failed.
ID = """(lpad(to_hex(1700000000000 + n * 1000), 12, '0') || '7' || left(md5({0}), 3) || '8'
        || substr(md5({0}), 4, 15))::uuid"""
FILL = f"""
with n as materialized (
    select n, {ID.format("n::text")} as id,
           timestamptz '2023-11-14' + n * interval '1 second' as at,
           case when n <= 30000 and n % 5000 = 0 then 'failed' when n <= 30000 then 'completed'
               when n <= 40000 then 'queued' else 'submitted' end as state,
           case when n <= 30000 then 3 when n <= 40000 then 1 else 3 end as version
    from generate_series(1, {JOBS}, $1::integer) as n
),
made as (
    insert into jobs (id, state, version, attempt, app_id, provider, model, input, reference,
                      metadata, deadline_seconds, warnings, upper_bound, late, created_at,
                      posted_at, submitted_at, finished_at)
    select id, state, version, 1, case when n % 10 = 0 then '{OTHER_APP}' else '{APP}' end::uuid,
           'fal', 'model-' || n % 20, '{{"prompt": "a paper boat"}}', 'order-' || n,
           json_build_object('user', n % 1000)::jsonb, 1e9, '[]', false, false, at,
           case when n > 30000 and n <= 40000 then null else at end,
           case when n > 30000 and n <= 40000 then null else at end,
           case when n <= 30000 then at end
    from n
),
tried as (
    insert into attempts (job_id, number, provider_id) select id, 1, 'req-' || n from n
),
happened as (
    insert into job_events (job_id, version, now, was, id, attempt, source, at)
    select id, v, case v when 1 then 'queued' when 2 then 'submitting' else state end,
           case v when 2 then 'queued' when 3 then 'submitting' end, gen_random_uuid(), 1,
           case v when 1 then 'api' else 'submit' end, at
    from n, generate_series(1, 3) as v where v <= version
),
left_to_do as (
    insert into agenda (job_id, task, provider, due_at, overdue_at, state, version, attempt, model,
                        deadline_seconds, posted_at, provider_id)
    select id, case state when 'queued' then 'submit' else 'poll' end, 'fal',
           now() + case when n % 10000 < 5 then - interval '1 minute' else interval '1 day' end,
           case when n > 40000 then at + make_interval(secs => 1e9) end, state, version, 1,
           'model-' || n % 20, 1e9, case when n > 40000 then at end, 'req-' || n
    from n where n > 30000
),
called as (
    insert into callbacks (id, provider, job_id, attempt, received_at, verdict, reason, address,
                           headers, body, provider_id)
    select {ID.format("'call' || n")}, 'fal', id, 1, at, 'accepted', null, '192.0.2.7',
           '{{}}'::json, '{{}}'::bytea, null from n where n <= 30000
    union all -- a call in a hundred is refused, and a few wait for their job
    select {ID.format("'refused' || n")}, 'fal', case when n % 200 = 0 then id end, null, at,
           'refused', 'expired', '192.0.2.7', '{{}}', '{{}}', null from n where n % 100 = 0
    union all
    select {ID.format("'waiting' || n")}, 'fal', null, null, at, 'ignored', 'unknown_job',
           '192.0.2.7', '{{}}', '{{}}', 'req-of-nobody-' || n from n where n % 2000 = 0
),
asked as (
    insert into polls (job_id, id, attempt, at, duration_ms, said)
    select id, gen_random_uuid(), 1, at, 5, 'running' from n where n <= 20000
),
acted as (
    insert into operator_actions (job_id, id, attempt, act, who, detail, at)
    select id, gen_random_uuid(), 1, 'resync', 'key_1', '{{}}', at from n where n <= 20000
),
staged as (
    insert into deliveries (job_id, id, app_id, version, subscription_id, state, tries, next_at,
                            created_at)
    select id, id, case when n % 10 = 0 then '{OTHER_APP}' else '{APP}' end::uuid, 3, '{APP}',
           case when n > 20000 then 'pending' when n % 4000 = 7 then 'failed' else 'succeeded' end,
           1, at, at
    from n where n <= 20005
),
sent as (
    insert into delivery_tries (job_id, delivery_id, number, at, status, duration_ms, response)
    select id, id, 1, at, 200, 5, '' from n where n <= 20000
),
placed as (
    insert into feed (place, job_id, version, event_id, app_id, type)
    select n, id, 3, gen_random_uuid(),
           case when n % 10 = 0 then '{OTHER_APP}' else '{APP}' end::uuid,
           case when n % 1000 = 0 then 'job.failed' else 'job.completed' end
    from n where n <= 30000
),
unplaced_yet as (
    insert into unplaced (job_id, version, at) select id, 3, at from n where n > {JOBS} - 20
)
insert into idempotency_keys (app_id, key, job_id, fingerprint, created_at)
select '{APP}', 'key-' || n, id, '', at from n
"""
APPS = f"""
with app as (
    insert into apps (id, name, default_secret, created_at)
    values ('{APP}', 'studio', '', now()), ('{OTHER_APP}', 'other', '', now())
),
key as (
    insert into api_keys (id, app_id, digest, scopes, all_apps, created_at)
    select gen_random_uuid(), '{APP}', sha256(n::text::bytea), '{{read}}', false, now()
    from generate_series(1, 2000) as n
)
insert into subscriptions (id, app_id, url, events, secret, headers, enabled, created_at)
select case n when 1 then '{APP}'::uuid else gen_random_uuid() end,
       case when n % 100 = 1 then '{APP}' else '{OTHER_APP}' end::uuid,
       'https://app.example/', '{{job.completed}}', '', '', true, now()
from generate_series(1, 2000) as n
"""


async def fill(connection: asyncpg.Connection, *, every: int = 1) -> None:
    """Fills a migrated, empty database, with one in `every` so many of its jobs, and tells the
    planner what is in it."""
    await connection.execute(APPS)
    await connection.execute(FILL, every)
    await connection.execute("update feed_head set place = 30000")
    await connection.execute("analyze")
