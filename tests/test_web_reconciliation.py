"""/v1/reconciliation and `callboard reconciliation`: who sees what, and how it is shown."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import app_client
import httpx
import pytest
from app_client import KEY, is_problem, make_key
from command_line import callboard, fails, stand_alone
from lived import call, happened, sent
from scene import S, make_app, make_job

from service.commands.demo.subscriber import served
from service.database import Database

AT = "/v1/reconciliation"
WIDE, NARROW = "cb_" + "w" * 43, "cb_" + "n" * 43


@pytest.fixture
async def studio(db: Database) -> UUID:
    """An app with two models' jobs, and another app with one more."""
    studio = await make_app(db, key=KEY)
    usd = {"currency": "USD", "estimate": Decimal("3.20")}
    late = await sent(db, studio, S.COMPLETED, **usd)
    await call(db, late, S.COMPLETED)
    await happened(db, late, posted=-1000, ended=-900, called=(-870,))
    lost = await sent(db, studio, S.COMPLETED, **usd)
    await happened(db, lost, posted=-1000, ended=-900)
    await make_job(db, studio, S.UNCONFIRMED, model="fal-ai/pika", **usd)
    await call(db, None, verdict="refused", reason="forged")
    other = await make_app(db, name="other", key="cb_" + "o" * 43)
    polled = await make_job(db, other, S.COMPLETED, provider="prism", model="prism-1")
    await happened(db, polled, posted=-1000, ended=-990)
    await db.pool.execute(
        "insert into provider_health (provider, silent_since) values ('fal', '2026-01-31 12:00Z')"
    )
    return studio


@pytest.fixture
async def web(db: Database, studio: UUID) -> AsyncIterator[httpx.AsyncClient]:
    async with app_client.client(app_client.app(db)) as client:
        yield client


async def test_a_key_reads_its_own_apps_ledger(web: httpx.AsyncClient) -> None:
    answer = await web.get(AT)
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"since", "until", "settled_seconds", "providers", "data", "next"}
    assert [row["model"] for row in body["data"]] == ["fal-ai/pika", "fal-ai/veo3/fast"]
    (whole,) = body["providers"]
    assert whole["silent_since"] == "2026-01-31T12:00:00Z"
    assert whole["refused_without_job"] is None
    assert body["data"][1] == {
        "provider": "fal",
        "model": "fal-ai/veo3/fast",
        "jobs": 2,
        "open": 0,
        "unconfirmed": 0,
        "ended": {"completed": 2, "failed": 0, "canceled": 0, "expired": 0},
        "learnt_by": {"callback": 0, "poll": 2, "submit": 0, "operator": 0, "nobody": 0},
        "callbacks": {
            "registered": 2,
            "came": 1,
            "never_came": 1,
            "never_came_share": 0.5,
            "refused": 0,
            "disagreeing": 0,
        },
        "callback_lag_seconds": {"p50": 30.0, "p95": 30.0},
        "post_to_end_seconds": {"p50": 100.0, "p95": 100.0},
        "cost": [{"currency": "USD", "estimate": "6.40", "actual": None, "at_risk": "0"}],
    }


async def test_only_a_wide_key_that_operates_reads_every_apps(
    db: Database, web: httpx.AsyncClient
) -> None:
    await make_key(db, WIDE, "operate", all_apps=True)
    await make_key(db, NARROW, "read", all_apps=True)
    every = (await web.get(AT, headers={"authorization": f"Bearer {WIDE}"})).json()
    assert [row["provider"] for row in every["data"]] == ["fal", "fal", "prism"]
    assert [whole["refused_without_job"] for whole in every["providers"]] == [1, 0]
    own = (await web.get(AT, headers={"authorization": f"Bearer {NARROW}"})).json()
    assert {row["provider"] for row in own["data"]} == {"fal"}


async def test_a_key_without_the_scope_and_a_wrong_query_are_refused(
    db: Database, web: httpx.AsyncClient
) -> None:
    await make_key(db, NARROW, "submit")
    refused = await web.get(AT, headers={"authorization": f"Bearer {NARROW}"})
    assert is_problem(refused, 403, "forbidden")
    for name, value in (("since", "x"), ("limit", "0"), ("after", "x"), ("model", "x")):
        assert is_problem(await web.get(AT, params={name: value}), 422, "invalid_request", name)


async def test_a_page_ends_where_the_next_begins(web: httpx.AsyncClient) -> None:
    first = (await web.get(AT, params={"limit": "1"})).json()
    assert first["next"] == "fal:fal-ai/pika"
    second = (await web.get(AT, params={"limit": "1", "after": first["next"]})).json()
    assert [row["model"] for row in second["data"]] == ["fal-ai/veo3/fast"]
    assert second["next"] is None


@pytest.fixture(params=["near", "far"])
async def anywhere(
    request: pytest.FixtureRequest,
    db: Database,
    dsn: str,
    studio: UUID,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> AsyncIterator[None]:
    """Once over the database, once over HTTP with a key that sees every app."""
    stand_alone(monkeypatch, dsn, tmp_path)
    if request.param == "near":
        yield
        return
    await make_key(db, WIDE, "operate", all_apps=True)
    async with served(app_client.app(db)) as url:
        monkeypatch.setenv("CALLBOARD_URL", url)
        monkeypatch.setenv("CALLBOARD_API_KEY", WIDE)
        yield


@pytest.mark.usefixtures("anywhere")
async def test_the_command_shows_a_line_per_model_and_what_is_wrong() -> None:
    ran = await callboard("reconciliation")
    assert ran.code == 0, ran.err
    headings, *lines = (" ".join(line.split()) for line in ran.lines)
    assert headings.startswith("provider model ended by callback by poll never came refused")
    assert lines == [
        "fal fal-ai/pika 0 0 0 0 0 1 3.20 USD 0 USD",
        "fal fal-ai/veo3/fast 2 0 2 1 of 2 0 0 30.0s 100.0s 0 0 USD 6.40 USD",
        "fal (all) 2 0 2 1 of 2 0 0 30.0s 100.0s 1 3.20 USD 6.40 USD",
        "prism prism-1 1 0 1 0 0 10.0s 0",
    ]
    assert "fal has not called back since 2026-01-31 12:00:00Z" in ran.err
    assert "fal: 1 calls that name no job were refused" in ran.err


@pytest.mark.usefixtures("anywhere")
async def test_the_command_prints_the_whole_ledger_as_json() -> None:
    found = (await callboard("reconciliation", "--json")).json()
    assert [row["model"] for row in found["data"]] == ["fal-ai/pika", "fal-ai/veo3/fast", "prism-1"]
    before = await callboard("reconciliation", "--json", "--until", found["since"])
    assert before.json()["data"] == []
    assert fails(await callboard("reconciliation", "--since", "x"), 2, "since: must be a time")


async def test_the_command_reads_on_to_the_last_page(
    db: Database,
    dsn: str,
    studio: UUID,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    stand_alone(monkeypatch, dsn, tmp_path)
    monkeypatch.setattr("service.commands.reconciliation.MOST_PER_PAGE", 1)
    async with served(app_client.app(db)) as url:
        monkeypatch.setenv("CALLBOARD_URL", url)
        monkeypatch.setenv("CALLBOARD_API_KEY", KEY)
        found = (await callboard("reconciliation", "--json")).json()
    assert [row["model"] for row in found["data"]] == ["fal-ai/pika", "fal-ai/veo3/fast"]
    assert found["next"] is None
