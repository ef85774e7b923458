-- name: create_subscription
-- Makes an endpoint that is told whatever commits from now on; with a place in the feed ($8) also
-- what stands after it there, and with a moment ($7) only what was told from then on. Sent again,
-- it makes nothing twice.
with mark as (
    update feed_head set marks = marks + 1
    returning place, pg_current_xact_id() as xact,
              pg_current_snapshot() as known, now() as at
),
made as (
    insert into subscriptions (id, app_id, url, events, secret, headers, enabled, created_at,
                               marked, marked_after, marked_since)
    select $1, $2, $3, $4::text[], $5, $6, true, mark.at, mark.xact, mark.known,
           case when $8::bigint is not null then coalesce($7::timestamptz, '-infinity') end
    from mark
    on conflict (id) do nothing
    returning id, marked_since
)
insert into recoveries (subscription_id, id, asked, who, since, until, acknowledged, place,
                        last_place, created_at, stepped_at)
select made.id, made.id, 'since', $9::text, made.marked_since, 'infinity', false, $8::bigint,
       mark.place, mark.at, mark.at
from made, mark where $8::bigint is not null
on conflict do nothing;

-- name: list_subscriptions
-- An app's, oldest first, after the id $2. Empty: no more.
select id, url, events, headers, enabled, disabled_reason, created_at,
       (select since from failing_endpoints where endpoint = id) as failing_since
from subscriptions where app_id = $1 and id > $2 order by id limit $3;

-- name: list_all_subscriptions
-- Everybody's.
select id, url, events, headers, enabled, disabled_reason, created_at,
       (select since from failing_endpoints where endpoint = id) as failing_since
from subscriptions where id > $1 order by id limit $2;

-- name: get_subscription
-- Empty: no such one, or another app's than $1 (null: whosesoever).
select id, app_id, url, events, secret, headers, enabled, disabled_reason, created_at,
       (select since from failing_endpoints where endpoint = id) as failing_since,
       array(select former.secret from former_secrets as former
             where former.subscription_id = subscriptions.id and former.valid_until > now()
             order by former.id desc) as former_secrets
from subscriptions where ($1::uuid is null or app_id = $1) and id = $2;

-- name: change_subscription
-- Changes what is not null. Whatever commits from now on is told as it then wants it. Empty: no
-- such one, or another app's than $1.
with was as materialized (
    select id, enabled, exists (select from unplaced where seen <= subscriptions.marked) as open
    from subscriptions where ($1::uuid is null or app_id = $1) and id = $2
    for update
),
mark as ( -- last, since whoever gives places in the feed waits for it
    update feed_head set marks = marks + 1 from was
    returning pg_current_xact_id() as xact, pg_current_snapshot() as known
),
ended as ( -- with all its places again, and as long as ever
    delete from failing_endpoints using was where endpoint = was.id and $6 and not was.enabled
)
update subscriptions set
    url = coalesce($3, url),
    events = coalesce($4::text[], events),
    headers = coalesce($5, headers),
    enabled = coalesce($6::boolean, subscriptions.enabled),
    disabled_reason = case when $6 then null
        when not $6 and was.enabled then 'paused' else disabled_reason end,
    marked = mark.xact,
    marked_after = case when was.open then marked_after else mark.known end,
    marked_since = case when was.open then marked_since end
from was, mark where subscriptions.id = was.id
returning subscriptions.id, url, events, headers, subscriptions.enabled, disabled_reason,
          created_at, subscriptions.enabled and not was.enabled as enabled_again,
          (select since from failing_endpoints
           where endpoint = was.id and (was.enabled or not subscriptions.enabled)) as failing_since;

-- name: send_held
-- Makes due what waits for a later try at an endpoint: up to $3 of what is due at $2 or later (null:
-- after now). `last` says how far it came, and `sent` how many there were.
with clock as materialized (select now() as at),
waiting as materialized (
    select job_id, id, next_at from deliveries
    where state = 'pending' and endpoint = $1
      and next_at > (select at from clock) and next_at >= coalesce($2, (select at from clock))
      and (lease_until is null or lease_until <= (select at from clock))
    order by next_at limit $3 for update skip locked
),
due as (
    update deliveries set next_at = clock.at
    from waiting, clock
    where deliveries.job_id = any (array(select job_id from waiting)) -- by key, whatever the plan
      and deliveries.job_id = waiting.job_id and deliveries.id = waiting.id
)
select max(next_at) as last, count(*) as sent from waiting;

-- name: rotate_secret
-- Signs with $3 from now on; the secret before it goes on beside it for $4 seconds. Those whose
-- time is over are forgotten. Empty: no such one, another app's, or $6 former ones are still valid.
with clock as materialized (select now() as at),
was as materialized (
    select id, secret from subscriptions
    where ($1::uuid is null or app_id = $1) and id = $2 for update
),
room as materialized (
    select was.id, was.secret from was, clock
    where (select count(*) from former_secrets
           where subscription_id = was.id and valid_until > clock.at) < $6::integer
),
forgotten as (
    delete from former_secrets using room, clock
    where former_secrets.subscription_id = room.id and former_secrets.valid_until <= clock.at
),
kept as (
    insert into former_secrets (subscription_id, id, secret, valid_until)
    select room.id, $5::uuid, room.secret, clock.at + make_interval(secs => $4::double precision)
    from room, clock where $4::double precision > 0
    on conflict do nothing
)
update subscriptions set secret = $3
from room, clock where subscriptions.id = room.id
returning clock.at + make_interval(secs => $4::double precision) as valid_until;

-- name: delete_subscription
-- Empty: no such one, or another app's. Its waiting deliveries are closed when they come due.
with gone as (
    delete from subscriptions where ($1::uuid is null or app_id = $1) and id = $2 returning id
),
ended as (
    delete from failing_endpoints using gone where endpoint = gone.id
)
select id from gone;
