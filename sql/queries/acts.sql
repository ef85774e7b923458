-- name: note_act
-- Keeps what somebody did to a job; with $8 only where that move of the job's was made. Empty: not.
insert into operator_actions (job_id, id, attempt, act, who, reason, detail, at)
select $1, $2, $3::integer, $4::text, $5::text, $6::text, $7::text::json, clock.at
from (select now() as at) as clock
where $8::uuid is null or exists (select from job_events where job_id = $1 and id = $8)
on conflict do nothing
returning id;

-- name: tell_act
-- What came of an act after its move.
update operator_actions set detail = $3::text::json where job_id = $1 and id = $2;

-- name: request_cancel
-- Notes that somebody wants the job's current attempt to end, and who was the first ($3 to $6).
-- Empty: there is nothing to end, or another attempt is current.
with clock as materialized (select now() as at),
noted as (
    update jobs set cancel_requested_at = coalesce(cancel_requested_at, clock.at)
    from clock where id = $1 and attempt = $2
      and state in ('submitting', 'unconfirmed', 'submitted', 'running')
    returning id, attempt, state, version, cancel_requested_at,
        cancel_requested_at = clock.at as is_first, clock.at
),
on_agenda as (
    update agenda set cancel_requested_at = noted.cancel_requested_at
    from noted where agenda.job_id = noted.id
),
kept as (
    insert into operator_actions (job_id, id, attempt, act, who, reason, detail, at)
    select id, $3, attempt, 'cancel', $4::text, $5::text, $6::text::json, at
    from noted where is_first
    on conflict do nothing
)
select state, version from noted;

-- name: standing_of_job
-- A job with each of its attempts, oldest first. `last` is where the job stood when it last had that
-- attempt; `resolutions` what operators said of its POST, as JSON. Empty: no such job.
select jobs.id, jobs.state, jobs.version, jobs.attempt, jobs.provider, jobs.model, jobs.input,
       jobs.currency, jobs.estimate, jobs.cancel_requested_at is not null as canceling,
       job_secrets.stored as secrets, attempts.number, attempts.provider_id, attempts.urls,
       attempts.outcome, attempts.disagreement, attempts.token_key is not null as calls_back,
       (select now from job_events as event
        where event.job_id = jobs.id and event.attempt = attempts.number
        order by version desc limit 1) as last,
       array(select detail::text from operator_actions as done
             where done.job_id = jobs.id and done.attempt = attempts.number
               and done.act = 'resolve') as resolutions
from jobs join attempts on attempts.job_id = jobs.id
left join job_secrets on job_secrets.job_id = jobs.id
where jobs.id = $1 order by attempts.number;

-- name: name_late
-- An expired job's attempt $2 gets the id $3 that somebody found for it, unless it has one, and is
-- asked after from then on, in $4 seconds first; who did it is kept ($5 to $8). Empty: not so.
with clock as materialized (select now() as at),
expired as (
    select * from jobs where id = $1 and attempt = $2 and state = 'expired' for no key update
),
named as (
    update attempts set provider_id = $3::text from expired
    where attempts.job_id = expired.id and number = $2 and provider_id is null
    returning expired.*, attempts.provider_id, attempts.urls, attempts.cancel_answer
),
asked as (
    insert into agenda (job_id, task, provider, due_at, state, version, attempt, model,
                        deadline_seconds, posted_at, finished_at, cancel_requested_at,
                        told_stuck_at, provider_id, urls, cancel_answer)
    select id, 'late', provider, clock.at + make_interval(secs => $4::double precision), state,
           version, attempt, model, deadline_seconds, posted_at, finished_at, cancel_requested_at,
           told_stuck_at, provider_id, urls, cancel_answer
    from named, clock
    on conflict do nothing
)
insert into operator_actions (job_id, id, attempt, act, who, reason, detail, at)
select named.id, $5, $2, 'resolve', $6::text, $7::text, $8::text::json, clock.at from named, clock
on conflict do nothing
returning id;

-- name: refresh_output
-- The same success, told anew: its addresses may have expired.
update attempts set output = $3::text::json, outputs = $4::text::json
where job_id = $1 and number = $2 and outcome = 'completed';

-- name: take_success
-- Where the move $3 has made this attempt's success the job's end: the job was submitted when this
-- attempt was, and where the success was a later word ($4 to $6), it changes places with the first.
with adopted as (
    select job_id from job_events where job_id = $1 and id = $3
),
dated as (
    update jobs set submitted_at = coalesce(
        (select min(at) from job_events as first where first.job_id = $1 and first.attempt = $2
            and first.now in ('submitted', 'running', 'completed')), submitted_at)
    where id = $1 and exists (select from adopted)
)
update attempts set outcome = 'completed', outcome_at = $6::text::timestamptz,
    output = $4::text::json, outputs = $5::text::json, error = null,
    disagreement = json_build_object('now', outcome, 'at', outcome_at, 'error', error,
                                     'output', output)
where job_id = $1 and number = $2 and exists (select from adopted)
  and $4::text is not null and outcome in ('failed', 'canceled');
