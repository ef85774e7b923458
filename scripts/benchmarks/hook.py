"""The endpoint, a process of its own: answers every POST with 200 at once, those below /hang never,
and tells when each arrived. Prints its port; ends with its stdin. As little work as Python can do.
"""

import asyncio
import gc
import re
import sys
import time
from typing import cast

import uvloop

from service import jsontext

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ID = re.compile(rb"\r\nwebhook-id: *(\S+)", re.IGNORECASE)
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Endpoint(asyncio.Protocol):
    """One connection. `arrived` has each event's id and when it came, by the machine's clock."""

    def __init__(self, arrived: list[tuple[str, float]]) -> None:
        self._arrived = arrived
        self._partial = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        assert self._transport is not None
        data = self._partial + data
        while (end := data.find(b"\r\n\r\n") + 4) > 3:
            length = _LENGTH.search(data, 0, end)
            whole = end + (int(length[1]) if length else 0)
            if len(data) < whole:
                break
            self._answer(data[:end], now)
            data = data[whole:]
        self._partial = data

    def _answer(self, head: bytes, now: float) -> None:
        assert self._transport is not None
        if head.startswith(b"GET"):
            body = jsontext.dumps(self._arrived).encode()
            self._arrived.clear()
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
        elif not head.startswith(b"POST /hang"):
            if (event := _ID.search(head)) is not None:
                self._arrived.append((event[1].decode(), now))
            self._transport.write(_OK)


async def serve() -> None:
    """Serves until stdin ends."""
    arrived: list[tuple[str, float]] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Endpoint(arrived), "127.0.0.1", 0)
    gc.collect()
    gc.disable()
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
