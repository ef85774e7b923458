"""Deliveries over HTTP: found, shown with their tries, sent again by hand."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import app_client
import pytest
from app_client import is_problem
from raw_server import says, serving
from scene import make_app, make_job, move, rows_of
from telling import Board, answering, board, parts

from service import ids
from service.database import Database
from service.job import State

OK = says(answering("200 OK"), then_closes=False)
DOWN = says(answering("503 Later", "x" * 5000), then_closes=False)
URL = "https://app.example/events"
ODD = says(b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\n\xff\x00ok", then_closes=False)


@pytest.fixture
async def studio(db: Database) -> AsyncIterator[Board]:
    async with board(db) as made:
        yield made


async def event_of(studio: Board, job: object) -> str:
    """The job's last event."""
    rows = await rows_of(studio.db, "job_events", job, "version")  # type: ignore[arg-type]
    return ids.show("evt", rows[-1]["id"])


async def test_a_delivery_is_shown_with_each_of_its_tries(studio: Board) -> None:
    async with serving(DOWN) as down:
        made = await studio.subscribe(down.origin)
        (job,) = await studio.ended()
        await studio.send()
        (shown,) = await studio.deliveries()
        assert list(shown) == [
            *("id", "event", "type", "job", "subscription", "url", "state", "next_at"),
            *("created_at", "tries"),
        ]
        assert (shown["job"], shown["subscription"]) == (ids.show("job", job), made["id"])
        assert (shown["event"], shown["type"]) == (await event_of(studio, job), "job.completed")
        assert (shown["url"], shown["state"]) == (down.origin, "pending")
        assert datetime.fromisoformat(str(shown["next_at"])) > datetime.now(UTC)
        (one,) = shown["tries"]  # type: ignore[misc]
        assert (one["number"], one["status"], one["error"]) == (1, 503, None)
        assert one["response"] == "x" * 4096
        assert one["duration_ms"] >= 0
        assert (await studio.web.get(f"/v1/deliveries/{shown['id']}")).json() == shown
    await studio.send(due=True)
    (_, refused) = (await studio.deliveries())[0]["tries"]  # type: ignore[misc]
    assert (refused["status"], refused["error"]) == (None, "Connection refused")
    assert refused["response"] == ""


async def test_an_answer_that_is_no_text_is_shown_as_far_as_it_goes(studio: Board) -> None:
    async with serving(ODD) as odd:
        await studio.subscribe(odd.origin)
        await studio.ended()
        await studio.send()
    (one,) = (await studio.deliveries())[0]["tries"]  # type: ignore[misc]
    assert one["response"] == "\ufffd\x00ok"


async def test_deliveries_are_found_by_what_they_are_of(studio: Board) -> None:
    async with serving(OK) as up, serving(DOWN) as down:
        good, bad = await studio.subscribe(up.origin), await studio.subscribe(down.origin)
        jobs = await studio.ended(2)
        (hooked,) = [await make_job(studio.db, studio.app, State.SUBMITTED, notify_hook=up.origin)]
        await move(studio.db, hooked, now=State.FAILED)
        await studio.send()
    paused = await studio.subscribe(URL)
    await studio.web.patch(f"/v1/subscriptions/{paused['id']}", json={"enabled": False})
    (late,) = await studio.ended()

    async def found(**query: str) -> list[tuple[object, object]]:
        return [(one["job"], one["subscription"]) for one in await studio.deliveries(**query)]

    first, second, third, fourth = [ids.show("job", job) for job in (*jobs, hooked, late)]
    to = {name: made["id"] for name, made in (("good", good), ("bad", bad), ("paused", paused))}
    assert set(await found(job=first)) == {(first, to["good"]), (first, to["bad"])}
    assert set(await found(subscription=to["bad"])) == {
        (job, to["bad"]) for job in (first, second, third, fourth)
    }
    assert set(await found(event=await event_of(studio, jobs[1]))) == {
        (second, to["good"]),
        (second, to["bad"]),
    }
    assert len(await found(state="succeeded")) == 4
    assert (third, None) in await found(state="succeeded")
    assert await found(state="held") == [(fourth, to["paused"])]
    assert len(await found(state="pending")) == 5
    assert await found(state="failed") == []
    await studio.db.pool.execute(
        "update deliveries set state = 'failed' where subscription_id = $1 and job_id = $2",
        ids.read("sub", to["bad"]),
        jobs[0],
    )
    assert await found(state="failed") == [(first, to["bad"])]
    for more in ({"job": first}, {"subscription": to["bad"]}, {}):
        assert await found(state="failed", **more) == [(first, to["bad"])]
    assert await found(state="failed", job=second) == []
    assert await found(state="failed", event=await event_of(studio, late)) == []
    assert await found(state="held", job=fourth) == [(fourth, to["paused"])]
    assert await found(state="pending", job=first, subscription=to["good"]) == []


async def test_deliveries_are_found_by_the_time_of_their_event(studio: Board) -> None:
    await studio.subscribe(URL)
    await studio.ended(2)
    now = datetime.now(UTC)
    hour = timedelta(hours=1)
    for query, number in (
        ({"created_after": (now - hour).isoformat()}, 2),
        ({"created_after": (now + hour).isoformat()}, 0),
        ({"created_before": (now - hour).isoformat()}, 0),
        ({"created_before": (now + hour).isoformat(), "state": "pending"}, 2),
    ):
        assert len(await studio.deliveries(**query)) == number, query


async def test_deliveries_come_by_page_newest_first(studio: Board) -> None:
    await studio.subscribe(URL)
    jobs = [ids.show("job", (await studio.ended())[0]) for _ in range(5)]
    seen: list[object] = []
    after: dict[str, str] = {}
    while True:
        query = {"limit": "2", **after}
        page = (await studio.web.get("/v1/deliveries", params=query)).json()
        seen += [one["job"] for one in page["data"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert seen == jobs[::-1]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "201"}, "limit"),
        ({"after": "x"}, "after"),
        ({"job": "evt_1"}, "job"),
        ({"subscription": f"job_{'0' * 32}"}, "subscription"),
        ({"event": ""}, "event"),
        ({"state": "exhausted"}, "state"),
        ({"created_after": "yesterday"}, "created_after"),
        ({"created_before": "x"}, "created_before"),
        ({"status": "failed"}, "status"),
    ],
)
async def test_a_filter_that_is_none_is_refused_by_name(
    studio: Board, query: dict[str, str], field: str
) -> None:
    answer = await studio.web.get("/v1/deliveries", params=query)
    assert is_problem(answer, 422, "invalid_request", field)


async def test_a_delivery_is_sent_again_under_the_same_id_whether_or_not_it_went_well(
    studio: Board,
) -> None:
    async with serving(OK) as up:
        await studio.subscribe(up.origin)
        (job,) = await studio.ended()
        await studio.send()
        (shown,) = await studio.deliveries()
        answer = await studio.web.post(f"/v1/deliveries/{shown['id']}/resend")
        assert (answer.status_code, answer.json()["state"]) == (202, "pending")
        await studio.send()
    first, second = [parts(request) for request in up.requests]
    assert first[0]["webhook-id"] == second[0]["webhook-id"] == shown["event"]
    assert first[1] == second[1]
    (again,) = await studio.deliveries()
    assert again["state"] == "succeeded"
    assert [one["number"] for one in again["tries"]] == [1, 2]  # type: ignore[attr-defined]
    (act,) = await rows_of(studio.db, "operator_actions", job)
    assert (act["act"], act["who"][:4], act["attempt"]) == ("resend", "key_", 1)
    timeline = (await studio.web.get(f"/v1/jobs/{ids.show('job', job)}/timeline")).json()["data"]
    (told,) = [one["detail"] for one in timeline if one["kind"] == "act"]
    assert told["detail"] == {"delivery": shown["id"]}


async def test_a_failed_one_sent_again_has_its_whole_schedule_before_it(studio: Board) -> None:
    async with serving(DOWN) as down:
        await studio.subscribe(down.origin)
        await studio.ended()
        for _ in range(10):
            await studio.send(due=True)
        (shown,) = await studio.deliveries(state="failed")
        await studio.web.post(f"/v1/deliveries/{shown['id']}/resend", json={})
        await studio.send()
    (again,) = await studio.deliveries(state="pending")
    assert [one["number"] for one in again["tries"]] == list(range(2, 12))  # type: ignore[attr-defined]
    whole = (await studio.web.get(f"/v1/deliveries/{shown['id']}")).json()
    assert [one["number"] for one in whole["tries"]] == list(range(1, 12))


async def test_one_to_a_disabled_endpoint_is_held_and_one_to_a_deleted_is_409(
    studio: Board,
) -> None:
    made = await studio.subscribe(URL)
    at = f"/v1/subscriptions/{made['id']}"
    await studio.ended()
    await studio.web.patch(at, json={"enabled": False})
    (shown,) = await studio.deliveries()
    answer = await studio.web.post(f"/v1/deliveries/{shown['id']}/resend")
    assert (answer.status_code, answer.json()["state"]) == (202, "held")
    await studio.web.delete(at)
    answer = await studio.web.post(f"/v1/deliveries/{shown['id']}/resend")
    assert is_problem(answer, 409, "conflict")
    await studio.send()
    (closed,) = await studio.deliveries()
    assert (closed["state"], closed["url"]) == ("failed", None)


async def test_another_apps_deliveries_are_seen_by_operators_of_all_apps_only(
    studio: Board, db: Database
) -> None:
    other = await make_app(db, name="other", key="cb_" + "o" * 43)
    operator = "cb_" + "a" * 43
    await app_client.make_key(db, operator, "operate", name="third", all_apps=True)
    await studio.subscribe(URL)
    await studio.ended()
    (shown,) = await studio.deliveries()
    at = f"/v1/deliveries/{shown['id']}"
    assert other
    theirs = {"authorization": "Bearer cb_" + "o" * 43}
    assert (await studio.web.get("/v1/deliveries", headers=theirs)).json()["data"] == []
    query = {"job": str(shown["job"])}
    answer = await studio.web.get("/v1/deliveries", params=query, headers=theirs)
    assert answer.json()["data"] == []
    assert is_problem(await studio.web.get(at, headers=theirs), 404, "not_found")
    assert is_problem(await studio.web.post(f"{at}/resend", headers=theirs), 404, "not_found")
    every = {"authorization": f"Bearer {operator}"}
    assert (await studio.web.get("/v1/deliveries", headers=every)).json()["data"] == [shown]
    for state in ("pending", "failed", "held", "succeeded"):
        answer = await studio.web.get("/v1/deliveries", params={"state": state}, headers=every)
        assert len(answer.json()["data"]) == (state == "pending")
    assert (await studio.web.get(at, headers=every)).json() == shown
    assert (await studio.web.post(f"{at}/resend", headers=every)).status_code == 202


async def test_an_id_that_names_nothing_is_404(studio: Board) -> None:
    for unknown in ("x", ids.show("dlv", ids.new_id()), f"dlv_{'f' * 32}", f"dlv_{'0' * 32}"):
        answer = await studio.web.get(f"/v1/deliveries/{unknown}")
        assert is_problem(answer, 404, "not_found"), unknown
        answer = await studio.web.post(f"/v1/deliveries/{unknown}/resend")
        assert is_problem(answer, 404, "not_found"), unknown
