-- Acts by hand, cancels, a provider's health, calls that came before their job, overdue jobs.
alter table jobs
    add cancel_requested_at timestamptz,
    add told_stuck_at timestamptz; -- of the current attempt: told once

alter table attempts add cancel_answer text constraint cancel_answer_is_known
    check (cancel_answer in ('requested', 'too_late', 'unknown'));

-- Beside the first, what only tells that a job is overdue comes from nothing.
alter table job_events drop constraint only_the_first_comes_from_nothing;
alter table job_events add constraint only_the_first_and_stuck_come_from_nothing
    check (was is not null or (version = 1 and now = 'queued') or source = 'sweep');

-- What people did to a job, and why.
create table operator_actions (
    job_id  uuid        not null constraint act_is_on_a_job references jobs,
    id      uuid        not null,
    attempt integer     not null,
    act     text        not null constraint act_is_known check (act in
                        ('cancel', 'resync', 'rerun', 'resolve', 'adopt', 'replay')),
    who     text        not null, -- a key's id, or the command line's user
    reason  text,
    detail  json,
    at      timestamptz not null,
    primary key (job_id, id)
);

-- How each provider has been answering. Paused: nothing is submitted to it, and it is asked slowly.
create table provider_health (
    provider     text        primary key,
    failures     integer     not null default 0, -- submits in a row that it failed
    ask_failures integer     not null default 0, -- polls in a row
    pauses       integer     not null default 0, -- in a row
    paused_at    timestamptz,
    paused_until timestamptz, -- then one job is tried
    tried_until  timestamptz, -- the one that is being tried has until then
    code         text,
    message      text,
    silent_since timestamptz  -- it used to call back, and does not
);

-- A call that names its job by the provider's id only, kept until a job has that id.
alter table callbacks add provider_id text;
create index callbacks_that_wait on callbacks (provider, provider_id)
    where verdict = 'ignored' and reason = 'unknown_job' and provider_id is not null;
-- What moved nothing is looked for among much that did, and is not kept for long.
create index callbacks_unwelcome on callbacks (id)
    where verdict in ('refused', 'unreadable') or reason = 'unknown_job';

-- Each provider has its own queue, so that none waits for another's. `sending`: the POST may be
-- under way; `late`: an expired job, asked after though no longer in flight.
alter table agenda add watched_until timestamptz; -- somebody waits for the job
alter table agenda drop constraint task_is_known;
update agenda set task = 'late' from jobs where jobs.id = agenda.job_id and jobs.state = 'expired';
update agenda set task = 'sending' from jobs
    where jobs.id = agenda.job_id and jobs.state = 'submitting';
update agenda set task = 'poll' where task = 'cancel';
alter table agenda add constraint task_is_known
    check (task in ('submit', 'sending', 'poll', 'late', 'give_up'));
drop index agenda_submits_due, agenda_asks_due;
create index agenda_submits_due on agenda (provider, due_at) where task = 'submit';
create index agenda_asks_due on agenda (provider, due_at) where task <> 'submit';
-- Unconfirmed jobs, whose money may be lost; among the others they are few.
create index agenda_unconfirmed on agenda (provider) where task = 'give_up';

-- A provider's newest jobs, however many those of the others are.
create index jobs_of_provider_newest_first on jobs (provider, created_at);
