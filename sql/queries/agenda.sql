-- name: claim_submits
-- Leases the jobs whose turn to be submitted has come, each provider's oldest first: as many as it
-- has places ($3), and no more than leave $4 of its jobs in flight (null: any number). None of a
-- provider that is paused; of one whose pause is over one, by one process, to see how it fares.
with clock as materialized (select now() as at),
turn as materialized (
    select turn.provider, coalesce(health.failures > 0, false) as ailing,
           coalesce(health.pauses > 0, false) as trial,
           least(case when health.pauses > 0 then 1 end, turn.places,
                 case when turn.most is not null then greatest(0, turn.most
                     - (select count(*) from unnest(array['sending', 'poll', 'give_up'])
                            as flying (task) cross join lateral (
                           select from agenda
                           where agenda.provider = turn.provider and agenda.task = flying.task
                           order by due_at limit turn.most) as with_provider)
                     - (select count(*) from ( -- a lease is due when it ends: no later than ours
                           select from agenda
                           where agenda.provider = turn.provider and task = 'submit'
                             and due_at > clock.at and lease_until > clock.at
                             and due_at <= clock.at + make_interval(secs => $1::double precision)
                           order by due_at limit turn.most) as about_to_go)) end) as places
    from clock
    cross join unnest($2::text[], $3::integer[], $4::integer[]) as turn (provider, places, most)
    left join provider_health as health on health.provider = turn.provider
    where (health.paused_until is null or health.paused_until <= clock.at)
      and (health.tried_until is null or health.tried_until <= clock.at)
),
due as materialized (
    select next.job_id, turn.provider, turn.trial, turn.ailing
    from turn cross join lateral (
        select job_id from agenda
        where agenda.provider = turn.provider and task = 'submit'
          and due_at <= (select at from clock)
          and (lease_until is null or lease_until <= (select at from clock))
        order by due_at limit turn.places for update skip locked) as next
),
on_trial as (
    update provider_health as health
    set tried_until = clock.at + make_interval(secs => $1::double precision)
    from clock
    where health.provider = any (array(select provider from due where trial))
      and health.pauses > 0 and health.paused_until <= clock.at
      and (health.tried_until is null or health.tried_until <= clock.at)
    returning health.provider
),
claimed as (
    update agenda set lease = lease + 1, tries = tries + 1,
        due_at = clock.at + make_interval(secs => $1::double precision),
        lease_until = clock.at + make_interval(secs => $1::double precision)
    from clock
    where agenda.job_id = any (array( -- by key, whatever the plan
        select job_id from due where not trial or provider in (select provider from on_trial)))
    returning agenda.job_id, agenda.lease, agenda.tries, agenda.state, agenda.version,
        agenda.attempt, agenda.provider, agenda.model, agenda.deadline_seconds,
        agenda.cancel_requested_at is not null as canceling
)
select claimed.*, due.trial, due.ailing, jobs.input, job_secrets.stored as secrets
from claimed join due using (job_id) join jobs on jobs.id = claimed.job_id
left join job_secrets on job_secrets.job_id = claimed.job_id;

-- name: claim_asks
-- Leases the jobs that are due for one of the tasks $4, as many of each provider's as it has places.
-- Its tasks take turns, in the order given, each with its most overdue first: none waits for all of
-- another's. It meets the agenda alone, and what inputs hold in secret.
with clock as materialized (select now() as at),
turn as materialized (
    select * from unnest($2::text[], $3::integer[]) as turn (provider, places)
),
next as ( -- each task's first, as if there were no other
    select turn.provider, turn.places, kind.nth, first.job_id,
           row_number() over (partition by turn.provider, kind.nth order by first.due_at) as n
    from turn
    cross join unnest($4::text[]) with ordinality as kind (task, nth)
    cross join lateral (
        select job_id, due_at from agenda
        where agenda.provider = turn.provider and agenda.task = kind.task
          and due_at <= (select at from clock)
          and (lease_until is null or lease_until <= (select at from clock))
        order by due_at limit turn.places for update skip locked) as first
),
due as (
    select job_id from (
        select job_id, places, row_number() over (partition by provider order by n, nth) as place
        from next) as lined_up
    where place <= places
),
claimed as (
    update agenda set lease = lease + 1, tries = tries + 1,
        due_at = clock.at + make_interval(secs => $1::double precision),
        lease_until = clock.at + make_interval(secs => $1::double precision)
    from clock where agenda.job_id = any (array(select job_id from due)) -- by key, whatever the plan
    returning agenda.job_id, agenda.task, agenda.lease, agenda.tries, agenda.state, agenda.version,
        agenda.attempt, agenda.provider, agenda.model, agenda.deadline_seconds,
        agenda.cancel_requested_at is not null as canceling, agenda.cancel_answer,
        agenda.told_stuck_at is not null as told_stuck, agenda.provider_id, agenda.urls,
        extract(epoch from clock.at - agenda.posted_at)::double precision as age,
        extract(epoch from clock.at - agenda.finished_at)::double precision as ended_for
)
select claimed.*, job_secrets.stored as secrets
from claimed left join job_secrets on job_secrets.job_id = claimed.job_id;

-- name: rooms
-- How the providers $1 have been answering, and every other one that has work or a history; how
-- many jobs wait for each and are in flight, both counted up to $2.
with clock as materialized (select now() as at),
known as (
    select provider from tasks_at_hand
    union select provider from provider_health
    union select provider from unnest($1::text[]) as given (provider)
)
select known.provider,
       coalesce(health.failures, 0) as failures,
       coalesce(health.ask_failures, 0) as ask_failures, coalesce(health.pauses, 0) as pauses,
       coalesce(health.paused_until > clock.at, false) as paused,
       health.paused_at, health.paused_until, health.code, health.message, health.silent_since,
       (select count(*) from (
            select from agenda where agenda.provider = known.provider and task = 'submit'
            order by due_at limit $2) as waiting)::integer as queued,
       least($2, (select count(*) from unnest(array['sending', 'poll', 'give_up']) as flying (task)
            cross join lateral (
                select from agenda
                where agenda.provider = known.provider and agenda.task = flying.task
                order by due_at limit $2) as with_provider))::integer as in_flight
from known cross join clock
left join provider_health as health on health.provider = known.provider
order by known.provider;

-- name: finish_asks
-- Records polls, each of another job, and gives their leases back: due again after `again_in` seconds
-- ($10 at most while somebody waits for the job), or at once where someone asked for it meanwhile;
-- dropped where that is null. A lease that ended meanwhile dates and drops nothing, nor does one that
-- a move has ended: the move has given the date, be it that of the next attempt. Whoever moves a job
-- holds its row of `jobs`, and then its row here: this waits for neither, and returns the jobs whose
-- rows here others hold, to be told again.
with clock as materialized (select now() as at),
asked as materialized (
    select * from unnest(
        $1::uuid[], $2::integer[], $3::integer[], $4::double precision[], $5::uuid[],
        $6::integer[], $7::text[], $8::text[], $9::text[]
    ) as item (job_id, lease, attempt, again_in, poll_id, duration_ms, said, note, progress)
),
free as materialized (
    select job_id from agenda where job_id = any ($1::uuid[]) for update skip locked
),
dropped as (
    delete from agenda using asked join free using (job_id)
    where agenda.job_id = any ($1::uuid[]) -- by key, whatever the plan
        and agenda.job_id = asked.job_id and agenda.lease = asked.lease
        and agenda.lease_until is not null and asked.again_in is null
),
dated as (
    update agenda set lease_until = null,
        due_at = case when agenda.due_at < agenda.lease_until then clock.at
                 when watched_until > clock.at
                 then clock.at + make_interval(secs => least(asked.again_in, $10::double precision))
                 else clock.at + make_interval(secs => asked.again_in) end,
        progress = case when asked.progress is not null and agenda.attempt = asked.attempt
                and agenda.state in ('submitted', 'running')
            then asked.progress::json else agenda.progress end
    from asked join free using (job_id), clock
    where agenda.job_id = any ($1::uuid[])
        and agenda.job_id = asked.job_id and agenda.lease = asked.lease
        and agenda.lease_until is not null and asked.again_in is not null
),
noted as (
    insert into polls (job_id, id, attempt, at, duration_ms, said, note)
    select job_id, poll_id, attempt, clock.at, duration_ms, said, note from asked, clock
    where poll_id is not null
    on conflict do nothing
)
select job_id from agenda
where (select count(*) from free) < cardinality($1::uuid[])
    and job_id = any ($1::uuid[]) and job_id not in (select job_id from free);

-- name: delay_submit
-- Gives a submit's lease back: tried again after $3 seconds.
update agenda set lease_until = null,
    due_at = (select now()) + make_interval(secs => $3::double precision)
where job_id = $1 and lease = $2 and task = 'submit';

-- name: watch_job
-- Somebody waits for the job, $2 seconds long: it is asked after soon, in $3 seconds at the latest.
with clock as materialized (select now() as at)
update agenda set watched_until = clock.at + make_interval(secs => $2::double precision),
    due_at = case when lease_until is null
        then least(due_at, clock.at + make_interval(secs => $3::double precision)) else due_at end
from clock where job_id = $1 and task = 'poll';

-- name: hasten_poll
-- Whoever asks after the job does so now.
update agenda set due_at = (select now()) where job_id = $1 and task = 'poll';

-- name: note_poll
-- Records a poll that nobody had leased: what the provider said, and how far the render is.
with clock as materialized (select now() as at),
noted as (
    insert into polls (job_id, id, attempt, at, duration_ms, said, note)
    select $1, $2, $3, clock.at, $4, $5, $6 from clock
    on conflict do nothing
)
update agenda set progress = $7::text::json
where job_id = $1 and attempt = $3 and $7::text is not null and state in ('submitted', 'running');
