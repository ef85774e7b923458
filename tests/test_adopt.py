"""service/adopt.py: a success that came too late, or was contradicted, becomes the job's end."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from acting import ALICE, WHY, Stage, refused, staged
from scene import job_row, make_app, make_job, move, rows_of, subscribe

from service import document, jsontext
from service.adopt import adopt
from service.cancel import cancel
from service.database import Database
from service.job import Charged, ErrorCode, JobError, State
from service.rerun import rerun
from service.store import deliveries

S = State
OUTPUT = {"video": {"url": "https://media.example/first.mp4"}}
OUTPUTS = [{"url": "https://media.example/first.mp4", "content_type": None, "expires_at": None}]
FAULT = JobError(code=ErrorCode.INTERNAL, message="x", retryable=True, charged=Charged.UNKNOWN)


@pytest.fixture
async def app_id(db: Database) -> UUID:
    return await make_app(db)


@pytest.fixture
async def stage(db: Database, app_id: UUID) -> AsyncIterator[Stage]:
    async with staged(db, app_id) as stage:
        yield stage


async def succeeds(stage: Stage, job: UUID, number: int = 1, **more: Any) -> None:
    """The attempt's success comes, by callback."""
    await move(
        stage.db,
        job,
        attempt=number,
        now=S.COMPLETED,
        source="callback",
        **{"output": OUTPUT, "outputs": OUTPUTS} | more,
    )


async def left_behind(stage: Stage, **more: Any) -> UUID:
    """A job whose second attempt waits to be sent, and whose first has brought a success since."""
    job = await make_job(stage.db, stage.app_id, S.RUNNING, **more)
    await rerun(stage.parts, WHY, job, attempt=1, force=True)
    await succeeds(stage, job)
    return job


async def test_a_late_success_of_an_old_attempt_is_taken_and_the_waiting_post_dropped(
    stage: Stage,
) -> None:
    job = await left_behind(stage)
    row = await job_row(stage.db, job)
    assert (row["state"], row["attempt"]) == ("queued", 2)
    await adopt(stage.parts, WHY, job, attempt=1)
    row = await job_row(stage.db, job)
    assert (row["state"], row["attempt"], row["learnt_by"]) == ("completed", 1, "operator")
    shown = document.of_job(row)
    assert (shown["output"], shown["outputs"]) == (OUTPUT, OUTPUTS)
    assert shown["submitted_at"] < shown["finished_at"]
    assert (await stage.acts(job))[-1] == ("adopt", 1, "key_alice", "the customer waits")
    assert await rows_of(stage.db, "agenda", job) == []
    await stage.submit()
    assert await stage.accepted() == 0
    await refused(adopt(stage.parts, WHY, job, attempt=1), "conflict", "with attempt 1")
    assert len(await stage.acts(job)) == 2
    assert stage.parts.wakes.place.is_set()


async def test_the_subscriber_hears_of_it_as_the_api_shows_it(stage: Stage) -> None:
    await subscribe(stage.db, stage.app_id, "https://app.example/hook", ["job.completed"])
    job = await left_behind(stage)
    await adopt(stage.parts, ALICE, job, attempt=1)
    assert stage.parts.wakes.deliver.is_set()
    (told,) = await deliveries.claim(stage.db, limit=10, lease_seconds=60)
    event = jsontext.loads(jsontext.joined(document.of_event(told.event)))
    assert event["type"] == "job.completed"
    assert event["data"]["job"] == document.of_job(await job_row(stage.db, job))


async def test_after_an_adoption_the_next_attempt_has_a_number_of_its_own(stage: Stage) -> None:
    job = await left_behind(stage)
    await adopt(stage.parts, ALICE, job, attempt=1)
    await rerun(stage.parts, ALICE, job, attempt=1)
    assert (await job_row(stage.db, job))["attempt"] == 3
    assert len(await rows_of(stage.db, "attempts", job)) == 3


@pytest.mark.parametrize("state", [S.FAILED, S.CANCELED, S.EXPIRED])
async def test_a_job_whose_newer_attempt_has_ended_badly_takes_it(
    stage: Stage, state: State
) -> None:
    job = await left_behind(stage)
    await stage.submit()
    if state is S.EXPIRED:
        sent = {"was": S.SUBMITTED, "source": "sweep", "attempt": 2}
        assert (await move(stage.db, job, now=state, task="late", due_in=900.0, **sent)).moved
        await move(stage.db, job, now=S.FAILED, attempt=2)  # a late failure moves nothing
    else:
        assert (await move(stage.db, job, now=state, attempt=2, error=FAULT)).moved
    await adopt(stage.parts, ALICE, job, attempt=1)
    row = await job_row(stage.db, job)
    assert (row["state"], row["attempt"], row["error"]) == ("completed", 1, None)
    assert row["late"] is (state is S.EXPIRED)
    assert await rows_of(stage.db, "agenda", job) == []


async def test_while_a_newer_attempt_may_be_alive_it_takes_force_and_a_reason(
    stage: Stage,
) -> None:
    job = await left_behind(stage)
    await stage.submit()
    await refused(adopt(stage.parts, WHY, job, attempt=1), "still_alive", "attempt 2")
    await refused(adopt(stage.parts, ALICE, job, attempt=1, force=True), "invalid_request")
    assert await stage.state(job) == "submitted"
    await adopt(stage.parts, WHY, job, attempt=1, force=True)
    assert (await job_row(stage.db, job))["attempt"] == 1
    assert (await stage.attempt(job, 2))["cancel_answer"] == "requested"
    assert (await stage.detail(job))["cancel"] == "requested"


@pytest.mark.parametrize("state", [S.SUBMITTING, S.UNCONFIRMED, S.EXPIRED])
async def test_what_counts_as_alive(stage: Stage, state: State) -> None:
    job = await left_behind(stage)
    steps = [(S.QUEUED, S.SUBMITTING), (S.SUBMITTING, S.UNCONFIRMED), (S.UNCONFIRMED, S.EXPIRED)]
    for was, now in steps:
        outcome = await move(
            stage.db, job, was=was, now=now, attempt=2, source="submit", task="give_up", due_in=9.0
        )
        assert outcome.moved
        await refused(adopt(stage.parts, ALICE, job, attempt=1), "still_alive")
        if now is state:
            break
    if state is S.SUBMITTING:
        await refused(adopt(stage.parts, WHY, job, attempt=1, force=True), "still_alive", "wait")
    else:
        await adopt(stage.parts, WHY, job, attempt=1, force=True)
        assert await stage.state(job) == "completed"


async def test_a_success_that_came_after_a_failure_changes_places_with_it(stage: Stage) -> None:
    job = await make_job(stage.db, stage.app_id, S.SUBMITTED)
    await move(stage.db, job, now=S.FAILED, error=FAULT)
    await succeeds(stage, job, output=OUTPUT | {"odd": "\x00\ud800"})
    assert await stage.state(job) == "failed"
    await adopt(stage.parts, ALICE, job, attempt=1)
    shown = document.of_job(await job_row(stage.db, job))
    assert (shown["state"], shown["outputs"], shown["error"]) == ("completed", OUTPUTS, None)
    assert shown["output"]["odd"] == "\x00\ud800"
    attempt = await stage.attempt(job)
    kept = json.loads(attempt["disagreement"])
    assert (attempt["outcome"], kept["now"], kept["error"]["code"]) == (
        *("completed", "failed"),
        "internal",
    )
    before = attempt["output"]
    await move(stage.db, job, now=S.FAILED, error=FAULT)  # said again, as before
    assert (await stage.attempt(job))["output"] == before


async def test_a_job_that_was_canceled_without_the_providers_word_takes_what_came_nevertheless(
    stage: Stage,
) -> None:
    await stage.sandbox.control(forget_canceled=1)
    job = await stage.sent()
    await cancel(stage.parts, ALICE, job)
    await stage.sweep()
    await succeeds(stage, job)
    assert await stage.state(job) == "canceled"
    await adopt(stage.parts, ALICE, job, attempt=1)
    row = await job_row(stage.db, job)
    assert (row["state"], row["attempt"], row["learnt_by"]) == ("completed", 1, "operator")
    assert row["cancel_requested_at"] is None


async def test_where_there_is_no_success_there_is_nothing_to_take(stage: Stage) -> None:
    job = await make_job(stage.db, stage.app_id, S.FAILED)
    for number in (1, 2):
        await refused(adopt(stage.parts, ALICE, job, attempt=number), "conflict", "no success")
    done = await make_job(stage.db, stage.app_id, S.COMPLETED)
    await refused(adopt(stage.parts, ALICE, done, attempt=1), "conflict", "has completed")
    assert await stage.acts(job) == await stage.acts(done) == []


async def test_an_adoption_and_a_submitter_that_has_claimed_the_job_are_safe_both_ways(
    stage: Stage,
) -> None:
    jobs = [await left_behind(stage, provider_id=f"req-{n}") for n in range(24)]

    async def adopted(number: int, job: UUID) -> bool:
        for _ in range(number % 8):
            await stage.db.ping()
        try:
            await adopt(stage.parts, ALICE, job, attempt=1)
        except Exception as fault:
            return getattr(fault, "code", None) != "still_alive"
        return True

    _, *taken = await asyncio.gather(
        stage.submit(), *(adopted(number, job) for number, job in enumerate(jobs))
    )
    await stage.submit()
    for job, was_taken in zip(jobs, taken, strict=True):
        row = await job_row(stage.db, job)
        wanted = ("completed", 1) if was_taken else ("submitted", 2)
        assert (row["state"], row["attempt"]) == wanted
    assert await stage.accepted() == taken.count(False)
