-- Who asks.
create table apps (
    id             uuid        primary key,
    name           text        not null constraint app_names_differ unique,
    default_secret bytea       not null, -- signs the events of jobs' own notify_hook; encrypted
    created_at     timestamptz not null
);

create table api_keys (
    id         uuid        primary key,
    app_id     uuid        not null constraint key_belongs_to_app references apps,
    digest     bytea       not null constraint key_digests_differ unique,
    scopes     text[]      not null constraint scopes_are_known
                           check (scopes <@ array['submit', 'read', 'operate']),
    all_apps   boolean     not null,
    created_at timestamptz not null,
    revoked_at timestamptz
);

-- Which moves there are. job_events refers to it, so Postgres itself refuses any other history.
create table transitions (
    was      text    not null,
    now      text    not null,
    reported boolean not null, -- the provider's word, by callback or by poll, makes this move
    primary key (was, now)
);

insert into transitions (was, now, reported) values
    ('queued',      'submitting',  false),
    ('queued',      'canceled',    false),
    ('queued',      'failed',      false),
    ('queued',      'completed',   false), -- an older attempt's success, adopted
    ('submitting',  'submitted',   true),
    ('submitting',  'running',     true),
    ('submitting',  'completed',   true),  -- a callback can beat the reply to our own POST
    ('submitting',  'failed',      true),
    ('submitting',  'canceled',    true),
    ('submitting',  'unconfirmed', false),
    ('submitting',  'queued',      false), -- provably not sent, or provably refused for now
    ('unconfirmed', 'submitted',   true),
    ('unconfirmed', 'running',     true),
    ('unconfirmed', 'completed',   true),
    ('unconfirmed', 'failed',      true),
    ('unconfirmed', 'canceled',    true),
    ('unconfirmed', 'expired',     false),
    ('unconfirmed', 'queued',      false), -- an operator says: not accepted
    ('submitted',   'running',     true),
    ('submitted',   'completed',   true),
    ('submitted',   'failed',      true),
    ('submitted',   'canceled',    true),
    ('submitted',   'expired',     false),
    ('submitted',   'queued',      false), -- a forced rerun
    ('running',     'completed',   true),
    ('running',     'failed',      true),
    ('running',     'canceled',    true),
    ('running',     'expired',     false),
    ('running',     'queued',      false), -- a forced rerun
    ('expired',     'completed',   true),  -- a late success is a success
    ('expired',     'queued',      false),
    ('completed',   'queued',      false), -- a rerun
    ('failed',      'queued',      false),
    ('failed',      'completed',   false), -- adopted
    ('canceled',    'queued',      false),
    ('canceled',    'completed',   false); -- adopted

-- One render that an app asked for. State and version stay near the top for whoever reads psql.
-- No index mentions a column that a move changes, so that moves stay within their page.
create table jobs (
    id               uuid        primary key,
    state            text        not null constraint state_is_known check (state in
                                 ('queued', 'submitting', 'unconfirmed', 'submitted', 'running',
                                  'completed', 'failed', 'canceled', 'expired')),
    version          integer     not null constraint versions_start_at_one check (version >= 1),
    attempt          integer     not null constraint attempts_start_at_one check (attempt >= 1),
    app_id           uuid        not null constraint job_belongs_to_app references apps,
    provider         text        not null,
    model            text        not null,
    input            json        not null, -- json, not jsonb: sent with its keys in their order
    reference        text,
    metadata         jsonb       not null,
    notify_hook      text,
    deadline_seconds double precision not null constraint deadline_is_positive
                                 check (deadline_seconds > 0),
    warnings         json        not null,
    currency         text,
    estimate         numeric,
    upper_bound      boolean     not null,
    error            json,
    progress         json,
    learnt_by        text constraint learnt_by_is_known
                                 check (learnt_by in ('callback', 'poll', 'submit', 'operator')),
    late             boolean     not null,
    created_at       timestamptz not null,
    posted_at        timestamptz, -- the current attempt's POST: the deadline runs from it
    submitted_at     timestamptz, -- the provider has it
    finished_at      timestamptz,
    constraint finished_iff_ended check
        ((finished_at is not null) = (state in ('completed', 'failed', 'canceled', 'expired')))
) with (fillfactor = 70);
create index jobs_of_app_newest_first on jobs (app_id, id desc);
create index jobs_by_reference on jobs (app_id, reference, id desc) where reference is not null;

-- One try at it: at most one POST that left this machine, and what became of that POST.
create table attempts (
    job_id       uuid    not null constraint attempt_belongs_to_job references jobs,
    number       integer not null,
    provider_id  text,
    urls         json,  -- where the provider said to ask
    token_key    text,  -- which of our secrets signed its callback token; null: no callback
    outcome      text    constraint outcome_is_a_verdict
                         check (outcome in ('completed', 'failed', 'canceled')),
    outcome_at   timestamptz,
    output       json,  -- what the provider answered, raw
    outputs      json,  -- the media in it: url, content_type, expires_at
    error        json,
    actual       numeric,
    disagreement json,  -- a later verdict that said otherwise; it moved nothing
    primary key (job_id, number)
) with (fillfactor = 70);
-- For calls that name a job by the provider's id only (a provider's shared token).
create index attempts_by_provider_id on attempts (provider_id) where provider_id is not null;

-- Every move, in the job's own order. The history that jobs.state is held to.
create table job_events (
    job_id  uuid        not null constraint event_belongs_to_job references jobs,
    version integer     not null,
    now     text        not null,
    was     text,       -- null: no move (the job was made, or told to be stuck)
    id      uuid        not null,
    attempt integer     not null,
    source  text        not null constraint source_is_known check (source in
                        ('api', 'submit', 'callback', 'poll', 'sweep', 'operator')),
    detail  json,
    at      timestamptz not null,
    primary key (job_id, version, now), -- with the state, so that jobs can refer to it
    constraint one_event_per_version unique (job_id, version),
    constraint history_is_legal foreign key (was, now) references transitions (was, now),
    constraint only_the_first_comes_from_nothing
        check (was is not null or (version = 1 and now = 'queued'))
);
alter table jobs add constraint state_is_what_history_says
    foreign key (id, version, state) references job_events (job_id, version, now);

-- What is left to do, one row per job that has something left; history is never met here.
-- A lease is due_at moved to its end. Who wants the job sooner moves due_at below lease_until.
create table agenda (
    job_id      uuid        primary key constraint agenda_belongs_to_job references jobs,
    task        text        not null constraint task_is_known
                            check (task in ('submit', 'poll', 'cancel', 'give_up')),
    provider    text        not null,
    due_at      timestamptz not null,
    lease       integer     not null default 0,
    lease_until timestamptz,
    tries       integer     not null default 0
) with (fillfactor = 70);
create index agenda_submits_due on agenda (due_at) where task = 'submit';
create index agenda_asks_due on agenda (due_at) where task <> 'submit';

create table idempotency_keys (
    app_id      uuid        not null,
    key         text        not null,
    job_id      uuid        not null,
    fingerprint bytea       not null, -- of the request that came with it
    created_at  timestamptz not null,
    primary key (app_id, key)
);
