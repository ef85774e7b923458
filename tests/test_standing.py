"""service/standing.py: how each provider stands, over HTTP and on the command line."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import app_client
import httpx
import pytest
from app_client import KEY, is_problem
from command_line import callboard, fails, stand_alone
from scene import job_row, make_app, make_job

from service import document, ids
from service.commands.demo.subscriber import served
from service.database import Database
from service.job import State
from service.store import health

FAL_OK = {
    "name": "fal",
    "configured": True,
    "state": "ok",
    "code": None,
    "message": None,
    "paused_at": None,
    "paused_until": None,
    "in_flight": 0,
    "most_in_flight": 20,
    "queued": 0,
    "silent_since": None,
}


@pytest.fixture
async def studio(db: Database) -> UUID:
    return await make_app(db, key=KEY)


@pytest.fixture
async def web(db: Database, studio: UUID) -> AsyncIterator[httpx.AsyncClient]:
    async with app_client.client(app_client.app(db)) as client:
        yield client


async def listed(web: httpx.AsyncClient) -> dict[str, dict[str, Any]]:
    answer = await web.get("/v1/providers")
    assert answer.status_code == 200, answer.text
    assert answer.json()["next"] is None
    return {one["name"]: one for one in answer.json()["data"]}


async def pause(db: Database, seconds: float = 600.0) -> None:
    told = {"code": "insufficient_credits", "message": "top up", "trial": False}
    await health.pause(db, "fal", seconds=seconds, longest=seconds, **told)


async def test_every_provider_is_listed_though_it_never_had_a_job(web: httpx.AsyncClient) -> None:
    found = await listed(web)
    assert list(found) == ["fal", "genviral", "prism", "relay"]
    assert found["fal"] == FAL_OK
    off = found["relay"]
    assert (off["configured"], off["state"], off["message"]) == (False, "off", "it has no key")


async def test_it_says_how_much_each_has_to_do_and_so_for_one_that_is_gone(
    web: httpx.AsyncClient, db: Database, studio: UUID
) -> None:
    for state in (State.QUEUED, State.QUEUED, State.RUNNING, State.UNCONFIRMED, State.COMPLETED):
        await make_job(db, studio, state)
    await make_job(db, studio, State.RUNNING, provider="gone")
    found = await listed(web)
    assert (found["fal"]["queued"], found["fal"]["in_flight"]) == (2, 2)
    assert (found["gone"]["state"], found["gone"]["in_flight"]) == ("off", 1)


async def test_a_pause_is_shown_with_its_reason_and_then_the_trial(
    web: httpx.AsyncClient, db: Database
) -> None:
    await pause(db)
    fal = (await listed(web))["fal"]
    assert (fal["state"], fal["code"], fal["message"]) == (
        "paused",
        "insufficient_credits",
        "top up",
    )
    assert fal["paused_at"] < fal["paused_until"]
    await db.pool.execute("update provider_health set paused_until = now()")
    fal = (await listed(web))["fal"]
    assert (fal["state"], fal["code"], fal["paused_until"]) == (
        "trial",
        "insufficient_credits",
        None,
    )


async def test_a_provider_whose_polls_fail_is_slow(web: httpx.AsyncClient, db: Database) -> None:
    for _ in range(5):
        await health.fail_ask(db, "fal")
    fal = (await listed(web))["fal"]
    assert (fal["state"], fal["message"]) == ("slow", "5 polls in a row failed")


async def test_it_says_since_when_one_no_longer_calls_back(
    web: httpx.AsyncClient, db: Database
) -> None:
    await db.pool.execute(
        "insert into provider_health (provider, silent_since) values ('fal', '2026-01-31T12:00Z')"
    )
    fal = (await listed(web))["fal"]
    assert (fal["state"], fal["silent_since"]) == ("ok", "2026-01-31T12:00:00Z")


async def test_it_needs_read_or_operate_and_knows_its_query(
    web: httpx.AsyncClient, db: Database
) -> None:
    key = "cb_" + "s" * 43
    await app_client.make_key(db, key, "submit")
    submits_only = {"authorization": f"Bearer {key}"}
    assert is_problem(await web.get("/v1/providers", headers=submits_only), 403, "forbidden")
    odd = await web.get("/v1/providers", params={"state": "ok"})
    assert is_problem(odd, 422, "invalid_request", "state")
    none = await web.get("/v1/providers", params={"limit": "0"})
    assert is_problem(none, 422, "invalid_request", "limit")
    first = (await web.get("/v1/providers", params={"limit": "3"})).json()
    assert first["next"] == "prism"
    rest = (await web.get("/v1/providers", params={"after": "prism"})).json()
    assert [one["name"] for one in rest["data"]] == ["relay"]
    nowhere = await web.get("/v1/providers", params={"after": "x"})
    assert is_problem(nowhere, 422, "invalid_request", "after")


async def test_a_queued_job_says_that_it_waits_for_a_paused_provider_only(
    web: httpx.AsyncClient, db: Database, studio: UUID
) -> None:
    queued = await make_job(db, studio)
    sent = await make_job(db, studio, State.RUNNING)
    other = await make_job(db, studio, provider="relay", model="veo3")
    await pause(db)
    until = (await listed(web))["fal"]["paused_until"]
    expected = {"code": "insufficient_credits", "message": "top up", "until": until}
    one = (await web.get(f"/v1/jobs/{ids.show('job', queued)}")).json()
    assert one["waiting"] == expected
    page = (await web.get("/v1/jobs")).json()["data"]
    assert {job["id"]: job["waiting"] for job in page} == {
        ids.show("job", queued): expected,
        ids.show("job", sent): None,
        ids.show("job", other): None,
    }
    await db.pool.execute("update provider_health set paused_until = now()")
    assert document.of_job(await job_row(db, queued))["waiting"] is None


@pytest.fixture(params=["near", "far"])
async def anywhere(
    request: pytest.FixtureRequest,
    db: Database,
    studio: UUID,
    dsn: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> AsyncIterator[None]:
    """The command over the database, and over HTTP."""
    stand_alone(monkeypatch, dsn, tmp_path)
    if request.param == "near":
        monkeypatch.setenv("FAL_KEY", "id:secret")
        monkeypatch.setenv("CALLBOARD_IN_FLIGHT", "fal=20")
        yield
        return
    async with served(app_client.app(db)) as url:
        monkeypatch.setenv("CALLBOARD_URL", url)
        monkeypatch.setenv("CALLBOARD_API_KEY", KEY)
        yield


@pytest.mark.usefixtures("anywhere")
async def test_the_command_shows_the_same(db: Database) -> None:
    assert (await callboard("providers", "list", "--json")).json()[0] == FAL_OK
    await pause(db)
    ran = await callboard("providers", "list")
    assert ran.code == 0
    assert ran.lines[1].split()[:2] == ["fal", "paused"]
    assert ran.lines[1].endswith("insufficient_credits: top up")
    assert ran.lines[2].split()[:2] == ["genviral", "off"]


@pytest.mark.usefixtures("anywhere")
async def test_jobs_show_says_what_a_queued_job_waits_for(db: Database, studio: UUID) -> None:
    job = await make_job(db, studio)
    await pause(db)
    ran = await callboard("jobs", "show", ids.show("job", job))
    assert "waiting   insufficient_credits, until 20" in ran.out


async def test_far_away_the_command_needs_a_key(
    db: Database, dsn: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stand_alone(monkeypatch, dsn, tmp_path)
    monkeypatch.setenv("CALLBOARD_URL", "http://127.0.0.1:9")
    assert fails(await callboard("providers", "list"), 2, "CALLBOARD_API_KEY")
