-- name: claim_deliveries
-- Leases deliveries that are due, with all that their event tells. A disabled endpoint's wait; one
-- whose subscription is gone is claimed, without a url, so that it can be closed.
with clock as materialized (select now() as at),
due as (
    select deliveries.job_id, deliveries.id
    from deliveries left join subscriptions on subscriptions.id = deliveries.subscription_id
    where deliveries.state = 'pending' and deliveries.next_at <= (select at from clock)
      and (deliveries.subscription_id is null or subscriptions.id is null
           or subscriptions.enabled)
    order by deliveries.next_at limit $1 for update of deliveries skip locked
),
claimed as (
    update deliveries set lease = lease + 1,
        next_at = clock.at + make_interval(secs => $2::double precision),
        lease_until = clock.at + make_interval(secs => $2::double precision)
    from clock
    where deliveries.job_id = any (array(select job_id from due))
      and deliveries.id = any (array(select id from due))
    returning deliveries.job_id, deliveries.id as delivery_id, deliveries.version as told_version,
              deliveries.subscription_id, deliveries.tries, deliveries.past_tries,
              deliveries.lease, clock.at as claimed_at
)
select claimed.delivery_id, claimed.subscription_id, claimed.tries, claimed.past_tries,
       claimed.lease,
       event.id as event_id, event.now as event_now, event.was as event_was,
       event.version as event_version, event.attempt as event_attempt, event.at as event_at,
       event.source as event_source, event.detail as event_detail,
       (select min(at) from job_events as first where first.job_id = claimed.job_id
            and first.attempt = event.attempt and first.now in ('submitted', 'running', 'completed'))
           as event_submitted_at,
       case when claimed.subscription_id is null then jobs.notify_hook else subscriptions.url end
           as url,
       case when claimed.subscription_id is null then apps.default_secret
           else subscriptions.secret end as secret,
       array(select former.secret from former_secrets as former
             where former.subscription_id = claimed.subscription_id
               and former.valid_until > claimed.claimed_at order by former.id desc)
           as former_secrets,
       subscriptions.headers, jobs.*, attempts.provider_id, attempts.output, attempts.outputs,
       attempts.actual, event.was is null as stuck
from claimed
join jobs on jobs.id = claimed.job_id
join apps on apps.id = jobs.app_id
join job_events as event on event.job_id = claimed.job_id and event.version = claimed.told_version
join attempts on attempts.job_id = claimed.job_id and attempts.number = event.attempt
left join subscriptions on subscriptions.id = claimed.subscription_id;

-- name: finish_delivery
-- Records a try and what follows: succeeded, failed for good, or pending again after $9 seconds.
-- One whose schedule has begun anew meanwhile ($11) goes on all the same. Empty: the lease ended
-- meanwhile, and another process has it.
with clock as materialized (select now() as at),
done as (
    update deliveries set tries = tries + 1, lease_until = null,
        state = case when $4 = 'failed' and past_tries > $11::integer then 'pending' else $4 end,
        next_at = clock.at + make_interval(secs => $9::double precision)
    from clock where job_id = $1 and id = $2 and lease = $3 and state = 'pending'
    returning job_id, id, tries, subscription_id, clock.at
),
tried as (
    insert into delivery_tries (job_id, delivery_id, number, at, status, duration_ms, error,
                                response)
    select job_id, id, tries, at, $5::integer, $6::integer, $7::text, $8::bytea from done
),
disabled as (
    update subscriptions set enabled = false, disabled_reason = $10
    from done where subscriptions.id = done.subscription_id and $10::text is not null
)
select tries from done;

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
      and ($5::uuid is null or exists (select from job_events as event
           where event.job_id = deliveries.job_id and event.version = deliveries.version
             and event.id = $5))
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
      and ($5::uuid is null or exists (select from job_events as event
           where event.job_id = deliveries.job_id and event.version = deliveries.version
             and event.id = $5))
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
  and ($5::uuid is null or exists (select from job_events as event
       where event.job_id = deliveries.job_id and event.version = deliveries.version
         and event.id = $5))
  and (subscriptions.enabled is false) = $6::boolean
order by deliveries.id desc limit $7;

-- name: find_deliveries_of_job
-- A job's deliveries, all states; `held` and the other filters as above.
select deliveries.job_id, deliveries.id
from deliveries left join subscriptions on subscriptions.id = deliveries.subscription_id
where deliveries.job_id = $8 and deliveries.id > $2 and deliveries.id < $3
  and ($1::uuid is null or deliveries.app_id = $1)
  and ($4::uuid is null or deliveries.subscription_id = $4)
  and ($5::uuid is null or exists (select from job_events as event
       where event.job_id = deliveries.job_id and event.version = deliveries.version
         and event.id = $5))
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
