"""service/resync.py: the provider asked now, by hand, of open jobs and of ended ones."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from acting import ALICE, WHY, Stage, acting_at, refused, staged
from in_step import follow
from posting import Talk, answering, hang_up, provider
from raw_server import serving
from scene import job_row, make_app, make_job, move, rows_of

from service.database import Database
from service.errors import Unavailable
from service.job import State
from service.rerun import rerun
from service.resync import resync

S = State


@pytest.fixture
async def app_id(db: Database) -> UUID:
    return await make_app(db)


@pytest.fixture
async def stage(db: Database, app_id: UUID) -> AsyncIterator[Stage]:
    async with staged(db, app_id, render_seconds=0.0) as stage:
        yield stage


def result(url: str) -> Talk:
    """fal's two answers about a job that has completed: its status, then its result."""

    bodies = itertools.cycle([{"status": "COMPLETED"}, {"video": {"url": url}}])

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answering("200 OK", next(bodies))(reader, writer)

    return talk


async def test_an_end_that_nobody_told_is_found_at_once(stage: Stage) -> None:
    job = await stage.sent()
    async with asyncio.timeout(20):
        while await stage.state(job) != "completed":
            await resync(stage.parts, WHY, job)
    row = await job_row(stage.db, job)
    assert (row["learnt_by"], row["late"]) == ("poll", False)
    assert stage.parts.wakes.place.is_set()
    assert (await rows_of(stage.db, "polls", job, "id"))[-1]["said"] == "completed"
    assert set(await stage.acts(job)) == {("resync", 1, "key_alice", "the customer waits")}
    assert await stage.detail(job) == {"said": {"1": "completed"}}
    assert await rows_of(stage.db, "agenda", job) == []


async def test_how_far_it_is_is_shown_without_a_move(db: Database, app_id: UUID) -> None:
    job = await make_job(db, app_id, S.SUBMITTED)
    queued = answering("202 Accepted", {"status": "IN_QUEUE", "queue_position": 12})
    async with serving(queued) as server, acting_at(db, provider(server.origin)) as parts:
        await resync(parts, ALICE, job)
    row = await job_row(db, job)
    assert (row["state"], row["version"]) == ("submitted", 3)
    assert json.loads(row["progress"])["queue_position"] == 12
    assert await db.pool.fetchval("select due_at > now() + interval '20 minutes' from agenda")


async def test_addresses_that_expire_are_had_anew_without_a_move(
    db: Database, app_id: UUID
) -> None:
    job = await make_job(db, app_id, S.SUBMITTED)
    first = {"video": {"url": "https://media.example/old"}}
    await move(db, job, now=S.COMPLETED, output=first, outputs=[{"url": first["video"]["url"]}])
    before = await job_row(db, job)
    for url in ("https://media.example/new", "https://media.example/newer"):
        async with serving(result(url)) as server, acting_at(db, provider(server.origin)) as parts:
            await resync(parts, ALICE, job)
        row = await job_row(db, job)
        assert json.loads(row["output"]) == {"video": {"url": url}}
        assert [one["url"] for one in json.loads(row["outputs"])] == [url]
        assert (row["version"], row["finished_at"]) == (before["version"], before["finished_at"])
    assert len(await rows_of(db, "job_events", job)) == before["version"]


@pytest.mark.parametrize(
    ("state", "late"), [(S.EXPIRED, True), (S.UNCONFIRMED, False), (S.RUNNING, False)]
)
async def test_a_success_completes_what_is_open_or_expired(
    db: Database, app_id: UUID, state: State, late: bool
) -> None:
    job = await make_job(db, app_id, state)
    await db.pool.execute("update attempts set provider_id = 'req-1'")
    await follow(db)
    url = "https://media.example/v"
    async with serving(result(url)) as server, acting_at(db, provider(server.origin)) as parts:
        await resync(parts, ALICE, job)
    row = await job_row(db, job)
    assert (row["state"], row["late"], row["learnt_by"]) == ("completed", late, "poll")


@pytest.mark.parametrize("state", [S.FAILED, S.CANCELED])
async def test_a_success_after_another_end_changes_nothing_and_is_kept(
    db: Database, app_id: UUID, state: State
) -> None:
    job = await make_job(db, app_id, state)
    url = "https://media.example/v"
    async with serving(result(url)) as server, acting_at(db, provider(server.origin)) as parts:
        await resync(parts, ALICE, job)
    assert (await job_row(db, job))["state"] == state
    (attempt,) = await rows_of(db, "attempts", job)
    assert (attempt["outcome"], attempt["output"]) == (state, None)
    assert json.loads(attempt["disagreement"])["output"] == {"video": {"url": url}}


async def test_an_older_attempt_is_asked_after_too_and_what_it_brought_is_kept(
    stage: Stage,
) -> None:
    await stage.sandbox.control(render_seconds=0.3, ignore_cancel=1)
    job = await stage.sent()
    await rerun(stage.parts, WHY, job, attempt=1, force=True)
    async with asyncio.timeout(20):
        while (await stage.attempt(job))["outcome"] is None:
            await resync(stage.parts, ALICE, job)
    attempt = await stage.attempt(job)
    assert attempt["outcome"] == "completed"
    assert json.loads(attempt["outputs"])[0]["url"].endswith(".mp4")
    row = await job_row(stage.db, job)
    assert (row["state"], row["attempt"]) == ("queued", 2)
    assert await stage.detail(job) == {"said": {"1": "completed"}}
    await refused(resync(stage.parts, ALICE, job), "conflict", "has not been sent")


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (S.QUEUED, "has not been sent"),
        (S.SUBMITTING, "being sent"),
        (S.UNCONFIRMED, "resolve"),
        (S.FAILED, "never gave it an id"),
    ],
)
async def test_without_an_id_there_is_nothing_to_ask(stage: Stage, state: State, why: str) -> None:
    job = await make_job(stage.db, stage.app_id, state)
    await stage.db.pool.execute("update attempts set provider_id = null")
    await follow(stage.db)
    await refused(resync(stage.parts, ALICE, job), "conflict", why)
    assert await stage.acts(job) == []


@pytest.mark.parametrize(
    ("talk", "code"),
    [
        (hang_up, "provider_unavailable"),
        (answering("502 Bad", "nginx"), "provider_unavailable"),
        (answering("429 Slow", {}), "provider_unavailable"),
        (answering("401 Who", {"detail": "bad key"}), "provider_auth"),
    ],
)
async def test_a_provider_that_does_not_answer_is_said_and_ends_nothing(
    db: Database, app_id: UUID, talk: Talk, code: str
) -> None:
    job = await make_job(db, app_id, S.RUNNING)
    async with serving(talk) as server, acting_at(db, provider(server.origin)) as parts:
        fault = await refused(resync(parts, ALICE, job), code, "fal")
    assert isinstance(fault, Unavailable)
    assert (fault.retryable, fault.retry_after) == (True, 10)
    assert (await job_row(db, job))["state"] == "running"
    (poll,) = await rows_of(db, "polls", job)
    assert (poll["said"], bool(poll["note"])) == (None, True)
    assert len(await rows_of(db, "operator_actions", job)) == 1


async def test_a_provider_that_does_not_know_the_job_has_answered(
    db: Database, app_id: UUID
) -> None:
    job = await make_job(db, app_id, S.RUNNING)
    gone = answering("404 Not Found", {"detail": "not found"})
    async with serving(gone) as server, acting_at(db, provider(server.origin)) as parts:
        await resync(parts, ALICE, job)
    assert (await job_row(db, job))["state"] == "running"


async def test_a_provider_without_a_key_cannot_be_asked(stage: Stage) -> None:
    job = await make_job(stage.db, stage.app_id, S.RUNNING, provider="prism")
    await refused(resync(stage.parts, ALICE, job), "provider_not_configured", "prism")
