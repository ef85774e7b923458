-- name: find_time_in_feed
-- After which place in the feed everything lies that was told from the moment $1 on; `future` where
-- that has not come yet.
select coalesce((select place from feed_times where minute <= $1 order by minute desc limit 1), 0)
           as place,
       now() < $1 as future;

-- name: find_event_in_feed
-- After which place in the feed an app's event lies, and what follows it. Empty: no such event.
select feed.place - 1 as place from feed join jobs on jobs.id = feed.job_id
where feed.event_id = $2 and jobs.app_id = $1;

-- name: count_recoverable
-- How much of a stretch of the feed a recovery would send again; `last` is the stretch's end, null
-- where there is nothing more.
with line as materialized (
    select place, job_id, version, event_id from feed
    where place > $5 order by place limit $6
)
select (select max(place) from line) as last,
       (select count(*) from line, subscriptions, lateral (
            select event.at, jobs.app_id, event.was, event.now
            from job_events as event join jobs on jobs.id = event.job_id
            where event.job_id = line.job_id and event.version = line.version
            offset 0 -- one by one, by index
        ) as event
        where subscriptions.id = $1 and event.app_id = subscriptions.app_id
          and event.at >= coalesce($2::timestamptz, '-infinity')
          and event.at < coalesce($3::timestamptz, now())
          and 'job.' || case when event.was is null then 'stuck' else event.now end
              = any (subscriptions.events)
          and ($4::boolean or not exists (
              select from deliveries where deliveries.job_id = line.job_id
                and deliveries.id = delivery_id(line.event_id, $1) and state = 'succeeded'
              offset 0))) as count;

-- name: create_recovery
-- Asks for a recovery, up to where the feed stands; what is without a place yet is looked at when it
-- gets one. `count` is null where the same one is under way already: it is not begun again, nor is
-- it waited for, since whoever gives places in the feed would wait too. Empty: no such subscription.
with found as materialized (select id from subscriptions where id = $1 for update),
mark as ( -- last, since whoever gives places in the feed waits for it
    update feed_head set marks = marks + 1 from found
    returning place, pg_current_xact_id() as xact, now() as at
),
marked as (
    update subscriptions set marked = mark.xact,
        marked_since = least(marked_since, coalesce($5::timestamptz, '-infinity'))
    from mark where subscriptions.id = $1
    returning subscriptions.id
),
made as (
    insert into recoveries (subscription_id, id, asked, who, since, until, acknowledged, place,
                            last_place, count, created_at, stepped_at)
    select marked.id, $2, $3, $4, coalesce($5::timestamptz, '-infinity'),
           coalesce($6::timestamptz, mark.at), $7::boolean, $8::bigint, mark.place, $9::bigint,
           mark.at, mark.at
    from marked, mark
    on conflict do nothing
    returning count
)
select made.count from marked left join made on true;

-- name: find_recovery
-- How many events the request that is under way is about. Empty: there is none.
select count from recoveries where subscription_id = $1 and asked = $2 and done_at is null;

-- name: continue_recovery
-- Takes one recovery a page further: what its subscription wants of it and has not acknowledged is
-- due again, and its schedule begins anew; a try that is under way is left alone. One that sends
-- acknowledged events too stays under way for $2 seconds at least, so that the same request, sent
-- twice, is one. Empty: there is none, or other processes have them. `walked`: it came further.
with clock as materialized (select now() as at),
mine as materialized (
    select recoveries.subscription_id, recoveries.id, since, until, acknowledged, place, last_place,
           recoveries.created_at, subscriptions.app_id, subscriptions.events
    from recoveries join subscriptions on subscriptions.id = recoveries.subscription_id
    where done_at is null and (place < last_place or not acknowledged
        or recoveries.created_at < now() - make_interval(secs => $2::double precision))
    order by stepped_at limit 1 for update of recoveries skip locked
),
line as materialized (
    select feed.* from mine cross join lateral (
        select place, job_id, version, event_id from feed
        where feed.place > mine.place and feed.place <= mine.last_place
        order by feed.place limit $1
    ) as feed
),
wanted as materialized (
    select line.job_id, line.version, delivery_id(line.event_id, mine.subscription_id) as id,
           mine.app_id, mine.subscription_id, mine.acknowledged
    from mine, line, lateral (
        select event.at, event.was, event.now, jobs.app_id
        from job_events as event join jobs on jobs.id = event.job_id
        where event.job_id = line.job_id and event.version = line.version
        offset 0 -- one by one, by index
    ) as event
    where event.app_id = mine.app_id and event.at >= mine.since and event.at < mine.until
      and 'job.' || case when event.was is null then 'stuck' else event.now end = any (mine.events)
),
locked as materialized (
    select found.job_id, found.id, found.lease_until > clock.at as under_way
    from clock, (select * from wanted order by job_id, id) as wanted, lateral (
        select deliveries.job_id, deliveries.id, case state when 'pending' then lease_until end
            as lease_until
        from deliveries
        where deliveries.job_id = wanted.job_id and deliveries.id = wanted.id
          and (wanted.acknowledged or state <> 'succeeded')
        offset 0 for update
    ) as found
),
again as (
    update deliveries set state = 'pending', past_tries = tries,
        next_at = case when locked.under_way then next_at else clock.at end
    from locked, clock
    where deliveries.job_id = any (array(select job_id from locked)) -- by key, whatever the plan
      and deliveries.job_id = locked.job_id and deliveries.id = locked.id
),
staged as (
    insert into deliveries (job_id, id, app_id, version, subscription_id, state, next_at,
                            created_at)
    select job_id, id, app_id, version, subscription_id, 'pending', clock.at, clock.at
    from wanted, clock
    on conflict do nothing
),
stepped as (
    update recoveries set stepped_at = clock.at,
        place = coalesce((select max(line.place) from line), recoveries.place),
        done_at = case when (select count(*) from line) < $1 and (not mine.acknowledged
            or mine.created_at < clock.at - make_interval(secs => $2::double precision))
            then clock.at end
    from mine, clock
    where recoveries.subscription_id = mine.subscription_id and recoveries.id = mine.id
)
select exists (select from line) as walked, exists (select from wanted) as staged from mine;
