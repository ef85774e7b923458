"""service/deliver.py: a killed process and a long outage lose nothing and repeat no event's id."""

import asyncio
import sys
from collections import Counter
from pathlib import Path

import pytest
from fuzzing import many
from raw_server import hangs, serving
from running import environment
from scene import SECRETS, WEBHOOK_SECRET, make_app, make_jobs, move_of, rows_of, subscribe
from standardwebhooks.webhooks import Webhook
from subscribing import answer, completed, delivering, due_again, one_round

from service import ids
from service.database import Database
from service.deliver import Delivering
from service.job import State
from service.store.advance import advance

HERE = "127.0.0.0/8"
HOUR = 3600.0
PROGRAM = Path(__file__).parent / "deliverer_process.py"
ROOT = Path(__file__).parent.parent


async def test_a_try_cut_by_a_killed_process_is_made_again_and_counts_as_none(
    db: Database, dsn: str
) -> None:
    app = await make_app(db)
    async with serving(hangs) as server:
        wanted = await subscribe(db, app, server.origin, ["job.completed"])
        job = await completed(db, app)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, PROGRAM, dsn, *SECRETS),
            env=environment(PYTHONPATH=str(ROOT)),
        )
        try:
            await asyncio.wait_for(server.arrived.wait(), 30)
        finally:
            process.kill()
            await process.wait()
    (cut,) = await rows_of(db, "deliveries", job)
    assert (cut["state"], cut["tries"]) == ("pending", 0)
    left = await db.pool.fetchval("select extract(epoch from next_at - now()) from deliveries")
    assert 0 < left < 60
    async with serving(answer("200 OK")) as server, delivering(db, HERE) as worker:
        await db.pool.execute(
            "update subscriptions set url = $2 where id = $1", wanted, server.origin
        )
        await one_round(worker)
        assert server.requests == [], "its lease has not ended"
        await due_again(db)
        await one_round(worker)
    (row,) = await rows_of(db, "deliveries", job)
    assert (row["state"], row["tries"], len(server.requests)) == ("succeeded", 1, 1)


@pytest.mark.slow
async def test_an_hour_of_500s_loses_and_repeats_nothing(db: Database) -> None:
    app, count = await make_app(db), many(10_000)
    told: Counter[str] = Counter()
    ends: dict[str, str] = {}
    up = False

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, _, body = server.requests.pop().partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        event = Webhook(WEBHOOK_SECRET).verify(body, headers)
        if up:
            told[headers["webhook-id"]] += 1
            ends[event["data"]["job"]["id"]] = headers["webhook-id"]
        await answer("200 OK" if up else "500 Oops")(reader, writer)

    async with serving(talk) as server, delivering(db, HERE) as worker:
        await subscribe(db, app, server.origin, ["job.completed"])
        jobs = await make_jobs(db, app, State.SUBMITTED, [{}] * count)
        for at in range(0, count, 200):
            some = jobs[at : at + 200]
            await advance(db, [move_of(job, now=State.COMPLETED) for job in some])
        passed = 0.0
        while passed < HOUR or not up:
            await _all_due_sent(db, worker)
            step = await _next_in(db)
            assert step is not None
            await _move_time(db, step)
            passed += step
            up = passed >= HOUR
        while (step := await _next_in(db)) is not None:
            await _move_time(db, step)
            await _all_due_sent(db, worker)
    assert set(ends) == {ids.show("job", job) for job in jobs}
    assert set(told.values()) == {1}
    assert len(told) == count
    assert await db.pool.fetchval("select count(*) from failing_endpoints") == 0


async def _all_due_sent(db: Database, worker: Delivering) -> None:
    """Rounds until nothing is due."""
    while await db.pool.fetchval(
        "select exists (select from deliveries where state = 'pending' and next_at <= now())"
    ):
        await one_round(worker)


async def _next_in(db: Database) -> float | None:
    """Seconds until a tenth of what waits is due; None: nothing waits."""
    found = await db.pool.fetchval(
        "select extract(epoch from percentile_disc(0.1) within group (order by next_at) - now())"
        " from deliveries where state = 'pending'"
    )
    return None if found is None else max(1.0, float(found))


async def _move_time(db: Database, seconds: float) -> None:
    await db.pool.execute(
        "update deliveries set next_at = next_at - make_interval(secs => $1)"
        " where state = 'pending'",
        seconds,
    )
