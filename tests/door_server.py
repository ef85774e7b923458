"""The providers' door on a port of its own, behind a proxy that may spoil what passes."""

from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from app_client import spoken
from raw_server import Server, serving
from starlette.types import ASGIApp


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """A POST as it comes through a proxy; the path without its query."""

    path: str
    query: bytes
    body: bytes


Spoils = Callable[[Passed], Passed]


def without_query(call: Passed) -> Passed:
    return replace(call, query=b"")


def in_small_letters(call: Passed) -> Passed:
    return replace(call, query=call.query.lower())


def without_body(call: Passed) -> Passed:
    return replace(call, body=b"")


@asynccontextmanager
async def proxied(app: ASGIApp, spoils: Spoils = lambda call: call) -> AsyncIterator[Server]:
    """Serves `app` on loopback; each call passes through `spoils` first."""

    async def talk(_: StreamReader, writer: StreamWriter) -> None:
        call = spoils(_read(server.requests[-1]))
        answer = await spoken(app, [call.body], path=call.path, query=call.query)
        assert answer is not None
        status, _, body = answer
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))
        await writer.drain()

    async with serving(talk) as server:
        yield server


def _read(request: bytes) -> Passed:
    head, _, body = request.partition(b"\r\n\r\n")
    path, _, query = head.split(b" ")[1].partition(b"?")
    return Passed(path=path.decode(), query=query, body=body)
