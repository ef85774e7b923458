"""The load: its own process, a fixed number of connections, each sending its next request as
soon as the last one is answered. As little work per request as Python can do, since it shares the
machine with what it measures. Reads a Load on stdin, writes a Load's Result to stdout, pickled.
"""

import asyncio
import gc
import pickle
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from typing import cast

import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """`count` requests over `in_flight` connections to a port of this machine; `requests` are
    whole HTTP/1.1 requests, gone round again where there are fewer."""

    port: int
    in_flight: int
    count: int
    requests: list[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """`answers` counts status and body together; latencies in seconds."""

    seconds: float
    p50: float
    p99: float
    answers: dict[bytes, int]


class Connection(asyncio.Protocol):
    """One request at a time, until there are none left."""

    def __init__(self, requests: Iterator[bytes], took: list[float], seen: Counter[bytes]) -> None:
        self._requests = requests
        self._took = took
        self._seen = seen
        self._began = 0.0
        self._partial = b""
        self._transport: asyncio.Transport | None = None
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send_next(self) -> None:
        """Sends the next request, or ends where there is none."""
        assert self._transport is not None
        request = next(self._requests, None)
        if request is None:
            self.done.set_result(None)
            return
        self._began = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._partial:
            data, self._partial = self._partial + data, b""
        end = data.find(b"\r\n\r\n") + 4
        length = _LENGTH.search(data, 0, end) if end > 3 else None
        if length is None or len(data) < end + int(length[1]):
            self._partial = data
            return
        self._took.append(time.perf_counter() - self._began)
        self._seen[data[9:12] + data[end:]] += 1
        self.send_next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server hung up"))


async def drive(load: Load) -> Result:
    """Sends it all and counts. Raises OSError where the server hangs up."""
    took: list[float] = []
    seen: Counter[bytes] = Counter()
    requests = islice(cycle(load.requests), load.count)
    loop = asyncio.get_running_loop()
    connections = []
    for _ in range(load.in_flight):
        _, connection = await loop.create_connection(
            lambda: Connection(requests, took, seen), "127.0.0.1", load.port
        )
        connections.append(connection)
    began = time.perf_counter()
    for connection in connections:
        connection.send_next()
    await asyncio.gather(*(connection.done for connection in connections))
    seconds = time.perf_counter() - began
    took.sort()
    return Result(
        seconds=seconds,
        p50=took[len(took) // 2],
        p99=took[len(took) * 99 // 100],
        answers=dict(seen),
    )


def main() -> None:
    """The process: a Load on stdin, a Result on stdout."""
    load: Load = pickle.load(sys.stdin.buffer)
    gc.collect()
    gc.disable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(drive(load))
    sys.stdout.buffer.write(pickle.dumps(result))
