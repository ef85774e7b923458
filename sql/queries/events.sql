-- name: place_events
-- Gives places in the feed to the events that have none: one process at a time, all of them at
-- once, a job's by version and else by time. What commits later gets a later place. It also stages
-- what subscriptions wanted while the event's own statement could not see that. `busy`: another
-- process is at it, or a subscription was marked after this statement had begun. `read`: somebody
-- reads the feed, or did in the last $1 seconds. Where there is nothing to place nothing is locked,
-- or written.
with waiting as materialized (select exists (select from unplaced) as any),
known as materialized (select marks from feed_head),
locked as materialized (
    select one, place, marks, told_at from feed_head where (select waiting.any from waiting)
    for update skip locked
),
head as materialized (
    select one, place, told_at from locked where marks = (select marks from known)
),
taken as (
    delete from unplaced using head
    returning unplaced.job_id, unplaced.version, unplaced.at, unplaced.xact, unplaced.seen
),
latest as materialized (select max(at) as at from taken),
timed as (
    insert into feed_times (minute, place)
    select date_trunc('minute', latest.at), head.place from head, latest
    where head.told_at < date_trunc('minute', latest.at)
    on conflict do nothing
),
lined_up as (
    select job_id, version, max(at) over (partition by job_id order by version) as at from taken
),
numbered as materialized (
    select job_id, version, row_number() over (order by at, job_id, version) as n from lined_up
),
placed as (
    insert into feed (place, job_id, version, event_id, app_id, type)
    select head.place + n, numbered.job_id, numbered.version, event.id, event.app_id, event.type
    from head, numbered, lateral (
        select job_events.id, jobs.app_id,
               'job.' || case when was is null then 'stuck' else now end as type
        from job_events join jobs on jobs.id = job_events.job_id
        where job_events.job_id = numbered.job_id and job_events.version = numbered.version
        offset 0 -- one by one, by index, whatever the statistics say of `unplaced`
    ) as event
    returning job_id, version, event_id, app_id, type
),
moved as (
    update feed_head set place = feed_head.place + (select count(*) from numbered),
        told_at = greatest(feed_head.told_at, latest.at)
    from head, latest where feed_head.one = head.one and latest.at is not null
),
late as materialized ( -- none, but for a moment after a subscription was marked
    select * from taken
    where seen <= (select marked from subscriptions order by marked desc limit 1)
),
missed as materialized (
    select late.*, placed.event_id as id, placed.app_id, placed.type
    from late join placed on placed.job_id = late.job_id and placed.version = late.version
),
staged as (
    insert into deliveries (job_id, id, app_id, version, subscription_id, state, next_at,
                            created_at)
    select missed.job_id, delivery_id(missed.id, target.id), missed.app_id, missed.version,
           target.id, 'pending', clock.at, clock.at
    from (select now() as at) as clock, missed
    join subscriptions as target
        on target.app_id = missed.app_id and missed.type = any (target.events)
    where target.marked >= missed.seen
      and (not pg_visible_in_snapshot(missed.xact, target.marked_after)
           or missed.at >= target.marked_since)
    on conflict do nothing
)
select waiting.any and not exists (select from head) as busy,
       (select count(*) from numbered) as placed,
       (select at > clock.at - make_interval(secs => $1::double precision) from feed_read) as read
from waiting, (select now() as at) as clock;

-- name: announce_events
-- Says that something was placed, to whoever listens; in a transaction of its own, since one that
-- also writes would make every such commit wait for the others.
select pg_notify('callboard_feed', '');

-- name: hint
-- Says to other processes what there is to do ($1: one of Wakes' kinds); alone, as above.
select pg_notify('callboard_work', $1);

-- name: tell_stuck
-- Tells once, as an event of its own, that the job is overdue: it moves nowhere. Empty: it was
-- told, or has moved on.
with clock as materialized (
    select now() as at, pg_snapshot_xmin(pg_current_snapshot()) as seen
),
told as (
    update jobs set told_stuck_at = clock.at, version = version + 1
    from clock
    where id = $1 and version = $2 and told_stuck_at is null
      and state in ('unconfirmed', 'submitted', 'running')
    returning id, version, state, attempt, app_id, error, clock.at
),
on_agenda as (
    update agenda set told_stuck_at = told.at, version = told.version
    from told where agenda.job_id = told.id
),
recorded as (
    insert into job_events (job_id, version, now, was, id, attempt, source, detail, at)
    select id, version, state, null, $3::uuid, attempt, 'sweep', error, at from told
),
queued_for_feed as (
    insert into unplaced (job_id, version, at, xact, seen)
    select id, version, told.at, pg_current_xact_id(), clock.seen from told, clock
),
staged as (
    insert into deliveries (job_id, id, app_id, version, subscription_id, state, next_at,
                            created_at)
    select told.id, delivery_id($3::uuid, target.id), told.app_id, told.version, target.id,
           'pending', told.at, told.at
    from told
    join subscriptions as target
        on target.app_id = told.app_id and 'job.stuck' = any (target.events)
    returning job_id
)
select version, exists (select from staged) as staged from told;
