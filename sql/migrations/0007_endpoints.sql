-- Each endpoint has its own queue, so that none waits for another's.

-- What stands for the origin of a job's own notify_hook, where several jobs lead to one server.
create function origin_key(url text) returns uuid
    language sql immutable parallel safe
    return md5(lower(substring(url from '^[^:/?#]+://[^/?#]*')))::uuid;

alter table deliveries add origin uuid; -- of the job's own notify_hook
update deliveries set origin = origin_key(jobs.notify_hook)
    from jobs where jobs.id = deliveries.job_id and deliveries.subscription_id is null;
alter table deliveries add endpoint uuid not null
    generated always as (coalesce(subscription_id, origin)) stored;
drop index deliveries_due;
create index deliveries_due on deliveries (endpoint, next_at) where state = 'pending';

-- Endpoints whose last try failed, kept apart from what people write: since when none has gone well.
create table failing_endpoints (
    endpoint uuid        primary key,
    since    timestamptz not null
);
insert into failing_endpoints (endpoint, since)
    select id, failing_since from subscriptions where failing_since is not null;
alter table subscriptions drop column failing_since;

-- When somebody last read the feed. While nobody does, its places can wait a second.
create table feed_read (
    one boolean     primary key default true constraint there_is_one_last_reading check (one),
    at  timestamptz not null
);
insert into feed_read (at) values ('-infinity');
