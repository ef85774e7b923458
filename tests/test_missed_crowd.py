"""Thirty-two writers that commit in any order, and endpoints that come and change among them."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

import pytest
from raw_server import says, serving
from scene import SECRETS, make_app, make_job, subscribe

from service import ids
from service.database import Database, load_queries
from service.deliver import Delivering
from service.encryption import AtRest
from service.guard import Guard
from service.job import State
from service.place import Placer
from service.pooled import Deliverer
from service.store import subscriptions
from service.store.advance import Move, columns, new_event_id
from service.store.subscriptions import Change

WRITERS, JOBS_EACH, ENDPOINTS = 32, 4, 12
QUERIES = load_queries()
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
FIRST, BOTH = ["job.completed"], ["job.completed", "job.running"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrote:
    """An event, and when its commit began and had been answered."""

    event: str
    type: str
    began: float
    done: float


@dataclass(slots=True)
class Endpoint:
    """When its making began and was answered, and from when on it has wanted which types."""

    path: str
    began: float
    made: float = 0.0
    wants: dict[str, float] = field(default_factory=dict)


async def write(db: Database, jobs: list[UUID], wrote: list[Wrote]) -> None:
    """Moves each job twice, each time in a transaction that stays open for a while."""
    for job in jobs:
        for now in (State.RUNNING, State.COMPLETED):
            move = Move(
                job_id=job,
                attempt=1,
                source="poll",
                event_id=new_event_id(job),
                now=now,
                due_in=5.0,
            )
            async with db.pool.acquire() as connection:
                transaction = connection.transaction()
                await transaction.start()
                await connection.fetch(QUERIES["advance"], *columns([move]))
                await asyncio.sleep(random.random() * 0.05)
                began = time.monotonic()
                await transaction.commit()
            shown = ids.show("evt", move.event_id)
            done = time.monotonic()
            wrote.append(Wrote(event=shown, type=f"job.{now}", began=began, done=done))


async def come(db: Database, app: UUID, origin: str, number: int) -> Endpoint:
    """An endpoint that is made, wants more after a while, is paused and enabled again."""
    await asyncio.sleep(random.random() * 0.3)
    one = Endpoint(path=f"/{number}", began=time.monotonic())
    made = await subscribe(db, app, f"{origin}/{number}", FIRST)
    one.made = time.monotonic()
    one.wants["job.completed"] = one.made
    for change in (Change(events=BOTH), Change(enabled=False), Change(enabled=True)):
        await asyncio.sleep(random.random() * 0.1)
        row = await subscriptions.change(db, app, made, change)
        assert row is not None
        one.wants.setdefault("job.running", time.monotonic())
    return one


@asynccontextmanager
async def at_work(db: Database) -> AsyncIterator[None]:
    """Two placers and a deliverer, until the block's end and until nothing is left to do."""
    client, over = Deliverer(Guard(["127.0.0.0/8"])), asyncio.Event()
    delivering = Delivering(db, AtRest(SECRETS), client, wake=asyncio.Event())
    placers = [Placer(db, wake=asyncio.Event()) for _ in range(2)]

    async def work(step: Placer | Delivering) -> None:
        while not over.is_set():
            await step.step()
            await asyncio.sleep(0.01)

    working = [asyncio.create_task(work(one)) for one in (*placers, delivering)]
    left = (
        "select exists (select from unplaced)"
        " or exists (select from deliveries where state = 'pending')"
    )
    try:
        yield
        async with asyncio.timeout(30):
            while await db.pool.fetchval(left):  # noqa: ASYNC110  it is in Postgres
                await asyncio.sleep(0.05)
    finally:
        over.set()
        await asyncio.gather(*working)
        await delivering.places.drain()
        await client.aclose()


@pytest.mark.slow
async def test_each_is_told_once_whatever_commits_after_the_answer_to_it(db: Database) -> None:
    app = await make_app(db)
    jobs = [
        [await make_job(db, app, State.SUBMITTED) for _ in range(JOBS_EACH)] for _ in range(WRITERS)
    ]
    wrote: list[Wrote] = []
    async with serving(says(OK, then_closes=False)) as server, at_work(db):
        endpoints, *_ = await asyncio.gather(
            asyncio.gather(*(come(db, app, server.origin, n) for n in range(ENDPOINTS))),
            *(write(db, of_one, wrote) for of_one in jobs),
        )
    told = Counter(_told(request) for request in server.requests)
    assert set(told.values()) == {1}
    of_job = Counter((path, job, kind) for path, _, job, kind in told)
    assert set(of_job.values()) == {1}, "the same news under two ids"
    heard = {(path, event) for path, event, _, _ in told}
    missed, early = [], []
    for one in endpoints:
        for event in wrote:
            wanted = one.wants.get(event.type)
            is_heard = (one.path, event.event) in heard
            if wanted is not None and event.began > wanted and not is_heard:
                missed.append((one, event))
            if event.done < one.began and is_heard:
                early.append((one, event))
    assert not missed
    assert not early
    assert len(wrote) == 2 * WRITERS * JOBS_EACH


def _told(request: bytes) -> tuple[str, str, str, str]:
    """The path, the event's id, its job and its type."""
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    (event,) = [line[12:] for line in lines if line.lower().startswith("webhook-id: ")]
    content = json.loads(body)
    return lines[0].split(" ")[1], event, content["data"]["job"]["id"], content["type"]
