-- name: create_app
-- Makes the app where there is none of that name.
insert into apps (id, name, default_secret, created_at) values ($1, $2, $3, now())
on conflict (name) do nothing;

-- name: create_key
-- Empty: no app of that name.
insert into api_keys (id, app_id, digest, scopes, all_apps, created_at)
select $1, apps.id, $3, $4::text[], $5, now() from apps where name = $2
returning app_id;

-- name: find_key
-- Whose key it is. Empty: unknown or revoked.
select api_keys.id, api_keys.app_id, api_keys.scopes, api_keys.all_apps, apps.name as app
from api_keys join apps on apps.id = api_keys.app_id
where digest = $1 and revoked_at is null;

-- name: list_keys
select api_keys.id, apps.name as app, api_keys.scopes, api_keys.all_apps, api_keys.created_at,
       api_keys.revoked_at
from api_keys join apps on apps.id = api_keys.app_id order by api_keys.id;

-- name: revoke_key
-- Empty: no such key, or it was revoked before.
update api_keys set revoked_at = now() where id = $1 and revoked_at is null returning id;

-- name: live_keys
-- Those of these keys that are not revoked.
select id from api_keys where id = any ($1::uuid[]) and revoked_at is null;

-- name: list_encrypted
-- Everything that is encrypted under CALLBOARD_SECRETS, for the look at start.
select 'default_secret' as kind, id, default_secret as stored from apps
union all select 'secret', id, secret from subscriptions
union all select 'headers', id, headers from subscriptions
union all select 'former_secret', id, secret from former_secrets
union all select 'job', job_id, stored from job_secrets;

-- name: renew_encrypted
-- Puts $3 where $4 still stands: what somebody has changed meanwhile is left as it is.
with app as (
    update apps set default_secret = $3
    where id = $2 and $1 = 'default_secret' and default_secret = $4
),
job as (
    update job_secrets set stored = $3 where job_id = $2 and $1 = 'job' and stored = $4
),
former as (
    update former_secrets set secret = $3
    where id = $2 and $1 = 'former_secret' and secret = $4
)
update subscriptions set
    secret = case when $1 = 'secret' then $3 else secret end,
    headers = case when $1 = 'headers' then $3 else headers end
where id = $2 and ($1 = 'secret' and secret = $4 or $1 = 'headers' and headers = $4);

-- name: count_unknown_token_keys
-- Open attempts whose callback token was signed by a secret that is gone: they are polled.
select count(*) as attempts from agenda
join attempts on attempts.job_id = agenda.job_id and attempts.number = agenda.attempt
where attempts.token_key is not null and attempts.token_key <> all ($1::text[]);

-- name: default_secret
-- Empty: no such app.
select default_secret from apps where id = $1;

-- name: find_app
-- Empty: no app of that name.
select id from apps where name = $1;
