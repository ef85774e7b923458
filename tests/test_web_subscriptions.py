"""service/web/subscriptions.py: endpoints made, shown without their secrets, and ended."""

import base64
from collections.abc import AsyncIterator

import app_client
import httpx
import pytest
from app_client import KEY, is_problem
from scene import SECRETS, WEBHOOK_SECRET, make_app

from service import ids
from service.database import Database
from service.encryption import AtRest

URL = "https://app.example/events"
ENDS = ["job.completed", "job.failed", "job.canceled", "job.expired"]
OTHER = "cb_" + "o" * 43


@pytest.fixture
async def web(db: Database) -> AsyncIterator[httpx.AsyncClient]:
    await make_app(db, key=KEY)
    async with app_client.client(app_client.app(db)) as client:
        yield client


def secret_of(size: int) -> str:
    return "whsec_" + base64.b64encode(bytes(size)).decode()


async def made(web: httpx.AsyncClient, **wanted: object) -> httpx.Response:
    return await web.post("/v1/subscriptions", json={"url": URL} | wanted)


async def test_a_subscription_hears_of_ends_by_default_and_shows_its_secret_this_once(
    web: httpx.AsyncClient,
) -> None:
    answer = await made(web)
    body = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/subscriptions/{body['id']}"
    assert len(base64.b64decode(body["secret"].removeprefix("whsec_"))) == 32
    assert (body["url"], body["events"], body["enabled"]) == (URL, ENDS, True)
    shown = {name: value for name, value in body.items() if name != "secret"}
    assert (await web.get(answer.headers["location"])).json() == shown
    assert (await web.get("/v1/subscriptions")).json() == {"data": [shown], "next": None}
    assert list(shown) == [
        *("id", "url", "events", "enabled", "disabled_reason", "failing_since", "headers"),
        "created_at",
    ]
    assert (await made(web)).json()["secret"] != body["secret"]


async def test_events_are_those_asked_for_each_once(web: httpx.AsyncClient) -> None:
    answer = await made(web, events=["job.stuck", "job.running", "job.stuck"])
    assert sorted(answer.json()["events"]) == ["job.running", "job.stuck"]
    for wrong in ([], ["job.queued"], ["completed"], ["job.completed", "x"], "job.completed", None):
        answer = await made(web, events=wrong)
        assert is_problem(answer, 422, "invalid_request", "events"), wrong


async def test_an_event_that_is_none_is_quoted_shortly(web: httpx.AsyncClient) -> None:
    answer = await made(web, events=["x" * 60_000])
    assert len(answer.text) < 1000


@pytest.mark.parametrize("size", [24, 32, 64])
async def test_a_secret_of_ones_own_is_kept(web: httpx.AsyncClient, size: int) -> None:
    assert (await made(web, secret=secret_of(size))).json()["secret"] == secret_of(size)


@pytest.mark.parametrize(
    "secret",
    [
        *("", "whsec_", secret_of(23), secret_of(65), secret_of(32)[6:], secret_of(32)[:-1]),
        *("WHSEC_" + secret_of(32)[6:], secret_of(32) + "\n", "whsec_" + "\xe9" * 40),
        *("whsec_" + "-_" * 22, "whsec_" + " " * 44, secret_of(32).replace("A", "!", 1)),
    ],
)
async def test_a_secret_that_is_none_is_refused_and_not_repeated(
    web: httpx.AsyncClient, secret: str
) -> None:
    answer = await made(web, secret=secret)
    assert is_problem(answer, 422, "invalid_request", "secret")
    assert "24 to 64 bytes" in answer.json()["detail"]
    assert len(secret) < 10 or secret not in answer.text


async def test_headers_are_shown_as_stars_and_lie_encrypted(
    web: httpx.AsyncClient, db: Database
) -> None:
    answer = await made(web, headers={"X-Api-Key": "hush-hush", "X_B": ""}, secret=secret_of(32))
    assert answer.json()["headers"] == {"X-Api-Key": "***", "X_B": "***"}
    assert "hush" not in answer.text
    row = await db.pool.fetchrow("select * from subscriptions")
    assert row is not None
    at_rest = AtRest(SECRETS)
    assert at_rest.decrypt(row["headers"]) == '{"X-Api-Key":"hush-hush","X_B":""}'
    assert at_rest.decrypt(row["secret"]) == secret_of(32)
    raw = b"".join(value for value in row.values() if isinstance(value, bytes))
    assert b"hush" not in raw
    assert b"whsec" not in raw
    assert bytes(20) not in raw
    assert not any("hush" in str(value) or "whsec" in str(value) for value in row.values())


@pytest.mark.parametrize(
    "headers",
    [
        *({"webhook-id": "x"}, {"Webhook-Signature": "x"}, {"Content-Type": "text/plain"}),
        *({"content-length": "5"}, {"Host": "other.example"}, {"transfer-encoding": "chunked"}),
        *({"Connection": "close"}, {"Proxy-Authorization": "x"}, {"X-A": "1", "x-a": "2"}),
        *({"": "x"}, {"a b": "x"}, {"a:b": "x"}, {"a\r\nb": "x"}, {"\xe9": "x"}),
        *({"a": "x\r\ny: z"}, {"a": "\x00"}, {"a": "\xe9"}, {"a": "\x7f"}),
        *({f"h{n}": "" for n in range(21)}, [], "a: b", None),
    ],
)
async def test_a_header_that_would_break_the_request_or_ours_is_refused(
    web: httpx.AsyncClient, headers: object
) -> None:
    assert is_problem(await made(web, headers=headers), 422, "invalid_request", "headers")


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1/", "http://localhost:8080/", "http://10.0.0.1/", "http://[::1]/"),
        *("http://169.254.169.254/latest", "http://168.63.129.16/", "http://2130706433/"),
        *("ftp://app.example/", "app.example", "http://", "http://user:pw@app.example/"),
        *("https://app.example/" + "a" * 2048, "http://app.example/\x00", ""),
    ],
)
async def test_an_address_that_may_not_be_called_is_refused_by_name(
    web: httpx.AsyncClient, url: str
) -> None:
    answer = await made(web, url=url)
    assert is_problem(answer, 422, "invalid_request", "url")
    assert "pw" not in answer.json()["detail"]


async def test_a_private_address_that_the_settings_allow_is_taken(db: Database) -> None:
    await make_app(db, key=KEY)
    making = app_client.creator(db, allowed=["127.0.0.0/8"])
    async with app_client.client(app_client.app(db, making)) as web:
        assert (await made(web, url="http://127.0.0.1:9/hook")).status_code == 201


async def test_a_deleted_subscription_is_gone(web: httpx.AsyncClient, db: Database) -> None:
    at = (await made(web)).headers["location"]
    assert (await web.delete(at)).status_code == 204
    assert is_problem(await web.delete(at), 404, "not_found")
    assert is_problem(await web.get(at), 404, "not_found")
    assert (await web.get("/v1/subscriptions")).json() == {"data": [], "next": None}
    assert await db.pool.fetchval("select count(*) from subscriptions") == 0


async def test_another_apps_subscription_is_not_there(web: httpx.AsyncClient, db: Database) -> None:
    await app_client.make_key(db, OTHER, "submit", "read", "operate", name="other", all_apps=True)
    at = (await made(web)).headers["location"]
    theirs = {"authorization": f"Bearer {OTHER}"}
    assert is_problem(await web.get(at, headers=theirs), 404, "not_found")
    assert is_problem(await web.delete(at, headers=theirs), 404, "not_found")
    listed = await web.get("/v1/subscriptions", headers=theirs)
    assert listed.json()["data"] == []
    assert (await web.get(at)).status_code == 200


async def test_subscriptions_are_listed_by_page_oldest_first(web: httpx.AsyncClient) -> None:
    made_here = sorted([(await made(web)).json()["id"] for _ in range(3)])
    first = (await web.get("/v1/subscriptions", params={"limit": "2"})).json()
    assert [one["id"] for one in first["data"]] == made_here[:2]
    rest = await web.get("/v1/subscriptions", params={"limit": "2", "after": first["next"]})
    assert [one["id"] for one in rest.json()["data"]] == made_here[2:]
    assert rest.json()["next"] is None
    for bad in ("x", ids.show("job", ids.new_id())):
        answer = await web.get("/v1/subscriptions", params={"after": bad})
        assert is_problem(answer, 422, "invalid_request", "after")


async def test_a_body_over_64_kib_is_413(web: httpx.AsyncClient) -> None:
    answer = await made(web, headers={"x": "a" * 70_000})
    assert is_problem(answer, 413, "payload_too_large")


async def test_the_default_secret_is_the_apps_own(web: httpx.AsyncClient) -> None:
    answer = await web.get("/v1/subscriptions/default-secret")
    assert answer.json() == {"secret": WEBHOOK_SECRET}
