"""What lies between the service and the sandbox: it notes each POST and can hold its reply."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from service.sandbox.ledger import key_of

_END_OF_HEAD = b"\r\n\r\n"


@dataclass(eq=False)
class Post:
    """One submission that left the service. `key`: under which the sandbox counts it; `replied`:
    a whole reply was handed to a service that still listened."""

    prompt: str
    key: str
    replied: bool = False


@dataclass
class Wire:
    """A TCP proxy to `port` on this machine, listening at `address`."""

    port: int
    address: str = ""
    posts: list[Post] = field(default_factory=list)
    held: list[Post] = field(default_factory=list)
    _open: asyncio.Event = field(default_factory=asyncio.Event)
    _caught: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Wire"]:
        self._open.set()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            self._open.set()
            server.close()

    @asynccontextmanager
    async def holding(self, count: int) -> AsyncIterator[None]:
        """Holds every reply to a POST from now on, to the end; begins with `count` of them."""
        until = len(self.held) + count
        self._open.clear()
        try:
            while len(self.held) < until:
                self._caught.clear()
                await self._caught.wait()
            yield
        finally:
            self._open.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                head = await reader.readuntil(_END_OF_HEAD)
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.port)
                try:
                    if head.startswith(b"POST "):
                        await self._post(head, reader, writer, far_reader, far_writer)
                    else:
                        far_writer.write(head)
                        await asyncio.gather(_pipe(reader, far_writer), _pipe(far_reader, writer))
                finally:
                    far_writer.close()
        finally:
            writer.close()

    async def _post(
        self,
        head: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        far_reader: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
    ) -> None:
        body = await reader.readexactly(_length(head))
        post = _noted(head, body)
        self.posts.append(post)
        far_writer.write(head + body)
        leaving = asyncio.create_task(reader.read())  # the service sends no more: it goes away
        reply = await far_reader.read()
        if not self._open.is_set():
            self.held.append(post)
            self._caught.set()
            await self._open.wait()
        if not leaving.done():
            writer.write(reply)
            await writer.drain()
            post.replied = _is_whole(reply)
        leaving.cancel()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


def _noted(head: bytes, body: bytes) -> Post:
    target = head.split(b" ", 2)[1].decode()
    hook = parse_qs(urlsplit(target).query).get("fal_webhook", [None])[0]
    told = json.loads(body)
    return Post(prompt=told["prompt"], key=key_of(body, hook or told.get("notify_hook")))


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


def _is_whole(reply: bytes) -> bool:
    head, end, body = reply.partition(_END_OF_HEAD)
    return bool(end) and len(body) == _length(head)
