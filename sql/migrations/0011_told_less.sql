-- What is told of an event, without the bookkeeping of its job, which no event tells: each column that
-- is read costs Postgres and its client a moment per delivery.
drop view deliveries_told;
drop view events_told;

create view events_told as
select event.id as event_id, event.now as event_now, event.was as event_was,
       event.version as event_version, event.attempt as event_attempt, event.at as event_at,
       event.source as event_source, event.detail as event_detail,
       (select min(at) from job_events as first where first.job_id = event.job_id
            and first.attempt = event.attempt and first.now in ('submitted', 'running', 'completed'))
           as event_submitted_at,
       event.was is null as stuck,
       jobs.id, jobs.app_id, jobs.provider, jobs.model, jobs.input, jobs.warnings, jobs.notify_hook,
       jobs.metadata, jobs.reference, jobs.created_at, jobs.currency, jobs.estimate,
       jobs.upper_bound, attempts.provider_id, attempts.output, attempts.outputs, attempts.actual
from job_events as event
join jobs on jobs.id = event.job_id
join attempts on attempts.job_id = event.job_id and attempts.number = event.attempt;

-- An event as a delivery tells it, and what is needed to send it: without a url where the
-- subscription is gone.
create view deliveries_told as
select deliveries.id as delivery_id, deliveries.subscription_id, deliveries.endpoint,
       case when deliveries.subscription_id is null then told.notify_hook else subscriptions.url end
           as url,
       case when deliveries.subscription_id is null
            then (select default_secret from apps where apps.id = told.app_id)
            else subscriptions.secret end as secret,
       array(select former.secret from former_secrets as former
             where former.subscription_id = deliveries.subscription_id
               and former.valid_until > now() order by former.id desc)
           as former_secrets,
       subscriptions.headers, told.*
from deliveries
join events_told as told on told.id = deliveries.job_id and told.event_version = deliveries.version
left join subscriptions on subscriptions.id = deliveries.subscription_id;
