-- name: claim_submits
-- Leases the jobs whose turn to be submitted has come, oldest first. `submitting` among them: the
-- process that was about to POST is gone, and nobody knows whether it did.
with clock as materialized (select now() as at),
due as (
    select job_id from agenda
    where task = 'submit' and due_at <= (select at from clock)
      and (lease_until is null or lease_until <= (select at from clock))
      and provider = any ($3::text[])
    order by due_at limit $1 for update skip locked
),
claimed as (
    update agenda set lease = lease + 1, tries = tries + 1,
        due_at = clock.at + make_interval(secs => $2::double precision),
        lease_until = clock.at + make_interval(secs => $2::double precision)
    from clock where agenda.job_id = any (array(select job_id from due)) -- by key, whatever the plan
    returning agenda.job_id, agenda.lease, agenda.tries
)
select claimed.job_id, claimed.lease, claimed.tries, jobs.state, jobs.version, jobs.attempt,
       jobs.provider,
       jobs.model, jobs.input, jobs.deadline_seconds, job_secrets.stored as secrets
from claimed join jobs on jobs.id = claimed.job_id
left join job_secrets on job_secrets.job_id = claimed.job_id;

-- name: claim_asks
-- Leases the jobs that are due to be asked after or given up, most overdue first.
with clock as materialized (select now() as at),
due as (
    select job_id from agenda
    where task <> 'submit' and due_at <= (select at from clock)
      and (lease_until is null or lease_until <= (select at from clock))
    order by due_at limit $1 for update skip locked
),
claimed as (
    update agenda set lease = lease + 1, tries = tries + 1,
        due_at = clock.at + make_interval(secs => $2::double precision),
        lease_until = clock.at + make_interval(secs => $2::double precision)
    from clock where agenda.job_id = any (array(select job_id from due)) -- by key, whatever the plan
    returning agenda.job_id, agenda.task, agenda.lease, agenda.tries
)
select claimed.job_id, claimed.task, claimed.lease, claimed.tries, jobs.state, jobs.version,
       jobs.attempt,
       jobs.provider, jobs.model, jobs.input, jobs.deadline_seconds,
       job_secrets.stored as secrets, attempts.provider_id,
       attempts.urls, extract(epoch from clock.at - jobs.posted_at)::double precision as age,
       extract(epoch from clock.at - jobs.finished_at)::double precision as ended_for
from claimed join jobs on jobs.id = claimed.job_id
join attempts on attempts.job_id = jobs.id and attempts.number = jobs.attempt
left join job_secrets on job_secrets.job_id = claimed.job_id cross join clock;

-- name: finish_ask
-- Records one poll and gives the lease back: due again after $4 seconds, or at once where someone
-- asked for it meanwhile; dropped where $4 is null. A lease that ended meanwhile dates nothing,
-- nor does one that a move has ended: the move has given the date.
with clock as materialized (select now() as at),
dropped as (
    delete from agenda where job_id = $1 and lease = $2 and $4::double precision is null
),
dated as (
    update agenda set lease_until = null,
        due_at = case when agenda.due_at < agenda.lease_until then clock.at
                 else clock.at + make_interval(secs => $4::double precision) end
    from clock where job_id = $1 and lease = $2 and lease_until is not null
        and $4::double precision is not null
),
noted as (
    insert into polls (job_id, id, attempt, at, duration_ms, said, note)
    select $1, $5, $3, clock.at, $6, $7, $8 from clock where $5::uuid is not null
    on conflict do nothing
)
update jobs set progress = $9::text::json
where id = $1 and attempt = $3 and $9::text is not null and state in ('submitted', 'running')
  and progress::text is distinct from $9::text;

-- name: delay_submit
-- Gives a submit's lease back: tried again after $3 seconds.
update agenda set lease_until = null,
    due_at = (select now()) + make_interval(secs => $3::double precision)
where job_id = $1 and lease = $2 and task = 'submit';
