"""service/web/access.py: whose key it is, what it may do, and whose jobs it sees."""

from collections.abc import AsyncIterator

import app_client
import httpx
import pytest
from app_client import JOB, KEY, is_problem
from scene import make_app, make_job

from service import ids
from service.database import Database

OTHER = "cb_" + "o" * 43
READER, SUBMITTER, OPERATOR, CHIEF = ("cb_" + letter * 43 for letter in "rspc")
SUBSCRIPTION = {"url": "https://app.example/events"}


@pytest.fixture
async def web(db: Database) -> AsyncIterator[httpx.AsyncClient]:
    await make_app(db, key=KEY)
    await app_client.make_key(db, OTHER, "submit", "read", "operate", name="other")
    await app_client.make_key(db, READER, "read")
    await app_client.make_key(db, SUBMITTER, "submit")
    await app_client.make_key(db, OPERATOR, "operate")
    await app_client.make_key(db, CHIEF, "operate", all_apps=True, name="house")
    async with app_client.client(app_client.app(db), key=None) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize(
    "header",
    [
        *("", KEY, "Bearer", "Bearer ", "Basic abc", f"Key {KEY}", f"Bearer {KEY}x"),
        *(f"Bearer {KEY[:-1]}", "Bearer \xe9\xff", f"Bearer {KEY} {KEY}", f"Bearer {KEY.upper()}"),
    ],
)
async def test_without_a_known_key_everything_is_401(web: httpx.AsyncClient, header: str) -> None:
    headers = [(b"authorization", header.encode("latin-1"))] if header else []
    for method, path in (
        *(("POST", "/v1/jobs"), ("GET", "/v1/jobs"), ("GET", "/v1/jobs/x")),
        *(("GET", "/v1/jobs/x/timeline"), ("POST", "/v1/subscriptions")),
        *(("GET", "/v1/subscriptions"), ("GET", "/v1/subscriptions/default-secret")),
        *(("GET", "/v1/subscriptions/x"), ("DELETE", "/v1/subscriptions/x")),
        *(("PATCH", "/v1/subscriptions/x"), ("POST", "/v1/subscriptions/x/rotate")),
        *(("POST", "/v1/subscriptions/x/test"), ("POST", "/v1/subscriptions/x/recover")),
        *(("GET", "/v1/deliveries"), ("GET", "/v1/deliveries/x")),
        ("POST", "/v1/deliveries/x/resend"),
    ):
        answer = await web.request(method, path, headers=headers)
        assert is_problem(answer, 401, "unauthorized"), (method, path)
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_revoked_key_is_unknown_at_once(web: httpx.AsyncClient, db: Database) -> None:
    assert (await web.get("/v1/jobs", headers=bearer(READER))).status_code == 200
    await db.pool.execute("update api_keys set revoked_at = now() where scopes = '{read}'")
    assert is_problem(await web.get("/v1/jobs", headers=bearer(READER)), 401, "unauthorized")


async def test_a_scheme_is_read_in_any_case(web: httpx.AsyncClient) -> None:
    answer = await web.get("/v1/jobs", headers={"authorization": f"bEARER  {READER}"})
    assert answer.status_code == 200


async def test_a_key_does_what_its_scopes_say(web: httpx.AsyncClient) -> None:
    async def status(method: str, path: str, key: str) -> int:
        body = {"/v1/jobs": JOB, "/v1/subscriptions": SUBSCRIPTION}.get(path)
        content = body if method == "POST" else None
        answer = await web.request(method, path, headers=bearer(key), json=content)
        if answer.status_code == 403:
            assert is_problem(answer, 403, "forbidden")
        return answer.status_code

    assert await status("POST", "/v1/jobs", READER) == 403
    assert await status("POST", "/v1/jobs", OPERATOR) == 403
    assert await status("POST", "/v1/jobs", SUBMITTER) == 202
    assert await status("GET", "/v1/jobs", SUBMITTER) == 403
    assert await status("GET", "/v1/jobs", READER) == 200
    assert await status("GET", "/v1/jobs", OPERATOR) == 200
    assert await status("POST", "/v1/subscriptions", READER) == 403
    assert await status("GET", "/v1/deliveries", SUBMITTER) == 403
    assert await status("POST", f"/v1/deliveries/dlv_{'0' * 32}/resend", READER) == 403
    assert await status("PATCH", f"/v1/subscriptions/sub_{'0' * 32}", READER) == 403
    assert await status("POST", "/v1/subscriptions", SUBMITTER) == 201
    assert await status("GET", "/v1/subscriptions", SUBMITTER) == 403
    assert await status("GET", "/v1/subscriptions", READER) == 200
    secret = "/v1/subscriptions/default-secret"
    assert (await web.get(secret, headers=bearer(READER))).status_code == 403


async def test_an_app_sees_its_own_jobs_and_an_operator_of_all_apps_everyones(
    web: httpx.AsyncClient, db: Database
) -> None:
    studio = await db.pool.fetchval("select id from apps where name = 'studio'")
    job = ids.show("job", await make_job(db, studio))
    for key, sees in ((KEY, True), (READER, True), (OTHER, False), (CHIEF, True)):
        answer = await web.get(f"/v1/jobs/{job}", headers=bearer(key))
        timeline = await web.get(f"/v1/jobs/{job}/timeline", headers=bearer(key))
        listed = (await web.get("/v1/jobs", headers=bearer(key))).json()["data"]
        assert (answer.status_code, timeline.status_code) == ((200, 200) if sees else (404, 404))
        assert [one["id"] for one in listed] == ([job] if sees else [])
        if not sees:
            assert is_problem(answer, 404, "not_found")


async def test_all_apps_without_the_scope_operate_is_nothing(
    web: httpx.AsyncClient, db: Database
) -> None:
    studio = await db.pool.fetchval("select id from apps where name = 'studio'")
    await make_job(db, studio)
    await app_client.make_key(db, "cb_" + "a" * 43, "read", all_apps=True, name="other")
    listed = await web.get("/v1/jobs", headers=bearer("cb_" + "a" * 43))
    assert listed.json() == {"data": [], "next": None}
