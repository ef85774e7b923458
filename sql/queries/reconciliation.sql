-- name: reconcile
-- How the jobs between two ids (one app's, or all where $1 is null) came to their ends: a row per
-- provider (model null), and one per provider and model (after $5 and $6, $7 of them at most). $4, in seconds:
-- how long after an end its callback may still be on its way.
with clock as materialized (select now() as at),
made as materialized (
    select id, provider, model, state, attempt, learnt_by, currency, estimate, posted_at,
           finished_at, error
    from jobs where app_id = $1 and id >= $2 and id < $3
    union all
    select id, provider, model, state, attempt, learnt_by, currency, estimate, posted_at,
           finished_at, error
    from jobs where $1::uuid is null and id >= $2 and id < $3
),
tried as materialized (
    select made.id, sum(attempts.actual) as actual,
           count(*) filter (where attempts.outcome = 'completed') as renders,
           bool_or(attempts.disagreement is not null) as disagrees,
           bool_or(attempts.token_key is not null and attempts.provider_id is not null)
               filter (where attempts.number = made.attempt) as registered,
           max(attempts.outcome_at) filter (where attempts.number = made.attempt) as outcome_at
    from made join attempts on attempts.job_id = made.id
    where attempts.job_id >= $2 and attempts.job_id < $3
    group by made.id
),
ended as materialized (
    select made.*, tried.actual, tried.renders, tried.disagrees,
           -- after a cancel nobody promises a callback
           made.state in ('completed', 'failed', 'expired') and tried.registered as registered,
           coalesce(tried.outcome_at, made.finished_at) as known_at,
           -- `->>` would refuse a NUL in what was kept
           made.state = 'unconfirmed' or made.state = 'expired'
               and starts_with(made.error::text, '{"code":"submission_unconfirmed"') as at_risk
    from made join tried on tried.id = made.id
),
called as materialized (
    select ended.id,
           count(*) filter (where callbacks.verdict in ('refused', 'unreadable')) as refused,
           -- The call that told the end. One before it told something else, but for a hint: then
           -- the first poll that was begun after it learnt the end.
           min(callbacks.received_at) filter (where ended.registered
               and callbacks.attempt = ended.attempt
               and callbacks.verdict in ('accepted', 'duplicate', 'ignored', 'hint')
               and (callbacks.received_at >= ended.known_at
                    or callbacks.verdict = 'hint' and not exists (
                        select from polls
                        where polls.job_id = ended.id and polls.attempt = ended.attempt
                          and polls.said is not null and polls.at < ended.known_at
                          and polls.at - make_interval(secs => polls.duration_ms / 1000.0)
                              >= callbacks.received_at))) as told_at
    from ended join callbacks on callbacks.job_id = ended.id
    where callbacks.job_id >= $2 and callbacks.job_id < $3
    group by ended.id
),
job as materialized (
    select ended.*, coalesce(called.refused, 0) as refused, called.told_at is not null as came,
           ended.known_at < clock.at - make_interval(secs => $4::double precision) as settled,
           greatest(extract(epoch from called.told_at - ended.known_at), 0)::double precision
               as lag,
           case when ended.learnt_by in ('callback', 'poll')
               then extract(epoch from ended.finished_at - ended.posted_at)::double precision end
               as took
    from ended left join called on called.id = ended.id cross join clock
),
spent as materialized (
    select provider, model, currency, sum(actual)::text as actual,
           case when sum(renders) = 0 then '0' else sum(estimate * renders)::text end as estimate,
           case when count(*) filter (where at_risk) = 0 then '0'
               else (sum(estimate) filter (where at_risk))::text end as at_risk
    from job group by grouping sets ((provider, currency), (provider, model, currency))
),
figures as materialized (
    select provider, model, count(*) as jobs,
           count(*) filter (where finished_at is null) as open,
           count(*) filter (where state = 'unconfirmed') as unconfirmed,
           count(*) filter (where state = 'completed') as completed,
           count(*) filter (where state = 'failed') as failed,
           count(*) filter (where state = 'canceled') as canceled,
           count(*) filter (where state = 'expired') as expired,
           count(*) filter (where learnt_by = 'callback') as by_callback,
           count(*) filter (where learnt_by = 'poll') as by_poll,
           count(*) filter (where learnt_by = 'submit') as by_submit,
           count(*) filter (where learnt_by = 'operator') as by_operator,
           count(*) filter (where finished_at is not null and learnt_by is null) as by_nobody,
           count(*) filter (where registered) as registered,
           count(*) filter (where registered and came) as came,
           count(*) filter (where registered and not came and settled) as never_came,
           count(*) filter (where registered and settled) as settled,
           sum(refused)::bigint as refused,
           count(*) filter (where disagrees) as disagreeing,
           percentile_cont(array[0.5, 0.95]) within group (order by lag)
               filter (where registered and came) as lag,
           percentile_cont(array[0.5, 0.95]) within group (order by took)
               filter (where took is not null) as took
    from job group by grouping sets ((provider), (provider, model))
),
page as (
    (select * from figures where model is null order by provider)
    union all
    (select * from figures
     where model is not null and (provider, model) > ($5::text, $6::text)
     order by provider, model limit $7::integer)
)
select page.*,
       (select json_agg(json_build_object('currency', spent.currency, 'estimate', spent.estimate,
                   'actual', spent.actual, 'at_risk', spent.at_risk) order by spent.currency)
        from spent
        where spent.provider = page.provider
          and spent.model is not distinct from page.model)::text as cost
from page order by page.provider, page.model;

-- name: count_stranger_calls
-- Refused calls between two ids that name no job of ours, by the provider whose door they came to.
select provider, count(*) as refused from callbacks
where job_id is null and id >= $1 and id < $2 and verdict in ('refused', 'unreadable')
group by provider;

-- name: list_silent
-- The providers that used to call back, and do not.
select provider, silent_since from provider_health where silent_since is not null;

-- name: look_for_silence
-- Of each provider in $1: whether the last $2 of its jobs whose ends are known, and that had a
-- callback registered, ended without one, though earlier ones had theirs. Each callback is waited
-- for $3 seconds. `silent`: begun or (false) over with this look; others are not told.
with clock as materialized (select now() as at),
newest as materialized (
    select job.* from unnest($1::text[]) as given (provider) cross join lateral (
        select * from (
            select provider, id, state, attempt, created_at, finished_at from jobs
            where jobs.provider = given.provider order by created_at desc limit 10000) as newest
        where finished_at is not null order by created_at desc limit 200) as job
),
judged as materialized ( -- those whose callback has come, or will not
    select newest.provider, newest.id, called.id is not null as came,
           coalesce(tried.outcome_at, newest.finished_at) as known_at
    from newest cross join clock
    cross join lateral (
        select token_key is not null and provider_id is not null as registered, outcome_at
        from attempts where job_id = newest.id and number = newest.attempt limit 1) as tried
    left join lateral (
        select callbacks.id from callbacks
        where callbacks.job_id = newest.id and callbacks.attempt = newest.attempt
          and callbacks.verdict in ('accepted', 'duplicate', 'ignored', 'hint')
        order by callbacks.id limit 1) as called on true
    where tried.registered and newest.state <> 'canceled'
      and (called.id is not null or coalesce(tried.outcome_at, newest.finished_at)
               < clock.at - make_interval(secs => $3::double precision))
),
placed as (
    select *, row_number() over (partition by provider order by known_at desc, id desc) as n
    from judged
),
last_heard as (
    select provider, min(n) filter (where came) as n from placed group by provider
),
found as materialized (
    select provider, n <= $2 as heard, n > $2 as fell_silent,
           (select min(known_at) from placed
            where placed.provider = last_heard.provider and placed.n < last_heard.n) as since
    from last_heard
),
begun as (
    insert into provider_health as health (provider, silent_since)
    select provider, since from found where fell_silent
    on conflict (provider) do update set silent_since = excluded.silent_since
        where health.silent_since is null
    returning provider, silent_since
),
over as (
    update provider_health as health set silent_since = null
    from found where health.provider = found.provider and found.heard
        and health.silent_since is not null
    returning health.provider
)
select provider, true as silent, silent_since as since from begun
union all select provider, false, null from over;
