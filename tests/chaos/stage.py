"""All the parts of a run, going: Postgres, sandbox, service, an app and its subscriber."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import asyncpg

from chaos import report
from chaos.client import Client
from chaos.harness import Postgres, Program, Service, free_port, service_settings, serving_both
from chaos.subscriber import Subscriber, subscribing
from chaos.wire import Wire
from service.database import AWAY
from service.embedded import attached
from service.job import EVENT_TYPES

PATIENCE_SECONDS = 150.0
# Where much goes wrong a provider is paused by chance, for minutes: time is moved. While replies,
# which end such a pause, are held, each trial would double it.
SHORTENED = """update provider_health set paused_until = now() + interval '1 second'
    where paused_until > now() + interval '1 second'"""
OPEN = """
select (select count(*) from jobs where finished_at is null)
     + (select count(*) from deliveries where state = 'pending')
     + (select count(*) from unplaced)
"""


@dataclass
class Stage:
    """The parts of one run. `sandbox` is its address."""

    postgres: Postgres
    sandbox: str
    wire: Wire
    service: Service
    client: Client
    subscriber: Subscriber

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

    async def outcome(self) -> report.Outcome:
        """All that the run left behind."""
        async with self.client.http.get(f"{self.sandbox}/control") as reply:
            ledger = await reply.json()
        return await report.read(
            self.postgres.embedded.dsn,
            ledger=ledger,
            wire=self.wire,
            subscriber=self.subscriber,
            client=self.client,
            kills=self.service.kills,
            downs=self.postgres.downs,
        )


@asynccontextmanager
async def staged(
    folder: Path, options: Sequence[str], *, name: str, seed: int
) -> AsyncIterator[Stage]:
    """Everything up, the sandbox with these options, an app with its key, and a subscriber to all
    events. `name` goes before each of the app's prompts."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        embedded = await stack.enter_async_context(attached(folder / "postgres", fsync=False))
        subscriber = await stack.enter_async_context(subscribing(random.Random(seed + 1)))
        port = free_port()
        sandbox = f"http://127.0.0.1:{port}"
        words = ("sandbox", "--port", str(port), *options)
        played = Program(words, folder / "sandbox.log")
        wire = await stack.enter_async_context(Wire(port).running())
        port = free_port()
        env = service_settings(embedded.dsn, port, wire.address)
        program = Program(("serve",), folder / "service.log", env)
        url = f"http://127.0.0.1:{port}"
        both = (played, f"{sandbox}/control"), (program, f"{url}/readyz")
        await stack.enter_async_context(serving_both(*both, http))
        client = Client(http, url, await made_key(env, folder), name=name)
        stack.callback(asyncio.create_task(pauses_shortened(embedded.dsn)).cancel)
        subscriber.secret = await client.subscribe(subscriber.url, sorted(EVENT_TYPES.values()))
        yield Stage(
            postgres=Postgres(embedded, folder / "postgres"),
            sandbox=sandbox,
            wire=wire,
            service=Service(program),
            client=client,
            subscriber=subscriber,
        )


async def pauses_shortened(dsn: str) -> None:
    """Goes on for as long as it is let, whether Postgres is there or not."""
    while True:
        with suppress(*AWAY):
            db = await asyncpg.connect(dsn)
            try:
                await db.execute(SHORTENED)
            finally:
                await db.close()
        await asyncio.sleep(0.5)


async def made_key(env: dict[str, str], folder: Path) -> str:
    words = ("keys", "create", "--app", "chaos", "--scope", "submit", "--scope", "read")
    program = Program(words, folder / "keys.log", env)
    await program.start()
    assert await program.waited() == 0
    return program.said.read_text().split()[0]
