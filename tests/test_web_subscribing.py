"""Endpoints over HTTP after they are made: changed, paused, tried out, sent to again."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import app_client
import pytest
from app_client import is_problem
from raw_server import says, serving, unused_port
from scene import rows_of
from standardwebhooks.webhooks import Webhook
from telling import Board, answering, board, parts

from service import ids
from service.database import Database

OK = says(answering("200 OK"), then_closes=False)
GONE = says(answering("410 Gone"), then_closes=False)
DOWN = says(answering("500 Oops", "no room"), then_closes=False)
URL = "https://app.example/events"


@pytest.fixture
async def studio(db: Database) -> AsyncIterator[Board]:
    async with board(db) as made:
        yield made


async def test_a_change_changes_what_is_said_and_nothing_else(studio: Board) -> None:
    made = await studio.subscribe(URL, headers={"X-A": "1"})
    at, secret = f"/v1/subscriptions/{made['id']}", made.pop("secret")
    for change, shown in (
        ({"events": ["job.stuck"]}, {"events": ["job.stuck"]}),
        ({"url": "https://b.example/"}, {"url": "https://b.example/"}),
        ({"headers": {"X-B": "2"}}, {"headers": {"X-B": "***"}}),
        ({"enabled": False}, {"enabled": False, "disabled_reason": "paused"}),
        (
            {"enabled": True, "headers": {}},
            {"enabled": True, "disabled_reason": None} | {"headers": {}},
        ),
    ):
        made |= shown
        answer = await studio.web.patch(at, json=change)
        assert (answer.status_code, answer.json()) == (200, made)
        assert (await studio.web.get(at)).json() == made
    assert secret not in answer.text


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"url": "http://10.0.0.1/"}, "url"),
        ({"url": ""}, "url"),
        ({"url": None}, "url"),
        ({"events": []}, "events"),
        ({"events": ["job.queued"]}, "events"),
        ({"enabled": "yes"}, "enabled"),
        ({"enabled": None}, "enabled"),
        ({"headers": {"Host": "x"}}, "headers"),
        ({"headers": {"webhook-id": "x"}}, "headers"),
        ({"secret": "whsec_x"}, "secret"),
    ],
)
async def test_a_change_that_is_none_is_refused_by_name(
    studio: Board, body: dict[str, object], field: str
) -> None:
    made = await studio.subscribe(URL)
    at = f"/v1/subscriptions/{made['id']}"
    assert is_problem(await studio.web.patch(at, json=body), 422, "invalid_request", field)
    made.pop("secret")
    assert (await studio.web.get(at)).json() == made


async def test_an_endpoint_of_another_app_cannot_be_touched(studio: Board, db: Database) -> None:
    other = "cb_" + "o" * 43
    await app_client.make_key(db, other, "submit", "read", "operate", name="other", all_apps=True)
    at = f"/v1/subscriptions/{(await studio.subscribe(URL))['id']}"
    theirs = {"authorization": f"Bearer {other}"}
    for path, body in (("rotate", {}), ("test", {}), ("recover", {"since": "2026-01-01"})):
        answer = await studio.web.post(f"{at}/{path}", json=body, headers=theirs)
        assert is_problem(answer, 404, "not_found"), path
    answer = await studio.web.patch(at, json={"enabled": False}, headers=theirs)
    assert is_problem(answer, 404, "not_found")
    reader = "cb_" + "r" * 43
    await app_client.make_key(db, reader, "read")
    headers = {"authorization": f"Bearer {reader}"}
    for path in ("rotate", "test", "recover"):
        answer = await studio.web.post(f"{at}/{path}", headers=headers)
        assert is_problem(answer, 403, "forbidden")


async def test_several_endpoints_of_one_app_each_hear_with_their_own_secret_and_headers(
    studio: Board,
) -> None:
    async with serving(OK) as one, serving(OK) as other:
        own = "whsec_" + "A" * 43 + "="
        first = await studio.subscribe(one.origin, headers={"X-Key": "one"}, secret=own)
        second = await studio.subscribe(other.origin, headers={"X-Key": "two"})
        await studio.ended()
        await studio.send()
    assert first["secret"] == own
    for server, made, key in ((one, first, "one"), (other, second, "two")):
        (request,) = server.requests
        headers, body = parts(request)
        assert headers["x-key"] == key
        assert Webhook(made["secret"]).verify(body, headers)["type"] == "job.completed"


async def test_a_test_is_signed_and_marked_and_told_of_honestly(
    studio: Board, db: Database
) -> None:
    async with serving(OK) as server:
        made = await studio.subscribe(server.origin, headers={"X-Key": "k"})
        await studio.web.patch(f"/v1/subscriptions/{made['id']}", json={"enabled": False})
        answer = await studio.web.post(f"/v1/subscriptions/{made['id']}/test")
    (request,) = server.requests
    headers, body = parts(request)
    event = Webhook(made["secret"]).verify(body, headers)
    assert headers["x-key"] == "k"
    assert event["type"] == "subscription.test"
    assert event["data"] == {"test": True, "subscription": made["id"]}
    told = answer.json()
    assert answer.status_code == 200
    assert told.pop("duration_ms") >= 0
    assert told == {
        "event": headers["webhook-id"],
        "type": "subscription.test",
        "subscription": made["id"],
        "delivered": True,
        "status": 200,
        "error": None,
        "response": "ok",
        "recorded": False,
    }
    for table in ("deliveries", "feed", "unplaced", "job_events"):
        assert await db.pool.fetchval(f"select count(*) from {table}") == 0


async def test_a_test_that_fails_says_how_and_changes_nothing(studio: Board) -> None:
    async with serving(GONE) as server:
        made = await studio.subscribe(server.origin)
        at = f"/v1/subscriptions/{made['id']}"
        told = (await studio.web.post(f"{at}/test", json={})).json()
        assert (told["delivered"], told["status"], told["error"]) == (False, 410, None)
        assert (await studio.web.get(at)).json()["enabled"] is True
    await studio.web.patch(at, json={"url": f"http://127.0.0.1:{unused_port()}/"})
    told = (await studio.web.post(f"{at}/test")).json()
    assert (told["delivered"], told["status"], told["response"]) == (False, None, "")
    assert told["error"] == "Connection refused"
    answer = await studio.web.post(f"{at}/test", json={"event": "job.completed"})
    assert is_problem(answer, 422, "invalid_request", "event")


async def test_a_test_calls_no_forbidden_address(db: Database) -> None:
    async with board(db, allowed=()) as strict, serving(OK) as server:
        made = await strict.subscribe("https://app.example/")
        await db.pool.execute("update subscriptions set url = $1", server.origin)
        told = (await strict.web.post(f"/v1/subscriptions/{made['id']}/test")).json()
        assert told["error"].startswith("forbidden address")
        assert server.connections == 0


async def test_an_endpoint_may_begin_in_the_past(studio: Board) -> None:
    jobs = await studio.ended(3)
    async with serving(OK) as server:
        await studio.subscribe(server.origin, since="2024-01-01T00:00:00Z")
        await studio.recover()
        await studio.send()
        told = [json.loads(parts(one)[1])["data"]["job"]["id"] for one in server.requests]
    assert sorted(told) == sorted(ids.show("job", job) for job in jobs)
    rows = await rows_of(studio.db, "job_events", jobs[1], "version")
    event = ids.show("evt", rows[-1]["id"])
    async with serving(OK) as server:
        await studio.subscribe(server.origin, since=event)
        await studio.recover()
        await studio.send()
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    "since",
    [
        *("yesterday", "", 5, "2999-01-01T00:00:00Z", f"evt_{'0' * 32}", f"job_{'0' * 32}"),
        "0001-01-01T00:00:00+14:00",
    ],
)
async def test_a_past_that_is_none_is_refused(studio: Board, since: object) -> None:
    answer = await studio.web.post("/v1/subscriptions", json={"url": URL, "since": since})
    assert is_problem(answer, 422, "invalid_request", "since")
    made = await studio.subscribe(URL)
    answer = await studio.web.post(f"/v1/subscriptions/{made['id']}/recover", json={"since": since})
    assert is_problem(answer, 422, "invalid_request", "since")


async def test_a_recovery_is_counted_promised_and_carried_out(studio: Board) -> None:
    await studio.ended(3)
    async with serving(OK) as server:
        made = await studio.subscribe(server.origin)
        at = f"/v1/subscriptions/{made['id']}/recover"
        since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        dry = await studio.web.post(at, json={"since": since, "dry_run": True})
        assert (dry.status_code, dry.json()) == (200, {"count": 3})
        answer = await studio.web.post(at, json={"since": since})
        assert (answer.status_code, answer.json()) == (202, {"count": 3})
        await studio.recover()
        await studio.send()
        assert len(server.requests) == 3
        again = await studio.web.post(at, json={"since": since})
        assert again.json() == {"count": 0}
        everything = await studio.web.post(at, json={"since": since, "all": True})
        assert everything.json() == {"count": 3}
        await studio.recover()
        await studio.send()
        assert len(server.requests) == 6
    row = await studio.db.pool.fetchrow("select who from recoveries limit 1")
    assert row["who"].startswith("key_")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "since"),
        ({"since": "2026-01-01", "until": "2025-01-01"}, "until"),
        ({"since": "2026-01-01", "until": "x"}, "until"),
        ({"since": "2026-01-01", "all": 1}, "all"),
        ({"since": "2026-01-01", "dry_run": "no"}, "dry_run"),
        ({"since": "2026-01-01", "limit": 5}, "limit"),
    ],
)
async def test_a_recovery_that_is_none_is_refused(
    studio: Board, body: dict[str, object], field: str
) -> None:
    made = await studio.subscribe(URL)
    answer = await studio.web.post(f"/v1/subscriptions/{made['id']}/recover", json=body)
    assert is_problem(answer, 422, "invalid_request", field)
