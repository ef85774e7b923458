"""service/rerun.py: a new attempt, paid for anew, and not while the old one may be alive."""

import asyncio
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from acting import ALICE, WHY, Stage, acting_at, refused, staged
from in_step import follow
from lossy import lossy
from posting import ACCEPTED, answering, hang_up, one_round, provider, sending
from raw_server import serving
from scene import job_row, make_app, make_job, move, rows_of

from service.database import Database
from service.errors import InvalidRequest
from service.job import State
from service.rerun import rerun
from service.store import agenda

S = State
RETIRED = "fal-ai/sora-2/text-to-video"


@pytest.fixture
async def app_id(db: Database) -> UUID:
    return await make_app(db)


@pytest.fixture
async def stage(db: Database, app_id: UUID) -> AsyncIterator[Stage]:
    async with staged(db, app_id) as stage:
        yield stage


async def test_the_next_attempt_has_a_token_of_its_own_and_ends_the_job(
    db: Database, app_id: UUID
) -> None:
    job = await make_job(db, app_id, currency="USD", estimate=Decimal("3.20"))
    tokens = []
    for number in (1, 2):
        body = {"request_id": f"req-{number}", "status": "IN_QUEUE"}
        async with sending(db, answering("200 OK", body)) as (submits, server):
            await one_round(submits)
        url = server.requests[0].split(b" ")[1].decode()
        (called,) = parse_qs(urlsplit(url).query)["fal_webhook"]
        tokens.append(called)
        if number == 1:
            await move(db, job, now=S.FAILED)
            async with acting_at(db, provider(server.origin)) as parts:
                await rerun(parts, ALICE, job, attempt=1)
                assert parts.wakes.submit.is_set()
            row = await job_row(db, job)
            assert (row["state"], row["attempt"], row["estimate"]) == ("queued", 2, Decimal("3.20"))
            ended = [row[name] for name in ("error", "finished_at", "learnt_by", "posted_at")]
            assert ended == [None] * 4
    assert tokens[0] != tokens[1]
    assert (await move(db, job, now=S.COMPLETED, attempt=2)).moved
    assert [row["provider_id"] for row in await rows_of(db, "attempts", job, "number")] == [
        *("req-1", "req-2")
    ]
    (act,) = await rows_of(db, "operator_actions", job)
    assert (act["act"], act["attempt"], act["who"]) == ("rerun", 1, "key_alice")
    detail = json.loads(act["detail"])
    assert (detail["to_attempt"], detail["was"], detail["forced"]) == (2, "failed", False)
    assert (detail["estimate"], detail["currency"]) == ("3.20", "USD")


@pytest.mark.parametrize(
    ("state", "known", "code"),
    [
        (S.QUEUED, True, "conflict"),
        (S.SUBMITTING, False, "still_alive"),
        (S.UNCONFIRMED, False, "still_alive"),
        (S.SUBMITTED, True, "still_alive"),
        (S.RUNNING, True, "still_alive"),
        (S.EXPIRED, True, "still_alive"),
        (S.EXPIRED, False, "still_alive"),
        (S.CANCELED, True, "still_alive"),
        (S.CANCELED, False, None),
        (S.COMPLETED, True, None),
        (S.FAILED, True, None),
    ],
)
async def test_what_may_be_alive_is_not_rerun_unless_somebody_says_why(
    stage: Stage, state: State, known: bool, code: str | None
) -> None:
    """`canceled` without the provider's word counts as alive, but not where it was never sent."""
    job = await make_job(stage.db, stage.app_id, state)
    if not known:
        await stage.db.pool.execute("update attempts set provider_id = null")
        await follow(stage.db)
    if state is S.CANCELED:
        await stage.db.pool.execute("update attempts set outcome = null")
    if code is not None:
        await refused(rerun(stage.parts, ALICE, job, attempt=1), code, "")
        assert (await stage.state(job), await stage.acts(job)) == (state, [])
    if state in (S.QUEUED, S.SUBMITTING):
        await refused(rerun(stage.parts, WHY, job, attempt=1, force=True), str(code), "")
        return
    await rerun(stage.parts, WHY, job, attempt=1, force=code is not None)
    row = await job_row(stage.db, job)
    assert (row["state"], row["attempt"]) == ("queued", 2)
    assert await stage.acts(job) == [("rerun", 1, "key_alice", "the customer waits")]
    await stage.submit()
    assert (await stage.state(job), await stage.accepted()) == ("submitted", 1)


async def test_a_force_without_a_reason_is_refused(stage: Stage) -> None:
    job = await make_job(stage.db, stage.app_id, S.FAILED)
    fault = await refused(
        rerun(stage.parts, ALICE, job, attempt=1, force=True), "invalid_request", "reason"
    )
    assert isinstance(fault, InvalidRequest)
    assert [one.field for one in fault.fields] == ["reason"]


async def test_a_failure_that_nobody_told_is_the_jobs_end_first(stage: Stage) -> None:
    await stage.sandbox.control(error=1, render_seconds=0)
    job = await stage.sent()
    await stage.rendered()
    await rerun(stage.parts, ALICE, job, attempt=1)
    moves = [row["now"] for row in await rows_of(stage.db, "job_events", job, "version")]
    assert moves[-2:] == ["failed", "queued"]
    assert (await stage.attempt(job))["outcome"] == "failed"
    assert (await stage.detail(job))["asked"] == "failed"


async def test_a_success_that_nobody_told_completes_the_job_and_nothing_is_paid(
    stage: Stage,
) -> None:
    await stage.sandbox.control(render_seconds=0)
    job = await stage.sent()
    await stage.rendered()
    await refused(rerun(stage.parts, ALICE, job, attempt=1), "conflict", "completed meanwhile")
    row = await job_row(stage.db, job)
    assert (row["state"], row["learnt_by"]) == ("completed", "poll")
    assert await stage.acts(job) == []
    await rerun(stage.parts, ALICE, job, attempt=1)  # somebody who knows that wants another
    assert (await job_row(stage.db, job))["attempt"] == 2


async def test_a_success_that_comes_while_the_provider_is_asked_is_not_paid_for_again(
    db: Database, app_id: UUID
) -> None:
    job = await make_job(db, app_id, S.RUNNING)

    async def completes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await move(db, job, now=S.COMPLETED, source="callback", provider_id="req-1")
        await answering("202 Accepted", {"status": "IN_PROGRESS"})(reader, writer)

    async with serving(completes) as server, acting_at(db, provider(server.origin)) as parts:
        await refused(rerun(parts, ALICE, job, attempt=1), "conflict", "completed meanwhile")
    assert (await job_row(db, job))["state"] == "completed"


async def test_forced_a_success_that_nobody_told_is_told_and_then_rerun(stage: Stage) -> None:
    await stage.sandbox.control(render_seconds=0)
    job = await stage.sent()
    await stage.rendered()
    await rerun(stage.parts, WHY, job, attempt=1, force=True)
    moves = [row["now"] for row in await rows_of(stage.db, "job_events", job, "version")]
    assert moves[-2:] == ["completed", "queued"]
    assert "cancel" not in await stage.detail(job)


async def test_the_old_render_is_asked_to_end_and_its_answer_kept(stage: Stage) -> None:
    job = await stage.sent()
    await rerun(stage.parts, WHY, job, attempt=1, force=True)
    detail = await stage.detail(job)
    assert (detail["forced"], detail["asked"], detail["cancel"]) == (True, "submitted", "requested")
    attempt = await stage.attempt(job)
    assert attempt["cancel_answer"] == "requested"
    assert (await stage.sandbox.job(attempt["provider_id"]))["outcome"] == "canceled"
    await stage.submit()
    assert (await stage.state(job), await stage.accepted()) == ("submitted", 2)


async def test_a_provider_that_is_away_keeps_nobody_from_forcing(
    db: Database, app_id: UUID
) -> None:
    job = await make_job(db, app_id, S.RUNNING)
    async with serving(hang_up) as server, acting_at(db, provider(server.origin)) as parts:
        await refused(rerun(parts, ALICE, job, attempt=1), "still_alive", "no answer")
        await rerun(parts, WHY, job, attempt=1, force=True)
    (act,) = await rows_of(db, "operator_actions", job)
    assert json.loads(act["detail"])["cancel"] == "no answer"


async def test_only_the_jobs_own_attempt_is_rerun_and_that_once(stage: Stage) -> None:
    job = await make_job(stage.db, stage.app_id, S.FAILED)
    await refused(rerun(stage.parts, ALICE, job, attempt=2), "conflict", "attempt 1 is the job's")
    await rerun(stage.parts, ALICE, job, attempt=1)
    await refused(rerun(stage.parts, ALICE, job, attempt=1), "conflict", "attempt 2 is the job's")
    await refused(rerun(stage.parts, ALICE, job, attempt=2), "conflict", "has not been sent")


@pytest.mark.parametrize(("state", "force"), [(S.FAILED, False), (S.SUBMITTED, True)])
async def test_many_at_once_make_one_attempt(stage: Stage, state: State, force: bool) -> None:
    job = await make_job(stage.db, stage.app_id, state)
    tried = await asyncio.gather(
        *(rerun(stage.parts, WHY, job, attempt=1, force=force) for _ in range(8)),
        return_exceptions=True,
    )
    assert [one for one in tried if one is None] == [None]
    assert {getattr(one, "code", None) for one in tried if one is not None} == {"conflict"}
    assert len(await rows_of(stage.db, "attempts", job)) == 2
    assert len(await stage.acts(job)) == 1
    await stage.submit()
    assert await stage.accepted() == 1


async def test_a_poll_under_way_does_not_take_the_next_attempt_from_the_agenda(
    stage: Stage,
) -> None:
    job = await make_job(stage.db, stage.app_id, S.RUNNING)
    await stage.db.pool.execute("update agenda set due_at = now()")
    turn = agenda.Turn(provider="fal", places=1)
    (due,) = await agenda.claim_asks(stage.db, lease_seconds=60.0, turns=[turn], tasks=agenda.ASKS)
    await rerun(stage.parts, WHY, job, attempt=1, force=True)
    ended = agenda.Asked(due=due, again_in=None, said=S.COMPLETED)
    await agenda.finish_asks(stage.db, [ended])
    (left,) = await rows_of(stage.db, "agenda", job)
    assert (left["task"], left["lease_until"]) == ("submit", None)
    await stage.submit()
    assert await stage.state(job) == "submitted"


async def test_a_model_that_is_retired_or_unknown_takes_force_and_a_key(stage: Stage) -> None:
    retired = await make_job(stage.db, stage.app_id, S.FAILED, model=RETIRED)
    unknown = await make_job(stage.db, stage.app_id, S.FAILED, model="fal-ai/nobody/knows")
    elsewhere = await make_job(stage.db, stage.app_id, S.FAILED, provider="prism", model="veo-3.1")
    await refused(rerun(stage.parts, ALICE, retired, attempt=1), "model_retired", RETIRED)
    await refused(rerun(stage.parts, ALICE, unknown, attempt=1), "unsupported_model", "nobody")
    running = await make_job(stage.db, stage.app_id, S.RUNNING, model=RETIRED)
    await refused(rerun(stage.parts, ALICE, running, attempt=1), "still_alive")
    for job in (retired, unknown):
        await rerun(stage.parts, WHY, job, attempt=1, force=True)
        assert await stage.state(job) == "queued"
    for force in (False, True):
        act = rerun(stage.parts, WHY, elsewhere, attempt=1, force=force)
        await refused(act, "provider_not_configured", "prism")


@pytest.mark.parametrize("text", ["insert into operator_actions (job_id, id, attempt", "COMMIT;"])
async def test_an_answer_that_is_lost_makes_no_second_attempt(
    db: Database, app_id: UUID, dsn: str, text: str
) -> None:
    job = await make_job(db, app_id, S.FAILED)
    async with lossy(dsn) as way:
        far = await Database.connect(way.dsn, size=1)
        async with serving(ACCEPTED) as server, acting_at(far, provider(server.origin)) as parts:
            way.lose(text)
            await rerun(parts, ALICE, job, attempt=1)
            assert parts.wakes.submit.is_set()
        await far.close()
    assert way.lost == 1
    assert len(await rows_of(db, "attempts", job)) == 2
    assert len(await rows_of(db, "operator_actions", job)) == 1
    assert (await job_row(db, job))["state"] == "queued"
