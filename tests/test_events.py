"""GET /v1/events by page, and one by one: the feed's order, cursors, filters, and who sees what."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import app_client
import httpx
import pytest
from app_client import KEY, is_problem
from following import BEGINNING, place
from scene import make_app, make_job, move, subscribe

from service import document, feed, ids, jsontext
from service.database import Database
from service.job import ALL_EVENT_TYPES, State
from service.store import deliveries, events

OTHER, CHIEF, SUBMITTER = ("cb_" + letter * 43 for letter in "ocs")


@pytest.fixture
async def studio(db: Database) -> UUID:
    return await make_app(db, key=KEY)


@pytest.fixture
async def web(db: Database, studio: UUID) -> AsyncIterator[httpx.AsyncClient]:
    async with app_client.client(app_client.app(db)) as client:
        yield client


async def ids_of(web: httpx.AsyncClient, **query: str) -> list[str]:
    answer = await web.get("/v1/events", params=query)
    assert answer.status_code == 200, answer.text
    return [event["id"] for event in answer.json()["data"]]


async def in_order(db: Database) -> list[str]:
    """Every event of the feed, by place."""
    rows = await db.pool.fetch("select event_id from feed order by place")
    return [ids.show("evt", row["event_id"]) for row in rows]


async def test_pages_follow_each_other_in_the_feeds_order_and_go_on_later(
    web: httpx.AsyncClient, db: Database, studio: UUID
) -> None:
    assert (await web.get("/v1/events")).json() == {"data": [], "next": None}
    for _ in range(3):
        await make_job(db, studio, State.COMPLETED)
    await place(db)
    feed_ids = await in_order(db)
    assert len(feed_ids) == 6
    first = (await web.get("/v1/events", params={"limit": "4"})).json()
    assert [event["id"] for event in first["data"]] == feed_ids[:4]
    assert first["next"] == feed_ids[3]
    rest = (await web.get("/v1/events", params={"limit": "2", "after": first["next"]})).json()
    assert [event["id"] for event in rest["data"]] == feed_ids[4:]
    assert rest["next"] is None
    assert await ids_of(web, after=feed_ids[-1]) == []
    await make_job(db, studio, State.RUNNING)
    await place(db)
    assert await ids_of(web, after=feed_ids[-1]) == (await in_order(db))[6:]
    assert await ids_of(web, after=BEGINNING) == await in_order(db)


async def test_who_asks_for_a_page_reads_the_feed(
    web: httpx.AsyncClient, db: Database, studio: UUID
) -> None:
    await db.pool.execute("update feed_read set at = now() - interval '1 hour'")
    assert await ids_of(web) == []
    assert (await events.place(db)).read


async def test_an_event_tells_what_a_subscriber_is_told_under_the_same_id(
    web: httpx.AsyncClient, db: Database, studio: UUID
) -> None:
    await subscribe(db, studio, "https://app.example/hook", list(ALL_EVENT_TYPES))
    job = await make_job(db, studio, State.COMPLETED, reference="order 7")
    await place(db)
    told = {event["id"]: event for event in (await web.get("/v1/events")).json()["data"]}
    claimed = await deliveries.claim(db, limit=10, lease_seconds=60)
    sent = {ids.show("evt", one.event_id): document.of_event(one.event) for one in claimed}
    assert told == {key: {"id": key, **jsontext.loads(jsontext.dumps(sent[key]))} for key in sent}
    assert [event["type"] for event in told.values()] == ["job.submitted", "job.completed"]
    assert {event["data"]["job"]["id"] for event in told.values()} == {ids.show("job", job)}


async def test_each_filter_finds_its_events(
    web: httpx.AsyncClient, db: Database, studio: UUID
) -> None:
    done = await make_job(db, studio, State.COMPLETED)
    await make_job(db, studio, State.FAILED)
    await place(db)
    everything = (await web.get("/v1/events")).json()["data"]
    ends = [event["id"] for event in everything if event["type"] != "job.submitted"]
    of_done = [event["id"] for event in everything if ids.show("job", done) in str(event)]
    assert await ids_of(web, type="job.completed,job.failed") == ends
    assert await ids_of(web, type="job.failed") == ends[1:]
    assert await ids_of(web, type="job.stuck") == []
    twice = httpx.QueryParams([("type", "job.failed"), ("type", "job.completed, job.failed")])
    answer = (await web.get("/v1/events", params=twice)).json()
    assert [event["id"] for event in answer["data"]] == ends
    assert await ids_of(web, job=ids.show("job", done)) == of_done
    assert await ids_of(web, job=ids.show("job", done), type="job.completed") == of_done[1:]
    assert await ids_of(web, job=ids.show("job", done), after=of_done[0]) == of_done[1:]
    page = await web.get("/v1/events", params={"type": "job.submitted", "limit": "1"})
    assert page.json()["next"] == page.json()["data"][0]["id"]


async def test_an_overdue_job_is_told_as_stuck(
    web: httpx.AsyncClient, db: Database, studio: UUID
) -> None:
    job = await make_job(db, studio, State.RUNNING)
    assert await events.tell_stuck(db, job, 4)
    await place(db)
    (told,) = (await web.get("/v1/events", params={"type": "job.stuck"})).json()["data"]
    assert (told["type"], told["data"]["job"]["state"]) == ("job.stuck", "running")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        *(("limit=0", "limit"), ("limit=201", "limit"), ("limit=x", "limit")),
        *(("type=", "type"), ("type=job.gone", "type"), ("type=job.failed,", "type")),
        *(("job=x", "job"), ("job=evt_00000000000000000000000000000000", "job")),
        *(("after=", "after"), ("after=x", "after"), ("after=%00", "after")),
        *(("after=evt_0192a0b1c2d37000800000000000ab07", "after"), ("since=now", "since")),
    ],
)
async def test_what_cannot_be_read_is_refused_by_name(
    web: httpx.AsyncClient, query: str, field: str
) -> None:
    for accept in ("application/json", "text/event-stream"):
        answer = await web.get(f"/v1/events?{query}", headers={"accept": accept})
        assert is_problem(answer, 422, "invalid_request", field)


async def test_a_cursor_in_the_header_goes_before_the_other(
    web: httpx.AsyncClient, db: Database, studio: UUID
) -> None:
    await make_job(db, studio, State.COMPLETED)
    await place(db)
    one, two = await in_order(db)
    answer = await web.get("/v1/events", params={"after": two}, headers={"last-event-id": one})
    assert [event["id"] for event in answer.json()["data"]] == [two]
    answer = await web.get("/v1/events", headers={"last-event-id": "x"})
    assert is_problem(answer, 422, "invalid_request", "Last-Event-ID")
    answer = await web.get("/v1/events", params={"after": one}, headers={"last-event-id": ""})
    assert [event["id"] for event in answer.json()["data"]] == [two]


async def test_an_event_that_is_not_in_the_feed_is_no_cursor(
    web: httpx.AsyncClient, db: Database, studio: UUID
) -> None:
    job = await make_job(db, studio)
    queued = await db.pool.fetchval("select id from job_events where job_id = $1", job)
    answer = await web.get("/v1/events", params={"after": ids.show("evt", queued)})
    assert is_problem(answer, 422, "invalid_request", "after")
    assert is_problem(await web.get(f"/v1/events/{ids.show('evt', queued)}"), 404, "not_found")


async def test_an_event_that_has_just_happened_is_waited_for(
    web: httpx.AsyncClient, db: Database, studio: UUID
) -> None:
    job = await make_job(db, studio, State.SUBMITTED)
    event_id = await db.pool.fetchval(
        "select id from job_events where job_id = $1 and now = 'submitted'", job
    )
    just_now = ids.show("evt", event_id)
    shown = asyncio.create_task(web.get(f"/v1/events/{just_now}"))
    page = asyncio.create_task(web.get("/v1/events", params={"after": just_now}))
    answered, _ = await asyncio.wait({shown, page}, timeout=0.3)
    assert not answered
    await place(db)
    assert (await shown).json()["type"] == "job.submitted"
    assert (await page).json() == {"data": [], "next": None}


async def test_one_event_is_shown_as_the_feed_tells_it(
    web: httpx.AsyncClient, db: Database, studio: UUID
) -> None:
    await make_job(db, studio, State.COMPLETED)
    await place(db)
    for event in (await web.get("/v1/events")).json()["data"]:
        assert (await web.get(f"/v1/events/{event['id']}")).json() == event
    for nothing in ("x", "evt_0192a0b1c2d37000800000000000ab07", BEGINNING):
        assert is_problem(await web.get(f"/v1/events/{nothing}"), 404, "not_found")


async def test_an_app_sees_its_own_events_and_an_operator_of_all_apps_everyones(
    web: httpx.AsyncClient, db: Database, studio: UUID
) -> None:
    other = await make_app(db, name="other", key=OTHER)
    await app_client.make_key(db, CHIEF, "operate", name="house", all_apps=True)
    await app_client.make_key(db, SUBMITTER, "submit")
    mine, theirs = [await make_job(db, app, State.SUBMITTED) for app in (studio, other)]
    await place(db)
    (own, foreign) = await in_order(db)
    chief = {"authorization": f"Bearer {CHIEF}"}
    assert await ids_of(web) == [own]
    everything = (await web.get("/v1/events", headers=chief)).json()["data"]
    assert [event["id"] for event in everything] == [own, foreign]
    for query in ({"job": ids.show("job", theirs)}, {"after": foreign}):
        refused = await web.get("/v1/events", params=query)
        assert refused.status_code == (404 if "job" in query else 422)
        assert (await web.get("/v1/events", params=query, headers=chief)).status_code == 200
    assert is_problem(await web.get(f"/v1/events/{foreign}"), 404, "not_found")
    assert (await web.get(f"/v1/events/{foreign}", headers=chief)).status_code == 200
    only_submits = {"authorization": f"Bearer {SUBMITTER}"}
    for path in ("/v1/events", f"/v1/events/{own}"):
        assert is_problem(await web.get(path, headers=only_submits), 403, "forbidden")
        assert is_problem(await web.get(path, headers={"authorization": ""}), 401, "unauthorized")
    assert await ids_of(web, job=ids.show("job", mine)) == [own]


async def test_a_page_of_large_events_is_shorter_and_says_that_there_are_more(
    web: httpx.AsyncClient, db: Database, studio: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PAGE_BYTES", 60_000)
    for _ in range(feed.AT_ONCE + 5):
        job = await make_job(db, studio, State.RUNNING)
        await move(db, job, now=State.COMPLETED, output={"text": "x" * 3000})
    await place(db)
    query, seen = {"type": "job.completed"}, []
    while query:
        page = (await web.get("/v1/events", params=query)).json()
        seen.append(len(page["data"]))
        query = {"type": "job.completed", "after": page["next"]} if page["next"] else {}
    assert seen == [feed.AT_ONCE, 5]
