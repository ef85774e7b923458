"""Deliveries in a test: who makes them, rounds, jobs that end, and answers of endpoints."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from raw_server import Talk
from scene import SECRETS, make_job, move

from service.database import Database
from service.deliver import Delivering
from service.encryption import AtRest
from service.guard import Guard
from service.job import State
from service.pooled import Deliverer


def answer(status: str, *headers: str) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = "\r\n".join([f"HTTP/1.1 {status}", "Content-Length: 2", *headers])
        writer.write(f"{head}\r\n\r\nok".encode())
        await writer.drain()

    return talk


@asynccontextmanager
async def delivering(
    db: Database,
    *allowed: str,
    in_flight: int = 64,
    each: int = 32,
    staged: deque[UUID] | None = None,
) -> AsyncIterator[Delivering]:
    client = Deliverer(Guard(allowed))
    yield Delivering(
        db,
        AtRest(SECRETS),
        client,
        wake=asyncio.Event(),
        staged=staged,
        in_flight=in_flight,
        each=each,
    )
    await client.aclose()


async def one_round(worker: Delivering) -> None:
    await worker.step()
    await worker.places.drain()


async def completed(db: Database, app: UUID, **more: object) -> UUID:
    job = await make_job(db, app, State.SUBMITTED, **more)
    await move(db, job, now=State.COMPLETED, output={"video": {"url": "u"}}, outputs=[])
    return job


async def due_again(db: Database) -> None:
    await db.pool.execute("update deliveries set next_at = now() where state = 'pending'")
