"""Many readers of one feed, in a process of their own: each a connection that takes events as
they come. Told by one line of JSON on stdin where and how many; says on stdout when all of them
read, and then for each event when it came to them.
"""

import asyncio
import gc
import re
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import cast

import uvloop

from service import jsontext
from service.sockets import allow_many

_ID = re.compile(rb"(?:^|\n)id: (evt_[0-9a-f]{32})\nevent:")
OPENED = b": events follow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """When an event came to its readers, in seconds of the machine's monotonic clock."""

    id: str
    first: float
    p50: float
    p99: float
    last: float


class Crowd:
    """Counts: who reads, and which event came to how many."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.ready = asyncio.Event()
        self.ended = asyncio.Event()
        self._open = 0
        self._came: defaultdict[bytes, list[float]] = defaultdict(list)

    def opened(self) -> None:
        self._open += 1
        if self._open == self.count:
            self.ready.set()

    def lose(self) -> None:
        """Ends it all: who was let go hears nothing."""
        self.ready.set()
        self.ended.set()

    def came(self, event_id: bytes, at: float) -> None:
        """Says it all of an event that all of them have."""
        times = self._came[event_id]
        times.append(at)
        if len(times) == self.count:
            del self._came[event_id]
            p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
            say(Arrived(id=event_id.decode(), first=times[0], p50=p50, p99=p99, last=times[-1]))


class Connection(asyncio.Protocol):
    """One reader."""

    def __init__(self, crowd: Crowd, request: bytes) -> None:
        self._crowd = crowd
        self._request = request
        self._waiting = b""
        self._is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        at = time.monotonic()
        *whole, self._waiting = (self._waiting + data).split(b"\n\n")
        for block in whole:
            if found := _ID.search(block):
                self._crowd.came(found[1], at)
            elif OPENED in block and not self._is_open:
                self._is_open = True
                self._crowd.opened()

    def connection_lost(self, exc: Exception | None) -> None:
        self._crowd.lose()


def say(value: object) -> None:
    print(jsontext.dumps(value), flush=True)


async def read(port: int, count: int, key: str) -> None:
    """Reads until it is killed, or the server lets a reader go."""
    crowd = Crowd(count)
    request = (
        "GET /v1/events HTTP/1.1\r\nHost: callboard.example\r\n"
        f"Accept: text/event-stream\r\nAuthorization: Bearer {key}\r\n\r\n"
    ).encode()
    loop = asyncio.get_running_loop()
    for _ in range(count):
        await loop.create_connection(lambda: Connection(crowd, request), "127.0.0.1", port)
    await crowd.ready.wait()
    say({"reading": count})
    await crowd.ended.wait()


def main() -> None:
    """The process."""
    told = jsontext.loads(sys.stdin.readline())
    allow_many()
    gc.disable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(read(told["port"], told["count"], told["key"]))


if __name__ == "__main__":
    main()
