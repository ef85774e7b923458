"""service/web/faults.py: whatever is sent, the answer is a problem document and never a crash."""

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import app_client
import httpx
import pytest
from app_client import JOB, KEY, is_problem, spoken
from scene import make_app

from service.database import Database
from service.web.app import App
from service.web.jobs import BODY_BYTES

JSON = {"content-type": "application/json"}
AUTHORIZED = JSON | {"authorization": f"Bearer {KEY}"}


@pytest.fixture
async def callboard(db: Database) -> App:
    await make_app(db, key=KEY)
    return app_client.app(db)


@pytest.fixture
async def web(callboard: App) -> AsyncIterator[httpx.AsyncClient]:
    async with app_client.client(callboard) as client:
        yield client


async def sent(web: httpx.AsyncClient, body: Any) -> httpx.Response:
    """Posts `body` as JSON."""
    return await posted(web, json.dumps(body))


async def posted(web: httpx.AsyncClient, content: str | bytes) -> httpx.Response:
    """Posts `content` as it is."""
    return await web.post("/v1/jobs", content=content, headers=JSON)


def nested(levels: int) -> str:
    return '{"model": "m", "input": {"a": ' + "[" * levels + "]" * levels + "}}"


@pytest.mark.parametrize(
    "body",
    [
        *("", "{", "nonsense", b"\xff\xfe", b"\x00", '{"a": 1}{}', "{'model': 1}"),
        *('{"model": NaN}', '{"model": "m", "input": {"a": 1e999}}', '{"a": -Infinity}'),
        *('{"a": 1' + "0" * 5000 + "}", nested(100_000)),
    ],
)
async def test_what_is_no_json_is_400(web: httpx.AsyncClient, body: str | bytes) -> None:
    assert is_problem(await posted(web, body), 400, "invalid_request")


@pytest.mark.parametrize("body", [[], "text", 7, None, True, [JOB]])
async def test_json_that_is_no_object_is_422(web: httpx.AsyncClient, body: object) -> None:
    assert is_problem(await sent(web, body), 422, "invalid_request", "body")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("model", value) for value in (None, 1, "", "m" * 201, "a\x00", "\ud800", ["m"])),
        *(("input", value) for value in (None, "x", [], 1, True)),
        *(("provider", value) for value in (1, "p" * 51, ["fal"], "\ud800", "nobody\x00")),
        *(("metadata", value) for value in ([], "x", 1, None, {str(n): "" for n in range(51)})),
        *(("metadata.a", value) for value in (1, None, {}, ["x"], "a\x00b", "\udfff", "\ud800😀")),
        *(("reference", value) for value in (1, {}, "r" * 201, "\x00", "\ud800")),
        *(("notify_hook", value) for value in (1, "http://a.example/" + "a" * 2048, "\ud800")),
        *(("deadline_seconds", value) for value in (0, -1, "x", 1e300, 10**400, [], 2592001)),
        *(("dry_run", value) for value in ("true", 1, None)),
        *(("unlisted", value) for value in ("true", 1, None)),
        *(("wait", 1), ("Model", "m"), ("count", 2)),
    ],
)
async def test_a_wrong_field_is_422_and_named(
    web: httpx.AsyncClient, field: str, value: Any
) -> None:
    wanted = {"metadata": {"a": value}} if field == "metadata.a" else {field: value}
    answer = await sent(web, JOB | wanted)
    body = answer.json()
    assert answer.status_code == 422
    assert is_problem(answer, 422, body["code"], field), body


@pytest.mark.parametrize("name", ["a\x00", "\ud800", "\udc00\U0001f600"])
async def test_a_wrong_name_in_the_metadata_is_422_and_named(
    web: httpx.AsyncClient, name: str
) -> None:
    answer = await sent(web, JOB | {"metadata": {name: "x"}})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == f"metadata.{name}"


async def test_a_field_whose_name_is_no_text_is_422(web: httpx.AsyncClient) -> None:
    for body in ({"\ud800": 1}, JOB | {"\ud800": 1}):
        assert (await sent(web, body)).status_code == 422


async def test_missing_fields_are_all_named(web: httpx.AsyncClient) -> None:
    assert is_problem(await sent(web, {}), 422, "invalid_request", "model", "input")


@pytest.mark.parametrize("levels", [101, 250, 260, 500, 900])
async def test_an_input_nested_too_deeply_is_422_and_named(
    web: httpx.AsyncClient, levels: int
) -> None:
    assert is_problem(await posted(web, nested(levels)), 422, "invalid_request", "input")


async def test_an_input_nested_as_deeply_as_is_taken_is_shown_everywhere(
    web: httpx.AsyncClient,
) -> None:
    # `input` and its field `a` are the first two levels
    taken = await posted(web, nested(99).replace('"m"', '"m", "unlisted": true'))
    assert taken.status_code == 202
    assert (await web.get(taken.headers["location"])).status_code == 200
    assert (await web.get("/v1/jobs")).status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "", "json"])
async def test_what_says_that_it_is_no_json_is_415(web: httpx.AsyncClient, kind: str) -> None:
    answer = await web.post("/v1/jobs", content=json.dumps(JOB), headers={"content-type": kind})
    assert is_problem(answer, 415, "unsupported_media_type")


async def test_a_body_over_10_mib_is_413_however_it_is_sent(callboard: App) -> None:
    part = b" " * (1024 * 1024)
    for said in ({}, {"content-length": str(BODY_BYTES + 1)}, {"content-length": "5"}):
        answer = await spoken(
            callboard, [part] * 10 + [b"1"], path="/v1/jobs", headers=AUTHORIZED | said
        )
        assert answer is not None
        status, headers, body = answer
        assert (status, headers["content-type"]) == (413, "application/problem+json"), said
        assert json.loads(body)["code"] == "payload_too_large"


async def test_a_body_of_just_10_mib_is_read(callboard: App) -> None:
    body = json.dumps(JOB).encode()
    body += b" " * (BODY_BYTES - len(body))
    answer = await spoken(callboard, [body[:9], body[9:]], path="/v1/jobs", headers=AUTHORIZED)
    assert answer is not None
    assert answer[0] == 202


async def test_a_large_body_is_left_unread_after_the_limit(callboard: App) -> None:
    async def endless() -> dict[str, Any]:
        return {"type": "http.request", "body": b" " * 2**20, "more_body": True}

    statuses = []

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    headers = [(name.encode(), value.encode()) for name, value in AUTHORIZED.items()]
    scope = {"type": "http", "method": "POST", "path": "/v1/jobs", "query_string": b""}
    await callboard(scope | {"headers": headers}, endless, send)
    assert statuses[0] == 413


async def test_a_caller_who_goes_away_is_no_fault_of_ours(
    callboard: App, caplog: pytest.LogCaptureFixture, db: Database
) -> None:
    with caplog.at_level(logging.INFO):
        await spoken(callboard, [b'{"model"', None], path="/v1/jobs", headers=AUTHORIZED)
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert await db.pool.fetchval("select count(*) from jobs") == 0


async def test_unknown_ids_and_paths_are_404(web: httpx.AsyncClient) -> None:
    for path in (
        *("/v1/jobs/job_" + "0" * 32, "/v1/jobs/evt_" + "0" * 32, "/v1/jobs/x%00", "/v1/jobs/%ff"),
        *("/v1/jobs/job_" + "0" * 31 + "A", "/v1/jobs/x/timeline", "/v1/nothing", "/", "/v1/jobs/"),
        *("/v1/subscriptions/sub_" + "0" * 32, "/v1/subscriptions/x", "/callbacks"),
    ):
        assert is_problem(await web.get(path), 404, "not_found"), path
    assert is_problem(await web.delete("/v1/subscriptions/x"), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/jobs", "GET, HEAD, POST"),
        ("DELETE", "/v1/jobs/x", "GET, HEAD"),
        ("POST", "/v1/jobs/x/timeline", "GET, HEAD"),
        ("PUT", "/v1/subscriptions", "GET, HEAD, POST"),
        ("POST", "/v1/subscriptions/x", "DELETE, GET, HEAD, PATCH"),
        ("BREW", "/healthz", "GET, HEAD"),
    ],
)
async def test_a_method_that_is_not_taken_is_405_and_says_which_are(
    web: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    answer = await web.request(method, path)
    assert is_problem(answer, 405, "invalid_request")
    assert answer.headers["allow"] == allowed


async def test_a_request_id_is_the_callers_or_ours(web: httpx.AsyncClient) -> None:
    given = await web.get("/v1/nothing", headers={"x-request-id": "mine-7.a_B"})
    assert given.headers["x-request-id"] == given.json()["request_id"] == "mine-7.a_B"
    for bad in ("", "with space", "x" * 101, "a\tb", 'a"b'):
        ours = await web.get("/healthz", headers={"x-request-id": bad})
        assert len(ours.headers["x-request-id"]) == 16


async def test_a_request_is_one_line_of_the_log_without_its_query(
    web: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="service.access"):
        await web.get("/v1/x%0Aforged line?token=hush&reference=hush")
    (line,) = [record.getMessage() for record in caplog.records]
    assert "\n" not in line
    assert "hush" not in line
    assert line.startswith("GET /v1/x%0Aforged%20line 404 ")
