-- name: place_events
-- Gives places in the feed to the events that have none: one process at a time, all of them at
-- once, a job's by version and else by time. What commits later gets a later place. Empty: another
-- process is at it.
with head as materialized (select one, place from feed_head for update skip locked),
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
select (select count(*) from numbered) as placed from head;
