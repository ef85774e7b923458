"""service/deliver.py: signed, tried again by the schedule, resumed after a crash."""

import asyncio
import json

import pytest
from raw_server import Server, Talk, serving
from scene import WEBHOOK_SECRET, make_app, make_job, move, rows_of, subscribe
from standardwebhooks.webhooks import Webhook
from subscribing import answer, completed, delivering, due_again, one_round

from service import ids
from service.database import Database
from service.deliver import SCHEDULE, after
from service.job import State
from service.pooled import Delivered
from service.store.deliveries import claim


def parts(request: bytes) -> tuple[dict[str, str], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")[1:]
    return {line.split(": ", 1)[0].lower(): line.split(": ", 1)[1] for line in lines}, body


async def test_the_end_is_told_to_subscribers_and_to_the_jobs_own_hook_verifiably(
    db: Database,
) -> None:
    app = await make_app(db)
    async with serving(answer("200 OK")) as server, delivering(db, "127.0.0.0/8") as worker:
        await subscribe(db, app, f"{server.origin}/all", ["job.completed"])
        job = await completed(db, app, notify_hook=f"{server.origin}/own")
        await one_round(worker)
        await one_round(worker)
    assert sorted(request.split(b" ")[1] for request in server.requests) == [b"/all", b"/own"]
    for request in server.requests:
        headers, body = parts(request)
        event = Webhook(WEBHOOK_SECRET).verify(body, headers)
        assert event["type"] == "job.completed"
        assert event["data"]["job"]["id"] == ids.show("job", job)
        assert event["data"]["job"]["state"] == "completed"
    (*_, last) = await rows_of(db, "job_events", job, "version")
    told = {parts(request)[0]["webhook-id"] for request in server.requests}
    assert told == {ids.show("evt", last["id"])}
    for row in await rows_of(db, "deliveries", job):
        assert (row["state"], row["tries"]) == ("succeeded", 1)


async def test_only_the_events_asked_for_are_told(db: Database) -> None:
    app = await make_app(db)
    async with serving(answer("200 OK")) as server, delivering(db, "127.0.0.0/8") as worker:
        await subscribe(db, app, server.origin, ["job.running", "job.failed"])
        job = await make_job(db, app, State.SUBMITTED)
        await move(db, job, now=State.RUNNING, due_in=5.0)
        await move(db, job, now=State.COMPLETED)
        await one_round(worker)
    assert [json.loads(parts(one)[1])["type"] for one in server.requests] == ["job.running"]


@pytest.mark.parametrize(
    ("talk", "error"),
    [
        (answer("500 Oops"), None),
        (answer("302 There", "Location: http://127.0.0.1:9/"), None),
        (answer("404 Not Found"), None),
    ],
)
async def test_a_failure_is_tried_again_under_the_same_id(
    db: Database, talk: Talk, error: str | None
) -> None:
    app = await make_app(db)
    async with serving(talk) as server, delivering(db, "127.0.0.0/8") as worker:
        await subscribe(db, app, server.origin, ["job.completed"])
        job = await completed(db, app)
        await one_round(worker)
        (row,) = await rows_of(db, "deliveries", job)
        assert row["state"] == "pending"
        await one_round(worker)
        assert len(server.requests) == 1, "not before its time"
        await due_again(db)
        await one_round(worker)
    first, second = [parts(request) for request in server.requests]
    assert first[0]["webhook-id"] == second[0]["webhook-id"]
    assert first[1] == second[1]
    tries = await rows_of(db, "delivery_tries", job, "number")
    assert [one["number"] for one in tries] == [1, 2]
    assert tries[0]["response"] == b"ok"


def test_the_schedule_is_the_contracts_and_ends_in_failed() -> None:
    down = Delivered(status=500, duration=0.1)
    pauses = [after(down, tries).again_in for tries in range(1, 10)]
    for pause, planned in zip(pauses, SCHEDULE, strict=True):
        assert 0.8 * planned <= pause <= 1.2 * planned
    assert SCHEDULE == (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
    assert after(down, 9).state == "pending"
    assert after(down, 10).state == "failed"


def test_retry_after_is_honoured_where_it_is_longer_up_to_a_day() -> None:
    for status in (429, 503):
        assert after(Delivered(status=status, retry_after=600, duration=0), 1).again_in == 600
        assert after(Delivered(status=status, retry_after=1e9, duration=0), 1).again_in == 86400
        assert after(Delivered(status=status, retry_after=1, duration=0), 1).again_in >= 4
    assert after(Delivered(status=500, retry_after=600, duration=0), 1).again_in <= 6


async def test_410_disables_the_endpoint_and_holds_its_events(db: Database) -> None:
    app = await make_app(db)
    async with serving(answer("410 Gone")) as server, delivering(db, "127.0.0.0/8") as worker:
        wanted = await subscribe(db, app, server.origin, ["job.completed"])
        jobs = [await completed(db, app)]
        await one_round(worker)
        jobs.append(await completed(db, app))
        await due_again(db)
        await one_round(worker)
    assert len(server.requests) == 1
    row = await db.pool.fetchrow("select * from subscriptions where id = $1", wanted)
    assert not row["enabled"]
    assert row["disabled_reason"].startswith("the endpoint answered 410 Gone at 20")
    for job in jobs:
        assert (await rows_of(db, "deliveries", job))[0]["state"] == "pending"


async def test_what_cannot_be_signed_for_one_endpoint_keeps_no_other_waiting(
    db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    app = await make_app(db)
    async with serving(answer("200 OK")) as server, delivering(db, "127.0.0.0/8") as worker:
        bad, good = [
            await subscribe(db, app, f"{server.origin}/{name}", ["job.completed"])
            for name in ("bad", "good")
        ]
        await db.pool.execute("update subscriptions set secret = 'unreadable' where id = $1", bad)
        job = await completed(db, app)
        await one_round(worker)
    assert [request.split(b" ")[1] for request in server.requests] == [b"/good"]
    rows = {row["subscription_id"]: row for row in await rows_of(db, "deliveries", job)}
    assert [(rows[one]["state"], rows[one]["tries"]) for one in (bad, good)] == [
        ("pending", 0),
        ("succeeded", 1),
    ]
    assert worker.places.taken == 0
    assert "a task failed; its lease will end" in caplog.text


async def test_a_forbidden_address_is_never_called(db: Database) -> None:
    app = await make_app(db)
    async with serving(answer("200 OK")) as server, delivering(db) as worker:
        for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"):
            await subscribe(db, app, f"http://{host}:{server.port}/", ["job.completed"])
        job = await completed(db, app)
        await one_round(worker)
    assert server.connections == 0
    tries = await rows_of(db, "delivery_tries", job)
    assert len(tries) == 4
    assert all(one["error"].startswith("forbidden address") for one in tries)


async def test_a_try_cut_by_a_crash_is_made_again_and_counts_as_none(db: Database) -> None:
    app = await make_app(db)
    async with serving(answer("200 OK")) as server, delivering(db, "127.0.0.0/8") as worker:
        await subscribe(db, app, server.origin, ["job.completed"])
        job = await completed(db, app)
        assert len(await claim(db, limit=10, lease_seconds=30.0)) == 1  # and there it ends
        await one_round(worker)
        assert server.requests == []
        left = await db.pool.fetchval(
            "select extract(epoch from max(next_at) - now())::float8 from deliveries"
        )
        assert left < 60
        await due_again(db)
        await one_round(worker)
    (row,) = await rows_of(db, "deliveries", job)
    assert (row["state"], row["tries"], len(server.requests)) == ("succeeded", 1, 1)


async def test_two_deliverers_send_each_event_once(db: Database) -> None:
    app = await make_app(db)
    async with (
        serving(answer("200 OK")) as server,
        delivering(db, "127.0.0.0/8") as one,
        delivering(db, "127.0.0.0/8") as other,
    ):
        await subscribe(db, app, server.origin, ["job.completed"])
        for _ in range(30):
            await completed(db, app)
        await asyncio.gather(one_round(one), one_round(other))
    told = [parts(request)[0]["webhook-id"] for request in server.requests]
    assert len(told) == len(set(told)) == 30


async def test_what_waits_for_a_deleted_endpoint_is_closed(db: Database) -> None:
    app = await make_app(db)
    async with serving(answer("200 OK")) as server, delivering(db, "127.0.0.0/8") as worker:
        wanted = await subscribe(db, app, server.origin, ["job.completed"])
        job = await completed(db, app)
        assert await db.row("delete_subscription", app, wanted) is not None
        await one_round(worker)
    assert server.requests == []
    assert (await rows_of(db, "deliveries", job))[0]["state"] == "failed"


async def test_a_hanging_endpoint_holds_up_nobody_else(db: Database) -> None:
    app = await make_app(db)

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with (
        serving(hang) as dead,
        serving(answer("200 OK")) as alive,
        delivering(db, "127.0.0.0/8") as worker,
    ):
        await subscribe(db, app, dead.origin, ["job.completed"])
        await subscribe(db, app, alive.origin, ["job.completed"])
        await completed(db, app)
        await worker.step()
        await _arrived(dead, alive)
        await worker.finish()
        assert not worker.places.taken


async def test_it_looks_again_for_what_it_had_no_place_for_and_for_nothing_else(
    db: Database,
) -> None:
    app = await make_app(db)
    async with (
        serving(answer("200 OK")) as server,
        delivering(db, "127.0.0.0/8", in_flight=2) as worker,
    ):
        await subscribe(db, app, server.origin, ["job.completed"])
        for _ in range(3):
            await completed(db, app)
        await one_round(worker)
        assert worker.wake.is_set()
        worker.wake.clear()
        await one_round(worker)
        assert not worker.wake.is_set()
    assert len(server.requests) == 3


async def _arrived(*servers: Server) -> None:
    await asyncio.wait_for(asyncio.gather(*(one.arrived.wait() for one in servers)), 10)
