-- name: fail_submit
-- One more submit that the provider failed. `opens`: that makes $2 in a row, and it is not paused.
insert into provider_health as health (provider, failures) values ($1, 1)
on conflict (provider) do update set failures = health.failures + 1
returning failures >= $2 and (paused_until is null or paused_until <= now()) as opens;

-- name: fail_ask
-- One more poll that the provider failed.
insert into provider_health as health (provider, ask_failures) values ($1, 1)
on conflict (provider) do update set ask_failures = health.ask_failures + 1
returning ask_failures;

-- name: pause_provider
-- Nothing is submitted to it for $2 seconds, doubled for each pause in a row up to $3; then one job
-- is tried. One that is paused already stays so, with the new reason where the pause is longer.
with clock as materialized (select now() as at)
insert into provider_health as health (provider, pauses, paused_at, paused_until, code, message)
select $1, 1, clock.at, clock.at + make_interval(secs => $2::double precision), $4, $5 from clock
on conflict (provider) do update set
    pauses = case when health.paused_until > excluded.paused_at then health.pauses
        else least(health.pauses + 1, 20) end,
    paused_at = case when health.pauses = 0 then excluded.paused_at else health.paused_at end,
    paused_until = greatest(health.paused_until, excluded.paused_at + make_interval(secs => least(
        $3::double precision, $2::double precision
            * 2 ^ (case when health.paused_until > excluded.paused_at
                   then greatest(health.pauses - 1, 0) else least(health.pauses, 20) end)))),
    tried_until = null, code = excluded.code, message = excluded.message
returning pauses, extract(epoch from paused_until - paused_at)::double precision as seconds;

-- name: restore_provider
-- It took a submit as it should, which ends a pause that is over.
update provider_health set failures = 0, ask_failures = 0, pauses = 0, paused_at = null,
    paused_until = null, tried_until = null, code = null, message = null
where provider = $1 and (paused_until is null or paused_until <= (select now()));

-- name: restore_asks
-- It answered a poll as it should.
update provider_health set ask_failures = 0 where provider = $1;

-- name: try_providers
-- Somebody may have put right what they were paused for: each is tried at once.
update provider_health set paused_until = now(), tried_until = null
where paused_until > now();
