-- name: find_deliveries
-- An app's deliveries (null: everybody's), newest event first, between the ids $2 and $3: of an
-- endpoint, of an event, of a state, where given.
with mine as materialized (
    select id from apps where $1::uuid is null
    union all select $1 where $1 is not null
)
select found.job_id, found.id from mine cross join lateral (
    select job_id, id from deliveries
    where app_id = mine.id and id > $2 and id < $3
      and ($4::uuid is null or subscription_id = $4)
      and ($5::uuid is null or $5 = (select event.id from job_events as event
           where event.job_id = deliveries.job_id and event.version = deliveries.version))
      and ($6::text is null or state = $6)
    order by id desc limit $7
) as found
order by found.id desc limit $7;

-- name: find_failed_deliveries
-- The failed ones among them: few among the many that went well, so by an index of their own.
with mine as materialized (
    select id from apps where $1::uuid is null
    union all select $1 where $1 is not null
)
select found.job_id, found.id from mine cross join lateral (
    select job_id, id from deliveries
    where app_id = mine.id and id > $2 and id < $3 and state = 'failed'
      and ($4::uuid is null or subscription_id = $4)
      and ($5::uuid is null or $5 = (select event.id from job_events as event
           where event.job_id = deliveries.job_id and event.version = deliveries.version))
    order by id desc limit $6
) as found
order by found.id desc limit $6;

-- name: find_pending_deliveries
-- Those that are still to be sent: held at a disabled endpoint ($6), or not.
select deliveries.job_id, deliveries.id
from deliveries left join subscriptions on subscriptions.id = deliveries.subscription_id
where deliveries.state = 'pending' and deliveries.id > $2 and deliveries.id < $3
  and ($1::uuid is null or deliveries.app_id = $1)
  and ($4::uuid is null or deliveries.subscription_id = $4)
  and ($5::uuid is null or $5 = (select event.id from job_events as event
       where event.job_id = deliveries.job_id and event.version = deliveries.version))
  and (subscriptions.enabled is false) = $6::boolean
order by deliveries.id desc limit $7;

-- name: find_deliveries_of_job
-- A job's deliveries, all states; `held` and the other filters as above.
select deliveries.job_id, deliveries.id
from deliveries left join subscriptions on subscriptions.id = deliveries.subscription_id
where deliveries.job_id = $8 and deliveries.id > $2 and deliveries.id < $3
  and ($1::uuid is null or deliveries.app_id = $1)
  and ($4::uuid is null or deliveries.subscription_id = $4)
  and ($5::uuid is null or $5 = (select event.id from job_events as event
       where event.job_id = deliveries.job_id and event.version = deliveries.version))
  and ($6::text is null or $6 = case when deliveries.state = 'pending'
       and subscriptions.enabled is false then 'held' else deliveries.state end)
order by deliveries.id desc limit $7;

-- name: show_deliveries
-- What there is to tell of these, newest event first.
select shown.* from unnest($1::uuid[], $2::uuid[]) as key (job_id, id), lateral (
    select deliveries.job_id, deliveries.id, deliveries.subscription_id, deliveries.next_at,
           deliveries.created_at, event.id as event_id,
           'job.' || case when event.was is null then 'stuck' else event.now end as type,
           case when deliveries.state = 'pending' and subscriptions.enabled is false then 'held'
               else deliveries.state end as state,
           case when deliveries.subscription_id is null then jobs.notify_hook
               else subscriptions.url end as url
    from deliveries
    join jobs on jobs.id = deliveries.job_id
    join job_events as event
        on event.job_id = deliveries.job_id and event.version = deliveries.version
    left join subscriptions on subscriptions.id = deliveries.subscription_id
    where deliveries.job_id = key.job_id and deliveries.id = key.id
    offset 0 -- one by one, by index
) as shown
order by shown.id desc;

-- name: show_tries
-- The last $3 tries of each of these, in the order in which they were made.
select tries.* from unnest($1::uuid[], $2::uuid[]) as key (job_id, id)
cross join lateral (
    select delivery_id, number, at, status, duration_ms, error, response from delivery_tries
    where delivery_tries.job_id = key.job_id and delivery_id = key.id
    order by number desc limit $3
) as tries
order by tries.delivery_id, tries.number;

-- name: resend_delivery
-- Sends it again, whether or not it was acknowledged: at once, unless a try is under way, and by the
-- schedule from its beginning. The act is kept under the id $3. Empty: its endpoint is gone.
with clock as materialized (select now() as at),
locked as materialized (
    select deliveries.job_id, deliveries.id, version,
           state = 'pending' and lease_until > clock.at as under_way
    from deliveries, clock
    where job_id = $1 and deliveries.id = $2 and (subscription_id is null
        or exists (select from subscriptions where subscriptions.id = subscription_id))
    for update of deliveries
),
again as (
    update deliveries set state = 'pending', past_tries = tries,
        next_at = case when locked.under_way then next_at else clock.at end
    from locked, clock where deliveries.job_id = locked.job_id and deliveries.id = locked.id
),
kept as (
    insert into operator_actions (job_id, id, attempt, act, who, detail, at)
    select locked.job_id, $3::uuid, event.attempt, 'resend', $4::text,
           json_build_object('delivery', 'dlv_' || replace(locked.id::text, '-', '')), clock.at
    from clock, locked join job_events as event
        on event.job_id = locked.job_id and event.version = locked.version
    on conflict do nothing
)
select id from locked;
