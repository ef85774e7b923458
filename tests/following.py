"""Reads the feed over real HTTP: pages, and streams of server-sent events taken apart."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import app_client
import httpx
from app_client import KEY

from service import jsontext
from service.commands.demo.subscriber import served
from service.database import Database
from service.place import Placer
from service.tail import Tail

BEGINNING = "evt_" + "0" * 32
WITHIN_SECONDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What stands between two blank lines of a stream."""

    id: str | None = None
    event: str | None = None
    data: Any = None
    retry: str | None = None
    comment: str | None = None


def read_block(text: str) -> Block:
    """Takes one block apart, by the rules of the HTML standard, §9.2.6."""
    fields: dict[str, Any] = {}
    for line in text.split("\n"):
        name, _, value = line.partition(":")
        fields[name or "comment"] = value.removeprefix(" ")
    if "data" in fields:
        fields["data"] = jsontext.loads(fields["data"])
    return Block(**fields)


class Stream:
    """An open stream; `status` and `headers` are the answer's."""

    def __init__(self, answer: httpx.Response) -> None:
        self.status = answer.status_code
        self.headers = answer.headers
        self._blocks = self._read(answer)

    async def _read(self, answer: httpx.Response) -> AsyncIterator[Block]:
        waiting = ""
        async for chunk in answer.aiter_text():
            waiting += chunk
            *whole, waiting = waiting.split("\n\n")
            for text in whole:
                yield read_block(text)
        assert waiting == ""

    async def block(self) -> Block | None:
        """The next one, comments too; None: the stream has ended."""
        async with asyncio.timeout(WITHIN_SECONDS):
            return await anext(self._blocks, None)

    async def event(self) -> Block | None:
        """The next one that is an event; None: the stream has ended."""
        async with asyncio.timeout(WITHIN_SECONDS):
            while (block := await self.block()) is not None and block.data is None:
                pass
        return block

    async def events(self, count: int) -> list[Block]:
        """So many events; fewer where the stream ends."""
        found = []
        while len(found) < count and (event := await self.event()) is not None:
            found.append(event)
        return found


@asynccontextmanager
async def streaming(
    client: httpx.AsyncClient, *, url: str = "", last: str | None = None, **query: str
) -> AsyncIterator[Stream]:
    """Opens a stream; `last` goes as Last-Event-ID, `url` is another server's than the client's."""
    headers = {"accept": "text/event-stream"} | ({} if last is None else {"last-event-id": last})
    async with client.stream("GET", f"{url}/v1/events", params=query, headers=headers) as answer:
        yield Stream(answer)


@asynccontextmanager
async def following(db: Database, tail: Tail, key: str = KEY) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the real app behind a real server, all of it ended in order."""
    async with served(app_client.app(db, tail=tail)) as url:
        try:
            async with at(url, key) as client:
                yield client
        finally:
            await tail.aclose()


def at(url: str, key: str = KEY) -> httpx.AsyncClient:
    """A client of the Callboard at `url`."""
    headers = {"authorization": f"Bearer {key}"}
    return httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=WITHIN_SECONDS)


async def place(db: Database) -> None:
    """Gives places to what has none."""
    while await Placer(db, wake=asyncio.Event()).step():
        pass
