"""Endpoints that are gone, paused or down: what waits for them is seen, and sent in the end."""

from collections.abc import AsyncIterator

import pytest
from raw_server import says, serving
from scene import rows_of
from telling import Board, answering, board

from service import ids
from service.database import Database
from service.job import State
from service.store import subscriptions

OK = says(answering("200 OK"), then_closes=False)
GONE = says(answering("410 Gone"), then_closes=False)
DOWN = says(answering("500 Oops", "no room"), then_closes=False)


@pytest.fixture
async def studio(db: Database) -> AsyncIterator[Board]:
    async with board(db) as made:
        yield made


async def test_what_a_gone_endpoint_missed_is_held_and_sent_once_it_is_enabled(
    studio: Board,
) -> None:
    async with serving(GONE) as gone:
        made = await studio.subscribe(gone.origin)
        at = f"/v1/subscriptions/{made['id']}"
        jobs = await studio.ended(2)
        await studio.send()
        assert len(gone.requests) == 2
    shown = (await studio.web.get(at)).json()
    assert not shown["enabled"]
    assert shown["disabled_reason"].startswith("the endpoint answered 410 Gone at 20")
    jobs += await studio.ended(2)
    held = await studio.deliveries(state="held")
    assert sorted(one["job"] for one in held) == sorted(ids.show("job", job) for job in jobs)
    assert {one["state"] for one in held} == {"held"}
    assert {one["next_at"] for one in held} == {None}
    assert await studio.deliveries(state="pending") == []
    async with serving(OK) as there:
        await studio.send()
        assert there.requests == []
        answer = await studio.web.patch(at, json={"enabled": True, "url": there.origin})
        assert (answer.json()["enabled"], answer.json()["disabled_reason"]) == (True, None)
        await studio.send()
        assert len(there.requests) == 4
    assert [one["state"] for one in await studio.deliveries()] == ["succeeded"] * 4


async def test_a_paused_endpoint_is_sent_what_it_missed_and_waits_for_no_schedule(
    studio: Board,
) -> None:
    async with serving(DOWN) as down:
        made = await studio.subscribe(down.origin)
        at = f"/v1/subscriptions/{made['id']}"
        await studio.ended(2)
        await studio.send()  # the next try would be in five seconds
    await studio.web.patch(at, json={"enabled": False})
    await studio.ended(1)
    async with serving(OK) as up:
        await studio.web.patch(at, json={"url": up.origin})
        await studio.send()
        assert up.requests == []
        await studio.web.patch(at, json={"enabled": True})
        await studio.send()
        assert len(up.requests) == 3


async def test_however_much_is_held_all_of_it_is_sent(studio: Board, db: Database) -> None:
    first, other = [await studio.subscribe("https://app.example/") for _ in range(2)]
    await studio.ended(5)
    await db.pool.execute("update deliveries set next_at = now() + interval '1 hour'")
    subscription = ids.read("sub", first["id"])
    assert subscription is not None
    await subscriptions.send_held(db, subscription, page=2)
    due = await db.pool.fetch("select subscription_id from deliveries where next_at <= now()")
    assert [row["subscription_id"] for row in due] == [subscription] * 5
    assert other["id"] != first["id"]


async def test_enabling_what_is_enabled_hurries_nothing(studio: Board, db: Database) -> None:
    async with serving(DOWN) as down:
        made = await studio.subscribe(down.origin)
        (job,) = await studio.ended()
        await studio.send()
        before = await rows_of(db, "deliveries", job)
        await studio.web.patch(f"/v1/subscriptions/{made['id']}", json={"enabled": True})
        assert await rows_of(db, "deliveries", job) == before


async def test_exhausted_deliveries_are_listed_as_failed(studio: Board) -> None:
    async with serving(DOWN) as down:
        await studio.subscribe(down.origin)
        (job,) = await studio.ended(1, State.FAILED)
        for _ in range(10):
            await studio.send(due=True)
    (failed,) = await studio.deliveries(state="failed")
    assert failed["job"] == ids.show("job", job)
    tries = failed["tries"]
    assert isinstance(tries, list)
    assert [one["number"] for one in tries] == list(range(1, 11))
    assert {(one["status"], one["error"], one["response"]) for one in tries} == {
        (500, None, "no room")
    }
