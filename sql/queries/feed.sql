-- name: feed_head
-- The last place there is.
select place from feed_head;

-- name: note_reading
-- Somebody reads the feed just now; said again after $1 seconds at the earliest.
with clock as (select now() as at)
update feed_read set at = clock.at from clock
where feed_read.at < clock.at - make_interval(secs => $1::double precision);

-- name: feed_after
-- What comes after the place $1, whosesoever.
select place, event_id, job_id, app_id, type from feed where place > $1 order by place limit $2;

-- name: feed_of_app
-- An app's events of these types, after the place $3 and up to $4. Rows are compared whole, so that
-- only the index on them serves: by place alone, or by type, other apps' events would be met.
select line.* from unnest($2::text[]) as wanted (type)
cross join lateral (
    select place, event_id, job_id, app_id, feed.type from feed
    where (app_id, feed.type, place) > ($1, wanted.type, $3)
      and (app_id, feed.type, place) <= ($1, wanted.type, $4)
    order by app_id, feed.type, place limit $5
) as line
order by line.place limit $5;

-- name: feed_of_all
-- Every app's of these types, after the place $2 and up to $3.
select line.* from unnest($1::text[]) as wanted (type)
cross join lateral (
    select place, event_id, job_id, app_id, feed.type from feed
    where (feed.type, place) > (wanted.type, $2) and (feed.type, place) <= (wanted.type, $3)
    order by feed.type, place limit $4
) as line
order by line.place limit $4;

-- name: feed_of_job
-- A job's events of these types, after the place $3 and up to $4.
select line.* from job_events
cross join lateral (
    select place, event_id, job_id, app_id, type from feed where event_id = job_events.id
    offset 0 -- each by its event, not by walking the feed
) as line
where job_events.job_id = $1 and line.type = any ($2::text[]) and line.place > $3
  and line.place <= $4
order by line.place limit $5;

-- name: last_of_app
-- An app's last event up to the place $3; all types are in $2. Empty: it has none.
select line.event_id from unnest($2::text[]) as known (type)
cross join lateral (
    select place, event_id from feed
    where (app_id, feed.type, place) > ($1, known.type, 0)
      and (app_id, feed.type, place) <= ($1, known.type, $3)
    order by app_id desc, feed.type desc, place desc limit 1
) as line
order by line.place desc limit 1;

-- name: last_of_all
-- Everybody's last event up to the place $1. Empty: there is none.
select event_id from feed where place <= $1 order by place desc limit 1;

-- name: find_in_feed
-- Where an event stands in the feed. Empty: nowhere, or nowhere yet.
select place, event_id, job_id, app_id, type from feed where event_id = $1;

-- name: find_unplaced
-- Whether an event waits for its place.
select exists (
    select from unplaced cross join lateral (
        select id from job_events
        where job_events.job_id = unplaced.job_id and job_events.version = unplaced.version
        offset 0
    ) as event
    where event.id = $1
) as waits;

-- name: events_at
-- All that the events at these places tell.
select feed.place, told.* from feed cross join lateral (
    select * from events_told
    where events_told.id = feed.job_id and event_version = feed.version
    offset 0 -- one by one, by key
) as told
where feed.place = any ($1::bigint[]) order by feed.place;

-- name: job_is_told
-- Whether the job stands at an end that has its place, up to $2: nothing more comes, unless it is
-- run anew or a late success follows.
select jobs.state in ('completed', 'failed', 'canceled', 'expired') and coalesce(
    (select feed.place <= $2 from job_events join feed on feed.event_id = job_events.id
     where job_events.job_id = jobs.id and job_events.version = jobs.version), false) as told
from jobs where id = $1;
