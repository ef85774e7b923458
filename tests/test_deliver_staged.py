"""service/deliver.py: what is staged in this process is sent at once, found by key."""

import asyncio
from collections import deque
from uuid import UUID

from raw_server import serving
from scene import make_app, rows_of, subscribe
from subscribing import answer, completed, delivering, one_round

from service.database import Database
from service.wakes import Wakes

HERE = "127.0.0.0/8"


async def test_what_is_staged_here_is_sent_without_a_look_for_all(db: Database) -> None:
    app, wakes = await make_app(db), Wakes()
    async with (
        serving(answer("200 OK")) as server,
        delivering(db, HERE, staged=wakes.staged) as worker,
    ):
        await subscribe(db, app, server.origin, ["job.completed"])
        await one_round(worker)  # the look for all that is due
        elsewhere = await completed(db, app)
        here = await completed(db, app)
        wakes.staged.append(here)
        await one_round(worker)
        assert (await rows_of(db, "deliveries", here))[0]["state"] == "succeeded"
        assert (await rows_of(db, "deliveries", elsewhere))[0]["state"] == "pending"
        await one_round(worker)
        assert (await rows_of(db, "deliveries", elsewhere))[0]["state"] == "succeeded"
    assert len(server.requests) == 2


async def test_what_is_staged_while_there_is_no_place_wakes_when_there_is_one(
    db: Database,
) -> None:
    app, staged, release = await make_app(db), deque[UUID](), asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        await answer("200 OK")(reader, writer)

    async with (
        serving(talk) as server,
        delivering(db, HERE, in_flight=1, staged=staged) as worker,
    ):
        await subscribe(db, app, server.origin, ["job.completed"])
        await one_round(worker)  # the look for all that is due
        for _ in range(2):
            staged.append(await completed(db, app))
            assert not await worker.step()
        assert not worker.wake.is_set()
        release.set()
        await asyncio.wait_for(worker.wake.wait(), 20)
        await worker.finish()


async def test_what_is_staged_for_a_disabled_endpoint_is_passed_over(db: Database) -> None:
    app, wakes = await make_app(db), Wakes()
    async with (
        serving(answer("200 OK")) as server,
        delivering(db, HERE, staged=wakes.staged) as worker,
    ):
        wanted = await subscribe(db, app, server.origin, ["job.completed"])
        await db.pool.execute("update subscriptions set enabled = false where id = $1", wanted)
        wakes.staged.append(await completed(db, app))
        await one_round(worker)
        wakes.staged.append(await completed(db, app))
        await one_round(worker)
    assert server.requests == []
