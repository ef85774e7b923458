"""service/web/jobs.py: a job asked for, once per Idempotency-Key, and read and waited for."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import app_client
import httpx
import pytest
from app_client import JOB, KEY, MODEL, is_problem
from scene import make_app, make_job, move

from service import ids
from service.catalog import Catalog, Model
from service.database import Database
from service.job import State

JOB_KEYS = [
    *("id", "state", "stuck", "late", "provider", "model", "attempt", "version", "provider_id"),
    *("input", "output", "outputs", "error", "waiting", "warnings", "cost", "learnt_by"),
    "progress",
    *("notify_hook", "metadata", "reference", "created_at", "submitted_at", "finished_at"),
    *("cancel_requested_at", "links"),
]


@pytest.fixture
async def web(db: Database) -> AsyncIterator[httpx.AsyncClient]:
    await make_app(db, key=KEY)
    async with app_client.client(app_client.app(db)) as client:
        yield client


async def jobs_stored(db: Database) -> int:
    return int(await db.pool.fetchval("select count(*) from jobs"))


async def test_a_job_is_taken_with_202_its_place_and_the_contracts_keys(
    web: httpx.AsyncClient,
) -> None:
    wanted = JOB | {"metadata": {"user": "42"}, "reference": "order-7", "deadline_seconds": 60}
    answer = await web.post("/v1/jobs", json=wanted | {"notify_hook": "https://app.example/h"})
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == job["links"]["self"] == f"/v1/jobs/{job['id']}"
    assert list(job) == JOB_KEYS
    assert ids.read("job", job["id"]) is not None
    assert (job["state"], job["attempt"], job["version"]) == ("queued", 1, 1)
    assert (job["provider"], job["model"], job["input"]) == ("fal", MODEL, JOB["input"])
    assert (job["metadata"], job["reference"]) == ({"user": "42"}, "order-7")
    assert job["notify_hook"] == "https://app.example/h"
    assert job["progress"] == {"queue_position": None, "fraction": None}
    assert job["created_at"].endswith("Z")
    unset = ("output", "error", "provider_id", "learnt_by", "submitted_at", "finished_at")
    assert [job[name] for name in unset] == [None] * len(unset)
    assert (await web.get(job["links"]["self"])).json() == job
    assert (await web.get(job["links"]["timeline"])).json()["data"][0]["source"] == "api"


async def test_an_input_comes_back_as_it_was_given(web: httpx.AsyncClient) -> None:
    given: dict[str, Any] = {"z": 1, "a": 10**30, "lone": "\ud800", "nul": "\x00", "f": 0.1}
    given |= {f"k{n}": n for n in range(10_000)}
    body = json.dumps({"model": "nobody/knows", "unlisted": True, "input": given})
    answer = await web.post("/v1/jobs", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 202
    shown = await web.get(answer.headers["location"])
    assert json.loads(shown.text)["input"] == given
    assert list(json.loads(shown.text)["input"])[:2] == ["z", "a"]


async def test_the_same_key_and_body_are_the_same_job_however_they_are_spelled(
    web: httpx.AsyncClient, db: Database
) -> None:
    first = await web.post("/v1/jobs", json=JOB, headers={"Idempotency-Key": "a-1"})
    assert "idempotency-replayed" not in first.headers
    spelled = json.dumps(dict(reversed(JOB.items())), indent=3).replace("a paper", "\\u0061 paper")
    again = await web.post(
        "/v1/jobs",
        content=spelled,
        headers={"Idempotency-Key": '"a-1"', "content-type": "application/json; charset=utf-8"},
    )
    assert again.status_code == 202
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    assert again.json() == first.json()
    assert await jobs_stored(db) == 1


async def test_the_same_key_with_another_body_is_refused(web: httpx.AsyncClient) -> None:
    await web.post("/v1/jobs", json=JOB, headers={"Idempotency-Key": "a-1"})
    other = JOB | {"input": {"prompt": "another boat"}}
    answer = await web.post("/v1/jobs", json=other, headers={"Idempotency-Key": "a-1"})
    assert is_problem(answer, 422, "idempotency_conflict")


async def test_twenty_at_once_under_one_key_are_one_job(
    web: httpx.AsyncClient, db: Database
) -> None:
    headers = {"Idempotency-Key": "rush"}
    answers = await asyncio.gather(
        *(web.post("/v1/jobs", json=JOB, headers=headers) for _ in range(20))
    )
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert await jobs_stored(db) == 1


async def test_keys_are_each_apps_own_and_x_idempotency_key_is_none(
    web: httpx.AsyncClient, db: Database
) -> None:
    await app_client.make_key(db, "cb_" + "o" * 43, "submit", name="other")
    theirs = {"authorization": "Bearer cb_" + "o" * 43}
    for headers in (
        *({"Idempotency-Key": "k"}, theirs | {"Idempotency-Key": "k"}),
        *({"x-idempotency-key": "k"}, {"x-idempotency-key": "k"}),
    ):
        answer = await web.post("/v1/jobs", json=JOB, headers=headers)
        assert "idempotency-replayed" not in answer.headers
    assert await jobs_stored(db) == 4


@pytest.mark.parametrize("key", ["", '""', "k" * 256, "caf\xe9", "a\tb"])
async def test_a_key_that_is_no_key_is_refused_by_name(web: httpx.AsyncClient, key: str) -> None:
    headers = [(b"Idempotency-Key", key.encode("latin-1"))]
    answer = await web.post("/v1/jobs", json=JOB, headers=headers)
    assert is_problem(answer, 422, "invalid_request", "Idempotency-Key")


async def test_a_replay_is_answered_though_the_provider_was_switched_off_meanwhile(
    web: httpx.AsyncClient, db: Database
) -> None:
    headers = {"Idempotency-Key": "a-1"}
    first = await web.post("/v1/jobs", json=JOB, headers=headers)
    off = app_client.app(db, app_client.creator(db, providers={}))
    async with app_client.client(off) as client:
        again = await client.post("/v1/jobs", json=JOB, headers=headers)
        assert again.json()["id"] == first.json()["id"]
        other = await client.post("/v1/jobs", json=JOB | {"reference": "r"}, headers=headers)
        assert is_problem(other, 422, "idempotency_conflict")
        new = await client.post("/v1/jobs", json=JOB, headers={"Idempotency-Key": "b"})
        assert is_problem(new, 422, "provider_not_configured", "model")


async def test_a_dry_run_says_what_would_be_sent_and_stores_nothing(
    web: httpx.AsyncClient, db: Database
) -> None:
    answer = await web.post(
        "/v1/jobs", json=JOB | {"dry_run": True}, headers={"Idempotency-Key": "a"}
    )
    assert answer.status_code == 200
    assert list(answer.json()) == ["provider", "model", "input", "cost", "warnings"]
    assert answer.json()["input"] == JOB["input"]
    assert await jobs_stored(db) == 0
    real = await web.post("/v1/jobs", json=JOB, headers={"Idempotency-Key": "a"})
    assert "idempotency-replayed" not in real.headers
    refused = await web.post("/v1/jobs", json=JOB | {"dry_run": True, "model": "nobody/knows"})
    assert is_problem(refused, 422, "unsupported_model", "model")


async def test_models_and_providers_are_looked_up(web: httpx.AsyncClient) -> None:
    async def ask(**more: object) -> httpx.Response:
        return await web.post("/v1/jobs", json=JOB | more)

    unknown = await ask(model="nobody/knows")
    assert is_problem(unknown, 422, "unsupported_model", "model")
    assert '"unlisted": true' in unknown.json()["detail"]
    assert (await ask(model="nobody/knows", unlisted=True)).status_code == 202
    away = await ask(provider="prism")
    assert is_problem(away, 422, "provider_not_configured", "provider")
    retired = await ask(model="fal-ai/sora-2/text-to-video")
    assert retired.status_code == 202
    assert "2026-09-24" in retired.json()["warnings"][0]


async def test_a_model_of_several_providers_needs_one_named(
    web: httpx.AsyncClient, db: Database
) -> None:
    providers = {"fal": app_client.fal_provider(), "twin": app_client.fal_provider()}
    providers["twin"].name = "twin"
    models = tuple(
        Model(provider=name, id=MODEL, category="text-to-video", typical_seconds=9.0)
        for name in (*providers, "off")
    )
    making = app_client.creator(db, providers=providers, catalog=Catalog(models=models))
    async with app_client.client(app_client.app(db, making)) as client:
        answer = await client.post("/v1/jobs", json=JOB)
        assert is_problem(answer, 422, "invalid_request", "provider")
        assert "fal, twin" in answer.json()["detail"]
        named = await client.post("/v1/jobs", json=JOB | {"provider": "twin"})
        assert named.json()["provider"] == "twin"


@pytest.mark.parametrize("url", ["http://127.0.0.1/h", "http://169.254.169.254/", "ftp://a", "x"])
async def test_a_notify_hook_that_may_not_be_called_is_refused_by_name(
    web: httpx.AsyncClient, url: str
) -> None:
    answer = await web.post("/v1/jobs", json=JOB | {"notify_hook": url})
    assert is_problem(answer, 422, "invalid_request", "notify_hook")


async def test_both_ways_to_wait_end_as_soon_as_the_job_does(
    web: httpx.AsyncClient, db: Database
) -> None:
    async def end_the_only_job() -> None:
        job = None
        async with asyncio.timeout(10):
            while job is None:
                job = await db.pool.fetchval("select id from jobs")
        await move(db, job, was=State.QUEUED, now=State.CANCELED, source="operator")

    headers = {"Prefer": "respond-async, wait=50"}
    answer, _ = await asyncio.gather(
        web.post("/v1/jobs", json=JOB, headers=headers), end_the_only_job()
    )
    assert answer.status_code == 202
    assert answer.headers["preference-applied"] == "wait=50"
    assert answer.json()["state"] == "canceled"
    waited = await web.get(answer.headers["location"], params={"wait": "50"})
    assert waited.json()["state"] == "canceled"


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        *(("wait=0", None), ("respond-async", None), ("handling=lenient; wait=9", None)),
        *(("wait=soon", None), ('WAIT="1"', "wait=1"), ("wait=1; foo", "wait=1")),
    ],
)
async def test_a_preference_that_cannot_be_kept_is_ignored(
    web: httpx.AsyncClient, prefer: str, applied: str | None
) -> None:
    answer = await web.post("/v1/jobs", json=JOB, headers={"Prefer": prefer})
    assert answer.status_code == 202
    assert answer.headers.get("preference-applied") == applied


@pytest.mark.parametrize("wait", ["-1", "x", "", "1.5", "\u0663"])
async def test_a_wait_that_is_no_number_is_refused_by_name(
    web: httpx.AsyncClient, db: Database, wait: str
) -> None:
    answer = await web.post("/v1/jobs", json=JOB)
    waited = await web.get(answer.headers["location"], params={"wait": wait})
    assert is_problem(waited, 422, "invalid_request", "wait")


async def test_an_etag_saves_a_second_reading_until_the_job_moves(
    web: httpx.AsyncClient, db: Database
) -> None:
    app_id = await db.pool.fetchval("select id from apps")
    job = await make_job(db, app_id, State.SUBMITTED)
    at = f"/v1/jobs/{ids.show('job', job)}"
    tag = (await web.get(at)).headers["etag"]
    for asked in (tag, f'"other", W/{tag}', "*"):
        same = await web.get(at, headers={"If-None-Match": asked})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    await move(db, job, now=State.RUNNING)
    moved = await web.get(at, headers={"If-None-Match": tag})
    assert moved.status_code == 200
    assert moved.headers["etag"] != tag


async def test_a_timeline_tells_every_move_in_order(web: httpx.AsyncClient, db: Database) -> None:
    app_id = await db.pool.fetchval("select id from apps")
    job = await make_job(db, app_id, State.COMPLETED)
    answer = await web.get(f"/v1/jobs/{ids.show('job', job)}/timeline")
    happened = answer.json()["data"]
    assert all(list(one) == ["at", "kind", "source", "detail"] for one in happened)
    assert [one["kind"] for one in happened] == [
        *("transition", "transition", "submit", "transition", "transition")
    ]
    assert happened[2]["detail"] == {"attempt": 1, "callback": False}
    moves = [
        (one["detail"]["was"], one["detail"]["now"], one["source"])
        for one in happened
        if one["kind"] == "transition"
    ]
    assert moves == [
        (None, "queued", "api"),
        ("queued", "submitting", "submit"),
        ("submitting", "submitted", "submit"),
        ("submitted", "completed", "poll"),
    ]
