"""Kills and cuts while jobs are under way: no job is lost, none is paid twice, all is told.

CALLBOARD_TEST_FULL=1 runs the full numbers; CALLBOARD_CHAOS_SEED repeats a run's draws, and
CALLBOARD_CHAOS_SANDBOX adds options of `callboard sandbox`, such as "--error 0.2 --forge 0.2".
"""

import asyncio
import os
import random
import secrets
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import asyncpg
import pytest
from chaos import report
from chaos.client import Client
from chaos.harness import (
    Postgres,
    Program,
    Service,
    free_port,
    service_settings,
    serving,
    some_time,
)
from chaos.subscriber import Subscriber, subscribing
from chaos.wire import Wire

from service.embedded import attached
from service.job import EVENT_TYPES

MISBEHAVIOUR = "--lose 0.3 --duplicate 0.3 --early 0.2 --drop-submit-reply 0.1"
RENDER_SECONDS = 0.8
REPLIES_HELD = 6  # some of their callbacks are lost too
PATIENCE_SECONDS = 150.0
OPEN = """
select (select count(*) from jobs where finished_at is null)
     + (select count(*) from deliveries where state = 'pending')
     + (select count(*) from unplaced)
"""


@dataclass(frozen=True)
class Size:
    """How much there is to do, and how often things go down. `seconds` to submit it all."""

    jobs: int
    kills: int
    seconds: float


SIZE = Size(jobs=100, kills=2, seconds=5.0)
if os.environ.get("CALLBOARD_TEST_FULL"):
    SIZE = Size(jobs=500, kills=5, seconds=25.0)


@dataclass
class Run:
    """The parts of one run, all going."""

    draws: random.Random
    postgres: Postgres
    sandbox: str
    wire: Wire
    service: Service
    client: Client
    subscriber: Subscriber

    async def happens(self) -> None:
        """All jobs are submitted, and all disasters come meanwhile."""
        # Where a reply is to be held there must be one, so some jobs are kept back for that.
        first = SIZE.jobs - 2 * REPLIES_HELD
        async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as tasks:
            tasks.create_task(self.client.submit_all(range(first), SIZE.seconds))
            tasks.create_task(self.disasters(first))

    async def disasters(self, jobs: int) -> None:
        """Every kill and restart, in an order of the draws, spread over so many submissions."""
        todo: list[Callable[[], Awaitable[None]]] = [self.service.kill] * (SIZE.kills - 1)
        todo += [self.kill_within_posts, self.restart, self.restart_within_posts]
        self.draws.shuffle(todo)
        for number, disaster in enumerate(todo):
            await self.submitted(jobs * (number + 0.5) / (len(todo) + 1))
            await asyncio.sleep(some_time(self.draws))
            await disaster()

    async def submitted(self, count: float) -> None:
        while len(self.client.jobs) < count:
            self.client.answered.clear()
            await self.client.answered.wait()

    async def restart(self) -> None:
        """Postgres is shut down in order, and comes back."""
        await self.postgres.stop(signal.SIGINT)
        await self.postgres.start()

    async def kill_within_posts(self) -> None:
        """The service is killed while POSTs that were accepted wait for their replies."""
        scenes = range(SIZE.jobs - REPLIES_HELD, SIZE.jobs)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.client.submit_all(scenes))
            async with self.wire.holding(REPLIES_HELD):
                await self.service.kill()

    async def restart_within_posts(self) -> None:
        """Postgres is killed while POSTs wait for their replies, which come before it is back."""
        scenes = range(SIZE.jobs - 2 * REPLIES_HELD, SIZE.jobs - REPLIES_HELD)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.client.submit_all(scenes))
            async with self.wire.holding(REPLIES_HELD):
                await self.postgres.stop(signal.SIGKILL)
            await self.postgres.start()

    async def settled(self) -> None:
        """Returns when every job has ended and every event is told, or nothing moves any more."""
        db = await asyncpg.connect(self.postgres.embedded.dsn)
        try:
            until = time.monotonic() + PATIENCE_SECONDS
            while await db.fetchval(OPEN) and time.monotonic() < until:
                assert self.service.is_running(), "the service went away by itself"
                await asyncio.sleep(0.1)
        finally:
            await db.close()

    async def ledger(self) -> dict[str, object]:
        async with self.client.http.get(f"{self.sandbox}/control") as reply:
            return dict(await reply.json())


@asynccontextmanager
async def going(folder: Path, seed: int) -> AsyncIterator[Run]:
    """Everything up, an app with its key, and a subscriber to all events."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        embedded = await stack.enter_async_context(attached(folder / "postgres", fsync=False))
        subscriber = await stack.enter_async_context(subscribing(random.Random(seed + 1)))
        port = free_port()
        sandbox = f"http://127.0.0.1:{port}"
        words = f"sandbox --port {port} --seed {seed} --render-seconds {RENDER_SECONDS} "
        words += f"{MISBEHAVIOUR} {os.environ.get('CALLBOARD_CHAOS_SANDBOX', '')}"
        program = Program(tuple(words.split()), folder / "sandbox.log")
        await stack.enter_async_context(serving(program, f"{sandbox}/control", http))
        wire = await stack.enter_async_context(Wire(port).running())
        port = free_port()
        env = service_settings(embedded.dsn, port, wire.address)
        program = Program(("serve",), folder / "service.log", env)
        url = f"http://127.0.0.1:{port}"
        await stack.enter_async_context(serving(program, f"{url}/readyz", http))
        client = Client(http, url, await made_key(env, folder), name=f"chaos {seed}")
        subscriber.secret = await client.subscribe(subscriber.url, sorted(EVENT_TYPES.values()))
        yield Run(
            draws=random.Random(seed),
            postgres=Postgres(embedded, folder / "postgres"),
            sandbox=sandbox,
            wire=wire,
            service=Service(program),
            client=client,
            subscriber=subscriber,
        )


async def made_key(env: dict[str, str], folder: Path) -> str:
    words = ("keys", "create", "--app", "chaos", "--scope", "submit", "--scope", "read")
    program = Program(words, folder / "keys.log", env)
    await program.start()
    assert await program.waited() == 0
    return program.said.read_text().split()[0]


@pytest.mark.slow
async def test_no_job_is_lost_or_paid_twice_and_each_end_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("CALLBOARD_CHAOS_SEED") or secrets.randbelow(10**6))
    with capsys.disabled():
        print(f"\nCALLBOARD_CHAOS_SEED={seed}", flush=True)
    began = time.monotonic()
    async with going(tmp_path, seed) as run:
        await run.happens()
        await run.settled()
        replayed = [await run.client.submit(prompt) for prompt in sorted(run.client.jobs)[:5]]
        outcome = await report.read(
            run.postgres.embedded.dsn,
            ledger=await run.ledger(),
            wire=run.wire,
            subscriber=run.subscriber,
            client=run.client,
            kills=run.service.kills,
            downs=run.postgres.downs,
        )
        stopped = await run.service.program.end(signal.SIGTERM)
    with capsys.disabled():
        print(f"{outcome.table()}\nin {time.monotonic() - began:.1f} s")
    said = (tmp_path / "service.log").read_text()
    wrong = [line for line in said.splitlines() if " ERROR " in line or " CRITICAL " in line]
    faults = [*outcome.faults(), *wrong]
    assert not faults, "\n".join(faults)
    assert all(replayed)
    assert stopped == 0, said[-2000:]
    assert run.wire.held, "no reply was in the way while Postgres was down"
    assert [len(run.service.kills), run.postgres.downs] == [SIZE.kills, 2]
