"""The load: its own process, a fixed number of connections, and as little work per request as
Python can do, since it shares the machine with what it measures. Reads a Load on stdin, writes a
Load's Result to stdout, pickled.
"""

import asyncio
import gc
import pickle
import sys
import time
from dataclasses import dataclass
from itertools import cycle, islice

import uvloop

from benchmarks.traffic import Connection, Traffic

# The first answers are not measured: Postgres plans anew for tables that were just filled, and
# connections open.
LEAD = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """`count` requests over `in_flight` connections to a port of this machine; `requests` are
    whole HTTP/1.1 requests, gone round again where there are fewer. Each connection sends its
    next request as soon as the last one is answered; with `per_second` they come at moments of
    their own, so many a second on average, whether the last ones are answered or not."""

    port: int
    in_flight: int
    count: int
    requests: list[bytes]
    per_second: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """`answers` counts status and body together; latencies in seconds, each from the moment at
    which the request was to be sent. What `answers` counts, and the seconds that it `lasted`, have
    the lead in them; `seconds`, in which `measured` were answered, and the latencies do not."""

    lasted: float
    seconds: float
    measured: int
    p50: float
    p99: float
    answers: dict[bytes, int]


async def drive(load: Load) -> Result:
    """Sends it all and counts. Raises OSError where the server hangs up."""
    lead = int(load.count * LEAD)
    traffic = Traffic(islice(cycle(load.requests), load.count), load.count, lead)
    loop = asyncio.get_running_loop()
    connections = []
    for _ in range(load.in_flight):
        _, connection = await loop.create_connection(
            lambda: Connection(traffic.answered), "127.0.0.1", load.port
        )
        connections.append(connection)
    began = time.perf_counter()
    if load.per_second is None:
        for connection in connections:
            traffic.send_next(connection)
    else:
        await traffic.arrive(connections, load.per_second)
    ends = [traffic.done, *(connection.lost for connection in connections)]
    ended, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for end in ended:
        end.result()  # raises where a connection was lost
    return _result(traffic, began, time.perf_counter(), lead)


def _result(traffic: Traffic, began: float, ended: float, lead: int) -> Result:
    took = sorted(traffic.took[lead:])
    return Result(
        lasted=ended - began,
        seconds=ended - traffic.measured_from,
        measured=len(took),
        p50=took[len(took) // 2],
        p99=took[len(took) * 99 // 100],
        answers=dict(traffic.seen),
    )


def main() -> None:
    """The process: a Load on stdin, a Result on stdout."""
    load: Load = pickle.load(sys.stdin.buffer)
    gc.collect()
    gc.disable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(drive(load))
    sys.stdout.buffer.write(pickle.dumps(result))
