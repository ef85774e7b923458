"""service/resolve.py: an operator's word on a POST whose outcome nobody knows."""

import json
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from acting import ALICE, WHY, Stage, acting_at, refused, staged
from in_step import follow
from posting import hang_up, provider
from raw_server import serving
from scene import job_row, make_app, make_job, move, rows_of

from service.cancel import cancel
from service.database import Database
from service.errors import InvalidRequest
from service.job import State
from service.resolve import accepted, not_accepted

S = State
SETTLED = sorted(set(S) - {S.UNCONFIRMED})


@pytest.fixture
async def app_id(db: Database) -> UUID:
    return await make_app(db)


@pytest.fixture
async def stage(db: Database, app_id: UUID) -> AsyncIterator[Stage]:
    async with staged(db, app_id, render_seconds=0.0) as stage:
        yield stage


async def lost(stage: Stage) -> tuple[UUID, str]:
    """A job whose reply was lost, and the id that its provider gave it."""
    await stage.sandbox.control(drop_submit_reply=1)
    job = await stage.sent()
    assert await stage.state(job) == "unconfirmed"
    (entry,) = (await stage.sandbox.ledger())["jobs"]
    return job, entry["request_ids"][0]


async def pass_by(db: Database, seconds: float) -> None:
    """So much time, for every job."""
    await db.pool.execute(
        "update jobs set posted_at = posted_at - make_interval(secs => $1)", seconds
    )
    await follow(db)


async def test_accepted_under_its_id_it_is_asked_after_and_ends(stage: Stage) -> None:
    job, request_id = await lost(stage)
    await stage.rendered()
    await accepted(stage.parts, ALICE, job, attempt=1, provider_id=request_id)
    row = await job_row(stage.db, job)
    assert (row["state"], row["learnt_by"], row["provider_id"]) == ("completed", "poll", request_id)
    moves = [(one["now"], one["source"]) for one in await rows_of(stage.db, "job_events", job, "2")]
    assert moves[-2:] == [("submitted", "operator"), ("completed", "poll")]
    assert await stage.acts(job) == [("resolve", 1, "key_alice", None)]
    assert await stage.detail(job) == {"as": "accepted", "provider_id": request_id}
    again = accepted(stage.parts, ALICE, job, attempt=1, provider_id=request_id)
    await refused(again, "conflict", "it is completed")


async def test_a_provider_that_is_away_is_asked_later(db: Database, app_id: UUID) -> None:
    job = await make_job(db, app_id, S.UNCONFIRMED)
    async with serving(hang_up) as server, acting_at(db, provider(server.origin)) as parts:
        await accepted(parts, ALICE, job, attempt=1, provider_id="req-7")
        assert parts.wakes.ask.is_set()
    row = await job_row(db, job)
    assert (row["state"], row["provider_id"]) == ("submitted", "req-7")
    assert await db.pool.fetchval("select task = 'poll' and due_at <= now() from agenda")


async def test_an_id_that_is_not_this_jobs_is_refused(stage: Stage) -> None:
    other = await make_job(stage.db, stage.app_id, S.RUNNING, provider_id="req-1")
    job, _ = await lost(stage)
    for provider_id, why in (("req-1", f"attempt 1 of job_{other.hex}"), ("none", "not know none")):
        act = accepted(stage.parts, ALICE, job, attempt=1, provider_id=provider_id)
        await refused(act, "conflict", why)
    assert (await stage.state(job), await stage.acts(job)) == ("unconfirmed", [])
    assert (await stage.attempt(job))["provider_id"] is None


async def test_accepted_without_an_id_it_waits_for_its_callback(stage: Stage) -> None:
    job, request_id = await lost(stage)
    await accepted(stage.parts, ALICE, job, attempt=1)
    for _ in range(3):
        await stage.asked()
        assert await stage.state(job) == "submitted"
    await pass_by(stage.db, 7300)  # and its callback is late
    await stage.asked()
    row = await job_row(stage.db, job)
    assert (row["state"], row["stuck"], row["told_stuck_at"] is None) == ("submitted", True, False)
    outcome = await move(
        stage.db, job, now=S.COMPLETED, source="callback", provider_id=request_id, output={}
    )
    assert outcome.moved
    assert (await job_row(stage.db, job))["learnt_by"] == "callback"


async def test_accepted_without_an_id_it_is_given_up_in_its_time_and_not_before(
    stage: Stage,
) -> None:
    job, request_id = await lost(stage)
    await accepted(stage.parts, ALICE, job, attempt=1)
    await pass_by(stage.db, 20_000)  # longer than an unconfirmed job is waited for
    await stage.asked()
    assert await stage.state(job) == "submitted"
    left = await stage.db.pool.fetchval(
        "select extract(epoch from due_at - now())::float8 from agenda"
    )
    assert 66_000 < left <= 66_400
    await pass_by(stage.db, 70_000)
    await stage.asked()
    row = await job_row(stage.db, job)
    error = json.loads(row["error"])
    assert (row["state"], error["code"], error["charged"]) == ("expired", "expired", "unknown")
    assert await rows_of(stage.db, "agenda", job) == []
    late = await move(stage.db, job, now=S.COMPLETED, source="callback", provider_id=request_id)
    assert late.moved


async def test_without_an_id_and_without_a_callback_nobody_could_hear_of_it(stage: Stage) -> None:
    job = await make_job(stage.db, stage.app_id, S.UNCONFIRMED)
    fault = await refused(accepted(stage.parts, ALICE, job, attempt=1), "invalid_request")
    assert isinstance(fault, InvalidRequest)
    assert [one.field for one in fault.fields] == ["provider_id"]
    assert await stage.state(job) == "unconfirmed"


async def test_not_accepted_the_next_attempt_follows_with_who_said_so_and_why(
    stage: Stage,
) -> None:
    job = await make_job(stage.db, stage.app_id, S.UNCONFIRMED)
    fault = await refused(not_accepted(stage.parts, ALICE, job, attempt=1), "invalid_request")
    assert isinstance(fault, InvalidRequest)
    assert [one.field for one in fault.fields] == ["reason"]
    await not_accepted(stage.parts, WHY, job, attempt=1)
    assert stage.parts.wakes.submit.is_set()
    assert await stage.acts(job) == [("resolve", 1, "key_alice", "the customer waits")]
    assert (await stage.detail(job))["to_attempt"] == 2
    await refused(not_accepted(stage.parts, WHY, job, attempt=1), "conflict", "attempt 2")
    await stage.submit()
    await stage.until(job, S.COMPLETED)
    assert await stage.accepted() == 1


async def test_not_accepted_it_is_not_alive_any_more_unless_its_provider_has_it(
    stage: Stage,
) -> None:
    job = await make_job(stage.db, stage.app_id, S.UNCONFIRMED)
    await not_accepted(stage.parts, WHY, job, attempt=1)
    assert not (await stage.parts.look(job)).tries[0].is_alive
    await move(stage.db, job, now=S.RUNNING, source="callback", provider_id="req-9")
    assert (await stage.parts.look(job)).tries[0].is_alive
    known = await make_job(stage.db, stage.app_id, S.UNCONFIRMED)
    await move(stage.db, known, now=None, source="callback", provider_id="req-8")
    await refused(not_accepted(stage.parts, WHY, known, attempt=1), "conflict", "req-8")


async def test_not_accepted_a_job_that_nobody_wants_any_more_is_canceled(stage: Stage) -> None:
    job = await make_job(stage.db, stage.app_id, S.UNCONFIRMED)
    await cancel(stage.parts, ALICE, job)
    await not_accepted(stage.parts, WHY, job, attempt=1)
    row = await job_row(stage.db, job)
    assert (row["state"], row["attempt"], row["learnt_by"]) == ("canceled", 1, "operator")
    assert json.loads(row["error"])["charged"] == "no"
    await stage.submit()
    assert await stage.accepted() == 0


@pytest.mark.parametrize("state", SETTLED)
async def test_what_is_not_in_doubt_is_not_resolved(stage: Stage, state: State) -> None:
    job = await make_job(stage.db, stage.app_id, state)
    await refused(accepted(stage.parts, ALICE, job, attempt=1, provider_id="x"), "conflict")
    await refused(not_accepted(stage.parts, WHY, job, attempt=1), "conflict")
    unsure = await make_job(stage.db, stage.app_id, S.UNCONFIRMED)
    await refused(not_accepted(stage.parts, WHY, unsure, attempt=2), "conflict", "attempt 1")
    assert (await stage.state(job), await stage.state(unsure)) == (state, "unconfirmed")


async def given_up(stage: Stage) -> tuple[UUID, str]:
    """A job whose reply was lost and that has expired for it, and its id at the provider."""
    job, request_id = await lost(stage)
    await stage.rendered()
    await move(stage.db, job, now=S.EXPIRED, was=S.UNCONFIRMED, source="sweep")
    assert await rows_of(stage.db, "agenda", job) == []
    return job, request_id


async def test_one_that_has_expired_comes_back_by_the_id_that_was_found(stage: Stage) -> None:
    job, request_id = await given_up(stage)
    await accepted(stage.parts, ALICE, job, attempt=1, provider_id=request_id)
    row = await job_row(stage.db, job)
    assert (row["state"], row["late"], row["provider_id"]) == ("completed", True, request_id)
    assert await stage.acts(job) == [("resolve", 1, "key_alice", None)]
    again = accepted(stage.parts, ALICE, job, attempt=1, provider_id=request_id)
    await refused(again, "conflict", "it is completed")


async def test_one_that_has_expired_and_still_renders_is_asked_after_rarely(
    db: Database, app_id: UUID
) -> None:
    job = await make_job(db, app_id, S.UNCONFIRMED)
    await move(db, job, now=S.EXPIRED, was=S.UNCONFIRMED, source="sweep")
    async with serving(hang_up) as server, acting_at(db, provider(server.origin)) as parts:
        await refused(accepted(parts, ALICE, job, attempt=1), "invalid_request", "expired")
        await accepted(parts, ALICE, job, attempt=1, provider_id="req-7")
        again = accepted(parts, ALICE, job, attempt=1, provider_id="req-7")
        await refused(again, "conflict", "it is expired")
    row = await job_row(db, job)
    assert (row["state"], row["provider_id"]) == ("expired", "req-7")
    assert await db.pool.fetchval("select task = 'late' and due_at > now() from agenda")
    assert await db.pool.fetchval("select count(*) from operator_actions") == 1


async def test_the_next_attempt_needs_a_provider_to_go_to(stage: Stage) -> None:
    job = await make_job(stage.db, stage.app_id, S.UNCONFIRMED, provider="prism")
    await refused(not_accepted(stage.parts, WHY, job, attempt=1), "provider_not_configured")
