"""service/reconciliation.py: exact figures of what became of jobs, callbacks and the money."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from lived import UNCONFIRMED, asked, call, happened, hint, sent
from scene import S, make_app, make_job, move

from service.database import Database
from service.job import Charged, ErrorCode, JobError
from service.reconciliation import Wanted, read

MODEL = "fal-ai/veo3/fast"
NEVER = {"p50": None, "p95": None}


@pytest.fixture
async def app(db: Database) -> UUID:
    return await make_app(db)


async def ledger(db: Database, app: UUID | None = None, **more: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    limit = more.pop("limit", None)
    asked_for = Wanted(since=now - timedelta(hours=1), until=now + timedelta(hours=1), **more)
    return await read(db, app, asked_for, limit=limit)


async def figures(db: Database, app: UUID | None = None) -> dict[str, Any]:
    """The one row of the one model, which is the provider's too."""
    found = await ledger(db, app)
    (row,), (whole,) = found["data"], found["providers"]
    common = {name: value for name, value in row.items() if name != "model"}
    assert common.items() <= whole.items()
    return dict(row)


async def test_ends_are_counted_by_state_and_by_who_told_them(db: Database, app: UUID) -> None:
    called = await sent(db, app)
    await call(db, called, S.COMPLETED)
    await sent(db, app, S.COMPLETED)
    await sent(db, app, S.FAILED)
    await sent(db, app, S.CANCELED)
    await sent(db, app, S.EXPIRED)
    refused = await make_job(db, app, S.SUBMITTING)
    await move(db, refused, now=S.FAILED, source="submit", error=UNCONFIRMED)
    adopted = await sent(db, app, S.FAILED)
    await move(db, adopted, was=S.FAILED, now=S.COMPLETED, source="operator")
    dropped = await make_job(db, app)
    await move(db, dropped, was=S.QUEUED, now=S.CANCELED, source="api")
    await make_job(db, app)
    await make_job(db, app, S.RUNNING)
    await make_job(db, app, S.UNCONFIRMED)
    row = await figures(db)
    assert (row["provider"], row["model"]) == ("fal", MODEL)
    assert (row["jobs"], row["open"], row["unconfirmed"]) == (11, 3, 1)
    assert row["ended"] == {"completed": 3, "failed": 2, "canceled": 2, "expired": 1}
    learnt = {"callback": 1, "poll": 3, "submit": 1, "operator": 1, "nobody": 2}
    assert row["learnt_by"] == learnt


async def test_callbacks_come_first_late_or_never(db: Database, app: UUID) -> None:
    first = await sent(db, app)
    await call(db, first, S.COMPLETED)
    await call(db, first, S.COMPLETED)  # again: that is not another one
    await happened(db, first, posted=-1000, ended=-900, called=(-900, -890))
    late = await sent(db, app, S.COMPLETED)
    assert (await call(db, late, S.COMPLETED)).verdict == "duplicate"
    await happened(db, late, posted=-1000, ended=-800, called=(-760,))
    await happened(db, await sent(db, app, S.FAILED), posted=-1000, ended=-700)
    await happened(db, await sent(db, app, S.COMPLETED), posted=-100, ended=-60)
    row = await figures(db)
    assert row["callbacks"] == {
        "registered": 4,
        "came": 2,
        "never_came": 1,  # and of one nobody knows yet
        "never_came_share": 0.3333,
        "refused": 0,
        "disagreeing": 0,
    }
    assert row["callback_lag_seconds"] == {"p50": 20.0, "p95": 38.0}
    assert row["post_to_end_seconds"] == {"p50": 150.0, "p95": 285.0}


async def test_where_nothing_is_known_there_is_no_figure(db: Database, app: UUID) -> None:
    await make_job(db, app)
    row = await figures(db)
    assert row["callbacks"]["never_came_share"] is None
    assert row["callback_lag_seconds"] == row["post_to_end_seconds"] == NEVER
    assert row["cost"] == []


async def test_nobody_waits_for_a_callback_that_nobody_promised(db: Database, app: UUID) -> None:
    never_sent = await make_job(db, app, S.SUBMITTING)
    await move(db, never_sent, now=None, token_key="newest")
    await move(db, never_sent, now=S.FAILED, source="submit", error=UNCONFIRMED)
    canceled = await sent(db, app, S.CANCELED)
    polled = await make_job(db, app, S.COMPLETED)  # without a public address
    for job in (never_sent, canceled, polled):
        await happened(db, job, posted=-1000, ended=-900)
    await happened(db, never_sent, posted=-1000, ended=-400)
    row = await figures(db)
    calls = row["callbacks"]
    assert (calls["registered"], calls["never_came"], calls["never_came_share"]) == (0, 0, None)
    assert row["post_to_end_seconds"] == {"p50": 100.0, "p95": 100.0}, "of what was rendered"


async def test_refused_calls_are_none_that_came(db: Database, app: UUID) -> None:
    job = await sent(db, app, S.COMPLETED)
    for verdict, reason in (("refused", "signature_invalid"), ("unreadable", "not_json")):
        await call(db, job, verdict=verdict, reason=reason)
    await happened(db, job, posted=-1000, ended=-900, called=(-880, -870))
    calls = (await figures(db))["callbacks"]
    assert (calls["refused"], calls["came"], calls["never_came"]) == (2, 0, 1)
    assert [whole["refused_without_job"] for whole in (await ledger(db))["providers"]] == [0]


async def test_a_callback_that_says_otherwise_came_and_disagrees(db: Database, app: UUID) -> None:
    job = await sent(db, app, S.COMPLETED)
    await call(db, job, S.FAILED)
    await happened(db, job, posted=-1000, ended=-900, called=(-899.5,))
    row = await figures(db)
    assert (row["callbacks"]["came"], row["callbacks"]["disagreeing"]) == (1, 1)
    assert row["ended"]["completed"] == 1
    assert row["callback_lag_seconds"] == {"p50": 0.5, "p95": 0.5}


async def test_a_hint_told_the_end_where_the_poll_after_it_learnt_it(
    db: Database, app: UUID
) -> None:
    told = await sent(db, app, provider="relay", model="sora-2")
    await hint(db, told)
    await move(db, told, now=S.COMPLETED)
    await happened(db, told, posted=-1000, ended=-900, called=(-902,))
    await asked(db, told, S.RUNNING, at=-901, took=2)  # it was under way when the hint came
    await asked(db, told, None, at=-901)  # no answer
    await asked(db, told, S.COMPLETED, at=-899.9, took=1)
    row = await figures(db)
    assert (row["callbacks"]["came"], row["callback_lag_seconds"]["p50"]) == (1, 0.0)


async def test_a_hint_of_progress_is_not_the_callback_of_the_end(db: Database, app: UUID) -> None:
    job = await sent(db, app, provider="relay", model="sora-2")
    await hint(db, job)
    await move(db, job, now=S.COMPLETED)
    await happened(db, job, posted=-1000, ended=-900, called=(-950,))
    await asked(db, job, S.RUNNING, at=-948, took=1)
    calls = (await figures(db))["callbacks"]
    assert (calls["came"], calls["never_came"]) == (0, 1)


async def test_a_report_of_progress_is_not_the_callback_of_the_end(db: Database, app: UUID) -> None:
    job = await sent(db, app, provider="relay", model="sora-2")
    assert (await call(db, job, S.RUNNING, provider="relay", due_in=5.0)).verdict == "accepted"
    await move(db, job, now=S.COMPLETED)
    await happened(db, job, posted=-1000, ended=-900, called=(-950,))
    assert (await figures(db))["callbacks"]["never_came"] == 1


async def test_a_success_that_was_adopted_was_told_when_it_came(db: Database, app: UUID) -> None:
    job = await sent(db, app)
    await call(db, job, S.FAILED)
    await happened(db, job, posted=-1000, ended=-900, called=(-900,))
    await move(db, job, was=S.FAILED, now=S.COMPLETED, source="operator")
    row = await figures(db)
    assert (row["callbacks"]["came"], row["callback_lag_seconds"]["p50"]) == (1, 0.0)


async def rerun(db: Database, app: UUID, token_key: str | None) -> UUID:
    """A job of two attempts; both told their ends, the second one by a poll."""
    job = await sent(db, app)
    await call(db, job, S.FAILED)
    await move(db, job, was=S.FAILED, now=S.QUEUED, source="operator", to_attempt=2, due_in=0.0)
    again = {"attempt": 2, "source": "submit", "due_in": 60.0}
    await move(db, job, was=S.QUEUED, now=S.SUBMITTING, token_key=token_key, **again)
    await move(db, job, now=S.SUBMITTED, provider_id="req-2", **again)
    await move(db, job, now=S.COMPLETED, attempt=2)
    return job


async def test_only_calls_about_the_attempt_that_ended_the_job_count(
    db: Database, app: UUID
) -> None:
    lost = await rerun(db, app, "newest")
    await happened(db, lost, posted=-1000, ended=-900, called=(-890,))
    late = await rerun(db, app, "newest")
    await call(db, late, S.COMPLETED, attempt=2)
    await happened(db, late, posted=-1000, ended=-900, called=(-500, -870))
    await db.pool.execute(
        "update attempts set outcome_at = now() - interval '500 s' where number = 1"
    )
    await rerun(db, app, None)
    row = await figures(db)
    assert (row["ended"]["completed"], row["ended"]["failed"]) == (3, 0)
    calls = row["callbacks"]
    assert (calls["registered"], calls["came"], calls["never_came"]) == (2, 1, 1)
    assert row["callback_lag_seconds"]["p50"] == 30.0


async def test_money_is_added_up_by_currency_and_what_is_unknown_stays_so(
    db: Database, app: UUID
) -> None:
    usd = {"currency": "USD", "estimate": Decimal("3.20")}
    await make_job(db, app, S.COMPLETED, **usd)
    await make_job(db, app, S.COMPLETED, **usd)
    await make_job(db, app, S.FAILED, **usd)
    await make_job(db, app, S.RUNNING, **usd)
    await make_job(db, app, S.UNCONFIRMED, currency="USD", estimate=Decimal("0.40"))
    lost = await make_job(db, app, S.UNCONFIRMED, currency="USD", estimate=Decimal("1.05"))
    await move(
        db, lost, was=S.UNCONFIRMED, now=S.EXPIRED, source="sweep", error=UNCONFIRMED, due_in=None
    )
    silent = JobError(
        code=ErrorCode.EXPIRED, message="no verdict", retryable=True, charged=Charged.UNKNOWN
    )
    known = await make_job(db, app, S.SUBMITTED, **usd)
    await move(db, known, was=S.SUBMITTED, now=S.EXPIRED, source="sweep", error=silent)
    credits = {"provider": "genviral", "model": "sora-2", "currency": "credits"}
    paid = await make_job(db, app, S.SUBMITTED, estimate=Decimal(10), **credits)
    await move(db, paid, now=S.COMPLETED, actual=Decimal("12.5"))
    await make_job(db, app, S.COMPLETED, provider="genviral", model="unlisted")
    await make_job(db, app, S.UNCONFIRMED, **credits)
    found = await ledger(db)
    assert {(row["provider"], row["model"]): row["cost"] for row in found["data"]} == {
        ("fal", MODEL): [
            {"currency": "USD", "estimate": "6.40", "actual": None, "at_risk": "1.45"}
        ],
        ("genviral", "sora-2"): [
            {"currency": "credits", "estimate": "10", "actual": "12.5", "at_risk": None}
        ],
        ("genviral", "unlisted"): [],
    }
    assert [whole["provider"] for whole in found["providers"]] == ["fal", "genviral"]
    assert found["providers"][1]["cost"] == found["data"][1]["cost"]
    assert found["providers"][1]["jobs"] == 3


async def test_each_attempt_that_was_paid_for_counts(db: Database, app: UUID) -> None:
    job = await make_job(db, app, S.SUBMITTED, currency="USD", estimate=Decimal("0.50"))
    await move(db, job, now=S.COMPLETED, actual=Decimal("0.45"))
    await move(db, job, was=S.COMPLETED, now=S.QUEUED, source="operator", to_attempt=2, due_in=0.0)
    again = {"attempt": 2, "source": "submit", "due_in": 60.0}
    await move(db, job, was=S.QUEUED, now=S.SUBMITTING, **again)
    await move(db, job, now=S.COMPLETED, attempt=2, actual=Decimal("0.48"))
    (cost,) = (await figures(db))["cost"]
    assert (cost["estimate"], cost["actual"]) == ("1.00", "0.93")


async def test_an_app_sees_its_own_jobs_and_no_calls_without_one(db: Database, app: UUID) -> None:
    other = await make_app(db, name="other", key="cb_" + "o" * 43)
    await make_job(db, app, S.COMPLETED)
    await make_job(db, other, S.COMPLETED)
    await make_job(db, other, S.COMPLETED, provider="relay", model="sora-2")
    for reason in ("forged", "malformed"):
        await call(db, None, verdict="refused", reason=reason, provider="prism")
    await call(db, None, verdict="ignored", reason="unknown_job")
    own = await ledger(db, app)
    assert [(row["provider"], row["jobs"]) for row in own["data"]] == [("fal", 1)]
    assert [whole["refused_without_job"] for whole in own["providers"]] == [None]
    every = await ledger(db)
    assert [(row["provider"], row["jobs"]) for row in every["data"]] == [("fal", 2), ("relay", 1)]
    assert [
        (whole["provider"], whole["jobs"], whole["refused_without_job"])
        for whole in every["providers"]
    ] == [("fal", 2, 0), ("relay", 1, 0), ("prism", 0, 2)]
