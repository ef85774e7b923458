"""Requests on their way: connections with one each, and what sends the next and counts answers."""

import asyncio
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from random import Random
from typing import cast

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_TICK_SECONDS = 0.001  # uvloop rounds its timers to these


class Connection(asyncio.Protocol):
    """One request at a time; `answered` hears how long each took, in seconds, and what came."""

    def __init__(self, answered: Callable[["Connection", float, bytes], None]) -> None:
        self._answered = answered
        self._since = 0.0
        self._partial = b""
        self._transport: asyncio.Transport | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes, since: float) -> None:
        """Sends `request`, whose latency counts from the moment `since`."""
        assert self._transport is not None
        self._since = since
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._partial:
            data, self._partial = self._partial + data, b""
        end = data.find(b"\r\n\r\n") + 4
        length = _LENGTH.search(data, 0, end) if end > 3 else None
        if length is None or len(data) < end + int(length[1]):
            self._partial = data
            return
        self._answered(self, time.perf_counter() - self._since, data[9:12] + data[end:])

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_exception(exc or ConnectionError("the server hung up"))


class Traffic:
    """Sends `count` requests and counts what comes back: status and body together in `seen`,
    latencies in seconds in `took`. `measured_from` is when the first `lead` were answered."""

    def __init__(self, requests: Iterator[bytes], count: int, lead: int) -> None:
        self._requests = requests
        self._count = count
        self._lead = lead
        self.measured_from = time.perf_counter()
        self._free: deque[Connection] | None = None
        self._due: deque[tuple[bytes, float]] = deque()
        self.took: list[float] = []
        self.seen: Counter[bytes] = Counter()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def answered(self, connection: Connection, took: float, answer: bytes) -> None:
        """An answer has come, and the connection is free for the next request."""
        self.took.append(took)
        self.seen[answer] += 1
        if len(self.took) == self._lead:
            self.measured_from = time.perf_counter()
        if len(self.took) == self._count:
            self.done.set_result(None)
        elif self._free is None:
            self.send_next(connection)
        elif self._due:
            connection.send(*self._due.popleft())
        else:
            self._free.append(connection)

    def send_next(self, connection: Connection) -> None:
        """Sends the next request there is, now."""
        request = next(self._requests, None)
        if request is not None:
            connection.send(request, time.perf_counter())

    async def arrive(self, connections: list[Connection], per_second: float) -> None:
        """Sends each request at a moment of its own, or as soon after it as a connection is free;
        its latency counts from that moment."""
        # In turn: the server hangs up on one that is idle for five seconds.
        self._free = deque(connections)
        chance = Random(0)  # the same moments every time, with exponential gaps
        moment = time.perf_counter()
        for request in self._requests:
            moment += chance.expovariate(per_second)
            wait = moment - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait + _TICK_SECONDS / 2)  # rounded, and never early
            if self._free:
                self._free.popleft().send(request, moment)
            else:
                self._due.append((request, moment))
