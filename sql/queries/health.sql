-- name: fail_submit
-- One more submit that the provider failed. `opens`: that makes $2 in a row, or it was the one that
-- was tried ($3). What was sent before a pause and fails during it says nothing new.
insert into provider_health as health (provider, failures) values ($1, 1)
on conflict (provider) do update set failures = health.failures + 1
returning failures >= $2::integer and pauses = 0 or $3::boolean as opens;

-- name: fail_ask
-- One more poll that the provider failed.
insert into provider_health as health (provider, ask_failures) values ($1, 1)
on conflict (provider) do update set ask_failures = health.ask_failures + 1
returning ask_failures;

-- name: pause_provider
-- Nothing is submitted to it for $2 seconds; then one job is tried. Where that one ($6) meets the
-- same again the pause is doubled, up to $3 seconds. Empty: it is paused for as long as that.
with clock as materialized (select now() as at),
paused as (
    insert into provider_health as health
        (provider, pauses, paused_at, paused_until, code, message)
    select $1, 1, clock.at, clock.at + make_interval(secs => $2::double precision), $4, $5
    from clock
    on conflict (provider) do update
    set (pauses, paused_at, paused_until, tried_until, code, message) = (
        select earlier.pauses + 1, coalesce(health.paused_at, excluded.paused_at),
               greatest(health.paused_until, excluded.paused_at + make_interval(
                   secs => least($3::double precision,
                                 $2::double precision * 2 ^ earlier.pauses))),
               null::timestamptz, excluded.code, excluded.message
        from (select case when $6::boolean and health.code = excluded.code
                     then least(health.pauses, 20) else 0 end as pauses) as earlier)
    where $6::boolean or health.paused_until is null
        or health.paused_until < excluded.paused_until - interval '1 second'
    returning paused_until
)
select extract(epoch from paused.paused_until - clock.at)::double precision as seconds
from paused, clock;

-- name: restore_provider
-- It took a submit as it should: its failures are no longer in a row, and where it was the one that
-- was tried ($2) the pause that is over is no more. Empty: there is nothing to end, or not by this.
with clock as materialized (select now() as at)
update provider_health set failures = 0, pauses = 0, paused_at = null, paused_until = null,
    tried_until = null, code = null, message = null
from clock where provider = $1 and (pauses = 0 or $2::boolean and paused_until <= clock.at)
returning provider;

-- name: untry_provider
-- The one that was to be tried was not sent: another may be.
update provider_health set tried_until = null where provider = $1;

-- name: restore_asks
-- It answered a poll as it should.
update provider_health set ask_failures = 0 where provider = $1;

-- name: try_providers
-- Somebody may have put right what they were paused for: each is tried at once, with the jobs too
-- that wait because of it.
with clock as materialized (select now() as at),
ended as (
    update provider_health set paused_until = clock.at, tried_until = null
    from clock where paused_until > clock.at or tried_until > clock.at
    returning provider
),
waiting as (
    select job_id from agenda
    where task = 'submit' and provider = any (array(select provider from ended))
      and due_at > (select at from clock)
      and (lease_until is null or lease_until <= (select at from clock))
    for update skip locked
)
update agenda set due_at = clock.at
from clock where agenda.job_id = any (array(select job_id from waiting));
