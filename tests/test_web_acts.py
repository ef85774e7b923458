"""service/web/acts.py: acts over HTTP, each with its scopes, its strict body and its answers."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import app_client
import httpx
import pytest
from acting import Stage, acting_at, staged
from app_client import KEY, is_problem
from posting import provider
from scene import make_app, make_job, move, rows_of

from service import ids
from service.database import Database
from service.job import State

OTHER, READER, SUBMITTER, OPERATOR, CHIEF = ("cb_" + letter * 43 for letter in "orspc")
ACTS: dict[str, dict[str, Any]] = {
    "cancel": {},
    "resync": {},
    "rerun": {"attempt": 1},
    "resolve": {"attempt": 1, "as": "not_accepted", "reason": "x"},
    "adopt": {"attempt": 1},
}
S = State


@pytest.fixture
async def stage(db: Database) -> AsyncIterator[Stage]:
    async with staged(db, await make_app(db, key=KEY)) as stage:
        yield stage


@pytest.fixture
async def web(stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    db = stage.db
    await app_client.make_key(db, OTHER, "submit", "read", "operate", name="other")
    await app_client.make_key(db, READER, "read")
    await app_client.make_key(db, SUBMITTER, "submit")
    await app_client.make_key(db, OPERATOR, "operate")
    await app_client.make_key(db, CHIEF, "operate", all_apps=True, name="house")
    async with app_client.client(app_client.app(db, acting=stage.parts)) as client:
        yield client


def at(job: UUID, act: str) -> str:
    return f"/v1/jobs/{ids.show('job', job)}/{act}"


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize("act", ACTS)
async def test_each_act_asks_for_its_scope_and_sees_its_own_jobs_only(
    web: httpx.AsyncClient, stage: Stage, act: str
) -> None:
    job = await make_job(stage.db, stage.app_id, S.FAILED)
    body = ACTS[act]
    allowed = {SUBMITTER, OPERATOR, CHIEF} if act == "cancel" else {OPERATOR, CHIEF}
    assert is_problem(
        await web.post(at(job, act), json=body, headers=bearer("cb_x")), 401, "unauthorized"
    )
    for key in {READER, SUBMITTER, OPERATOR} - allowed:
        answer = await web.post(at(job, act), json=body, headers=bearer(key))
        assert is_problem(answer, 403, "forbidden")
    for path in (at(job, act), at(ids.new_id(), act), f"/v1/jobs/job_7/{act}"):
        key = OTHER if path == at(job, act) else KEY
        answer = await web.post(path, json=body, headers=bearer(key))
        assert is_problem(answer, 404, "not_found")
    assert await stage.acts(job) == []
    for key in allowed:
        answer = await web.post(at(job, act), json=body, headers=bearer(key))
        assert answer.status_code in (200, 409, 503), answer.text
    assert (await web.get(at(job, act))).headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("act", "body", "fields"),
    [
        ("cancel", {"attempt": 1}, ("attempt",)),
        ("cancel", {"reason": "a\x00"}, ("reason",)),
        ("resync", {"force": True}, ("force",)),
        ("rerun", {}, ("attempt",)),
        ("rerun", {"attempt": "1"}, ("attempt",)),
        ("rerun", {"attempt": 0}, ("attempt",)),
        ("rerun", {"attempt": True}, ("attempt",)),
        ("rerun", {"attempt": 1, "force": "yes"}, ("force",)),
        ("rerun", {"attempt": 1, "force": True}, ("reason",)),
        ("rerun", {"attempt": 1, "force": True, "reason": "  "}, ("reason",)),
        ("rerun", {"attempt": 1, "reason": "x" * 1001}, ("reason",)),
        ("rerun", {"attempt": 1, "price": 3, "model": "x"}, ("price", "model")),
        ("resolve", {}, ("attempt", "as")),
        ("resolve", {"attempt": 1, "as": "maybe"}, ("as",)),
        ("resolve", {"attempt": 1, "accepted": "accepted"}, ("as", "accepted")),
        ("resolve", {"attempt": 1, "as": "not_accepted"}, ("reason",)),
        ("resolve", {"attempt": 1, "as": "accepted"}, ("provider_id",)),
        ("resolve", {"attempt": 1, "as": "accepted", "provider_id": "a b"}, ("provider_id",)),
        ("adopt", {}, ("attempt",)),
        ("adopt", {"attempt": 1, "force": True}, ("reason",)),
    ],
)
async def test_what_is_wrong_in_a_body_is_named(
    web: httpx.AsyncClient, stage: Stage, act: str, body: dict[str, Any], fields: tuple[str, ...]
) -> None:
    job = await make_job(stage.db, stage.app_id, S.UNCONFIRMED)
    answer = await web.post(at(job, act), json=body)
    assert is_problem(answer, 422, "invalid_request", *fields), answer.text
    assert (await stage.state(job), await stage.acts(job)) == ("unconfirmed", [])


@pytest.mark.parametrize("act", ["rerun", "resolve", "adopt"])
async def test_an_act_that_costs_takes_a_body(
    web: httpx.AsyncClient, stage: Stage, act: str
) -> None:
    job = await make_job(stage.db, stage.app_id, S.FAILED)
    assert is_problem(await web.post(at(job, act)), 400, "invalid_request")
    assert is_problem(await web.post(at(job, act), content=b"{"), 400, "invalid_request")
    large = b'{"reason": "' + b"x" * 70_000 + b'"}'
    for one in ("cancel", act):
        answer = await web.post(at(job, one), content=large)
        assert is_problem(answer, 413, "payload_too_large")


async def test_an_app_cancels_its_own_job(web: httpx.AsyncClient, stage: Stage) -> None:
    waiting, running = await stage.job(), await make_job(stage.db, stage.app_id, S.RUNNING)
    answer = await web.post(at(waiting, "cancel"), headers=bearer(SUBMITTER))
    job = answer.json()
    assert (answer.status_code, job["state"], job["learnt_by"]) == (200, "canceled", None)
    assert job["error"]["code"] == "canceled"
    again = await web.post(at(waiting, "cancel"), headers=bearer(SUBMITTER))
    assert is_problem(again, 409, "conflict")
    assert "canceled" in again.json()["detail"]
    first = await web.post(at(running, "cancel"), json={"reason": "too long"})
    second = await web.post(at(running, "cancel"))
    assert first.json()["state"] == second.json()["state"] == "running"
    assert first.json()["cancel_requested_at"] == second.json()["cancel_requested_at"] is not None
    ((_, _, who, why),) = await stage.acts(running)
    keys = await stage.db.pool.fetch("select id from api_keys where cardinality(scopes) = 3")
    assert who in {ids.show("key", key["id"]) for key in keys}
    assert why == "too long"
    sources = [row["source"] for row in await rows_of(stage.db, "job_events", waiting, "version")]
    assert sources == ["api", "api"]


async def test_a_chief_reruns_any_apps_job_and_sees_its_price(
    web: httpx.AsyncClient, stage: Stage
) -> None:
    job = await make_job(stage.db, stage.app_id, S.RUNNING, currency="USD", estimate=320)
    body = {"attempt": 1}
    alive = await web.post(at(job, "rerun"), json=body, headers=bearer(CHIEF))
    assert is_problem(alive, 409, "still_alive")
    forced = body | {"force": True, "reason": "stuck for hours"}
    done = (await web.post(at(job, "rerun"), json=forced, headers=bearer(CHIEF))).json()
    assert (done["state"], done["attempt"], done["cost"]["estimate"]) == ("queued", 2, "320")
    again = await web.post(at(job, "rerun"), json=forced, headers=bearer(CHIEF))
    assert is_problem(again, 409, "conflict")
    told = (await web.get(at(job, "timeline"))).json()["data"]
    (act,) = [one for one in told if one["kind"] == "act"]
    assert act["source"].startswith("key_")
    assert act["detail"]["reason"] == "stuck for hours"
    assert (act["detail"]["act"], act["detail"]["attempt"]) == ("rerun", 1)
    assert act["detail"]["detail"]["to_attempt"] == 2


async def test_the_old_attempts_success_is_adopted(web: httpx.AsyncClient, stage: Stage) -> None:
    job = await make_job(stage.db, stage.app_id, S.RUNNING)
    forced = {"attempt": 1, "force": True, "reason": "stuck"}
    assert (await web.post(at(job, "rerun"), json=forced)).status_code == 200
    assert is_problem(await web.post(at(job, "adopt"), json={"attempt": 1}), 409, "conflict")
    await move(stage.db, job, now=S.COMPLETED, source="callback", output={"video": {"url": "u"}})
    done = (await web.post(at(job, "adopt"), json={"attempt": 1})).json()
    assert (done["state"], done["learnt_by"], done["attempt"]) == ("completed", "operator", 1)
    assert done["output"] == {"video": {"url": "u"}}


async def test_a_provider_that_is_away_is_a_503_that_says_when_to_come_back(
    web: httpx.AsyncClient, stage: Stage
) -> None:
    job = await make_job(stage.db, stage.app_id, S.RUNNING, provider_id="req-1")
    assert (await web.post(at(job, "resync"))).json()["state"] == "running"
    await stage.db.pool.execute("update jobs set provider = 'prism'")
    assert is_problem(await web.post(at(job, "resync")), 409, "provider_not_configured")
    await stage.db.pool.execute("update jobs set provider = 'fal'")
    async with (
        acting_at(stage.db, provider("http://127.0.0.1:9")) as parts,
        app_client.client(app_client.app(stage.db, acting=parts)) as client,
    ):
        answer = await client.post(at(job, "resync"))
    assert is_problem(answer, 503, "provider_unavailable")
    assert answer.headers["retry-after"] == "10"
    assert answer.json()["retryable"] is True
