-- A row of the agenda says all that is needed to ask after its job. What is open and quiet has long
-- left the memory, and a look at it met four pages of jobs and attempts for each job that was due.
-- Whoever changes one of these changes it here too: `advance`, and the few beside it.
alter table agenda
    add state text,
    add version integer,
    add attempt integer,
    add model text,
    add deadline_seconds double precision,
    add posted_at timestamptz,
    add finished_at timestamptz, -- it has expired, and may still complete
    add cancel_requested_at timestamptz,
    add told_stuck_at timestamptz,
    add provider_id text,
    add urls json,
    add cancel_answer text,
    add progress json; -- kept here alone: it is told of what is open
update agenda set state = jobs.state, version = jobs.version, attempt = jobs.attempt,
    model = jobs.model, deadline_seconds = jobs.deadline_seconds, posted_at = jobs.posted_at,
    finished_at = jobs.finished_at, cancel_requested_at = jobs.cancel_requested_at,
    told_stuck_at = jobs.told_stuck_at, provider_id = attempts.provider_id, urls = attempts.urls,
    cancel_answer = attempts.cancel_answer, progress = jobs.progress
from jobs join attempts on attempts.job_id = jobs.id and attempts.number = jobs.attempt
where jobs.id = agenda.job_id;
alter table agenda
    alter state set not null, alter version set not null, alter attempt set not null,
    alter model set not null, alter deadline_seconds set not null;

drop view jobs_shown;
alter table jobs drop column progress;
create view jobs_shown as
select jobs.*, attempts.provider_id, attempts.output, attempts.outputs, attempts.actual,
       (select progress from agenda where agenda.job_id = jobs.id) as progress,
       coalesce(jobs.state not in ('queued', 'completed', 'failed', 'canceled', 'expired')
           and jobs.posted_at + make_interval(secs => jobs.deadline_seconds) < now(), false)
           as stuck,
       health.code as waiting_code, health.message as waiting_message,
       health.paused_until as waiting_until
from jobs join attempts on attempts.job_id = jobs.id and attempts.number = jobs.attempt
left join provider_health as health on health.provider = jobs.provider
    and jobs.state = 'queued' and health.paused_until > now();

-- It met the job's row for each poll. A poll is written by whoever leased the job; no job is removed.
alter table polls drop constraint poll_belongs_to_job;
