"""Subscriptions made or changed while jobs move: whatever commits after the answer is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from scene import make_app, make_job, move, rows_of, subscribe

from service import ids
from service.database import Database, load_queries
from service.job import State
from service.place import Placer
from service.recover import Recovering
from service.store import subscriptions
from service.store.advance import Move, columns, new_event_id
from service.store.recoveries import Start
from service.store.subscriptions import Change

LONG_AGO = datetime.now(UTC) - timedelta(days=400)
QUERIES = load_queries()
HELD = 77  # the advisory lock that a statement waits for, where a test holds it up


def moving(job: UUID, now: State) -> list[Any]:
    """What the statement that moves a job takes."""
    made = Move(
        job_id=job, attempt=1, source="poll", event_id=new_event_id(job), now=now, due_in=5.0
    )
    return columns([made])


async def place(db: Database) -> None:
    await Placer(db, wake=asyncio.Event()).step()


async def told(db: Database, job: UUID) -> list[tuple[int, UUID | None]]:
    """The versions of a job that are told, and to whom."""
    rows = await rows_of(db, "deliveries", job, "version")
    return [(row["version"], row["subscription_id"]) for row in rows]


@asynccontextmanager
async def moved_but_not_committed(db: Database, job: UUID, now: State) -> AsyncIterator[None]:
    """A job has moved in a transaction that commits with the block's end."""
    async with db.pool.acquire() as connection, connection.transaction():
        await connection.fetch(QUERIES["advance"], *moving(job, now))
        yield


async def waiting(db: Database, kind: str) -> None:
    """Until a statement waits for a lock of this kind."""
    there = "select exists (select from pg_locks where not granted and locktype = $1)"
    async with asyncio.timeout(10):
        while not await db.pool.fetchval(there, kind):  # noqa: ASYNC110  it is in Postgres
            await asyncio.sleep(0.01)


async def test_what_moved_before_it_and_commits_after_it_is_told(db: Database) -> None:
    app = await make_app(db)
    job = await make_job(db, app, State.SUBMITTED)
    async with moved_but_not_committed(db, job, State.COMPLETED):
        wanted = await subscribe(db, app, "https://a.example", ["job.completed"])
    assert await told(db, job) == []
    await place(db)
    assert await told(db, job) == [(4, wanted)]
    await place(db)
    assert await told(db, job) == [(4, wanted)]


async def test_what_moves_while_it_is_being_made_is_told(db: Database) -> None:
    app = await make_app(db)
    job = await make_job(db, app, State.SUBMITTED)
    wanted = ids.new_id()
    made = (wanted, app, "https://a.example", ["job.completed"], b"", b"", None, None, "")
    async with (
        db.pool.acquire() as mover,
        mover.transaction(),
        db.pool.acquire() as maker,
        maker.transaction(),  # commits first
    ):
        await maker.fetch(QUERIES["create_subscription"], *made)
        await mover.fetch(QUERIES["advance"], *moving(job, State.COMPLETED))
    await place(db)
    assert await told(db, job) == [(4, wanted)]


async def test_a_statement_that_waited_all_the_while_is_told(db: Database) -> None:
    app = await make_app(db)
    job = await make_job(db, app, State.SUBMITTED)
    async with db.pool.acquire() as connection, connection.transaction():
        await connection.execute("select from jobs where id = $1 for update", job)
        late = asyncio.create_task(move(db, job, now=State.COMPLETED))
        await waiting(db, "transactionid")  # its snapshot is taken, and it has no number yet
        wanted = await subscribe(db, app, "https://a.example", ["job.completed"])
    assert (await late).moved
    assert await told(db, job) == []
    await place(db)
    assert await told(db, job) == [(4, wanted)]


async def test_what_is_overdue_is_told_so_too(db: Database) -> None:
    app = await make_app(db)
    job = await make_job(db, app, State.SUBMITTED)
    async with db.pool.acquire() as connection, connection.transaction():
        await connection.fetch(QUERIES["tell_stuck"], job, 3, new_event_id(job))
        wanted = await subscribe(db, app, "https://a.example", ["job.stuck"])
    await place(db)
    assert await told(db, job) == [(4, wanted)]


async def test_what_committed_before_it_is_not_told_though_it_has_no_place_yet(
    db: Database,
) -> None:
    app = await make_app(db)
    job = await make_job(db, app, State.COMPLETED)
    await subscribe(db, app, "https://a.example", ["job.submitted", "job.completed"])
    await place(db)
    assert await told(db, job) == []


async def test_what_committed_before_it_is_not_told_though_an_older_one_is_still_open(
    db: Database,
) -> None:
    app = await make_app(db)
    older, job = [await make_job(db, app, State.SUBMITTED) for _ in range(2)]
    async with moved_but_not_committed(db, older, State.COMPLETED):
        await move(db, job, now=State.COMPLETED)
        wanted = await subscribe(db, app, "https://a.example", ["job.completed"])
    await place(db)
    assert await told(db, older) == [(4, wanted)]
    assert await told(db, job) == []


async def test_only_what_it_wants_of_its_own_app_is_told(db: Database) -> None:
    app, other = await make_app(db), await make_app(db, name="other", key="cb_" + "o" * 43)
    jobs = [await make_job(db, whose, State.SUBMITTED) for whose in (app, app, other)]
    async with (
        moved_but_not_committed(db, jobs[0], State.COMPLETED),
        moved_but_not_committed(db, jobs[1], State.FAILED),
        moved_but_not_committed(db, jobs[2], State.COMPLETED),
    ):
        wanted = await subscribe(db, app, "https://a.example", ["job.completed"])
    await place(db)
    assert [await told(db, job) for job in jobs] == [[(4, wanted)], [], []]


async def changed(db: Database, app: UUID, wanted: UUID, *types: str) -> None:
    assert await subscriptions.change(db, app, wanted, Change(events=types)) is not None


async def test_a_change_is_as_good_as_a_new_one(db: Database) -> None:
    app = await make_app(db)
    wanted = await subscribe(db, app, "https://a.example", ["job.completed"])
    before = await make_job(db, app, State.FAILED)
    late = await make_job(db, app, State.SUBMITTED)
    async with moved_but_not_committed(db, late, State.FAILED):
        await changed(db, app, wanted, "job.completed", "job.failed")
    await place(db)
    assert await told(db, before) == []
    assert await told(db, late) == [(4, wanted)]


async def test_a_change_forgets_nothing_of_what_was_missed_before_it(db: Database) -> None:
    app = await make_app(db)
    job = await make_job(db, app, State.SUBMITTED)
    async with moved_but_not_committed(db, job, State.COMPLETED):
        wanted = await subscribe(db, app, "https://a.example", ["job.completed"])
    await changed(db, app, wanted, "job.completed", "job.failed")  # before anything was placed
    await place(db)
    assert await told(db, job) == [(4, wanted)]


async def since(db: Database, app: UUID, start: Start) -> UUID:
    """An endpoint that begins in the past."""
    made = ids.new_id()
    await subscriptions.create(
        db,
        subscription_id=made,
        app_id=app,
        url="https://a.example",
        events=["job.completed"],
        secret=b"",
        headers=b"",
        start=start,
    )
    return made


async def recovered(db: Database) -> None:
    recovering = Recovering(db, wake=asyncio.Event(), page=2)
    while await recovering.step():
        pass


async def test_one_that_begins_in_the_past_is_told_all_whatever_has_a_place(db: Database) -> None:
    app = await make_app(db)
    placed = [await make_job(db, app, State.COMPLETED) for _ in range(3)]
    await place(db)
    unplaced = await make_job(db, app, State.COMPLETED)
    late = await make_job(db, app, State.SUBMITTED)
    async with moved_but_not_committed(db, late, State.COMPLETED):
        wanted = await since(db, app, Start(place=0, since=LONG_AGO))
    after = await make_job(db, app, State.COMPLETED)
    await recovered(db)
    await place(db)
    for job in (*placed, unplaced, late, after):
        (row,) = await told(db, job)
        assert row[1] == wanted


async def test_one_that_begins_at_a_moment_is_told_nothing_from_before_it(db: Database) -> None:
    app = await make_app(db)
    jobs = [await make_job(db, app, State.COMPLETED) for _ in range(4)]
    await place(db)
    unplaced = [await make_job(db, app, State.COMPLETED) for _ in range(2)]
    for job in (jobs[0], jobs[1], unplaced[0]):
        for table in ("job_events", "unplaced"):
            await db.pool.execute(
                f"update {table} set at = at - interval '1 day' where job_id = $1", job
            )
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    wanted = await since(db, app, Start(place=0, since=hour_ago))
    await recovered(db)
    await place(db)
    for job in (jobs[0], jobs[1], unplaced[0]):
        assert await told(db, job) == []
    for job in (jobs[2], jobs[3], unplaced[1]):
        assert await told(db, job) == [(4, wanted)]


async def test_a_placer_that_began_before_it_and_ends_after_it_leaves_the_rest_to_the_next(
    db: Database,
) -> None:
    app = await make_app(db)
    job = await make_job(db, app, State.COMPLETED)
    head = "told_at from feed_head"
    statement = QUERIES["place_events"].replace(head, f"{head}, held")
    statement = statement.replace("for update skip", "for update of feed_head skip")
    statement = statement.replace(
        "with waiting", f"with held as (select pg_advisory_xact_lock({HELD})), waiting", 1
    )
    assert statement.count("held") == statement.count("of feed_head") + 1 == 2
    async with db.pool.acquire() as holder, db.pool.acquire() as stale:
        async with holder.transaction():
            await holder.execute("select pg_advisory_xact_lock($1)", HELD)
            placing = asyncio.create_task(stale.fetch(statement, 60.0))
            await waiting(db, "advisory")
            wanted = await since(db, app, Start(place=0, since=LONG_AGO))
        (row,) = await placing
        assert row["busy"]
    assert await db.pool.fetchval("select count(*) from feed") == 0
    await recovered(db)
    await place(db)
    assert await told(db, job) == [(4, wanted)]


async def test_one_that_is_made_while_events_are_placed_begins_after_them(db: Database) -> None:
    app = await make_app(db)
    job = await make_job(db, app, State.COMPLETED)
    async with db.pool.acquire() as connection, connection.transaction():
        await connection.fetch(QUERIES["place_events"], 60.0)
        making = asyncio.create_task(since(db, app, Start(place=0, since=LONG_AGO)))
        await waiting(db, "transactionid")
    wanted = await making
    await recovered(db)
    assert await told(db, job) == [(4, wanted)]
