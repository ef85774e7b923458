-- name: advance
-- The one statement that moves jobs. Each item names a job, the attempt it is about and where the
-- job should stand (`now`, null for none). With `was` the job must stand just there, and at the
-- version `expected` where that is given; without, the move is the provider's word and must be one
-- that the provider may make. With `to_attempt` the job has that attempt from then on, which is made
-- where there is none. Rows are locked in id order; a job stands at most once among the
-- items; sent again, it changes nothing. One row comes back per item; `moved` false means "not
-- now", and `state` says where the job stands (null: we do not have it).
with clock as materialized (
    select now() as at, pg_snapshot_xmin(pg_current_snapshot()) as seen
),
item as (
    select * from unnest(
        $1::uuid[], $2::integer[], $3::text[], $4::text[], $5::uuid[], $6::text[], $7::text[],
        $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::numeric[],
        $14::boolean[], $15::text[], $16::double precision[], $17::uuid[], $18::text[],
        $19::text[], $20::text[], $21::text[], $22::text[], $23::bytea[], $24::text[],
        $25::integer[], $26::integer[]
    ) with ordinality as item (
        job_id, attempt, was, now, event_id, source, provider_id,
        urls, token_key, output, error, progress, actual,
        ask, task, due_in, callback_id, provider,
        verdict, reason, address, headers, body, outputs,
        expected, to_attempt, n)
),
locked as materialized (
    select id, state, attempt, version, model, deadline_seconds, posted_at, finished_at,
           cancel_requested_at, told_stuck_at
    from jobs where id = any ($1::uuid[]) order by id for update
),
matched as ( -- `attempts` as of the statement's start: enough for what it decides
    select item.*, locked.state, locked.version, locked.model, locked.deadline_seconds,
           locked.posted_at, locked.finished_at, locked.cancel_requested_at, locked.told_stuck_at,
           locked.attempt = item.attempt as current,
           attempts.provider_id as known_id, attempts.urls as known_urls, attempts.cancel_answer,
           item.now in ('completed', 'failed', 'canceled') and item.was is null as is_verdict,
           coalesce(attempts.provider_id, item.provider_id) is not null as askable,
           coalesce(attempts.outcome = item.now -- `->>` would refuse a NUL in what was kept
               or starts_with(attempts.disagreement::text, '{"now" : "' || item.now || '"'), false)
               as known,
           coalesce(item.source = 'callback' and case
               when attempts.provider_id is not null then attempts.provider_id <> item.provider_id
               -- It may supply the id that we do not know yet, but not one that another has.
               else exists (select from attempts as other join jobs on jobs.id = other.job_id
                            where other.provider_id = item.provider_id
                              and jobs.provider = item.provider
                              and (other.job_id, other.number) <> (item.job_id, item.attempt))
               end, false) as foreign_id
    from item left join locked on locked.id = item.job_id
    left join attempts on attempts.job_id = item.job_id and attempts.number = item.attempt
),
seen as materialized (
    select matched.*, coalesce(current and not foreign_id and case
               when was is not null then was = state and now is not null
                   and (expected is null or expected = version)
               else exists (select from transitions as t
                            where t.was = state and t.now = matched.now and t.reported)
               end, false) as moves
    from matched
),
moved as (
    update jobs set
        state = seen.now, version = jobs.version + 1,
        attempt = coalesce(seen.to_attempt, jobs.attempt),
        cancel_requested_at = case when seen.to_attempt is null then jobs.cancel_requested_at end,
        told_stuck_at = case when seen.now <> 'queued' then jobs.told_stuck_at end,
        error = seen.error::json,
        posted_at = case seen.now when 'submitting' then clock.at when 'queued' then null
            else jobs.posted_at end,
        submitted_at = case when seen.now in ('submitted', 'running', 'completed')
            then coalesce(jobs.submitted_at, clock.at)
            when seen.now <> 'queued' then jobs.submitted_at end,
        finished_at = case when seen.now in ('completed', 'failed', 'canceled', 'expired')
            then clock.at end,
        learnt_by = case when seen.now in ('completed', 'failed', 'canceled')
            and seen.source <> 'api' then seen.source end,
        late = seen.state = 'expired' and seen.now = 'completed'
    from seen, clock where jobs.id = seen.job_id and seen.moves
    returning jobs.id, jobs.version, jobs.state, jobs.attempt, jobs.app_id, jobs.notify_hook,
        jobs.provider, jobs.model, jobs.deadline_seconds, seen.state as was, seen.event_id,
        seen.source, seen.error, seen.due_in, seen.to_attempt, clock.at
),
opened as (
    insert into attempts (job_id, number)
    select id, to_attempt from moved where to_attempt is not null
    on conflict do nothing
),
told as (
    update attempts set
        provider_id = coalesce(attempts.provider_id, seen.provider_id),
        urls = coalesce(attempts.urls, seen.urls::json),
        token_key = coalesce(seen.token_key, attempts.token_key),
        outcome = case when seen.is_verdict and (attempts.outcome is null or seen.moves)
            then seen.now else attempts.outcome end,
        outcome_at = case when seen.is_verdict and (attempts.outcome is null or seen.moves)
            then clock.at else attempts.outcome_at end,
        output = case when seen.is_verdict and (attempts.outcome is null or seen.moves)
            then seen.output::json else attempts.output end,
        outputs = case when seen.is_verdict and (attempts.outcome is null or seen.moves)
            then seen.outputs::json else attempts.outputs end,
        error = case when seen.is_verdict and (attempts.outcome is null or seen.moves)
            then seen.error::json else attempts.error end,
        actual = coalesce(attempts.actual, seen.actual),
        disagreement = case when seen.is_verdict and attempts.outcome <> seen.now
            then coalesce(attempts.disagreement, case when seen.moves -- late: it settles it
                then json_build_object('now', attempts.outcome, 'at', attempts.outcome_at,
                    'error', attempts.error, 'output', attempts.output)
                else json_build_object('now', seen.now, 'source', seen.source, 'at', clock.at,
                    'error', seen.error::json, 'output', seen.output::json) end)
            else attempts.disagreement end
    from seen, clock
    where attempts.job_id = seen.job_id and attempts.number = seen.attempt
      and seen.state is not null and not seen.foreign_id
      and (seen.provider_id is not null and attempts.provider_id is null
        or seen.urls is not null and attempts.urls is null
        or seen.token_key is not null or seen.actual is not null and attempts.actual is null
        or seen.is_verdict and (attempts.outcome is null or seen.moves
            or attempts.outcome <> seen.now and attempts.disagreement is null))
),
recorded as (
    insert into job_events (job_id, version, now, was, id, attempt, source, detail, at)
    select id, version, state, was, event_id, attempt, source, error::json, at from moved
),
queued_for_feed as (
    insert into unplaced (job_id, version, at, xact, seen)
    select id, version, moved.at, pg_current_xact_id(), clock.seen from moved, clock where state in
        ('submitted', 'running', 'completed', 'failed', 'canceled', 'expired')
),
staged as ( -- the event is new, and nobody else can have staged it
    insert into deliveries (job_id, id, app_id, version, subscription_id, origin, state, next_at,
                            created_at)
    select moved.id, delivery_id(moved.event_id, target.id), moved.app_id, moved.version,
           target.id, case when target.id is null then origin_key(moved.notify_hook) end,
           'pending', moved.at, moved.at
    from moved
    cross join lateral (
        select id from subscriptions
        where app_id = moved.app_id and 'job.' || moved.state = any (events)
        union all
        select null where moved.notify_hook is not null
            and moved.state in ('completed', 'failed', 'canceled', 'expired')) as target
    returning job_id
),
dropped as ( -- it ended, and there is nothing left to ask
    delete from agenda using moved where agenda.job_id = moved.id and moved.due_in is null
        and moved.state in ('completed', 'failed', 'canceled', 'expired')
),
started as ( -- an ended job's agenda was dropped; where one is left, `dated` has it
    insert into agenda (job_id, task, provider, due_at, state, version, attempt, model,
                        deadline_seconds, posted_at, finished_at, cancel_requested_at,
                        told_stuck_at, provider_id, urls, cancel_answer)
    select id, 'submit', provider, at, state, version, attempt, model, deadline_seconds,
           null, null, null, null, null, null, null
    from moved where state = 'queued' and was in ('completed', 'failed', 'canceled', 'expired')
    union all -- it expired without an id to ask by, and a hint tells one
    select job_id, 'late', provider, clock.at, state, version, attempt, model, deadline_seconds,
           posted_at, finished_at, cancel_requested_at, told_stuck_at,
           coalesce(known_id, provider_id), coalesce(known_urls, urls::json), cancel_answer
    from seen, clock
    where ask and not moves and state = 'expired' and current and askable and not foreign_id
        and provider is not null
    on conflict do nothing
),
dated as ( -- other rows than `dropped`: what goes on, and what somebody tells how to ask after
    update agenda set
        task = case when seen.moves then coalesce(seen.task, agenda.task) else agenda.task end,
        state = case when seen.moves then seen.now else seen.state end,
        version = seen.version + seen.moves::integer,
        attempt = coalesce(seen.to_attempt, seen.attempt),
        posted_at = case
            when not seen.moves then seen.posted_at
            when seen.now = 'submitting' then clock.at
            when seen.now <> 'queued' then seen.posted_at end,
        finished_at = case
            when not seen.moves then seen.finished_at
            when seen.now in ('completed', 'failed', 'canceled', 'expired') then clock.at end,
        told_stuck_at = case
            when not seen.moves or seen.now <> 'queued' then seen.told_stuck_at end,
        cancel_requested_at = case when seen.to_attempt is null then seen.cancel_requested_at end,
        cancel_answer = case when seen.to_attempt is null then agenda.cancel_answer end,
        provider_id = case when seen.to_attempt is null
            then coalesce(agenda.provider_id, seen.provider_id) end,
        urls = case when seen.to_attempt is null then coalesce(agenda.urls, seen.urls::json) end,
        progress = case when seen.moves then seen.progress::json else agenda.progress end,
        tries = case -- a POST that did not get there, or was refused for now, is one try of several
            when not seen.moves or seen.now = 'submitting'
                or seen.state = 'submitting' and seen.now = 'queued' then agenda.tries
            else 0 end,
        due_at = case
            when not seen.moves and seen.ask is not true then agenda.due_at
            when not seen.moves or agenda.due_at < agenda.lease_until
                or seen.cancel_requested_at is not null and seen.now in ('submitted', 'running')
                then clock.at
            else coalesce(clock.at + make_interval(secs => seen.due_in), agenda.due_at) end,
        lease_until = case
            when not seen.moves then agenda.lease_until
            when seen.now = 'submitting' then clock.at + make_interval(secs => seen.due_in) end,
        overdue_at = case
            when not seen.moves then agenda.overdue_at
            when seen.now = 'submitting'
                then clock.at + make_interval(secs => seen.deadline_seconds)
            when seen.now not in ('queued', 'expired') then agenda.overdue_at end
    from seen, clock
    where agenda.job_id = seen.job_id
      and case when seen.moves then seen.due_in is not null -- whose row is dropped is not looked for
              or seen.now not in ('completed', 'failed', 'canceled', 'expired')
          else seen.current and not seen.foreign_id and seen.to_attempt is null end
      and (seen.moves or seen.ask or agenda.version <> seen.version
          or agenda.provider_id is null and seen.provider_id is not null
          or agenda.urls is null and seen.urls is not null)
),
judged as (
    select n, job_id, attempt, callback_id, provider, address, headers, body, state, moves,
           cancel_requested_at is not null as canceling, provider_id,
           case when verdict is not null then verdict
                when state is null then 'ignored'
                when foreign_id then 'refused'
                when not current then 'ignored'
                when ask and state not in ('completed', 'failed', 'canceled') then 'hint'
                when moves then 'accepted'
                when state = now or known then 'duplicate'
                else 'ignored' end as verdict,
           case when reason is not null or verdict is not null then reason
                when state is null then 'unknown_job'
                when foreign_id then 'other_job'
                when not current then 'old_attempt' end as reason
    from seen
),
kept as (
    insert into callbacks (id, provider, job_id, attempt, received_at, verdict, reason, address,
                           headers, body, provider_id)
    select callback_id, provider, job_id, attempt, clock.at, verdict, reason, address,
           headers::json, body, case when job_id is null then provider_id end
    from judged, clock where callback_id is not null
    on conflict (id) do update -- it came before its job, and waited for it
        set verdict = excluded.verdict, reason = excluded.reason, job_id = excluded.job_id,
            attempt = excluded.attempt, body = excluded.body
        where callbacks.verdict = 'ignored' and callbacks.reason = 'unknown_job'
          and excluded.job_id is not null
)
select judged.verdict, judged.reason, judged.moves as moved,
       coalesce(moved.state, judged.state) as state, moved.version, judged.state as was,
       exists (select from staged where staged.job_id = judged.job_id) as staged,
       judged.canceling
from judged left join moved on moved.id = judged.job_id order by judged.n;
