"""service/cancel.py: at once where nothing was sent, else by the provider, until it answers."""

import asyncio
import json
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from acting import ALICE, PATIENCE, WHY, Stage, acting_at, refused, staged
from posting import ACCEPTED, Talk, answering, hang_up, one_round, provider, sending
from raw_server import serving
from scene import job_row, make_app, make_job, move, rows_of
from sweeping import one_round as one_look
from sweeping import sweeper_of

from service.cancel import cancel
from service.database import Database
from service.job import State
from service.operating import Actor
from service.pooled import Asker
from service.providers import prism
from service.store.advance import Move, columns, new_event_id


@pytest.fixture
async def app_id(db: Database) -> UUID:
    return await make_app(db)


@pytest.fixture
async def stage(db: Database, app_id: UUID) -> AsyncIterator[Stage]:
    async with staged(db, app_id) as stage:
        yield stage


async def requested(db: Database, job: UUID) -> bool:
    return (await job_row(db, job))["cancel_requested_at"] is not None


@pytest.mark.parametrize(
    ("actor", "learnt_by"), [(Actor(who="key_app", source="api"), None), (WHY, "operator")]
)
async def test_a_job_that_waits_for_its_turn_ends_at_once(
    stage: Stage, actor: Actor, learnt_by: str | None
) -> None:
    job = await stage.job()
    await cancel(stage.parts, actor, job)
    row = await job_row(stage.db, job)
    error = json.loads(row["error"])
    assert (row["state"], row["learnt_by"], row["version"]) == ("canceled", learnt_by, 2)
    assert (error["code"], error["charged"]) == ("canceled", "no")
    assert await stage.acts(job) == [("cancel", 1, actor.who, actor.reason)]
    assert await rows_of(stage.db, "agenda", job) == []
    await stage.submit()
    assert await stage.accepted() == 0
    await refused(cancel(stage.parts, actor, job), "conflict", "canceled")
    assert len(await stage.acts(job)) == 1


async def test_what_the_provider_has_is_ended_there_however_often_that_is_asked_for(
    stage: Stage,
) -> None:
    job = await stage.sent()
    await asyncio.gather(*(cancel(stage.parts, ALICE, job) for _ in range(5)))
    assert stage.parts.wakes.ask.is_set()
    assert await requested(stage.db, job)
    assert await stage.acts(job) == [("cancel", 1, "key_alice", None)]
    await stage.sweep()
    row = await job_row(stage.db, job)
    assert (row["state"], row["learnt_by"]) == ("canceled", "poll")
    assert json.loads(row["error"])["code"] == "canceled"
    attempt = await stage.attempt(job)
    assert (attempt["outcome"], attempt["cancel_answer"]) == ("canceled", "requested")
    assert (await stage.sandbox.job(row["provider_id"]))["outcome"] == "canceled"


async def test_a_job_that_the_provider_forgets_over_its_cancel_is_canceled_without_its_word(
    stage: Stage,
) -> None:
    await stage.sandbox.control(forget_canceled=1)
    job = await stage.sent()
    await cancel(stage.parts, ALICE, job)
    await stage.sweep()
    row = await job_row(stage.db, job)
    error = json.loads(row["error"])
    assert (row["state"], row["learnt_by"], error["charged"]) == ("canceled", "poll", "unknown")
    assert (await stage.attempt(job))["outcome"] is None
    assert await rows_of(stage.db, "agenda", job) == []


async def test_a_render_that_goes_on_though_its_cancel_was_taken_completes(stage: Stage) -> None:
    await stage.sandbox.control(ignore_cancel=1, render_seconds=0.2)
    job = await stage.sent()
    await cancel(stage.parts, ALICE, job)
    await stage.until(job, State.COMPLETED)
    assert (await stage.attempt(job))["cancel_answer"] == "requested"


async def test_a_cancel_is_sent_again_until_it_is_answered(db: Database, app_id: UUID) -> None:
    answers = [b"500 Oops\r\nContent-Length: 2\r\n\r\n{}"] * 2
    said = json.dumps({"status": "CANCELLATION_REQUESTED"}).encode()
    answers.append(b"202 Accepted\r\nContent-Length: %d\r\n\r\n%s" % (len(said), said))
    running = json.dumps({"status": "IN_PROGRESS"}).encode()
    canceled: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if server.requests[-1].startswith(b"PUT "):
            canceled.append(server.requests[-1])
            writer.write(b"HTTP/1.1 " + answers.pop(0))
        else:
            writer.write(b"HTTP/1.1 202 OK\r\nContent-Length: %d\r\n\r\n" % len(running) + running)
        await writer.drain()

    job = await make_job(db, app_id, State.SUBMITTED)
    async with serving(talk) as server, acting_at(db, provider(server.origin)) as parts:
        await cancel(parts, ALICE, job)
        asker = Asker()
        sweeper = sweeper_of(db, parts.providers, asker)
        for _ in range(5):
            await one_look(sweeper)
            await db.pool.execute("update agenda set due_at = now()")
        await asker.aclose()
    assert len(canceled) == 3
    assert canceled[0].startswith(b"PUT /fal-ai/veo3/requests/req-1/cancel ")
    assert (await rows_of(db, "attempts", job))[0]["cancel_answer"] == "requested"
    notes = [row["note"] for row in await rows_of(db, "polls", job, "id")]
    assert notes[0] == "asked to cancel: no answer yet"
    assert notes[-1] == "asked to cancel: requested"


async def submitting(db: Database, talk: Talk, job: UUID) -> None:
    """A submission whose reply waits until somebody has asked for the job's end."""

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with acting_at(db, provider("http://127.0.0.1:9")) as parts:
            await cancel(parts, ALICE, job)
        await talk(reader, writer)

    async with sending(db, late) as (submits, server):
        await one_round(submits)
        await one_round(submits)
    assert len(server.requests) == 1


async def test_asked_for_while_it_is_being_sent_it_is_ended_as_soon_as_it_has_an_id(
    db: Database, app_id: UUID
) -> None:
    job = await make_job(db, app_id)
    await submitting(db, ACCEPTED, job)
    assert (await job_row(db, job))["state"] == "submitted"
    assert await requested(db, job)
    assert await db.pool.fetchval("select task = 'poll' and due_at <= now() from agenda")


async def test_asked_for_while_it_is_being_sent_it_is_not_sent_again(
    db: Database, app_id: UUID
) -> None:
    job = await make_job(db, app_id)
    await submitting(db, answering("429 Slow", {}, "Retry-After: 0"), job)
    row = await job_row(db, job)
    assert (row["state"], row["attempt"]) == ("canceled", 1)
    assert json.loads(row["error"])["charged"] == "no"


async def test_asked_for_while_nobody_knows_whether_it_arrived_it_is_noted(
    db: Database, app_id: UUID
) -> None:
    job = await make_job(db, app_id)
    await submitting(db, hang_up, job)
    assert (await job_row(db, job))["state"] == "unconfirmed"
    assert await requested(db, job)
    await move(db, job, now=State.SUBMITTED, provider_id="req-1", task="poll", due_in=900.0)
    assert await db.pool.fetchval("select due_at <= now() from agenda")


async def test_a_job_that_goes_back_to_its_queue_wanted_by_nobody_ends_there(
    stage: Stage,
) -> None:
    job = await stage.job()
    began = {"was": State.QUEUED, "now": State.SUBMITTING, "task": "sending", "due_in": 60.0}
    assert (await move(stage.db, job, source="submit", **began)).moved
    await cancel(stage.parts, ALICE, job)
    back = {"was": State.SUBMITTING, "now": State.QUEUED, "task": "submit", "due_in": 0.0}
    assert (await move(stage.db, job, source="submit", **back)).moved  # and its sender dies
    await stage.submit()
    assert await stage.state(job) == "canceled"
    assert await stage.accepted() == 0


@pytest.mark.parametrize(
    "state", [State.SUBMITTING, State.UNCONFIRMED, State.SUBMITTED, State.RUNNING]
)
async def test_what_a_provider_without_a_cancel_has_cannot_be_canceled(
    stage: Stage, state: State
) -> None:
    built = prism.build(prism.Settings(prism_key="prism_sk_x"))  # type: ignore[arg-type]
    assert built is not None
    sent = await make_job(stage.db, stage.app_id, state, provider="prism")
    waiting = await stage.job(provider="prism")
    async with acting_at(stage.db, built) as parts:
        await refused(cancel(parts, ALICE, sent), "conflict", "prism has no cancel")
        await cancel(parts, ALICE, waiting)
    assert not await requested(stage.db, sent)
    assert await stage.acts(sent) == []
    assert await stage.state(waiting) == "canceled"
    await refused(cancel(stage.parts, ALICE, sent), "provider_not_configured", "prism")


async def test_a_cancel_that_waits_while_the_reply_is_stored_is_sent_at_once(
    stage: Stage,
) -> None:
    job = await make_job(stage.db, stage.app_id, State.SUBMITTING)
    reply = Move(
        job_id=job,
        attempt=1,
        source="submit",
        event_id=new_event_id(job),
        now=State.SUBMITTED,
        provider_id="req-1",
        task="poll",
        due_in=900.0,
    )
    async with stage.db.pool.acquire() as connection:
        async with connection.transaction():
            await connection.fetch(stage.db.queries["advance"], *columns([reply]))
            canceling = asyncio.create_task(cancel(stage.parts, ALICE, job))
            async with asyncio.timeout(PATIENCE):
                while not await connection.fetchval(
                    "select exists (select from pg_locks where not granted)"
                ):
                    assert not canceling.done()
        await canceling
    assert await requested(stage.db, job)
    assert await stage.db.pool.fetchval("select due_at <= now() from agenda")


async def test_a_cancel_and_a_submitter_that_has_claimed_the_job_are_safe_both_ways(
    stage: Stage,
) -> None:
    jobs = [await stage.job() for _ in range(48)]

    async def canceled(number: int, job: UUID) -> None:
        for _ in range(number % 12):  # so that some come before the POST, some after, some between
            await asyncio.sleep(0)
            await stage.db.ping()
        await cancel(stage.parts, ALICE, job)

    await asyncio.gather(
        stage.submit(), *(canceled(number, job) for number, job in enumerate(jobs))
    )
    await stage.submit()
    ledger = await stage.sandbox.ledger()
    sent = {one for entry in ledger["jobs"] for one in entry["request_ids"]}
    ended, underway = [], []
    for job in jobs:
        row = await job_row(stage.db, job)
        assert len(await stage.acts(job)) == 1
        (ended if row["state"] == "canceled" else underway).append(row["provider_id"])
        if row["state"] == "canceled":
            assert row["provider_id"] is None
        else:
            assert (row["state"], await requested(stage.db, job)) == ("submitted", True)
    assert ended
    assert set(underway) == sent
    assert len(sent) == ledger["totals"]["accepted"]
    await stage.sweep()
    assert {await stage.state(job) for job in jobs} == {"canceled"}
    assert (await stage.sandbox.ledger())["totals"]["canceled"] == len(sent)
