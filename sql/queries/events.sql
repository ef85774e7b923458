-- name: place_events
-- Gives places in the feed to the events that have none: one process at a time, all of them at
-- once, a job's by version and else by time. What commits later gets a later place. `busy`: another
-- process is at it. Where there is nothing to place nothing is locked, or written.
with waiting as materialized (select exists (select from unplaced) as any),
head as materialized (
    select one, place from feed_head where (select waiting.any from waiting)
    for update skip locked
),
taken as (
    delete from unplaced using head
    returning unplaced.job_id, unplaced.version, unplaced.at
),
lined_up as (
    select job_id, version, max(at) over (partition by job_id order by version) as at from taken
),
numbered as materialized (
    select job_id, version, row_number() over (order by at, job_id, version) as n from lined_up
),
placed as (
    insert into feed (place, job_id, version, event_id)
    select head.place + n, numbered.job_id, numbered.version,
           (select id from job_events where job_events.job_id = numbered.job_id
            and job_events.version = numbered.version)
    from head, numbered
),
moved as (
    update feed_head set place = feed_head.place + (select count(*) from numbered)
    from head where feed_head.one = head.one and exists (select from numbered)
)
select waiting.any and not exists (select from head) as busy from waiting;

-- name: tell_stuck
-- Tells once, as an event of its own, that the job is overdue: it moves nowhere. Empty: it was
-- told, or has moved on.
with clock as materialized (select now() as at),
told as (
    update jobs set told_stuck_at = clock.at, version = version + 1
    from clock
    where id = $1 and version = $2 and told_stuck_at is null
      and state in ('unconfirmed', 'submitted', 'running')
    returning id, version, state, attempt, app_id, error, clock.at
),
recorded as (
    insert into job_events (job_id, version, now, was, id, attempt, source, detail, at)
    select id, version, state, null, $3::uuid, attempt, 'sweep', error, at from told
),
queued_for_feed as (
    insert into unplaced (job_id, version, at) select id, version, at from told
),
staged as (
    insert into deliveries (job_id, id, version, subscription_id, state, next_at, created_at)
    select told.id, (left(event.hex, 13) || left(hash.hex, 3) || '8' || substr(hash.hex, 4, 13)
               || right(event.hex, 2))::uuid, -- as `advance` makes them
           told.version, target.id, 'pending', told.at, told.at
    from told
    join subscriptions as target
        on target.app_id = told.app_id and 'job.stuck' = any (target.events)
    cross join lateral (select replace($3::uuid::text, '-', '') as hex) as event
    cross join lateral (select md5(event.hex || target.id::text) as hex) as hash
    on conflict do nothing
    returning job_id
)
select version, exists (select from staged) as staged from told;
