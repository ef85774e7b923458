-- name: claim_deliveries
-- Leases deliveries that are due, with all that their event tells: up to $1, each endpoint's oldest
-- first, and every endpoint's first before any endpoint's second. An endpoint has $5 places, one
-- whose last try failed $6, less those that are taken ($3, $4); all that fail together have $7. A
-- disabled endpoint's are passed over; one whose subscription is gone is claimed, without a url, so
-- that it can be closed.
with clock as materialized ( -- a lease that a crash forgets is only a try made again
    select now() as at from set_config('synchronous_commit', 'off', true)
),
taken as materialized (
    select * from unnest($3::uuid[], $4::integer[]) as taken (endpoint, places)
),
open as materialized (
    select line.endpoint, failing,
           least($1::integer, case when failing then $6::integer else $5::integer end
               - coalesce((select places from taken where taken.endpoint = line.endpoint), 0))
               as places
    from endpoints_at_hand as line cross join lateral (
        select exists (select from failing_endpoints
                       where failing_endpoints.endpoint = line.endpoint) as failing
    ) as health
    where line.next_at <= (select at from clock)
      and coalesce((select enabled from subscriptions where id = line.endpoint), true)
),
waiting as (
    select endpoint, failing, next_at, row_number() over (partition by endpoint order by next_at)
           as n
    from open cross join lateral (
        select next_at from deliveries
        where deliveries.endpoint = open.endpoint and state = 'pending'
          and next_at <= (select at from clock)
        order by next_at limit greatest(0, open.places)
    ) as turn
),
chosen as materialized (
    select endpoint, failing, count(*) as places from (
        select endpoint, failing from (
            select endpoint, failing, n, next_at,
                   row_number() over (partition by failing order by n, next_at) as place
            from waiting
        ) as ranked
        where not failing or place <= $7::integer
        order by n, next_at limit $1::integer
    ) as first
    group by endpoint, failing
),
due as materialized (
    select job_id, id, failing from chosen cross join lateral (
        select job_id, id from deliveries
        where deliveries.endpoint = chosen.endpoint and state = 'pending'
          and next_at <= (select at from clock)
        order by next_at limit chosen.places for update skip locked
    ) as turn
),
claimed as (
    update deliveries set lease = lease + 1,
        next_at = clock.at + make_interval(secs => $2::double precision),
        lease_until = clock.at + make_interval(secs => $2::double precision)
    from clock
    where deliveries.job_id = any (array(select job_id from due)) -- by key, whatever the plan
      and deliveries.id = any (array(select id from due))
    returning deliveries.job_id, deliveries.id, deliveries.tries, deliveries.past_tries,
              deliveries.lease
)
select claimed.tries, claimed.past_tries, claimed.lease,
       (select failing from due where due.id = claimed.id) as failing, told.*
from claimed cross join lateral (
    select * from deliveries_told
    where deliveries_told.id = claimed.job_id and delivery_id = claimed.id
    offset 0 -- one by one, by key, whatever the plan
) as told;

-- name: claim_staged
-- Leases what has just been staged for the jobs $1, by key, for whoever staged it: up to $2 to
-- endpoints that are open, do not fail and have room of $4, less what is taken ($5, $6). What it
-- leaves is for `claim_deliveries`.
with due as materialized (
    select job_id, id, row_number() over (partition by endpoint order by id)
               + coalesce((select places from unnest($5::uuid[], $6::integer[])
                           as taken (endpoint, places) where taken.endpoint = found.endpoint), 0)
               <= $4::integer as fits
    from (
        select job_id, id, endpoint from deliveries
        where job_id = any ($1::uuid[]) and tries = 0 and next_at <= now()
          and state not in ('succeeded', 'failed') -- 'pending' has an index, of all that wait
          and not exists (select from failing_endpoints
                          where failing_endpoints.endpoint = deliveries.endpoint)
          and coalesce((select enabled from subscriptions where id = subscription_id), true)
        limit $2 for update skip locked
    ) as found
),
claimed as ( -- a lease that a crash forgets is only a try made again
    update deliveries set lease = lease + 1,
        next_at = now() + make_interval(secs => $3::double precision),
        lease_until = now() + make_interval(secs => $3::double precision)
    from set_config('synchronous_commit', 'off', true)
    where deliveries.job_id = any (array(select job_id from due where fits))
      and deliveries.id = any (array(select id from due where fits))
    returning deliveries.job_id, deliveries.id, deliveries.tries, deliveries.past_tries,
              deliveries.lease
)
select claimed.tries, claimed.past_tries, claimed.lease, false as failing, told.*
from claimed cross join lateral (
    select * from deliveries_told
    where deliveries_told.id = claimed.job_id and delivery_id = claimed.id
    offset 0 -- one by one, by key, whatever the plan
) as told;

-- name: finish_deliveries
-- Records tries and what follows each: succeeded, failed for good, or pending again after so many
-- seconds. One whose schedule has begun anew since its claim ($11) goes on all the same, and so does
-- what a disabled endpoint holds. An endpoint fails from its first failed try to the next that goes
-- well; one that has failed for $12 seconds, or said that it is `gone`, is disabled. One row comes
-- back per item; `state` null: the lease ended meanwhile, and another process has it, or this was
-- recorded before.
with clock as materialized (
    select now() as at, to_char(now() at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"') as minute
),
item as materialized (
    select * from unnest(
        $1::uuid[], $2::uuid[], $3::integer[], $4::text[], $5::integer[], $6::integer[],
        $7::text[], $8::bytea[], $9::double precision[], $10::boolean[], $11::integer[]
    ) with ordinality as item (
        job_id, id, lease, state, status, duration_ms, error, response, again_in, gone, past_tries,
        n)
),
locked as materialized ( -- in the order of their keys, as in every other process
    select item.*, deliveries.endpoint, deliveries.subscription_id,
           deliveries.past_tries > item.past_tries as anew
    from item join deliveries on deliveries.job_id = item.job_id and deliveries.id = item.id
    where deliveries.job_id = any ($1::uuid[]) and deliveries.id = any ($2::uuid[])
      and deliveries.lease = item.lease
      and deliveries.state not in ('succeeded', 'failed') -- 'pending' has an index, which is longer
    order by deliveries.job_id, deliveries.id for update of deliveries
),
heard as materialized ( -- `enabled` is null of a job's own hook, and where the subscription is gone
    select tried.*, failing.since,
           (select enabled from subscriptions where subscriptions.id = subscription_id) as enabled
    from (
        select endpoint, subscription_id, bool_or(gone) as gone, bool_or(state = 'succeeded') as well
        from locked group by endpoint, subscription_id
    ) as tried
    left join failing_endpoints as failing on failing.endpoint = tried.endpoint
),
judged as materialized (
    select heard.*, case when enabled is not true then null
               when gone then 'the endpoint answered 410 Gone at ' || clock.minute
               when not well and since <= clock.at - make_interval(secs => $12::double precision)
                   then 'the endpoint had failed for days at ' || clock.minute
               end as reason
    from heard, clock
),
done as (
    update deliveries set tries = tries + 1, lease = deliveries.lease + 1, lease_until = null,
        state = case when locked.state = 'failed' and (locked.anew or judged.reason is not null
            or judged.enabled is false) then 'pending' else locked.state end,
        next_at = clock.at + make_interval(secs => locked.again_in)
    from locked, judged, clock
    where deliveries.job_id = any ($1::uuid[]) and deliveries.id = any ($2::uuid[])
      and deliveries.job_id = locked.job_id and deliveries.id = locked.id
      and judged.endpoint = locked.endpoint
    returning deliveries.job_id, deliveries.id, deliveries.tries, deliveries.state, locked.n
),
tried as (
    insert into delivery_tries (job_id, delivery_id, number, at, status, duration_ms, error,
                                response)
    select done.job_id, done.id, done.tries, clock.at, status, duration_ms, error, response
    from done join item on item.n = done.n cross join clock
),
disabled as (
    update subscriptions set enabled = false, disabled_reason = judged.reason
    from judged where subscriptions.id = judged.subscription_id and judged.reason is not null
      and subscriptions.enabled
),
failing as (
    insert into failing_endpoints (endpoint, since)
    select endpoint, clock.at from judged, clock
    where not well and since is null and (enabled or subscription_id is null) order by endpoint
    on conflict do nothing
),
ended as (
    delete from failing_endpoints where endpoint in (
        select endpoint from failing_endpoints where endpoint = any (array(
            select endpoint from judged where since is not null and well))
        order by endpoint for update)
)
select done.state, done.tries from item left join done on done.n = item.n order by item.n;
