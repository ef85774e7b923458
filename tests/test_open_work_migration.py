"""sql/migrations/0012_open_work.sql: the agenda of before says afterwards what its jobs say."""

from uuid import UUID

from in_step import out_of_step
from own_database import database_before

from service.database import Database, migrate
from service.store import agenda, jobs

THIS = "0012_open_work"
APP, QUEUED, RUNNING, LATE, ENDED = (UUID(int=n) for n in range(1, 6))
# One that waits to be sent, one at work on its second attempt, one that was given up and may still
# complete, and one that has failed.
PAST = f"""
with app as (
    insert into apps (id, name, default_secret, created_at) values ('{APP}', 'studio', '', now())
),
made as (
    insert into jobs (id, state, version, attempt, app_id, provider, model, input, metadata,
                      deadline_seconds, warnings, upper_bound, late, created_at, posted_at,
                      finished_at, cancel_requested_at, told_stuck_at, progress)
    select id, state, version, attempt, '{APP}', 'fal', 'm', '{{}}', '{{}}', 60, '[]', false, false,
           now(), posted, finished, canceled, stuck, progress::json
    from (values
        ('{QUEUED}'::uuid, 'queued', 1, 1, null::timestamptz, null::timestamptz,
         null::timestamptz, null::timestamptz, null),
        ('{RUNNING}', 'running', 9, 2, now() - interval '2 min', null, now(), now(),
         '{{"queue_position":null,"fraction":0.5}}'),
        ('{LATE}', 'expired', 4, 1, now() - interval '9 min', now(), null, null, null),
        ('{ENDED}', 'failed', 4, 1, now(), now(), null, null, null)
    ) as job (id, state, version, attempt, posted, finished, canceled, stuck, progress)
),
tried as (
    insert into attempts (job_id, number, provider_id, urls, cancel_answer)
    values ('{QUEUED}', 1, null, null, null), ('{RUNNING}', 1, 'req-1', null, null),
           ('{RUNNING}', 2, 'req-2', '{{"status":"https://queue.example/s"}}', 'requested'),
           ('{LATE}', 1, 'req-3', null, null), ('{ENDED}', 1, 'req-4', null, null)
),
left_to_do as (
    insert into agenda (job_id, task, provider, due_at)
    values ('{QUEUED}', 'submit', 'fal', now()), ('{RUNNING}', 'poll', 'fal', now()),
           ('{LATE}', 'late', 'fal', now())
)
insert into job_events (job_id, version, now, was, id, attempt, source, at)
values ('{QUEUED}', 1, 'queued', null, gen_random_uuid(), 1, 'api', now()),
       ('{RUNNING}', 9, 'running', 'submitted', gen_random_uuid(), 2, 'poll', now()),
       ('{LATE}', 4, 'expired', 'submitted', gen_random_uuid(), 1, 'sweep', now()),
       ('{ENDED}', 4, 'failed', 'submitted', gen_random_uuid(), 1, 'poll', now())
"""


async def test_what_was_open_goes_on_as_it_stood(server: str) -> None:
    async with database_before(server, THIS, PAST) as url:
        assert THIS in await migrate(url)
        db = await Database.connect(url)
        try:
            assert await out_of_step(db) == []
            shown = [await jobs.get(db, job) for job in (QUEUED, RUNNING, LATE, ENDED)]
            assert [row and row["progress"] for row in shown] == [
                *(None, '{"queue_position":null,"fraction":0.5}', None, None)
            ]
            turn = agenda.Turn(provider="fal", places=9)
            claimed = await agenda.claim_asks(
                db, lease_seconds=60.0, turns=[turn], tasks=agenda.ASKS
            )
            (running,) = (due for due in claimed if due.task == "poll")
            assert (running.attempt.number, running.attempt.provider_id) == (2, "req-2")
            assert running.attempt.urls == {"status": "https://queue.example/s"}
            assert (running.version, running.canceling, running.told_stuck) == (9, True, True)
            assert len(claimed) == 2
        finally:
            await db.close()
