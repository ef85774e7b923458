"""/v1/callbacks: who sees which call, in which page, and replays it."""

import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import app_client
import httpx
import pytest
import signing
from app_client import KEY, is_problem
from calling import call, kept, receiver, token
from scene import job_row, make_app, make_job, rows_of

from service import ids
from service.database import Database
from service.job import State
from service.providers import Provider

OPERATOR, OTHERS, READER = ("cb_" + letter * 43 for letter in "oxr")
BODY = signing.success()
STRANGER = "fal.a.b"  # names no job


@pytest.fixture
async def studio(db: Database) -> UUID:
    return await make_app(db, key=KEY)


@pytest.fixture
async def job(db: Database, studio: UUID) -> UUID:
    return await make_job(db, studio, State.SUBMITTED)


@pytest.fixture
async def web(db: Database, studio: UUID) -> AsyncIterator[httpx.AsyncClient]:
    await app_client.make_key(db, OPERATOR, "operate", all_apps=True)
    await app_client.make_key(db, OTHERS, "operate", "read", name="others")
    await app_client.make_key(db, READER, "read")
    async with app_client.client(app_client.app(db)) as client:
        yield client


def by(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def ids_of(web: httpx.AsyncClient, key: str = KEY, **query: str) -> list[str]:
    answer = await web.get("/v1/callbacks", params=query, headers=by(key))
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["data"]]


async def some_calls(db: Database, job: UUID) -> list[str]:
    """One taken, one taken twice, one refused, one unreadable, and one that names no job."""
    trusting: Provider = app_client.fal_provider(fal_trust="token")
    door = receiver(db, trusting)
    unreadable = call(token(job), b"<html>", {})
    stranger = call(STRANGER, signing.success("req-of-nobody"), {})
    for one in (call(token(job)), call(token(job)), call(""), unreadable, stranger):
        await door.receive(one)
    return [ids.show("cbk", one.id) for one in await kept(db)]


async def test_an_app_sees_calls_about_its_jobs_and_an_operator_of_all_apps_sees_all(
    db: Database, web: httpx.AsyncClient, job: UUID
) -> None:
    made = (await some_calls(db, job))[::-1]
    assert await ids_of(web, OPERATOR) == sorted(made, reverse=True)
    own = sorted(set(made) - {made[0]}, reverse=True)
    assert await ids_of(web) == await ids_of(web, READER) == own
    assert await ids_of(web, OTHERS) == []
    for key, seen in ((OPERATOR, made), (KEY, made[1:]), (OTHERS, [])):
        for one in made:
            answer = await web.get(f"/v1/callbacks/{one}", headers=by(key))
            assert answer.status_code == (200 if one in seen else 404)


async def test_each_filter_finds_its_calls(db: Database, web: httpx.AsyncClient, job: UUID) -> None:
    taken, twice, refused, unreadable, stranger = await some_calls(db, job)
    relayed = await make_job(db, (await job_row(db, job))["app_id"], provider="relay")
    for key, nobody in ((OPERATOR, [stranger]), (KEY, [])):
        found = {
            "verdict=accepted": [taken],
            "verdict=duplicate": [twice],
            "verdict=refused": [*nobody, refused],
            "verdict=unreadable": [unreadable],
            "verdict=hint": [],
            "verdict=ignored": [],
            "reason=no_token": [refused],
            "reason=truncated": nobody,
            "reason=old_attempt": [],
            "reason=no_token&verdict=unreadable": [],
            f"job={ids.show('job', job)}": [unreadable, refused, twice, taken],
            f"job={ids.show('job', job)}&verdict=refused": [refused],
            f"job={ids.show('job', relayed)}": [],
            "provider=fal&limit=2": [*nobody, unreadable, refused][:2],
            "provider=relay": [],
        }
        for query, wanted in found.items():
            answer = await web.get(f"/v1/callbacks?{query}", headers=by(key))
            got = [one["id"] for one in answer.json()["data"]]
            assert sorted(got) == sorted(wanted), query
    assert await ids_of(web, OTHERS, job=ids.show("job", job)) == []


async def test_times_and_pages_are_bounds(db: Database, web: httpx.AsyncClient, job: UUID) -> None:
    made = sorted((await some_calls(db, job))[:4], reverse=True)
    pages, after = [], None
    while True:
        query = {"limit": "3"} | ({} if after is None else {"after": after})
        page = (await web.get("/v1/callbacks", params=query)).json()
        pages.append([one["id"] for one in page["data"]])
        after = page["next"]
        if after is None:
            break
    assert pages == [made[:3], made[3:]]
    now = datetime.now(UTC)
    soon, before = ((now + timedelta(minutes=n)).isoformat() for n in (1, -1))
    assert await ids_of(web, created_after=before, created_before=soon) == made
    assert await ids_of(web, created_after=soon) == await ids_of(web, created_before=before) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("verdict", "good"),
        ("job", "job_7"),
        ("job", ""),
        ("after", "job_" + "0" * 32),
        ("limit", "201"),
        ("created_after", "yesterday"),
        ("state", "completed"),
        ("provider", "a\x00"),
    ],
)
async def test_a_filter_that_cannot_be_is_named(
    web: httpx.AsyncClient, name: str, value: str
) -> None:
    answer = await web.get("/v1/callbacks", params={name: value})
    assert is_problem(answer, 422, "invalid_request", name), answer.text


async def test_a_call_is_shown_with_its_kept_headers_and_its_body(
    db: Database, web: httpx.AsyncClient, job: UUID
) -> None:
    given = token(job)
    headers = signing.headers(BODY) | {"user-agent": "fal/1"}
    sent = headers | {"authorization": "Bearer x", "cookie": "a=b"}
    answer = await web.post(f"/callbacks/fal?token={given}", content=BODY, headers=sent)
    assert answer.status_code == 200
    (listed,) = (await web.get("/v1/callbacks")).json()["data"]
    shown = (await web.get(f"/v1/callbacks/{listed['id']}")).json()
    assert shown == listed
    assert shown == {
        "id": listed["id"],
        "provider": "fal",
        "job": ids.show("job", job),
        "attempt": 1,
        "at": shown["at"],
        "verdict": "accepted",
        "reason": None,
        "source": "127.0.0.1",
        "provider_id": None,
        "headers": headers,
        "body": BODY.decode(),
        "encoding": "text",
        "bytes": len(BODY),
        "cut": False,
    }
    assert given not in json.dumps(shown)


async def test_a_long_body_is_whole_by_itself_and_cut_in_a_list(
    db: Database, web: httpx.AsyncClient, job: UUID
) -> None:
    body = json.dumps(json.loads(BODY) | {"more": "é" * 5000}, ensure_ascii=False).encode()
    await receiver(db).receive(call(token(job), body))
    (listed,) = (await web.get("/v1/callbacks")).json()["data"]
    assert 4095 <= len(listed["body"].encode()) <= 4096
    assert (listed["bytes"], listed["cut"]) == (len(body), True)
    shown = (await web.get(f"/v1/callbacks/{listed['id']}")).json()
    assert (shown["body"].encode(), shown["cut"]) == (body, False)


async def test_a_body_that_is_no_text_is_shown_as_base64(
    db: Database, web: httpx.AsyncClient, job: UUID
) -> None:
    door = receiver(db, app_client.fal_provider(fal_trust="token"))
    await door.receive(call(token(job), b"\xff\x00\xfe", {}))
    (shown,) = (await web.get("/v1/callbacks")).json()["data"]
    assert (shown["encoding"], base64.b64decode(shown["body"])) == ("base64", b"\xff\x00\xfe")


async def test_a_replay_is_tried_first_and_then_done_and_told_in_the_timeline(
    db: Database, web: httpx.AsyncClient, job: UUID
) -> None:
    await receiver(db).receive(call(token(job)[:-1]))
    (one,) = await ids_of(web)
    url = f"/v1/callbacks/{one}/replay"
    would = (await web.post(url, json={"dry_run": True})).json()
    assert (await job_row(db, job))["state"] == "submitted"
    assert would == {
        "id": one,
        "job": ids.show("job", job),
        "attempt": 1,
        "verdict": "accepted",
        "reason": None,
        "was": {"verdict": "refused", "reason": "truncated"},
        "from": "submitted",
        "to": "completed",
        "moved": True,
        "dry_run": True,
    }
    did = (await web.post(url, json={"reason": "the address was cut"})).json()
    assert did == would | {"dry_run": False}
    assert (await job_row(db, job))["state"] == "completed"
    (act,) = await rows_of(db, "operator_actions", job)
    assert act["who"].startswith("key_")
    assert (act["act"], act["reason"]) == ("replay", "the address was cut")
    happened = (await web.get(f"/v1/jobs/{ids.show('job', job)}/timeline")).json()["data"]
    assert [entry["kind"] for entry in happened if entry["kind"] in ("callback", "act")] == [
        *("callback", "act"),
    ]
    again = (await web.post(url)).json()  # a body is not needed
    assert (again["verdict"], again["moved"]) == ("duplicate", False)


async def test_who_may_not_operate_or_see_it_does_not_replay_it(
    db: Database, web: httpx.AsyncClient, job: UUID
) -> None:
    await receiver(db).receive(call(token(job)[:-1]))
    (one,) = await ids_of(web)
    url = f"/v1/callbacks/{one}/replay"
    assert is_problem(await web.post(url, headers=by(READER)), 403, "forbidden")
    assert is_problem(await web.post(url, headers=by(OTHERS)), 404, "not_found")
    assert is_problem(await web.post("/v1/callbacks/cbk_7/replay"), 404, "not_found")
    answer = await web.post(url, json={"dry_run": "yes"})
    assert is_problem(answer, 422, "invalid_request", "dry_run")
    answer = await web.post(url, json={"reason": "a\x00b"})
    assert is_problem(answer, 422, "invalid_request", "reason")
    assert (await job_row(db, job))["state"] == "submitted"


async def test_a_replay_by_one_app_does_not_reach_the_job_of_another(
    db: Database, web: httpx.AsyncClient, job: UUID
) -> None:
    """An expired token of the studio's, and a body that names another's render."""
    other = await make_app(db, name="others", key="cb_" + "y" * 43)
    theirs = await make_job(db, other, State.SUBMITTED, provider_id="req-theirs")
    expired = token(job, lasts=-1.0)
    await receiver(db).receive(call(expired, signing.success("req-theirs")))
    (one,) = await ids_of(web)
    told = (await web.post(f"/v1/callbacks/{one}/replay")).json()
    assert (told["job"], told["verdict"], told["reason"]) == (None, "refused", "other_job")
    assert (await job_row(db, theirs))["state"] == "submitted"
    told = (await web.post(f"/v1/callbacks/{one}/replay", headers=by(OPERATOR))).json()
    assert told["job"] == ids.show("job", theirs)
