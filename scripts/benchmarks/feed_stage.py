"""What the feed's readers need: a Postgres, `callboard serve --role api`, and their own process."""

import asyncio
import contextlib
import os
import re
import secrets
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

from service import ids, jsontext
from service.database import Database, migrate
from service.embedded import attached
from service.encryption import AtRest
from service.job import State
from service.place import Placer
from service.store import access, jobs
from service.store.advance import Move, advance, new_event_id
from service.store.jobs import NewJob

PROMPT = "a ferry leaves the harbour at dawn and the camera follows it out to sea; " * 4
WITHIN_SECONDS = 60.0
SECRET = secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A server and the process of its readers, which is told with `fill` how many."""

    db: Database
    server: Process
    port: int
    readers: Process
    app_id: UUID
    key: str
    placer: Placer

    async def fill(self, count: int) -> None:
        """Lets so many read."""
        assert self.readers.stdin is not None
        told = jsontext.dumps({"port": self.port, "count": count, "key": self.key})
        self.readers.stdin.write(told.encode() + b"\n")
        assert await self.arrived() == {"reading": count}

    async def job_to_tell_of(self) -> Move:
        """A job that nothing was told of yet, and the move that is told."""
        job = NewJob(
            id=ids.new_id(),
            app_id=self.app_id,
            provider="fal",
            model="fal-ai/veo3/fast",
            input={"prompt": PROMPT, "duration": "8s"},
            deadline_seconds=7200.0,
            metadata={"order": "1017"},
        )
        await jobs.create(self.db, job)
        await self.commit([_move(job.id, State.QUEUED, State.SUBMITTING)])
        return _move(job.id, None, State.SUBMITTED)

    async def commit(self, moves: Sequence[Move]) -> float:
        """Makes the moves and gives their events places; when they were committed, by the
        machine's monotonic clock."""
        outcomes = await advance(self.db, moves)
        began = time.monotonic()
        if not all(outcome.moved for outcome in outcomes):
            raise RuntimeError("a job did not move")
        await self.placer.step()
        return began

    async def arrived(self) -> dict[str, Any]:
        """What the readers say next."""
        assert self.readers.stdout is not None
        async with asyncio.timeout(WITHIN_SECONDS):
            line = await self.readers.stdout.readline()
        if not line:
            raise RuntimeError("the readers ended")
        said: dict[str, Any] = jsontext.loads(line)
        return said

    def resident_kib(self) -> int:
        """The server's memory."""
        status = Path(f"/proc/{self.server.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0])

    def processor_seconds(self) -> float:
        """The processor time that the server has used."""
        fields = Path(f"/proc/{self.server.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _move(job_id: UUID, was: State | None, now: State) -> Move:
    return Move(
        job_id=job_id,
        attempt=1,
        source="submit",
        event_id=new_event_id(job_id),
        was=was,
        now=now,
        task="sending" if now is State.SUBMITTING else "poll",
        due_in=3600.0,
    )


@asynccontextmanager
async def staged(data_dir: Path) -> AsyncIterator[Stage]:
    """All of it, on the disk that `data_dir` is on; nothing is left behind."""
    with TemporaryDirectory(prefix="bench-", dir=data_dir) as folder:
        async with attached(Path(folder)) as embedded:
            await migrate(embedded.dsn)
            db = await Database.connect(embedded.dsn)
            try:
                async with _processes(db, embedded.dsn, folder) as stage:
                    yield stage
            finally:
                await db.close()


@asynccontextmanager
async def _processes(db: Database, dsn: str, folder: str) -> AsyncIterator[Stage]:
    key = f"cb_{secrets.token_urlsafe(32)}"
    app_id = await access.create_key(
        db,
        app="bench",
        app_id=ids.new_id(),
        app_secret=AtRest([SECRET]).encrypt("whsec_"),
        key_id=ids.new_id(),
        key=key,
        scopes=["read"],
        all_apps=False,
    )
    server = await _server(dsn, folder)
    readers = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.feed_readers"), stdin=PIPE, stdout=PIPE
    )
    port = await _port(server)
    draining = asyncio.create_task(_drain(server))  # a full pipe would stop it
    try:
        yield Stage(
            db=db,
            server=server,
            port=port,
            readers=readers,
            app_id=app_id,
            key=key,
            placer=Placer(db, wake=asyncio.Event()),
        )
    finally:
        for process in (readers, server):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        await draining


async def _server(dsn: str, folder: str) -> Process:
    theirs = ("CALLBOARD_", "FAL_", "GENVIRAL_", "PRISM_", "RELAY_", "DATABASE_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
    ours = {"DATABASE_URL": dsn, "CALLBOARD_SECRETS": SECRET, "CALLBOARD_PORT": "0"}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service", "serve", "--role", "api"),
        cwd=folder,  # a .env of the user's is none of its business
        env={**kept, **ours, "PYTHONPATH": str(Path.cwd())},
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=PIPE,
    )


async def _port(server: Process) -> int:
    """Where it listens, once it says so."""
    assert server.stderr is not None
    async for line in server.stderr:
        if found := re.search(rb"listening on http://\S+:(\d+)", line):
            return int(found[1])
    raise RuntimeError("callboard serve did not start")


async def _drain(server: Process) -> None:
    assert server.stderr is not None
    async for _ in server.stderr:
        pass
