"""GET /v1/jobs: filters, and pages that stay what they were while jobs come in."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import app_client
import httpx
import pytest
from app_client import KEY, MODEL, is_problem
from scene import job_row, make_app, make_job, move, posted_ago

from service import ids
from service.database import Database
from service.job import State
from service.store import job_lists

THREE_HOURS = 10_800.0


@pytest.fixture
async def studio(db: Database) -> UUID:
    return await make_app(db, key=KEY)


@pytest.fixture
async def web(db: Database, studio: UUID) -> AsyncIterator[httpx.AsyncClient]:
    async with app_client.client(app_client.app(db)) as client:
        yield client


async def listed(web: httpx.AsyncClient, **query: str) -> list[str]:
    answer = await web.get("/v1/jobs", params=query)
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json()["data"]]


def shown(*jobs: UUID) -> list[str]:
    """As a list shows them: newest first, by id within a millisecond."""
    return [ids.show("job", job) for job in sorted(jobs, reverse=True)]


async def test_each_filter_finds_its_jobs_newest_first(
    web: httpx.AsyncClient, db: Database, studio: UUID
) -> None:
    plain = await make_job(db, studio)
    other = await make_job(db, studio, State.RUNNING, provider="twin", model="m/2")
    named = await make_job(
        db, studio, State.RUNNING, reference="order-7", metadata={"user": "42", "tier": "gold"}
    )
    assert await listed(web) == shown(named, other, plain)
    assert await listed(web, state="running") == shown(named, other)
    assert await listed(web, provider="twin") == shown(other)
    assert await listed(web, model=MODEL, state="queued") == shown(plain)
    assert await listed(web, reference="order-7") == shown(named)
    assert await listed(web, **{"metadata[user]": "42"}) == shown(named)
    assert await listed(web, **{"metadata[user]": "42", "metadata[tier]": "tin"}) == []
    assert await listed(web, stuck="true") == []
    await posted_ago(db, THREE_HOURS, plain, other)
    assert await listed(web, stuck="true") == shown(other)
    assert await listed(web, stuck="false") == shown(named, other, plain)


async def test_what_needs_action_is_unconfirmed_or_overdue_and_open(
    web: httpx.AsyncClient, db: Database, studio: UUID
) -> None:
    for state in State:
        await make_job(db, studio, state)
    doubted = await make_job(db, studio, State.UNCONFIRMED, reference="order-7")
    overdue = [await make_job(db, studio, State.RUNNING) for _ in range(2)]
    both = await make_job(db, studio, State.UNCONFIRMED)
    strange = await make_job(db, await make_app(db, name="other", key="cb_o"), State.UNCONFIRMED)
    ended = await db.pool.fetch(
        "select id from jobs where state in ('queued', 'completed', 'expired')"
    )
    late = [*overdue, both, strange, *(row["id"] for row in ended)]
    await posted_ago(db, THREE_HOURS, *late)
    plain = await db.pool.fetchval(
        "select id from jobs where state = 'unconfirmed' order by id limit 1"
    )
    assert await listed(web, needs_action="true") == shown(plain, doubted, *overdue, both)
    assert await listed(web, needs_action="true", state="unconfirmed") == shown(
        plain, doubted, both
    )
    assert await listed(web, needs_action="true", reference="order-7") == shown(doubted)
    assert await listed(web, needs_action="true", stuck="true") == shown(*overdue, both)
    page = (await web.get("/v1/jobs", params={"needs_action": "true", "limit": "2"})).json()
    rest = await listed(web, needs_action="true", after=page["next"])
    assert [job["id"] for job in page["data"]] + rest == shown(plain, doubted, *overdue, both)
    everyone = "cb_" + "e" * 43
    await app_client.make_key(db, everyone, "operate", all_apps=True)
    headers = {"authorization": f"Bearer {everyone}"}
    answer = await web.get("/v1/jobs", params={"needs_action": "true"}, headers=headers)
    assert shown(strange)[0] in [job["id"] for job in answer.json()["data"]]
    odd = await web.get("/v1/jobs", params={"needs_action": "yes"})
    assert is_problem(odd, 422, "invalid_request", "needs_action")


async def test_times_bound_a_list(web: httpx.AsyncClient, db: Database, studio: UUID) -> None:
    job = await make_job(db, studio)
    now = datetime.now(UTC)
    before, after = (now - timedelta(minutes=1)), (now + timedelta(minutes=1))
    assert await listed(web, created_after=before.isoformat()) == shown(job)
    assert await listed(web, created_after=after.isoformat()) == []
    assert await listed(web, created_before=after.isoformat()) == shown(job)
    assert await listed(web, created_before=f"{before:%Y-%m-%dT%H:%M:%SZ}") == []
    assert await listed(web, created_after="1960-01-01T00:00:00Z") == shown(job)
    assert await listed(web, created_after="0001-01-01T00:00:00+14:00") == shown(job)
    assert await listed(web, created_before="1960-01-01T00:00:00Z") == []
    assert await listed(web, created_before="9999-12-31T23:59:59-14:00") == shown(job)


async def test_pages_follow_each_other_whatever_comes_in_between(
    web: httpx.AsyncClient, db: Database, studio: UUID
) -> None:
    jobs = [await make_job(db, studio) for _ in range(5)]
    seen, after = [], {}
    while True:
        page = (await web.get("/v1/jobs", params={"limit": "2", **after})).json()
        seen += [job["id"] for job in page["data"]]
        if page["next"] is None:
            break
        assert page["next"] == seen[-1]
        after = {"after": page["next"]}
        await make_job(db, studio)
    assert seen == shown(*jobs)


async def test_a_page_that_ends_the_list_just_so_has_no_next(
    web: httpx.AsyncClient, db: Database, studio: UUID
) -> None:
    job = await make_job(db, studio)
    for limit in ("1", "200"):
        page = (await web.get("/v1/jobs", params={"limit": limit})).json()
        assert page["data"][0]["id"] == shown(job)[0]
        assert page["next"] is None


async def test_lists_shorten_long_texts_and_a_job_alone_does_not(
    web: httpx.AsyncClient, db: Database, studio: UUID
) -> None:
    long = "data:image/png;base64," + "A" * 5000
    job = await make_job(db, studio, input={"image_url": long})
    one = (await web.get(f"/v1/jobs/{shown(job)[0]}")).json()
    assert one["input"]["image_url"] == long
    many = (await web.get("/v1/jobs")).json()["data"]
    assert many[0]["input"]["image_url"] == long[:4096] + "…"


@pytest.mark.parametrize(
    ("name", "value"),
    [("limit", value) for value in ("0", "201", "abc", "", "-1", "1.0", "\u0663", " 5", "1e1")]
    + [("limit", "0000000019999"), ("limit", "00000001" + "9" * 5000)]
    + [("state", "sleeping"), ("state", ""), ("stuck", "maybe"), ("after", "job_1")]
    + [("after", "x"), ("after", ""), ("created_after", "yesterday"), ("created_before", "")]
    + [("created_after", "2026-13-01"), ("provider", "\x00"), ("model", "a\x00")]
    + [("reference", "\x00"), ("metadata[a]", "\x00"), ("metadata[\x00]", "a")]
    + [("colour", "red"), ("metadata", "a"), ("metadata[a", "b"), ("Limit", "1")],
)
async def test_a_bad_value_or_an_unknown_filter_is_refused_by_name(
    web: httpx.AsyncClient, name: str, value: str
) -> None:
    answer = await web.get("/v1/jobs", params={name: value})
    assert is_problem(answer, 422, "invalid_request", name), answer.text


async def test_a_limit_within_bounds_counts_in_any_spelling(web: httpx.AsyncClient) -> None:
    assert (await web.get("/v1/jobs?limit=007")).status_code == 200
    assert (await web.get("/v1/jobs?limit=200")).status_code == 200


async def paged(web: httpx.AsyncClient, **query: str) -> list[str]:
    """All there are, page by page; a page may be short, or empty, and yet not the last."""
    found: list[str] = []
    after: str | None = None
    for _ in range(100):
        cursor = {} if after is None else {"after": after}
        page = (await web.get("/v1/jobs", params=query | cursor | {"limit": "2"})).json()
        found += [job["id"] for job in page["data"]]
        after = page["next"]
        if after is None:
            return found
    raise AssertionError(f"there is no end: {found}")


@pytest.mark.parametrize("most", [1, 4, 15])
async def test_however_little_a_page_looks_at_the_pages_show_each_once(
    web: httpx.AsyncClient,
    db: Database,
    studio: UUID,
    most: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(job_lists, "MOST_WALKED", most)
    other = await make_app(db, name="other", key="cb_o")
    made: dict[State, list[UUID]] = {state: [] for state in State}
    for n in range(3):
        for state in State:
            reference = "order-7" if n else None
            made[state].append(await make_job(db, studio, state, reference=reference))
            await make_job(db, other, state, reference="order-7")
    again = made[State.FAILED][1]
    await move(db, again, was=State.FAILED, now=State.QUEUED, to_attempt=2, due_in=0.0)
    await move(db, again, attempt=2, was=State.QUEUED, now=State.FAILED)
    made[State.QUEUED].append(made[State.CANCELED].pop())
    rerun = made[State.QUEUED][-1]
    await move(db, rerun, was=State.CANCELED, now=State.QUEUED, to_attempt=2, due_in=0.0)
    for state, jobs in made.items():
        assert await paged(web, state=state) == shown(*jobs), state
        named = [job for job in jobs if (await job_row(db, job))["reference"]]
        assert await paged(web, state=state, reference="order-7") == shown(*named)
    every = [job for jobs in made.values() for job in jobs]
    assert await paged(web) == shown(*every)
    assert await paged(web, provider="nobody") == []
    everyone = await db.pool.fetch("select id from jobs where state = 'running'")
    await app_client.make_key(db, "cb_" + "e" * 43, "operate", all_apps=True)
    web.headers["authorization"] = "Bearer cb_" + "e" * 43
    assert await paged(web, state="running") == shown(*(row["id"] for row in everyone))


async def test_a_job_is_listed_as_stuck_before_its_next_look_and_after(
    web: httpx.AsyncClient, db: Database, studio: UUID
) -> None:
    looked, unlooked, intime = [await make_job(db, studio, State.RUNNING) for _ in range(3)]
    again = await make_job(db, studio, State.RUNNING)
    await posted_ago(db, THREE_HOURS, looked, unlooked, again)
    await db.pool.execute(
        "update agenda set due_at = overdue_at - interval '1 second' where job_id = $1", unlooked
    )
    assert await listed(web, stuck="true") == shown(looked, unlooked, again)
    for was, now, due_in in (
        (State.RUNNING, State.EXPIRED, 60.0),
        (State.RUNNING, State.FAILED, None),
    ):
        job = looked if now is State.EXPIRED else unlooked
        await move(db, job, was=was, now=now, task="late", due_in=due_in)
    await move(
        db, again, was=State.RUNNING, now=State.QUEUED, task="submit", to_attempt=2, due_in=0.0
    )
    assert await listed(web, stuck="true") == []
    left = "select job_id from agenda where overdue_at is not null"
    assert [row["job_id"] for row in await db.pool.fetch(left)] == [intime]
