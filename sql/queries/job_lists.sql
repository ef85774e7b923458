-- name: find_jobs
-- Those of an app, newest first. Each `find_` statement takes the same ten: the app ($1, null: every
-- app's), two ids ($2, $3) between which the jobs are, what they are to be ($4 state, $5 provider,
-- $6 model, $7 reference, $8 metadata; null: anything), how many it may walk through ($9) and find
-- ($10). It returns the ids of those that match; and the last one that it walked to, as number $9,
-- matching or not, where it had to stop there: what is older was not looked at.
select id, n, matches from (
    select app_id, id, n, coalesce(($4::text is null or state = $4)
               and ($5::text is null or provider = $5)
               and ($6::text is null or model = $6)
               and ($7::text is null or reference = $7)
               and ($8::text is null or metadata @> $8::text::jsonb), false) as matches
    from (
        select app_id, id, state, provider, model, reference, metadata,
               row_number() over (order by app_id desc, id desc) as n
        from jobs where (app_id, id) > ($1, $2) and (app_id, id) < ($1, $3)
        order by app_id desc, id desc limit $9::bigint) as walked) as judged
where matches or n = $9 order by app_id desc, id desc limit $10;

-- name: find_jobs_of_everyone
-- Those of every app.
select id, n, matches from (
    select id, n, coalesce(($4::text is null or state = $4)
               and ($5::text is null or provider = $5)
               and ($6::text is null or model = $6)
               and ($7::text is null or reference = $7)
               and ($8::text is null or metadata @> $8::text::jsonb), false) as matches
    from (
        select id, state, provider, model, reference, metadata,
               row_number() over (order by id desc) as n
        from jobs where $1::uuid is null and id > $2 and id < $3
        order by id desc limit $9::bigint) as walked) as judged
where matches or n = $9 order by id desc limit $10;

-- name: find_jobs_of_reference
-- Those of an app that it gave this reference.
select id, n, matches from (
    select id, n, coalesce(($4::text is null or state = $4)
               and ($5::text is null or provider = $5)
               and ($6::text is null or model = $6)
               and ($8::text is null or metadata @> $8::text::jsonb), false) as matches
    from (
        select id, state, provider, model, metadata, row_number() over (order by id desc) as n
        from jobs where app_id = $1 and reference = $7 and id > $2 and id < $3
        order by id desc limit $9::bigint) as walked) as judged
where matches or n = $9 order by id desc limit $10;

-- name: find_jobs_at_hand
-- Open ones, whose state has one of the tasks $11 on the agenda: what has ended is not met. Where
-- the tasks have few rows those are looked at, all of them, else what is open is walked.
with few as materialized (
    select waiting.job_id
    from tasks_at_hand as at_hand cross join lateral (
        select job_id from agenda
        where agenda.provider = at_hand.provider and agenda.task = at_hand.task
        order by due_at limit $9::bigint) as waiting
    where at_hand.task = any ($11::text[]) and ($5::text is null or at_hand.provider = $5)
    limit $9
),
many as materialized (select count(*) >= $9 as so from few)
select id, n, matches from (
    (select few.job_id as id, null::bigint as n, true as matches
     from few cross join lateral (
        select from jobs
        where jobs.id = few.job_id and jobs.state = $4
          and ($1::uuid is null or jobs.app_id = $1)
          and ($6::text is null or jobs.model = $6)
          and ($7::text is null or jobs.reference = $7)
          and ($8::text is null or jobs.metadata @> $8::text::jsonb)
        offset 0) as job -- one after another, by key
     where not (select so from many) and few.job_id > $2 and few.job_id < $3
     order by few.job_id desc limit $10)
    union all
    (select walked.job_id, walked.n, job.id is not null
     from (
        select job_id, task, provider, row_number() over (order by job_id desc) as n
        from agenda where (select so from many) and job_id > $2 and job_id < $3
        order by job_id desc limit $9) as walked
     left join lateral (
        select jobs.id from jobs
        where jobs.id = walked.job_id and jobs.state = $4
          and walked.task = any ($11) and ($5 is null or walked.provider = $5)
          and ($1 is null or jobs.app_id = $1)
          and ($6 is null or jobs.model = $6)
          and ($7 is null or jobs.reference = $7)
          and ($8 is null or jobs.metadata @> $8::jsonb)
        offset 0) as job on true
     where job.id is not null or walked.n = $9
     order by walked.job_id desc limit $10)
) as found order by id desc limit $10;

-- name: find_jobs_without_result
-- Ended ones, other than completed, by the events of their ends: the job's version is that of its
-- last event, so an end that a rerun has undone is told from the one that it has now.
select id, n, matches from (
    select walked.job_id as id, walked.n, job.id is not null as matches
    from (
        select job_id, version, row_number() over (order by job_id desc, version desc) as n
        from job_events
        where now = $4 and now in ('failed', 'canceled', 'expired')
          and job_id > $2 and job_id < $3
        order by job_id desc, version desc limit $9::bigint) as walked
    left join lateral (
        select jobs.id from jobs
        where jobs.id = walked.job_id and jobs.version = walked.version and jobs.state = $4
          and ($1::uuid is null or jobs.app_id = $1)
          and ($5::text is null or jobs.provider = $5)
          and ($6::text is null or jobs.model = $6)
          and ($7::text is null or jobs.reference = $7)
          and ($8::text is null or jobs.metadata @> $8::text::jsonb)
        offset 0) as job on true) as judged
where matches or n = $9 order by id desc limit $10;

-- name: find_jobs_in_need
-- Those that are overdue and, with $11, those that are unconfirmed. Found among what is due or
-- overdue, all of it, never among all that is open.
with candidate as materialized (
    select job_id from agenda where due_at > overdue_at and overdue_at <= now()
    union
    select overdue.job_id
    from tasks_at_hand as at_hand cross join lateral (
        select job_id from agenda
        where agenda.provider = at_hand.provider and agenda.task = at_hand.task
          and due_at <= now() and overdue_at <= now()
        offset 0) as overdue -- one task after another, by index, whatever the statistics say
    where at_hand.task in ('sending', 'poll', 'give_up')
    union
    select job_id from agenda where $11::boolean and task = 'give_up'
)
select candidate.job_id as id, null::bigint as n, $9::bigint is not null as matches
from (select job_id from candidate where job_id > $2 and job_id < $3
      order by job_id desc offset 0) as candidate
cross join lateral (
    select from jobs
    where jobs.id = candidate.job_id
      and jobs.state in ('submitting', 'unconfirmed', 'submitted', 'running')
      and (jobs.posted_at + make_interval(secs => jobs.deadline_seconds) < now()
           or $11 and jobs.state = 'unconfirmed')
      and ($1::uuid is null or jobs.app_id = $1)
      and ($4::text is null or jobs.state = $4)
      and ($5::text is null or jobs.provider = $5)
      and ($6::text is null or jobs.model = $6)
      and ($7::text is null or jobs.reference = $7)
      and ($8::text is null or jobs.metadata @> $8::text::jsonb)
    offset 0) as job -- one after another, by key, until there are enough
order by candidate.job_id desc limit $10;

-- name: show_jobs
-- These, as `get_job` has them, newest first; none that has left the state $2 (null: any) meanwhile.
select * from jobs_shown where id = any ($1::uuid[]) and ($2::text is null or state = $2)
order by id desc;
