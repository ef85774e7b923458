"""service/deliver.py: what one endpoint does is no other's trouble, and none fails for ever."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest
from raw_server import hangs, serving
from scene import make_app, rows_of, subscribe
from subscribing import answer, completed, delivering, due_again, one_round

from service.database import Database
from service.deliver import SCHEDULE

HERE = "127.0.0.0/8"


async def until(true: Callable[[], bool | Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while True:
            held = true()
            if held if isinstance(held, bool) else await held:
                return
            await asyncio.sleep(0.005)


async def endpoint_row(db: Database, subscription: UUID) -> dict[str, object]:
    row = await db.pool.fetchrow(
        "select enabled, disabled_reason, (select since from failing_endpoints where endpoint = id)"
        " as failing from subscriptions where id = $1",
        subscription,
    )
    assert row is not None
    return dict(row)


async def failing_for(db: Database, days: float) -> None:
    await db.pool.execute(
        "update failing_endpoints set since = now() - make_interval(secs => $1)", days * 86400
    )


async def test_one_endpoint_has_so_many_places_and_no_more(db: Database) -> None:
    app = await make_app(db)
    async with (
        serving(hangs) as dead,
        serving(answer("200 OK")) as alive,
        delivering(db, HERE, in_flight=8, each=3) as worker,
    ):
        await subscribe(db, app, dead.origin, ["job.completed"])
        await subscribe(db, app, alive.origin, ["job.completed"])
        for _ in range(10):
            await completed(db, app)

        async def all_told() -> bool:
            await worker.step()
            return len(alive.requests) == 10

        await until(all_told)
        assert len(dead.requests) == 3
        await worker.finish()


async def test_jobs_own_hooks_at_one_origin_share_its_places(db: Database) -> None:
    app = await make_app(db)
    async with (
        serving(hangs) as dead,
        serving(answer("200 OK")) as alive,
        delivering(db, HERE, in_flight=8, each=2) as worker,
    ):
        for number in range(5):
            await completed(db, app, notify_hook=f"{dead.origin}/{number}?job={number}")
        await completed(db, app, notify_hook=alive.origin)
        await worker.step()
        await until(lambda: len(dead.requests) == 2 and len(alive.requests) == 1)
        await worker.step()
        assert worker.places.taken <= 3
        await worker.finish()


async def test_those_that_fail_together_leave_places_for_the_others(db: Database) -> None:
    app = await make_app(db)
    async with (
        serving(hangs) as dead,
        serving(answer("200 OK")) as alive,
        delivering(db, HERE, in_flight=8, each=4) as worker,
    ):
        ended = [await subscribe(db, app, dead.origin, ["job.completed"]) for _ in range(6)]
        await db.pool.execute(
            "insert into failing_endpoints select unnest($1::uuid[]), now()", ended
        )
        for _ in range(4):
            await completed(db, app)
        await subscribe(db, app, alive.origin, ["job.completed"])
        await completed(db, app)
        await worker.step()
        await until(lambda: len(alive.requests) == 1)
        assert len(dead.requests) <= 2
        await worker.finish()


async def test_an_endpoint_fails_from_its_first_failure_to_its_next_success(db: Database) -> None:
    app = await make_app(db)
    status = ["500 Oops"]

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answer(status[0])(reader, writer)

    async with serving(talk) as server, delivering(db, HERE) as worker:
        wanted = await subscribe(db, app, server.origin, ["job.completed"])
        await completed(db, app)
        await one_round(worker)
        first = (await endpoint_row(db, wanted))["failing"]
        assert first is not None
        await due_again(db)
        await one_round(worker)
        assert (await endpoint_row(db, wanted))["failing"] == first
        status[0] = "200 OK"
        await due_again(db)
        await one_round(worker)
    assert await endpoint_row(db, wanted) == {
        "enabled": True,
        "disabled_reason": None,
        "failing": None,
    }


@pytest.mark.parametrize("tries", [1, len(SCHEDULE)])
async def test_after_five_days_of_failure_it_is_disabled_and_its_events_are_held(
    db: Database, tries: int
) -> None:
    app = await make_app(db)
    async with serving(answer("500 Oops")) as server, delivering(db, HERE) as worker:
        wanted = await subscribe(db, app, server.origin, ["job.completed"])
        job = await completed(db, app)
        await one_round(worker)
        await db.pool.execute("update deliveries set tries = $1", tries)
        await failing_for(db, 4.9)
        other = await completed(db, app)
        await one_round(worker)
        assert (await endpoint_row(db, wanted))["enabled"]
        await failing_for(db, 5.1)
        await due_again(db)
        await one_round(worker)
        assert len(server.requests) == 4
        shown = await endpoint_row(db, wanted)
        assert not shown["enabled"]
        assert shown["failing"] is not None
        assert str(shown["disabled_reason"]).startswith("the endpoint had failed for days at 20")
        later = await completed(db, app)
        await due_again(db)
        await one_round(worker)
        assert len(server.requests) == 4
    for held in (job, other, later):
        assert (await rows_of(db, "deliveries", held))[0]["state"] == "pending"


async def test_what_is_exhausted_has_failed(db: Database) -> None:
    app = await make_app(db)
    async with serving(answer("500 Oops")) as server, delivering(db, HERE) as worker:
        wanted = await subscribe(db, app, server.origin, ["job.completed"])
        job = await completed(db, app)
        await db.pool.execute("update deliveries set tries = $1", len(SCHEDULE))
        await one_round(worker)
    assert (await rows_of(db, "deliveries", job))[0]["state"] == "failed"
    assert (await endpoint_row(db, wanted))["enabled"]


async def test_410_to_the_last_try_holds_the_event_too(db: Database) -> None:
    app = await make_app(db)
    async with serving(answer("410 Gone")) as server, delivering(db, HERE) as worker:
        wanted = await subscribe(db, app, server.origin, ["job.completed"])
        job = await completed(db, app)
        await db.pool.execute("update deliveries set tries = $1", len(SCHEDULE))
        await one_round(worker)
    assert (await rows_of(db, "deliveries", job))[0]["state"] == "pending"
    assert not (await endpoint_row(db, wanted))["enabled"]
