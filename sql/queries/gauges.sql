-- name: measure_work
-- What each provider has left to do, by task, and how many seconds ago the most overdue of it came
-- due (0: none has). The jobs of each are counted up to $1, in the order of their dates.
with clock as materialized (select now() as at)
select at_hand.provider, at_hand.task, count(*) as jobs,
       greatest(max(extract(epoch from clock.at - waiting.due_at)), 0)::double precision as overdue
from tasks_at_hand as at_hand cross join clock
cross join lateral (
    select due_at from agenda
    where agenda.provider = at_hand.provider and agenda.task = at_hand.task
    order by due_at limit $1::integer) as waiting
group by at_hand.provider, at_hand.task order by at_hand.provider, at_hand.task;

-- name: measure_providers
-- How the providers are that have a history of failures, pauses or silence.
select provider, coalesce(paused_until > now(), false) as paused,
       silent_since is not null as silent
from provider_health order by provider;

-- name: measure_risk
-- The jobs that may have been paid for and may never come back, and their estimates.
select jobs.provider, jobs.currency, count(*) as jobs, sum(jobs.estimate) as estimate
from agenda join jobs on jobs.id = agenda.job_id
where agenda.task = 'give_up' and agenda.state = 'unconfirmed'
group by jobs.provider, jobs.currency order by jobs.provider, jobs.currency;

-- name: measure_backlog
-- Events without a place in the feed; deliveries that are due, and those that a disabled endpoint
-- holds, each counted up to $1; and for how many seconds the oldest that is not held has been due.
with clock as materialized (select now() as at),
ends as materialized (
    select endpoint, next_at as since,
           coalesce((select enabled from subscriptions where id = line.endpoint), true) as open
    from endpoints_at_hand as line where next_at <= (select at from clock)
),
waiting as ( -- those of the open endpoints and those of the others, each up to $1
    select open, count from (values (true), (false)) as kind (open) cross join lateral (
        select count(*) as count from (
            select from ends cross join lateral (
                select from deliveries
                where deliveries.endpoint = ends.endpoint and state = 'pending'
                  and next_at <= (select at from clock)
                order by next_at limit $1::integer
            ) as turn
            where ends.open = kind.open limit $1::integer
        ) as counted
    ) as number
)
select (select count(*) from (select from unplaced limit $1::integer) as counted) as unplaced,
       (select count from waiting where open) as due,
       (select count from waiting where not open) as held,
       coalesce((select max(extract(epoch from clock.at - since)) from ends where open), 0)
           ::double precision as overdue
from clock;
