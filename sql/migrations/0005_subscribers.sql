-- What a subscriber may have missed, what is sent again, and signing secrets that are replaced.

-- A statement that moves a job stages deliveries for the subscriptions that it sees; one that is
-- made or changed meanwhile it does not see. So an event says which transactions its statement may
-- not have seen (`seen` and all after it) and which is its own (`xact`), and a subscription in which
-- one it last began to want more (`marked`): what was missed is staged when the event gets its place.
alter table unplaced
    add xact xid8 not null default '0',
    add seen xid8 not null default '0';
alter table subscriptions
    add marked       xid8        not null default '0',
    add marked_after pg_snapshot not null default '1:1:', -- it wants what was not committed then,
    add marked_since timestamptz;                         -- and what is told from this moment on
create index subscriptions_by_mark on subscriptions (marked);

-- `marks` counts the marks, so that whoever gives places can tell that it has not seen the last
-- one; `told_at` is the latest moment told of so far.
alter table feed_head
    add marks   bigint      not null default 0,
    add told_at timestamptz not null default now();
-- Where to begin: all up to `place` was told before `minute`.
create table feed_times (
    minute timestamptz primary key,
    place  bigint      not null
);

-- The one place that says which id an event's delivery has: a UUIDv7 with the event's time and
-- bucket. Null: the job's own notify_hook.
create function delivery_id(event uuid, subscription uuid) returns uuid
    language sql immutable parallel safe
    return (left(replace(event::text, '-', ''), 13)
        || overlay(left(md5(replace(event::text, '-', '') || coalesce(subscription::text, '')), 16)
                   placing '8' from 4 for 0)
        || right(event::text, 2))::uuid;

alter table deliveries
    add app_id      uuid,
    add past_tries  integer not null default 0, -- of an earlier schedule
    add lease_until timestamptz;
update deliveries set app_id = jobs.app_id from jobs where jobs.id = deliveries.job_id;
alter table deliveries alter app_id set not null;
create index deliveries_of_app on deliveries (app_id, id);
create index deliveries_failed on deliveries (app_id, id) where state = 'failed';

-- Events that are sent again, or to one who began in the past, page by page along the feed.
create table recoveries (
    subscription_id uuid        not null constraint recovery_belongs_to_subscription
                                references subscriptions on delete cascade,
    id              uuid        not null,
    asked           text        not null, -- the request: the same one at once is one recovery
    who             text        not null,
    since           timestamptz not null,
    until           timestamptz not null,
    acknowledged    boolean     not null, -- those too that the endpoint has acknowledged
    place           bigint      not null, -- how far it has come
    last_place      bigint      not null, -- how far it goes
    count           bigint,
    created_at      timestamptz not null,
    stepped_at      timestamptz not null,
    done_at         timestamptz,
    primary key (subscription_id, id)
);
create unique index one_recovery_for_one_request on recoveries (subscription_id, asked)
    where done_at is null;
create index recoveries_left on recoveries (stepped_at) where done_at is null;

-- Secrets that still sign beside the subscription's own, until then; encrypted.
create table former_secrets (
    subscription_id uuid        not null constraint secret_belongs_to_subscription
                                references subscriptions on delete cascade,
    id              uuid        not null,
    secret          bytea       not null,
    valid_until     timestamptz not null,
    primary key (subscription_id, id)
);

alter table operator_actions drop constraint act_is_known;
alter table operator_actions add constraint act_is_known check (act in
    ('cancel', 'resync', 'rerun', 'resolve', 'adopt', 'replay', 'resend'));
