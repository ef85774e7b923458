-- name: get_callback
-- One inbound call, whole, with the app whose job it names (null: it names none that we have).
-- Empty: no such call.
select callbacks.*, octet_length(callbacks.body) as stored_bytes, jobs.app_id
from callbacks left join jobs on jobs.id = callbacks.job_id
where callbacks.id = $1;

-- name: list_callbacks
-- Every inbound call, newest first, between two ids; of the body the first bytes.
select id, provider, job_id, attempt, received_at, verdict, reason, address, headers, provider_id,
       substring(body from 1 for $3::integer) as body, octet_length(body) as stored_bytes
from callbacks
where id > $1 and id < $2
  and ($4::text is null or provider = $4)
  and ($5::text is null or verdict = $5)
  and ($6::text is null or reason = $6)
order by id desc limit $7;

-- name: list_unwelcome_callbacks
-- The same of those only that were refused, could not be read or came for a job that we do not
-- know: few among many, they have an index of their own.
select id, provider, job_id, attempt, received_at, verdict, reason, address, headers, provider_id,
       substring(body from 1 for $3::integer) as body, octet_length(body) as stored_bytes
from callbacks
where (verdict in ('refused', 'unreadable') or reason = 'unknown_job')
  and id > $1 and id < $2
  and ($4::text is null or provider = $4)
  and ($5::text is null or verdict = $5)
  and ($6::text is null or reason = $6)
order by id desc limit $7;

-- name: list_callbacks_of_job
-- The same of one job, where it is the app's ($9 null: whosever it is).
select id, provider, job_id, attempt, received_at, verdict, reason, address, headers, provider_id,
       substring(body from 1 for $3::integer) as body, octet_length(body) as stored_bytes
from callbacks
where job_id = $8 and id > $1 and id < $2
  and ($4::text is null or provider = $4)
  and ($5::text is null or verdict = $5)
  and ($6::text is null or reason = $6)
  and ($9::uuid is null or exists (select from jobs where jobs.id = $8 and jobs.app_id = $9))
order by id desc limit $7;

-- name: list_callbacks_of_app
-- The same of all jobs of one app. Of an app with few jobs each job's calls are looked up; else the
-- newest calls are walked, among which its own are then not rare.
with few as materialized (select id from jobs where app_id = $8 order by id desc limit 5001),
many as materialized (select count(*) > 5000 as so from few)
select * from (
    (select found.* from few cross join lateral (
        select id, provider, job_id, attempt, received_at, verdict, reason, address, headers,
               provider_id, substring(body from 1 for $3::integer) as body,
               octet_length(body) as stored_bytes
        from callbacks
        where callbacks.job_id = few.id and callbacks.id > $1 and callbacks.id < $2
          and ($4::text is null or provider = $4)
          and ($5::text is null or verdict = $5)
          and ($6::text is null or reason = $6)
        order by callbacks.id desc limit $7) as found
     where not (select so from many)
     order by found.id desc limit $7)
    union all
    (select callbacks.id, callbacks.provider, job_id, callbacks.attempt, received_at, verdict,
            reason, address, headers, provider_id, substring(body from 1 for $3::integer),
            octet_length(body)
     from callbacks join jobs on jobs.id = callbacks.job_id
     where (select so from many) and jobs.app_id = $8 and callbacks.id > $1 and callbacks.id < $2
       and ($4::text is null or callbacks.provider = $4)
       and ($5::text is null or verdict = $5)
       and ($6::text is null or reason = $6)
     order by callbacks.id desc limit $7)
) as page order by id desc;

-- name: list_unwelcome_callbacks_of_app
-- The same of those only that were refused or could not be read.
select callbacks.id, callbacks.provider, job_id, callbacks.attempt, received_at, verdict, reason,
       address, headers, provider_id, substring(body from 1 for $3::integer) as body,
       octet_length(body) as stored_bytes
from callbacks join jobs on jobs.id = callbacks.job_id
where (verdict in ('refused', 'unreadable') or reason = 'unknown_job')
  and jobs.app_id = $8 and callbacks.id > $1 and callbacks.id < $2
  and ($4::text is null or callbacks.provider = $4)
  and ($5::text is null or verdict = $5)
  and ($6::text is null or reason = $6)
order by callbacks.id desc limit $7;

-- name: find_meant
-- The attempts that a call may be about, with what their jobs hold in secret: the newest that has
-- the provider's id in its body, and the one its token names, be the token good or not.
(select 'body' as named_by, jobs.id as job_id, attempts.number as attempt, jobs.state,
        jobs.attempt = attempts.number as current, job_secrets.stored
 from attempts join jobs on jobs.id = attempts.job_id
 left join job_secrets on job_secrets.job_id = jobs.id
 where attempts.provider_id = $2 and jobs.provider = $1
 order by attempts.job_id desc, attempts.number desc limit 1)
union all
(select 'token', jobs.id, attempts.number, jobs.state, jobs.attempt = attempts.number,
        job_secrets.stored
 from attempts join jobs on jobs.id = attempts.job_id
 left join job_secrets on job_secrets.job_id = jobs.id
 where attempts.job_id = $3 and attempts.number = $4);

-- name: waiting_callbacks
-- Calls that name their job by this id of the provider's, and had none when they came; oldest
-- first.
select id, provider, job_id, attempt, received_at, verdict, reason, address, headers, body,
       provider_id
from callbacks
where provider = $1 and provider_id = $2 and verdict = 'ignored' and reason = 'unknown_job'
  and job_id is null
order by id limit $3;

-- name: callbacks_whose_job_came
-- The ids under which calls wait though a job has them by now. One probe for each, by index.
select waiting.provider, waiting.provider_id
from (select distinct provider, provider_id from callbacks
      where verdict = 'ignored' and reason = 'unknown_job' and provider_id is not null
        and job_id is null) as waiting
cross join lateral (select from attempts join jobs on jobs.id = attempts.job_id
                    where attempts.provider_id = waiting.provider_id
                      and jobs.provider = waiting.provider limit 1) as known
limit $1;

-- name: forget_callbacks
-- Deletes up to $2 calls that moved nothing and never will, once they are older than $1 seconds;
-- ids begin with their time in milliseconds. Whoever else is at it takes others.
with clock as materialized (select now() as at),
old as materialized (
    select callbacks.id from callbacks
    where (verdict in ('refused', 'unreadable') or reason = 'unknown_job')
      and callbacks.id < (select (lpad(to_hex((extract(epoch from at) * 1000
              - $1::double precision * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
          from clock)
    order by callbacks.id limit $2
    for update skip locked
)
delete from callbacks where id = any (array(select id from old)) -- by key, whatever the plan
returning id;

-- name: refusals_of_open_jobs
-- How many calls about open jobs were refused in the last $1 seconds, by provider and reason: each
-- may be a callback that should have been taken.
with clock as materialized (select now() as at)
select callbacks.provider, callbacks.reason, count(*) as calls,
       count(distinct callbacks.job_id) as jobs, max(callbacks.received_at) as last_at
from callbacks join jobs on jobs.id = callbacks.job_id
where (verdict in ('refused', 'unreadable') or reason = 'unknown_job')
  and callbacks.verdict = 'refused'
  and callbacks.id > (select (lpad(to_hex((extract(epoch from at) * 1000
          - $1::double precision * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid from clock)
  and jobs.state in ('queued', 'submitting', 'unconfirmed', 'submitted', 'running')
group by callbacks.provider, callbacks.reason
order by max(callbacks.received_at) desc;
