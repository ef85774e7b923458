-- What is shown of a job and told of an event, said once for all who do. Whoever gives `jobs` another
-- column makes the views anew: `jobs.*` means the columns of the day on which a view is made.

-- A job with its current attempt, and what its provider is paused for while it is queued.
create view jobs_shown as
select jobs.*, attempts.provider_id, attempts.output, attempts.outputs, attempts.actual,
       coalesce(jobs.state not in ('queued', 'completed', 'failed', 'canceled', 'expired')
           and jobs.posted_at + make_interval(secs => jobs.deadline_seconds) < now(), false)
           as stuck,
       health.code as waiting_code, health.message as waiting_message,
       health.paused_until as waiting_until
from jobs join attempts on attempts.job_id = jobs.id and attempts.number = jobs.attempt
left join provider_health as health on health.provider = jobs.provider
    and jobs.state = 'queued' and health.paused_until > now();

create view events_told as
select event.id as event_id, event.now as event_now, event.was as event_was,
       event.version as event_version, event.attempt as event_attempt, event.at as event_at,
       event.source as event_source, event.detail as event_detail,
       (select min(at) from job_events as first where first.job_id = event.job_id
            and first.attempt = event.attempt and first.now in ('submitted', 'running', 'completed'))
           as event_submitted_at,
       jobs.*, attempts.provider_id, attempts.output, attempts.outputs, attempts.actual,
       event.was is null as stuck
from job_events as event
join jobs on jobs.id = event.job_id
join attempts on attempts.job_id = event.job_id and attempts.number = event.attempt;

-- An event as a delivery tells it, and what is needed to send it: without a url where the
-- subscription is gone.
create view deliveries_told as
select deliveries.id as delivery_id, deliveries.subscription_id, deliveries.endpoint,
       case when deliveries.subscription_id is null then told.notify_hook else subscriptions.url end
           as url,
       case when deliveries.subscription_id is null then apps.default_secret
           else subscriptions.secret end as secret,
       array(select former.secret from former_secrets as former
             where former.subscription_id = deliveries.subscription_id
               and former.valid_until > (select now()) order by former.id desc)
           as former_secrets,
       subscriptions.headers, told.*
from deliveries
join events_told as told on told.id = deliveries.job_id and told.event_version = deliveries.version
join apps on apps.id = told.app_id
left join subscriptions on subscriptions.id = deliveries.subscription_id;

-- Which endpoints have deliveries left, and when the oldest of each is due, from one endpoint to the
-- next by the index: the deliveries between are not met.
create view endpoints_at_hand as
with recursive line as (
    (select endpoint, next_at from deliveries where state = 'pending'
     order by endpoint, next_at limit 1)
    union all
    select next.* from line cross join lateral (
        select deliveries.endpoint, deliveries.next_at from deliveries
        where state = 'pending' and deliveries.endpoint > line.endpoint
        order by deliveries.endpoint, deliveries.next_at limit 1
    ) as next
)
select endpoint, next_at from line;
