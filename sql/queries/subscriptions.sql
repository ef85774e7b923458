-- name: create_subscription
insert into subscriptions (id, app_id, url, events, secret, headers, enabled, created_at)
values ($1, $2, $3, $4::text[], $5, $6, true, now())
on conflict (id) do nothing;

-- name: list_subscriptions
-- An app's, oldest first, after the id $2. Empty: no more.
select id, url, events, headers, enabled, disabled_reason, failing_since, created_at
from subscriptions where app_id = $1 and id > $2 order by id limit $3;

-- name: get_subscription
-- Empty: no such one, or another app's.
select id, url, events, headers, enabled, disabled_reason, failing_since, created_at
from subscriptions where app_id = $1 and id = $2;

-- name: delete_subscription
-- Empty: no such one, or another app's. Its waiting deliveries are closed when they come due.
delete from subscriptions where app_id = $1 and id = $2 returning id;
