"""service/recover.py: what was not acknowledged is told again, once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from raw_server import Server, says, serving
from scene import SECRETS, make_app, make_job, rows_of, subscribe

from service import ids
from service.database import Database
from service.deliver import Delivering
from service.encryption import AtRest
from service.errors import InvalidRequest, NotFound
from service.guard import Guard
from service.job import State
from service.place import Placer
from service.pooled import Deliverer
from service.recover import ONE_REQUEST_SECONDS, Recovering
from service.store import subscriptions
from service.store.deliveries import claim

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
DOWN = b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\ndown"
LONG_AGO = datetime.now(UTC) - timedelta(days=400)
DONE = ["job.completed"]


@asynccontextmanager
async def delivering(db: Database) -> AsyncIterator[Delivering]:
    client = Deliverer(Guard(["127.0.0.0/8"]))
    yield Delivering(db, AtRest(SECRETS), client, wake=asyncio.Event())
    await client.aclose()


async def sent(worker: Delivering) -> None:
    """All that is due is sent."""
    while True:
        await worker.step()
        if not worker.places.taken:
            return
        await worker.places.drain()


async def recovered(db: Database, page: int = 3) -> None:
    recovering = recover(db, page)
    while await recovering.step():
        pass


def recover(db: Database, page: int = 3) -> Recovering:
    return Recovering(db, wake=asyncio.Event(), page=page)


async def ask(db: Database, wanted: UUID, **more: object) -> int:
    given = {"since": LONG_AGO, "who": "key_x"} | more
    return await recover(db).ask(None, wanted, **given)  # type: ignore[arg-type]


async def ended(db: Database, app: UUID, number: int) -> list[UUID]:
    """Completed jobs whose events have their places."""
    jobs = [await make_job(db, app, State.COMPLETED) for _ in range(number)]
    await Placer(db, wake=asyncio.Event()).step()
    return jobs


async def states(db: Database, jobs: Sequence[UUID]) -> list[str]:
    found = [await rows_of(db, "deliveries", job) for job in jobs]
    return [",".join(row["state"] for row in rows) for rows in found]


async def exhaust(db: Database) -> None:
    """Every waiting delivery has had its last try."""
    await db.pool.execute("update deliveries set state = 'failed' where state = 'pending'")


def heard(server: Server) -> Counter[str]:
    """The events' ids."""
    lines = [line for one in server.requests for line in one.decode().split("\r\n")]
    return Counter(line[12:] for line in lines if line.lower().startswith("webhook-id: "))


async def test_failed_ones_are_sent_again_and_acknowledged_ones_are_not(db: Database) -> None:
    app = await make_app(db)
    async with serving(says(DOWN, then_closes=False)) as down, delivering(db) as worker:
        wanted = await subscribe(db, app, down.origin, DONE)
        failed = await ended(db, app, 4)
        await sent(worker)
        await exhaust(db)
    async with serving(says(OK, then_closes=False)) as up, delivering(db) as worker:
        await db.pool.execute("update subscriptions set url = $1", up.origin)
        good = await ended(db, app, 3)
        await sent(worker)
        assert len(up.requests) == 3
        assert await ask(db, wanted) == 4
        await recovered(db)
        await sent(worker)
    assert heard(up) == dict.fromkeys(heard(up), 1)
    assert heard(down).keys() < heard(up).keys()
    assert await states(db, failed + good) == ["succeeded"] * 7
    assert await ask(db, wanted) == 0


async def test_a_schedule_begins_anew_and_the_tries_are_numbered_on(db: Database) -> None:
    app = await make_app(db)
    async with serving(says(DOWN, then_closes=False)) as down, delivering(db) as worker:
        wanted = await subscribe(db, app, down.origin, DONE)
        (job,) = await ended(db, app, 1)
        for _ in range(10):
            await db.pool.execute("update deliveries set next_at = now()")
            await sent(worker)
        assert await states(db, [job]) == ["failed"]
        assert await ask(db, wanted) == 1
        await recovered(db)
        await sent(worker)
        assert await states(db, [job]) == ["pending"]
        soon = "select next_at < now() + interval '10 seconds' from deliveries"
        assert await db.pool.fetchval(soon), "as after a first try"
    tries = await rows_of(db, "delivery_tries", job, "number")
    assert [one["number"] for one in tries] == list(range(1, 12))


async def test_what_was_never_staged_is_sent_though_it_is_older_than_the_endpoint(
    db: Database,
) -> None:
    app = await make_app(db)
    jobs = await ended(db, app, 7)
    other = await make_app(db, name="other", key="cb_" + "o" * 43)
    theirs = await ended(db, other, 2)
    failed = await make_job(db, app, State.FAILED)
    async with serving(says(OK, then_closes=False)) as server, delivering(db) as worker:
        wanted = await subscribe(db, app, server.origin, DONE)
        await sent(worker)
        assert server.requests == []
        assert await ask(db, wanted, dry_run=True) == 7
        await recovered(db)
        assert await states(db, jobs) == [""] * 7, "nothing but counted"
        assert await ask(db, wanted) == 7
        await recovered(db)
        await sent(worker)
    assert sorted(heard(server).values()) == [1] * 7
    assert await states(db, [*jobs, *theirs, failed]) == ["succeeded"] * 7 + [""] * 3


async def test_what_has_no_place_yet_is_sent_when_it_gets_one(db: Database) -> None:
    app = await make_app(db)
    job = await make_job(db, app, State.COMPLETED)
    wanted = await subscribe(db, app, "https://a.example", DONE)
    assert await ask(db, wanted) == 0
    await recovered(db)
    assert await states(db, [job]) == [""]
    await Placer(db, wake=asyncio.Event()).step()
    assert await states(db, [job]) == ["pending"]


async def test_only_a_stretch_of_time_is_sent(db: Database) -> None:
    app = await make_app(db)
    jobs = await ended(db, app, 6)
    wanted = await subscribe(db, app, "https://a.example", DONE)
    now = datetime.now(UTC)
    for hours, job in enumerate(jobs):
        at = now - timedelta(hours=hours)
        await db.pool.execute("update job_events set at = $1 where job_id = $2", at, job)
    since, until = now - timedelta(hours=4), now - timedelta(hours=1)
    assert await ask(db, wanted, since=since, until=until) == 3
    await recovered(db)
    assert await states(db, jobs) == ["", "", "pending", "pending", "pending", ""]


async def test_one_may_begin_at_an_event(db: Database) -> None:
    app = await make_app(db)
    jobs = await ended(db, app, 4)
    wanted = await subscribe(db, app, "https://a.example", DONE)
    (event,) = await db.pool.fetch(
        "select id from job_events where job_id = $1 and now = 'completed'", jobs[2]
    )
    assert await ask(db, wanted, since=event["id"]) == 2
    await recovered(db)
    assert await states(db, jobs) == ["", "", "pending", "pending"]
    for unknown in (ids.new_id(), (await ended(db, await make_app(db, name="b", key="k"), 1))[0]):
        with pytest.raises(InvalidRequest, match="since: is no event of this app's"):
            await ask(db, wanted, since=unknown)


async def test_what_cannot_be_asked_is_refused_by_name(db: Database) -> None:
    wanted = await subscribe(db, await make_app(db), "https://a.example", DONE)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    with pytest.raises(InvalidRequest, match="since: lies in the future"):
        await ask(db, wanted, since=tomorrow)
    with pytest.raises(InvalidRequest, match="until: must lie after since"):
        await ask(db, wanted, until=LONG_AGO)
    with pytest.raises(NotFound):
        await ask(db, ids.new_id())


async def test_acknowledged_ones_are_sent_too_where_that_is_asked(db: Database) -> None:
    app = await make_app(db)
    async with serving(says(OK, then_closes=False)) as server, delivering(db) as worker:
        wanted = await subscribe(db, app, server.origin, DONE)
        jobs = await ended(db, app, 5)
        await sent(worker)
        assert await ask(db, wanted, acknowledged=True) == 5
        await recovered(db)
        await sent(worker)
        await recovered(db)
        await sent(worker)
    assert sorted(heard(server).values()) == [2] * 5
    assert await states(db, jobs) == ["succeeded"] * 5


@pytest.mark.parametrize("acknowledged", [False, True])
async def test_the_same_request_twice_at_once_sends_once(db: Database, acknowledged: bool) -> None:
    app = await make_app(db)
    async with serving(says(OK, then_closes=False)) as server, delivering(db) as worker:
        wanted = await subscribe(db, app, server.origin, DONE)
        await ended(db, app, 4)
        await (sent(worker) if acknowledged else exhaust(db))
        before = len(server.requests)
        both = [ask(db, wanted, acknowledged=acknowledged) for _ in range(2)]
        assert await asyncio.gather(*both) == [4, 4]
        await recovered(db)
        await sent(worker)
        if acknowledged:  # the first is over, and the second only begins
            assert await ask(db, wanted, acknowledged=True) == 4
        await asyncio.gather(recovered(db), recovered(db))
        await sent(worker)
        assert len(server.requests) == before + 4
        await db.pool.execute(
            "update recoveries set created_at = now() - make_interval(secs => $1)",
            ONE_REQUEST_SECONDS + 1,
        )
        await recovered(db)
        assert await db.pool.fetchval("select bool_and(done_at is not null) from recoveries")
        assert await ask(db, wanted, acknowledged=acknowledged) == (4 if acknowledged else 0)


async def test_a_try_under_way_is_left_alone_and_a_waiting_one_is_made_now(db: Database) -> None:
    app = await make_app(db)
    wanted = await subscribe(db, app, "https://a.example", DONE)
    jobs = await ended(db, app, 2)
    assert len(await claim(db, limit=1, lease_seconds=30.0)) == 1
    await db.pool.execute(
        "update deliveries set next_at = now() + interval '5 hours' where lease = 0"
    )
    assert await ask(db, wanted) == 2
    await recovered(db)
    rows = [(await rows_of(db, "deliveries", job))[0] for job in jobs]
    now = await db.pool.fetchval("select now()")
    assert sorted((row["lease"], row["next_at"] > now) for row in rows) == [(0, False), (1, True)]


async def test_a_last_try_that_fails_while_it_is_recovered_is_followed_by_others(
    db: Database,
) -> None:
    app = await make_app(db)
    release = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.write(DOWN)
        await writer.drain()

    async with serving(talk) as server, delivering(db) as worker:
        wanted = await subscribe(db, app, server.origin, DONE)
        (job,) = await ended(db, app, 1)
        await db.pool.execute("update deliveries set tries = 9")
        await worker.step()
        await asyncio.wait_for(server.arrived.wait(), 10)
        assert await ask(db, wanted) == 1
        await recovered(db)
        release.set()
        await worker.places.drain()
    assert await states(db, [job]) == ["pending"]


async def test_a_deleted_endpoints_recovery_goes_with_it(db: Database) -> None:
    app = await make_app(db)
    await ended(db, app, 3)
    wanted = await subscribe(db, app, "https://a.example", DONE)
    assert await ask(db, wanted) == 3
    assert await subscriptions.delete(db, app, wanted)
    assert not await recover(db).step()
    assert await db.pool.fetchval("select count(*) from deliveries") == 0
