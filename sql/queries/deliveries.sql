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
        next_at = clock.at + make_interval(secs => $2::double precision)
    from clock
    where deliveries.job_id = any (array(select job_id from due))
      and deliveries.id = any (array(select id from due))
    returning deliveries.job_id, deliveries.id as delivery_id, deliveries.version as told_version,
              deliveries.subscription_id, deliveries.tries, deliveries.lease
)
select claimed.delivery_id, claimed.subscription_id, claimed.tries, claimed.lease,
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
-- Empty: the lease ended meanwhile, and another process has it.
with clock as materialized (select now() as at),
done as (
    update deliveries set state = $4, tries = tries + 1,
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
