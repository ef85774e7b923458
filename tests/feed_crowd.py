"""Many who write at once and many who read along, stop and resume, while servers come and go."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg
import httpx
from following import BEGINNING, streaming
from running import Process, environment, running
from scene import SECRETS, make_job

from service.database import Database
from service.job import State
from service.store.advance import Move, columns, new_event_id

LONGEST_DELAY = 0.15  # seconds between a statement and its commit
PATIENCE = 1.0  # seconds that a reader waits for one event before it goes elsewhere


@dataclass(slots=True, kw_only=True)
class Servers:
    """Two `callboard serve` on one database."""

    dsn: str
    folder: str
    urls: dict[str, str] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def start(self, name: str) -> None:
        env = environment(
            DATABASE_URL=self.dsn, CALLBOARD_SECRETS=",".join(SECRETS), CALLBOARD_PORT="0"
        )
        process = await self.stack.enter_async_context(running("serve", env=env, cwd=self.folder))
        self.urls[name] = await process.said(r"listening on (http://\S+)")
        self.processes[name] = process

    async def restart(self, name: str, number: signal.Signals) -> None:
        """Ends one, well or badly, and starts another, at an address of its own."""
        process = self.processes[name]
        process.send(number)
        await process.ended()
        assert number is signal.SIGKILL or "Traceback" not in process.output, process.output
        await self.start(name)


@asynccontextmanager
async def serving(dsn: str, folder: str) -> AsyncIterator[Servers]:
    """Both up, and ended with the context."""
    servers = Servers(dsn=dsn, folder=folder)
    async with servers.stack:
        await asyncio.gather(servers.start("one"), servers.start("two"))
        yield servers


class Writer:
    """Moves jobs of an app, each in a transaction that stays open for a while, so that nobody
    knows which of many commits next."""

    def __init__(self, db: Database, dsn: str, app_id: UUID) -> None:
        self._db = db
        self._dsn = dsn
        self._app_id = app_id

    async def write(self, enough: asyncio.Event) -> None:
        """Until it is enough; two jobs at a time, interleaved."""
        connection = await asyncpg.connect(self._dsn)
        try:
            while not enough.is_set():
                jobs = [await make_job(self._db, self._app_id, State.SUBMITTED) for _ in range(2)]
                for now in (State.RUNNING, random.choice([State.COMPLETED, State.FAILED])):
                    for job in random.sample(jobs, 2):
                        await self._move(connection, job, now)
        finally:
            await connection.close()

    async def _move(self, connection: asyncpg.Connection, job: UUID, now: State) -> None:
        move = Move(
            job_id=job,
            attempt=1,
            source="poll",
            event_id=new_event_id(job),
            now=now,
            due_in=600.0 if now is State.RUNNING else None,
        )
        async with connection.transaction():
            (row,) = await connection.fetch(self._db.queries["advance"], *columns([move]))
            assert row["moved"]
            await asyncio.sleep(random.uniform(0, LONGEST_DELAY))


@dataclass(slots=True, kw_only=True)
class Follower:
    """Reads from the beginning, stops at random and resumes at any server, until it has seen as
    many as the `whole` has, which is set in the end. `seen` are the events' ids."""

    key: str
    client: httpx.AsyncClient
    servers: Servers
    seen: list[str] = field(default_factory=list)
    whole: list[str] | None = None
    resumed: int = 0

    async def follow(self) -> None:
        while not self._has_all():
            url = random.choice(list(self.servers.urls.values()))
            try:
                await self._read(url, random.randint(1, 60))
            except (httpx.TransportError, TimeoutError):  # gone, killed in mid-sentence, or quiet
                await asyncio.sleep(0.05)
            self.resumed += 1

    def _has_all(self) -> bool:
        return self.whole is not None and len(self.seen) >= len(self.whole)

    def _last(self) -> str:
        return self.seen[-1] if self.seen else BEGINNING

    async def _read(self, url: str, most: int) -> None:
        async with streaming(self.client, url=url, last=self._last()) as stream:
            for _ in range(most):
                if stream.status != 200 or self._has_all():
                    return
                async with asyncio.timeout(PATIENCE):
                    block = await stream.event()
                if block is None:
                    return
                assert block.id is not None
                self.seen.append(block.id)


class Pager(Follower):
    """The same by pages."""

    async def _read(self, url: str, most: int) -> None:
        query = {"after": self._last(), "limit": str(most)}
        answer = await self.client.get(f"{url}/v1/events", params=query)
        if answer.status_code == 200:
            self.seen += [event["id"] for event in answer.json()["data"]]
        await asyncio.sleep(random.uniform(0, 0.2))
