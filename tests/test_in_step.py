"""What the agenda says of each job is so (`db` fails where it is not): a look asks nobody else."""

import pytest
from in_step import out_of_step
from lived import hint
from scene import make_app, make_job, move, rows_of

from service.database import Database
from service.ids import new_id
from service.job import State
from service.providers import Attempt, Progress
from service.store import acts, agenda, events, jobs
from service.store.acts import Act

S = State
FORCED = {"was": S.SUBMITTED, "now": S.QUEUED, "to_attempt": 2, "task": "submit", "due_in": 0.0}


async def test_the_next_attempt_knows_nothing_of_the_one_before(db: Database) -> None:
    job = await make_job(db, await make_app(db), S.SUBMITTED)
    assert await events.tell_stuck(db, job, 3)
    act = Act(id=new_id(), job_id=job, attempt=1, act="cancel", who="key_1")
    assert await acts.request_cancel(db, act)
    await jobs.answer_cancel(db, job, 1, "requested")
    (asked,) = await rows_of(db, "agenda", job)
    assert None not in (asked["told_stuck_at"], asked["cancel_requested_at"])
    assert (asked["cancel_answer"], asked["provider_id"]) == ("requested", "req-1")
    assert (await move(db, job, **FORCED)).moved
    (asked,) = await rows_of(db, "agenda", job)
    assert (asked["attempt"], asked["state"]) == (2, "queued")
    for name in ("told_stuck_at", "cancel_requested_at", "cancel_answer", "provider_id"):
        assert asked[name] is None, name


async def test_an_older_attempts_answer_is_not_the_next_ones(db: Database) -> None:
    job = await make_job(db, await make_app(db), S.SUBMITTED)
    await move(db, job, **FORCED)
    await jobs.answer_cancel(db, job, 1, "too_late")
    assert (await rows_of(db, "attempts", job))[0]["cancel_answer"] == "too_late"
    assert (await rows_of(db, "agenda", job))[0]["cancel_answer"] is None


async def test_a_reply_that_its_own_callback_has_beaten_still_says_how_to_ask(db: Database) -> None:
    job = await make_job(db, await make_app(db), S.SUBMITTING)
    assert (await move(db, job, now=S.RUNNING, source="callback", task="poll", due_in=90.0)).moved
    (before,) = await rows_of(db, "agenda", job)
    where = {"status": "https://queue.example/status"}
    reply = {"source": "submit", "provider_id": "req-9", "task": "poll", "due_in": 5.0}
    assert not (await move(db, job, now=S.SUBMITTED, urls=where, **reply)).moved
    (after,) = await rows_of(db, "agenda", job)
    assert after["provider_id"] == "req-9"
    assert after["urls"] == '{"status":"https://queue.example/status"}'
    assert after["due_at"] == before["due_at"]


async def test_urls_that_come_after_the_id_are_kept_too(db: Database) -> None:
    job = await make_job(db, await make_app(db), S.RUNNING)
    await move(db, job, now=S.SUBMITTED, urls={"status": "https://queue.example/status"})
    assert (await rows_of(db, "agenda", job))[0]["urls"] is not None


async def test_a_hint_about_one_that_was_given_up_has_it_asked_after_as_it_is_known(
    db: Database,
) -> None:
    job = await make_job(db, await make_app(db), S.SUBMITTED)
    where = {"status": "https://queue.example/status"}
    await move(db, job, now=S.SUBMITTED, urls=where)
    assert (await move(db, job, was=S.SUBMITTED, now=S.EXPIRED, source="sweep")).moved
    assert await rows_of(db, "agenda", job) == []
    assert not (await hint(db, job, provider="fal")).moved
    (asked,) = await rows_of(db, "agenda", job)
    assert (asked["task"], asked["state"], asked["provider_id"]) == ("late", "expired", "req-1")


@pytest.mark.parametrize(("state", "number"), [(S.SUBMITTED, 2), (S.EXPIRED, 1)])
async def test_progress_is_shown_of_the_attempt_that_is_on_its_way(
    db: Database, state: State, number: int
) -> None:
    job = await make_job(db, await make_app(db), state)
    heard = {"duration_ms": 5, "said": S.RUNNING, "note": None, "progress": Progress(fraction=0.5)}
    attempt = Attempt(job_id=job, number=number, model="m", input={})
    await agenda.note_poll(db, attempt, poll_id=new_id(), **heard)
    assert (await rows_of(db, "agenda", job))[0]["progress"] is None


async def test_what_is_not_so_keeps_no_job_from_its_end(db: Database) -> None:
    """As where a process of before has told that the job is stuck."""
    job = await make_job(db, await make_app(db), S.SUBMITTED)
    assert await events.tell_stuck(db, job, 3)
    await db.pool.execute("update agenda set version = 3, told_stuck_at = null")
    (before,) = await rows_of(db, "agenda", job)
    end = {"was": S.SUBMITTED, "now": S.EXPIRED, "source": "sweep"}
    assert not (await move(db, job, expected=before["version"], **end)).moved
    (after,) = await rows_of(db, "agenda", job)
    assert (after["version"], after["due_at"]) == (4, before["due_at"])
    assert await out_of_step(db) == []
    assert (await move(db, job, expected=after["version"], **end)).moved


async def test_what_is_not_so_is_seen(db: Database) -> None:
    job = await make_job(db, await make_app(db), S.RUNNING)
    for change in ("state = 'submitted'", "version = 9", "provider_id = 'req-2'", "urls = '{}'"):
        await db.pool.execute(f"update agenda set {change} where job_id = $1", job)
        assert len(await out_of_step(db)) == 1, change
        await db.pool.execute("delete from agenda where job_id = $1", job)
        job = await make_job(db, await make_app(db, name=change, key=change * 5), S.RUNNING)
