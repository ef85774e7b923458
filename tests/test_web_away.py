"""The database away: 503 that says whether to try again and whether money may have gone."""

from collections.abc import AsyncIterator

import app_client
import httpx
import pytest
from app_client import JOB, KEY, is_problem
from lossy import Way, lossy
from scene import make_app

from service import create
from service.database import Database

KEYED = {"Idempotency-Key": "a"}


@pytest.fixture
async def way(db: Database, dsn: str) -> AsyncIterator[Way]:
    """A way to the run's database that can lose answers."""
    await make_app(db, key=KEY)
    async with lossy(dsn) as way:
        yield way


@pytest.fixture
async def there(way: Way) -> AsyncIterator[Database]:
    """The database by that way, on a pool that has prepared nothing yet."""
    database = await Database.connect(way.dsn, size=2)
    yield database
    await database.close()


@pytest.fixture
async def web(there: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with app_client.client(app_client.app(there)) as client:
        yield client


async def test_everything_is_503_while_the_database_is_away(
    web: httpx.AsyncClient, there: Database
) -> None:
    await there.close()
    for method, path in (
        *(("GET", "/v1/jobs"), ("POST", "/v1/jobs"), ("GET", "/v1/jobs/x/timeline")),
        *(("GET", "/v1/subscriptions"), ("DELETE", "/v1/subscriptions/x")),
        *(("PATCH", "/v1/subscriptions/x"), ("POST", "/v1/subscriptions/x/recover")),
        *(("GET", "/v1/deliveries"), ("POST", "/v1/deliveries/x/resend")),
    ):
        answer = await web.request(method, path, json=JOB if method == "POST" else None)
        assert is_problem(answer, 503, "unavailable")
        assert (answer.json()["retryable"], answer.json()["charged"]) == (True, "no")
        assert int(answer.headers["retry-after"]) > 0
    assert (await web.get("/healthz")).status_code == 200
    assert (await web.get("/readyz")).status_code == 503


@pytest.mark.parametrize("headers", [{}, KEYED])
async def test_a_lost_answer_is_asked_for_again_and_makes_one_job(
    web: httpx.AsyncClient, way: Way, db: Database, headers: dict[str, str]
) -> None:
    way.lose("insert into jobs")
    answer = await web.post("/v1/jobs", json=JOB, headers=headers)
    assert way.lost == 1
    assert answer.status_code == 202
    assert "idempotency-replayed" not in answer.headers
    assert await db.pool.fetchval("select count(*) from jobs") == 1


@pytest.mark.parametrize("headers", [{}, KEYED])
async def test_a_job_of_which_nobody_knows_whether_it_is_stored_is_charged_unknown(
    web: httpx.AsyncClient,
    way: Way,
    db: Database,
    monkeypatch: pytest.MonkeyPatch,
    headers: dict[str, str],
) -> None:
    monkeypatch.setattr(create, "STORE_WITHIN_SECONDS", -1.0)
    way.lose("insert into jobs")
    answer = await web.post("/v1/jobs", json=JOB, headers=headers)
    assert is_problem(answer, 503, "unavailable")
    assert answer.json()["charged"] == "unknown"
    assert answer.json()["retryable"] is bool(headers)
    assert await db.pool.fetchval("select count(*) from jobs") == 1
    if headers:
        again = await web.post("/v1/jobs", json=JOB, headers=headers)
        assert again.headers["idempotency-replayed"] == "true"
        assert await db.pool.fetchval("select count(*) from jobs") == 1


@pytest.mark.parametrize("headers", [{}, KEYED])
async def test_a_job_that_cannot_be_waited_for_is_charged_unknown_and_named(
    web: httpx.AsyncClient, way: Way, db: Database, headers: dict[str, str]
) -> None:
    way.lose("from jobs_shown where id = $1")
    answer = await web.post("/v1/jobs", json=JOB, headers={**headers, "prefer": "wait=1"})
    assert way.lost == 1
    assert is_problem(answer, 503, "unavailable")
    assert answer.json()["charged"] == "unknown"
    assert answer.json()["retryable"] is bool(headers)
    stored = await db.pool.fetchval("select id from jobs")
    assert f"job_{stored.hex}" in answer.json()["detail"]
