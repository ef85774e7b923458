-- name: create_job
-- A queued job with its first attempt, event and agenda row, what its input holds in secret, and
-- the Idempotency-Key it came under. The row is as `get_job` has it. Empty: the key, or the job's id,
-- is taken; the caller reads which.
with clock as materialized (select now() as at),
keyed as (
    insert into idempotency_keys (app_id, key, job_id, fingerprint, created_at)
    select $2, $3, $1, $4, clock.at from clock where $3::text is not null
    on conflict do nothing
    returning job_id
),
made as (
    insert into jobs (id, app_id, state, version, attempt, provider, model, input, reference,
                      metadata, notify_hook, deadline_seconds, warnings, currency, estimate,
                      upper_bound, late, created_at)
    select $1, $2, 'queued', 1, 1, $5, $6, $7::text::json, $8, $9::text::jsonb, $10,
           $11::double precision, $12::text::json, $13, $14::numeric, $15, false, clock.at
    from clock where $3::text is null or exists (select from keyed)
    on conflict (id) do nothing
    returning *
),
first_attempt as (insert into attempts (job_id, number) select id, 1 from made),
secret as (
    insert into job_secrets (job_id, stored)
    select id, $17::bytea from made where $17::bytea is not null
),
first_event as (
    insert into job_events (job_id, version, now, was, id, attempt, source, at)
    select id, 1, 'queued', null, $16::uuid, 1, 'api', created_at from made
),
first_task as (
    insert into agenda (job_id, task, provider, due_at, state, version, attempt, model,
                        deadline_seconds)
    select id, 'submit', $5, created_at, 'queued', 1, 1, $6, $11::double precision from made
)
select made.*, null::text as provider_id, null::json as output, null::json as outputs,
       null::numeric as actual, null::json as progress, false as stuck, health.code as waiting_code,
       health.message as waiting_message, health.paused_until as waiting_until
from made cross join clock
left join provider_health as health on health.provider = made.provider
    and health.paused_until > clock.at;

-- name: find_idempotent
-- The job made under an app's key. Empty: none.
select job_id, fingerprint from idempotency_keys where app_id = $1 and key = $2;

-- name: get_job
-- A job with its current attempt, and what its provider is paused for while it is queued. Empty: no
-- such job.
select * from jobs_shown where id = $1;

-- name: find_event
-- Whether a move of ours took effect, asked after a lost answer. Empty: it did not.
select version, now as state from job_events where job_id = $1 and id = $2;

-- name: timeline_of_job
-- Everything that happened to a job, oldest first; `detail` is JSON.
select at, kind, source, detail from (
    select at, 'transition' as kind, source, version as place,
           json_build_object('was', was, 'now', now, 'version', version, 'attempt', attempt,
                             'stuck', was is null and version > 1,
                             'event', 'evt_' || replace(id::text, '-', ''),
                             'error', detail) as detail
    from job_events where job_id = $1
    union all
    select event.at, 'submit', 'submit', event.version,
           json_build_object('attempt', event.attempt, 'callback', attempts.token_key is not null)
    from job_events as event
    join attempts on attempts.job_id = event.job_id and attempts.number = event.attempt
    where event.job_id = $1 and event.now = 'submitting'
    union all
    select at, 'poll', 'poll', 0,
           json_build_object('attempt', attempt, 'said', said, 'note', note,
                             'duration_ms', duration_ms)
    from polls where job_id = $1
    union all
    select received_at, 'callback', 'callback', 0,
           json_build_object('id', 'cbk_' || replace(id::text, '-', ''), 'attempt', attempt,
                             'verdict', verdict, 'reason', reason, 'source', address)
    from callbacks where job_id = $1
    union all
    select tries.at, 'delivery', 'deliver', tries.number,
           json_build_object('id', 'dlv_' || replace(tries.delivery_id::text, '-', ''),
                             'version', deliveries.version, 'try', tries.number,
                             'status', tries.status, 'error', tries.error,
                             'duration_ms', tries.duration_ms)
    from delivery_tries as tries
    join deliveries on deliveries.job_id = tries.job_id and deliveries.id = tries.delivery_id
    where tries.job_id = $1
    union all
    select at, 'act', who, 0,
           json_build_object('act', act, 'attempt', attempt, 'reason', reason, 'detail', detail)
    from operator_actions where job_id = $1
) as happened order by at, kind desc, place;

-- name: secrets_of_job
-- What its input holds in secret, encrypted. Empty: nothing.
select stored from job_secrets where job_id = $1;

-- name: find_attempt
-- The newest attempt that a provider knows under this id. Empty: none yet.
select attempts.job_id, attempts.number
from attempts join jobs on jobs.id = attempts.job_id
where attempts.provider_id = $2 and jobs.provider = $1
order by attempts.job_id desc, attempts.number desc limit 1;

-- name: add_warning
-- Says something to whoever reads the job, once.
update jobs set warnings = (warnings::jsonb || to_jsonb(array[$2::text]))::json
where id = $1 and not warnings::jsonb ? $2;

-- name: answer_cancel
-- What the provider said to a cancel, once.
with locked as materialized (select id from jobs where id = $1 for no key update),
answered as (
    update attempts set cancel_answer = $3::text from locked
    where attempts.job_id = locked.id and number = $2 and cancel_answer is null
    returning attempts.job_id, number
)
update agenda set cancel_answer = $3::text from answered
where agenda.job_id = answered.job_id and agenda.attempt = answered.number;
