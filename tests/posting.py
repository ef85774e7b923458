"""Submitters against a provider of raw replies: for the tests of service/submit.py, and others."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import SecretStr
from raw_server import Server, serving
from scene import SECRETS

from service.catalog import Catalog
from service.database import Database
from service.health import Health
from service.pace import Pace
from service.providers import Provider, fal, settings_of
from service.registration import Registration
from service.submission import Timing
from service.submit import Submitter
from service.tally import Tally
from service.tokens import Tokens
from service.vault import NO_SECRETS, Vault

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
TOKENS = Tokens(SECRETS)
CATALOG = Catalog.load()


def answering(status: str, body: object, *headers: str) -> Talk:
    """Answers every request with this: as JSON, unless it is bytes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", *headers])

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head.encode() + b"\r\n\r\n" + content)
        await writer.drain()

    return talk


def in_turn(*talks: Talk) -> Talk:
    """Answers each request as the next of these does, and then as the last."""
    left = list(talks)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(reader, writer)

    return talk


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    raise ConnectionError


async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"request_id": "r')
    await writer.drain()
    raise ConnectionError


ACCEPTED = answering("200 OK", {"request_id": "req-1", "status": "IN_QUEUE", "queue_position": 2})


def provider(url: str) -> Provider:
    built = fal.build(fal.Settings(fal_key=SecretStr("id:secret"), fal_queue_url=url))
    assert built is not None
    return built


def provider_at(name: str, origin: str) -> Provider:
    """The provider of this name, with a key, at `origin` and the path that it usually has there."""
    fields = settings_of(name).model_fields
    (address,) = {f"{name}_url", f"{name}_queue_url"} & fields.keys()
    url = origin + urlsplit(fields[address].default or "").path
    told = settings_of(name)(**{f"{name}_key": "id:secret", address: url})
    built: Provider | None = import_module(f"service.providers.{name}").build(told)
    assert built is not None
    return built


def submitter(
    db: Database,
    *those: Provider,
    vault: Vault = NO_SECRETS,
    most: Mapping[str, int] | None = None,
    tally: Tally | None = None,
    each: int = 32,
    counted_in: Database | None = None,
    **timing: float,
) -> Submitter:
    clocks = Timing(**{"lease": 60.0, "unconfirmed": 600.0, "give_up": 3600.0} | timing)
    return Submitter(
        db,
        {one.name: one for one in those},
        Registration(tokens=TOKENS, timing=clocks, public_url="https://board.example"),
        clocks,
        Pace(catalog=CATALOG),
        Health(counted_in or db, tally),
        lambda moved: None,
        wake=asyncio.Event(),
        vault=vault,
        each=each,
        most=most or {},
    )


@asynccontextmanager
async def sending(db: Database, talk: Talk) -> AsyncIterator[tuple[Submitter, Server]]:
    async with serving(talk) as server:
        yield submitter(db, provider(server.origin)), server


async def one_round(submits: Submitter) -> None:
    await submits.step()
    await submits.finish()


async def agenda_of(db: Database, job: UUID) -> tuple[str, float]:
    """The task that is left, and in how many seconds it is due."""
    row = await db.pool.fetchrow(
        "select task, extract(epoch from due_at - now())::float8 as left, lease_until"
        " from agenda where job_id = $1",
        job,
    )
    assert row["lease_until"] is None
    return row["task"], row["left"]
