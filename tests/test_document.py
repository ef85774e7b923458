"""service/document.py: a job and an event as apps see them, the same at every try."""

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from scene import job_row, make_app, make_job, move, subscribe

from service import document, jsontext
from service.database import Database
from service.job import ALL_EVENT_TYPES, Charged, ErrorCode, JobError, State
from service.store import deliveries

S = State
MEDIA = {"video": {"url": "https://media.example/1.mp4"}}
OUTPUTS = [{"url": "https://media.example/1.mp4", "content_type": None, "expires_at": None}]
FAULT = JobError(
    code=ErrorCode.CONTENT_POLICY, message="no", retryable=False, charged=Charged.NO, provider={}
)
Change = Callable[[Database, UUID], Coroutine[Any, Any, None]]


@pytest.fixture
async def app_id(db: Database) -> UUID:
    """An app that hears of everything."""
    made = await make_app(db)
    await subscribe(db, made, "https://app.example/events", list(ALL_EVENT_TYPES))
    return made


async def told(db: Database) -> dict[UUID, str]:
    """What each event of every job tells now, by its id: each is claimed to be sent once more."""
    await db.pool.execute("update deliveries set next_at = now() - interval '1 second'")
    claimed = await deliveries.claim(db, limit=100, lease_seconds=30.0)
    return {one.event_id: jsontext.joined(document.of_event(one.event)) for one in claimed}


async def last_told(db: Database) -> dict[str, Any]:
    """The body of the newest event."""
    bodies = [jsontext.loads(text) for text in (await told(db)).values()]
    newest: dict[str, Any] = max(bodies, key=lambda body: body["data"]["job"]["version"])
    return newest


async def completes(db: Database, job: UUID) -> None:
    assert (await move(db, job, now=S.COMPLETED, output=MEDIA, outputs=OUTPUTS)).moved


async def completes_by_callback(db: Database, job: UUID) -> None:
    """With all that only a callback may bring: the provider's id, and what it charged."""
    assert (
        await move(
            db,
            job,
            now=S.COMPLETED,
            source="callback",
            provider_id="req-1",
            output=MEDIA,
            outputs=OUTPUTS,
            actual=Decimal("3.20"),
        )
    ).moved


async def runs_and_completes(db: Database, job: UUID) -> None:
    assert (await move(db, job, now=S.RUNNING)).moved
    await completes_by_callback(db, job)


async def is_contradicted(db: Database, job: UUID) -> None:
    for now in (S.COMPLETED, S.FAILED, S.CANCELED, S.RUNNING):
        error = FAULT if now is S.FAILED else None
        await move(db, job, now=now, source="callback", provider_id="req-1", error=error)


async def is_rerun(db: Database, job: UUID) -> None:
    """A second attempt, as far as its end."""
    was = State((await job_row(db, job))["state"])
    assert (await move(db, job, was=was, now=S.QUEUED, source="operator")).moved
    await db.pool.execute("update jobs set attempt = 2 where id = $1", job)
    await db.pool.execute("insert into attempts (job_id, number) values ($1, 2)", job)
    steps = [(S.SUBMITTING, S.QUEUED), (S.SUBMITTED, None), (S.COMPLETED, None)]
    for now, before in steps:
        outcome = await move(
            db, job, now=now, was=before, attempt=2, provider_id="req-2", output={}, outputs=[]
        )
        assert outcome.moved


async def is_canceled_in_the_queue(db: Database, job: UUID) -> None:
    assert (await move(db, job, was=S.QUEUED, now=S.CANCELED, source="operator")).moved


async def fails_at_once(db: Database, job: UUID) -> None:
    assert (await move(db, job, now=S.FAILED, source="submit", error=FAULT)).moved


async def expires(db: Database, job: UUID) -> None:
    was = State((await job_row(db, job))["state"])
    assert (await move(db, job, was=was, now=S.EXPIRED, source="sweep", error=FAULT)).moved


@pytest.mark.parametrize(
    ("state", "before", "after"),
    [
        (S.SUBMITTED, [], [runs_and_completes, is_contradicted, is_rerun]),
        (S.RUNNING, [], [completes_by_callback, is_contradicted, is_rerun]),
        (S.SUBMITTED, [completes], [is_contradicted, is_rerun]),
        (S.SUBMITTING, [completes_by_callback], [is_contradicted, is_rerun]),
        (S.FAILED, [], [is_contradicted, is_rerun]),
        (S.SUBMITTING, [fails_at_once], [is_contradicted, is_rerun]),
        (S.CANCELED, [], [is_contradicted, is_rerun]),
        (S.QUEUED, [is_canceled_in_the_queue], [is_rerun]),
        (S.EXPIRED, [], [completes_by_callback, is_contradicted, is_rerun]),
        (S.UNCONFIRMED, [expires], [completes_by_callback, is_contradicted, is_rerun]),
        (S.UNCONFIRMED, [expires], [is_rerun]),
    ],
)
async def test_an_event_tells_the_same_at_every_try_whatever_became_of_the_job(
    db: Database, app_id: UUID, state: State, before: list[Change], after: list[Change]
) -> None:
    job = await make_job(db, app_id, state, currency="USD", estimate=Decimal("3.20"))
    for change in before:
        await change(db, job)
    first = await told(db)
    assert first
    for change in after:
        await change(db, job)
        now = await told(db)
        assert {event: now[event] for event in first} == first, change.__name__


async def test_an_event_tells_the_job_as_the_api_shows_it_then(db: Database, app_id: UUID) -> None:
    for state in (S.SUBMITTED, S.RUNNING, S.FAILED, S.CANCELED, S.EXPIRED):
        job = await make_job(db, app_id, state)
        body = await last_told(db)
        shown = document.of_job(await job_row(db, job))
        assert body["data"]["job"] == jsontext.loads(jsontext.dumps(shown))
        assert list(body) == ["type", "timestamp", "data"]
        assert body["type"] == f"job.{state}"
        await db.pool.execute("delete from deliveries")


async def test_a_late_success_is_told_as_late_with_its_output(db: Database, app_id: UUID) -> None:
    job = await make_job(db, app_id, S.EXPIRED)
    assert (await last_told(db))["data"]["job"]["learnt_by"] is None
    await completes_by_callback(db, job)
    body = await last_told(db)
    shown = document.of_job(await job_row(db, job))
    assert body["data"]["job"] == jsontext.loads(jsontext.dumps(shown))
    assert (shown["late"], shown["learnt_by"], shown["output"]) == (True, "callback", MEDIA)
    assert shown["outputs"] == OUTPUTS


async def test_output_is_shown_of_a_completed_job_only(db: Database, app_id: UUID) -> None:
    job = await make_job(db, app_id, S.COMPLETED)
    row = dict(await job_row(db, job)) | {"output": '{"a": 1}', "outputs": "[1]"}
    for state in State:
        shown = document.of_job(row | {"state": state.value})
        assert (shown["output"], shown["outputs"]) == (
            ({"a": 1}, [1]) if state is S.COMPLETED else (None, [])
        )


async def test_money_is_a_plain_decimal_text(db: Database, app_id: UUID) -> None:
    job = await make_job(db, app_id, currency="USD", estimate=Decimal("0.00000010"))
    row = dict(await job_row(db, job))
    assert document.of_job(row)["cost"] == {
        "currency": "USD",
        "estimate": "0.00000010",
        "upper_bound": False,
        "actual": None,
    }
    assert document.of_job(row | {"actual": Decimal("1E+2")})["cost"]["actual"] == "100"
    assert document.of_job(row | {"currency": None})["cost"] is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a" * 4096, "a" * 4096),
        ("a" * 4097, "a" * 4096 + "…"),
        ("é" * 2048, "é" * 2048),
        ("é" * 2049, "é" * 2048 + "…"),
        ("a" + "é" * 2048, "a" + "é" * 2047 + "…"),
    ],
)
async def test_texts_over_4_kib_are_shortened_wherever_they_stand(
    db: Database, app_id: UUID, text: str, shown: str
) -> None:
    job = await make_job(db, app_id, input={"a": [{"b": text}], "c": 1})
    row = await job_row(db, job)
    assert document.of_job(row, shorten=True)["input"] == {"a": [{"b": shown}], "c": 1}
    assert document.of_job(row)["input"]["a"][0]["b"] == text


async def test_an_event_tells_what_was_given_and_answered_to_the_letter(
    db: Database, app_id: UUID
) -> None:
    odd = {"z": 2**70, "a": ["\ud800", "\u2028\n", 1e-7, -0.0, None, "é🛥"]}
    for given in (odd, odd | {"prompt": "p" * 4097}):
        job = await make_job(db, app_id, S.SUBMITTED, input=given, metadata={"title": "é\n"})
        assert (await move(db, job, now=S.COMPLETED, output=odd, outputs=[odd])).moved
        (text,) = (one for one in (await told(db)).values() if '"completed"' in one)
        shown = document.of_job(await job_row(db, job), shorten=True)
        assert repr(jsontext.loads(text)["data"]["job"]) == repr(shown)
        assert (shown["output"], shown["outputs"], shown["input"]["z"]) == (odd, [odd], 2**70)
        assert "\n" not in text
        await db.pool.execute("delete from deliveries")


def test_a_moment_is_in_utc_with_a_z() -> None:
    at = datetime(2026, 1, 31, 13, 0, 0, 5, tzinfo=timezone(timedelta(hours=1)))
    assert document.moment(at) == "2026-01-31T12:00:00.000005Z"
    assert document.moment(datetime(2026, 1, 31, tzinfo=UTC)) == "2026-01-31T00:00:00Z"
    assert document.moment(None) is None
