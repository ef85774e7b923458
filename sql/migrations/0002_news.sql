-- Inbound calls, refused ones too. No foreign key: a call may name a job that we no longer have.
create table callbacks (
    id          uuid        primary key,
    provider    text        not null,
    job_id      uuid,
    attempt     integer,
    received_at timestamptz not null,
    verdict     text        not null constraint verdict_is_known check (verdict in
                ('accepted', 'duplicate', 'ignored', 'hint', 'refused', 'unreadable')),
    reason      text,
    address     text        not null,
    headers     json        not null,
    body        bytea       not null
);
create index callbacks_of_job on callbacks (job_id, id) where job_id is not null;

-- What the provider answered when it was asked.
create table polls (
    job_id      uuid        not null constraint poll_belongs_to_job references jobs,
    id          uuid        not null,
    attempt     integer     not null,
    at          timestamptz not null,
    duration_ms integer     not null,
    said        text,       -- the state it told; null where there was no news
    note        text,
    primary key (job_id, id)
);

create table subscriptions (
    id              uuid        primary key,
    app_id          uuid        not null constraint subscription_belongs_to_app references apps,
    url             text        not null,
    events          text[]      not null,
    secret          bytea       not null, -- encrypted
    headers         bytea       not null, -- a JSON object, encrypted: it may hold a key
    enabled         boolean     not null,
    disabled_reason text,
    failing_since   timestamptz,
    created_at      timestamptz not null
);
create index subscriptions_of_app on subscriptions (app_id, id);

-- One event to one endpoint. The id follows from the event and the subscription (null: the job's
-- own notify_hook), so the same news is never staged twice. A lease is next_at moved to its end.
create table deliveries (
    job_id          uuid        not null constraint delivery_belongs_to_job references jobs,
    id              uuid        not null,
    version         integer     not null,
    subscription_id uuid,
    state           text        not null constraint delivery_state_is_known
                                check (state in ('pending', 'succeeded', 'failed')),
    tries           integer     not null default 0,
    lease           integer     not null default 0,
    next_at         timestamptz not null,
    created_at      timestamptz not null,
    primary key (job_id, id)
) with (fillfactor = 70);
create index deliveries_due on deliveries (next_at) where state = 'pending';

create table delivery_tries (
    job_id      uuid        not null,
    delivery_id uuid        not null,
    number      integer     not null,
    at          timestamptz not null,
    status      integer,
    duration_ms integer     not null,
    error       text,
    response    bytea       not null,
    primary key (job_id, delivery_id, number),
    constraint try_belongs_to_delivery foreign key (job_id, delivery_id) references deliveries
);

-- The order in which everyone reads events. `advance` leaves each event among the unplaced; one
-- step at a time gives them places, so what commits late comes later and is never skipped.
create table unplaced (
    job_id  uuid        not null,
    version integer     not null,
    at      timestamptz not null,
    primary key (job_id, version)
);
create table feed (
    place    bigint  primary key,
    job_id   uuid    not null,
    version  integer not null,
    event_id uuid    not null
);
create index feed_by_event on feed (event_id);
create table feed_head (
    one   boolean primary key default true constraint there_is_one_head check (one),
    place bigint  not null
);
insert into feed_head (place) values (0);
