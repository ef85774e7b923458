"""service/health.py: which answers pause a provider, how long, and which are signs of health."""

import json
from collections.abc import Callable
from uuid import UUID

import pytest
from pausing import (
    AWAY,
    DENIED,
    NO_FREE_TIER,
    OUT_OF_BALANCE,
    due,
    genviral_at,
    jobs,
    pause_ends,
    pauses_told,
    prism_at,
    room_of,
    sent,
)
from posting import ACCEPTED, answering, cut, hang_up, one_round, provider, sending, submitter
from raw_server import Talk, serving
from scene import job_row, make_app

from service.database import Database
from service.providers import Provider


@pytest.fixture
async def studio(db: Database) -> UUID:
    return await make_app(db)


@pytest.mark.parametrize("talk", [hang_up, cut, AWAY, answering("200 OK", {"hello": 1})])
async def test_five_submits_in_a_row_whose_outcome_is_unknown_pause_the_provider(
    db: Database, studio: UUID, talk: Talk, caplog: pytest.LogCaptureFixture
) -> None:
    await jobs(db, studio, 4)
    await sent(db, talk)
    assert not (await room_of(db)).paused
    await jobs(db, studio, 1)
    await sent(db, talk)
    room = await room_of(db)
    assert (room.paused, room.code) == (True, "provider_unavailable")
    assert "provider fal is paused, 30 s: provider_unavailable" in caplog.text
    (waiting,) = await jobs(db, studio, 1)
    assert await sent(db, ACCEPTED) == 0
    assert (await job_row(db, waiting))["state"] == "queued"


async def test_a_provider_that_cannot_be_reached_is_paused_and_its_jobs_wait(
    db: Database, studio: UUID
) -> None:
    made = await jobs(db, studio, 5)
    await one_round(submitter(db, provider("http://127.0.0.1:9")))
    assert (await room_of(db)).paused
    for job in made:
        row = await job_row(db, job)
        assert (row["state"], json.loads(row["error"])["code"]) == (
            "queued",
            "provider_unavailable",
        )


async def test_a_documented_500_counts_though_it_fails_its_job(db: Database, studio: UUID) -> None:
    made = await jobs(db, studio, 5, provider="genviral", model="veo3")
    body = {"ok": False, "error_code": "generation_failed", "message": "no"}
    async with serving(answering("500 Oops", body)) as server:
        await one_round(submitter(db, genviral_at(server.origin)))
    assert {(await job_row(db, job))["state"] for job in made} == {"failed"}
    assert (await room_of(db, "genviral")).paused


async def test_only_that_provider_is_paused(db: Database, studio: UUID) -> None:
    await jobs(db, studio, 5)
    await sent(db, hang_up)
    (other,) = await jobs(db, studio, 1, provider="genviral", model="veo3")
    async with serving(answering("202 OK", {"ok": True, "data": {"video_id": "v"}})) as server:
        await one_round(submitter(db, genviral_at(server.origin)))
    assert (await job_row(db, other))["state"] == "submitted"


async def test_failures_that_are_not_in_a_row_pause_nothing(db: Database, studio: UUID) -> None:
    for talk, count in ((AWAY, 4), (ACCEPTED, 1), (AWAY, 4)):
        await jobs(db, studio, count)
        await sent(db, talk)
    room = await room_of(db)
    assert (room.paused, room.failures) == (False, 4)


@pytest.mark.parametrize(
    "talk",
    [
        answering("422 No", {"detail": [{"type": "missing"}]}),
        answering("404 No", {"detail": "Application not found"}),
        answering("410 Gone", {"detail": "retired"}),
    ],
)
async def test_a_refusal_of_one_model_or_input_fails_that_job_and_is_a_sign_of_health(
    db: Database, studio: UUID, talk: Talk
) -> None:
    await jobs(db, studio, 4)
    await sent(db, AWAY)
    refused = await jobs(db, studio, 6)
    await sent(db, talk)
    assert {(await job_row(db, job))["state"] for job in refused} == {"failed"}
    room = await room_of(db)
    assert (room.paused, room.failures) == (False, 0)


@pytest.mark.parametrize(
    ("name", "build", "talk", "code", "message", "seconds"),
    [
        (
            "fal",
            provider,
            answering("401 Who", {"detail": "bad key"}),
            *("provider_auth", "bad key", 60),
        ),
        ("fal", provider, OUT_OF_BALANCE, "insufficient_credits", "Exhausted", 60),
        ("prism", prism_at, NO_FREE_TIER, "provider_paused", "Paused for now", 1800),
    ],
)
async def test_a_refusal_of_the_account_pauses_at_once_and_says_why(
    db: Database,
    studio: UUID,
    name: str,
    build: Callable[[str], Provider],
    talk: Talk,
    code: str,
    message: str,
    seconds: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (refused,) = await jobs(db, studio, 1, provider=name)
    async with serving(talk) as server:
        submits = submitter(db, build(server.origin))
        await one_round(submits)
        (waiting,) = await jobs(db, studio, 1, provider=name)
        await one_round(submits)
    assert len(server.requests) == 1
    room = await room_of(db, name)
    assert (room.paused, room.code, room.failures) == (True, code, 0)
    assert message in (room.message or "")
    assert pauses_told(caplog) == [seconds]
    row, other = await job_row(db, refused), await job_row(db, waiting)
    assert (row["state"], json.loads(row["error"])["code"]) == ("queued", code)
    assert (other["state"], other["error"]) == ("queued", None)


async def test_refusals_that_come_together_lengthen_no_pause(
    db: Database, studio: UUID, caplog: pytest.LogCaptureFixture
) -> None:
    await jobs(db, studio, 8)
    assert await sent(db, DENIED) == 8
    assert set(pauses_told(caplog)) == {60}


@pytest.mark.parametrize(("said", "held"), [("7", 7), ("600", 60), (None, 5)])
async def test_a_rate_limit_holds_the_provider_as_long_as_it_says_up_to_a_minute(
    db: Database,
    studio: UUID,
    said: str | None,
    held: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    headers = () if said is None else (f"Retry-After: {said}",)
    limited = answering("429 Slow", {}, *headers)
    await jobs(db, studio, 3)
    for _ in range(3):  # the hold does not grow
        async with sending(db, limited) as (submits, server):
            await one_round(submits)
            await due(db)
            await one_round(submits)
        await pause_ends(db)
    assert set(pauses_told(caplog)) == {held}
    assert len(server.requests) == 1
    room = await room_of(db)
    assert (room.code, room.failures) == ("rate_limited", 0)


async def test_where_the_database_is_away_it_is_said_and_not_counted(
    db: Database, studio: UUID, caplog: pytest.LogCaptureFixture
) -> None:
    await jobs(db, studio, 1)
    away = await Database.connect("postgresql://127.0.0.1:9/nowhere")
    async with serving(AWAY) as server:
        submits = submitter(db, provider(server.origin), counted_in=away)
        await one_round(submits)
    assert "how provider fal answered is not counted" in caplog.text
    await away.close()
