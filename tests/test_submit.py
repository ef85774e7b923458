"""service/submit.py: at most one POST per attempt, whatever is lost or dies meanwhile."""

import asyncio
import json
from uuid import UUID

import pytest
from posting import (
    ACCEPTED,
    TOKENS,
    Talk,
    agenda_of,
    answering,
    cut,
    hang_up,
    one_round,
    provider,
    sending,
    submitter,
)
from pydantic import SecretStr
from raw_server import serving
from scene import job_row, make_app, make_job, move, rows_of
from sweeping import looked_after

from service.database import Database
from service.job import State
from service.pace import LONGEST_SUBMIT_PAUSE_SECONDS
from service.providers import prism

SLOW_SECONDS = 20.0  # a slow machine looks later


@pytest.fixture
async def job(db: Database) -> UUID:
    return await make_job(db, await make_app(db))


async def test_an_accepted_job_is_sent_once_with_its_callback(db: Database, job: UUID) -> None:
    async with sending(db, ACCEPTED) as (submits, server):
        await one_round(submits)
        await one_round(submits)
    (request,) = server.requests
    line, _, body = request.partition(b"\r\n")[0], None, request.partition(b"\r\n\r\n")[2]
    assert line.startswith(
        b"POST /fal-ai/veo3/fast?fal_webhook=https%3A%2F%2Fboard.example%2Fcallbacks%2Ffal%3Ftoken"
    )
    assert json.loads(body) == {"prompt": "a paper boat"}
    row = await job_row(db, job)
    assert (row["state"], row["provider_id"]) == ("submitted", "req-1")
    assert json.loads(row["progress"])["queue_position"] == 2
    assert row["posted_at"] < row["submitted_at"]
    task, left = await agenda_of(db, job)
    assert task == "poll"
    assert left > 1
    assert (await rows_of(db, "attempts", job))[0]["token_key"] == TOKENS.key_name


@pytest.mark.parametrize(
    ("talk", "state", "code", "charged"),
    [
        (answering("422 No", {"detail": [{"type": "missing"}]}), "failed", "invalid_input", "no"),
        (answering("410 Gone", {"detail": "retired"}), "failed", "model_retired", "no"),
        (answering("429 Slow", {}, "Retry-After: 77"), "queued", "rate_limited", "no"),
        (answering("401 Who", {"detail": "bad key"}), "queued", "provider_auth", "no"),
        (answering("500 Oops", {}), "unconfirmed", "submission_unconfirmed", "unknown"),
        (answering("503 Away", {}), "unconfirmed", "submission_unconfirmed", "unknown"),
        (
            answering("302 There", {}, "Location: /x"),
            "unconfirmed",
            "submission_unconfirmed",
            "unknown",
        ),
        (answering("200 OK", {"hello": 1}), "unconfirmed", "submission_unconfirmed", "unknown"),
        (hang_up, "unconfirmed", "submission_unconfirmed", "unknown"),
        (cut, "unconfirmed", "submission_unconfirmed", "unknown"),
    ],
)
async def test_what_each_reply_becomes(
    db: Database, job: UUID, talk: Talk, state: str, code: str, charged: str
) -> None:
    async with sending(db, talk) as (submits, server):
        await one_round(submits)
        await one_round(submits)
    assert len(server.requests) == 1
    row = await job_row(db, job)
    error = json.loads(row["error"])
    assert (row["state"], error["code"], error["charged"]) == (state, code, charged)
    if state == "queued":
        task, left = await agenda_of(db, job)
        assert task == "submit"
        assert left > 1
        assert code != "rate_limited" or 70 < left < 80
    if state == "unconfirmed":
        task, left = await agenda_of(db, job)
        assert task == "give_up"
        assert 590 < left <= 600


async def test_what_was_never_sent_goes_back_and_is_sent_later(db: Database, job: UUID) -> None:
    await one_round(submitter(db, provider("http://127.0.0.1:9")))
    row = await job_row(db, job)
    assert row["state"] == "queued"
    assert json.loads(row["error"])["code"] == "provider_unavailable"
    await db.pool.execute("update agenda set due_at = now()")
    async with sending(db, ACCEPTED) as (submits, server):
        await one_round(submits)
    assert len(server.requests) == 1
    row = await job_row(db, job)
    assert (row["state"], row["attempt"], row["error"]) == ("submitted", 1, None)


async def test_each_try_that_comes_to_nothing_makes_the_next_pause_longer_up_to_a_bound(
    db: Database, job: UUID
) -> None:
    due = "update agenda set due_at = now()"
    for tries in range(1, 11):
        await one_round(submitter(db, provider("http://127.0.0.1:9")))
        task, left = await agenda_of(db, job)
        longest = min(LONGEST_SUBMIT_PAUSE_SECONDS, 2.0**tries * 1.2)
        assert task == "submit"
        assert 2.0 ** min(tries, 8) * 0.8 - SLOW_SECONDS < left <= longest
        await db.pool.execute(due)
        await db.pool.execute("delete from provider_health")
    async with sending(db, ACCEPTED) as (submits, _):
        await one_round(submits)
    assert await db.pool.fetchval("select tries from agenda") == 0, "they were of the submits"


async def test_an_attempt_that_is_sent_again_carries_the_same_token(
    db: Database, job: UUID
) -> None:
    sent = []
    for talk in (answering("429 Slow", {}), ACCEPTED):
        async with sending(db, talk) as (submits, server):
            await db.pool.execute("update agenda set due_at = now()")
            await db.pool.execute("update provider_health set paused_until = now()")
            await one_round(submits)
            sent += [request.split(b" ")[1] for request in server.requests]
    assert len(sent) == 2
    assert sent[0] == sent[1]


async def test_killed_between_the_claim_and_the_move_it_is_still_queued(
    db: Database, job: UUID
) -> None:
    claimed = await db.rows("claim_submits", 60.0, ["fal"], [10], [None])
    assert [row["job_id"] for row in claimed] == [job]
    async with sending(db, ACCEPTED) as (submits, server):
        await one_round(submits)
        assert server.requests == [], "the lease holds"
        await db.pool.execute("update agenda set due_at = now(), lease_until = now()")
        await one_round(submits)
    assert len(server.requests) == 1
    assert (await job_row(db, job))["state"] == "submitted"


async def test_killed_between_the_move_and_the_reply_it_becomes_unconfirmed_and_is_not_sent_again(
    db: Database, job: UUID
) -> None:
    await move(
        *(db, job),
        now=State.SUBMITTING,
        was=State.QUEUED,
        source="submit",
        task="sending",
        due_in=60.0,
    )
    async with sending(db, ACCEPTED) as (submits, server):
        await looked_after(db, submits)
        assert (await job_row(db, job))["state"] == "submitting", "the lease holds"
        await db.pool.execute("update agenda set due_at = now(), lease_until = now()")
        await looked_after(db, submits)
        await looked_after(db, submits)
    assert server.requests == []
    row = await job_row(db, job)
    assert row["state"] == "unconfirmed"
    assert await agenda_of(db, job) == ("give_up", pytest.approx(600, abs=10))


async def test_many_submitters_send_each_job_once(db: Database) -> None:
    app = await make_app(db)
    made = [await make_job(db, app, input={"prompt": f"boat {n}"}) for n in range(40)]
    async with serving(ACCEPTED) as server:
        several = [submitter(db, provider(server.origin)) for _ in range(4)]
        for _ in range(3):
            await asyncio.gather(*(one_round(submits) for submits in several))
    bodies = [request.partition(b"\r\n\r\n")[2] for request in server.requests]
    assert len(bodies) == len(set(bodies)) == len(made)


@pytest.mark.parametrize(("waiting", "looks_again"), [(1, False), (3, True)])
async def test_it_looks_again_where_there_was_no_place_for_all_and_else_not(
    db: Database, waiting: int, looks_again: bool
) -> None:
    app = await make_app(db)
    for _ in range(waiting):
        await make_job(db, app)
    async with serving(ACCEPTED) as server:
        submits = submitter(db, provider(server.origin), each=2)
        await one_round(submits)
        assert submits.wake.is_set() is looks_again
        await one_round(submits)
    assert len(server.requests) == waiting


async def test_what_was_charged_and_what_is_odd_about_it_is_kept(db: Database) -> None:
    job = await make_job(db, await make_app(db), provider="prism", model="veo-3.1")
    generations = [{"id": f"gen_{n}", "status": "queued"} for n in (1, 2)]
    metadata = {"credits_charged": 240, "num_generations": 2}
    body = {"data": {"generations": generations, "metadata": metadata}}
    async with serving(answering("200 OK", body)) as server:
        one = prism.build(prism.Settings(prism_key=SecretStr("key"), prism_url=server.origin))
        assert one is not None
        submits = submitter(db, one)
        for _ in range(2):
            await one_round(submits)
    row = await job_row(db, job)
    assert (row["state"], row["provider_id"], row["actual"]) == ("submitted", "gen_1", 240)
    (warning,) = json.loads(row["warnings"])
    assert "2" in warning
