"""What Prometheus reads: this process's counts, and gauges from the database every now and then.

Labels are of closed lists only (providers, states, verdicts, reasons, routes): never a job, a URL
or anything else that a caller chose.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder

from service.alarm import Alarm
from service.database import Database
from service.errors import DatabaseAway
from service.families import counted, measured, process, refused
from service.store import gauges
from service.store.gauges import Gauges
from service.tally import Tally

FRESH_SECONDS = 15.0  # the database is read once in so long, however many scrape
READ_SECONDS = 5.0  # a scrape gives up after ten by default
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)  # waits take up to 50
OPENMETRICS = "application/openmetrics-text"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """One process's metrics, in a registry of its own. `queues` says what waits in memory, by the
    queue's name."""

    def __init__(
        self,
        db: Database,
        tally: Tally,
        *,
        alarm: Alarm | None = None,
        queues: Callable[[], Mapping[str, int]] = dict,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._db = db
        self._tally = tally
        self._alarm = alarm or Alarm()
        self._queues = queues
        self._clock = clock
        self._reading = asyncio.Lock()
        self._read_at: float | None = None
        self._gauges: Gauges | None = None
        self._registry = CollectorRegistry()
        self._durations = Histogram(
            "callboard_request_duration_seconds",
            "How long the API took to answer; the providers' door is not among the routes.",
            ("method", "route", "status"),
            buckets=BUCKETS,
            registry=self._registry,
        )
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

    def requested(self, method: str, route: str, status: int, seconds: float) -> None:
        """The API has answered; `route` is the pattern that matched, of a closed list."""
        named = method if method in METHODS else "other"
        self._durations.labels(named, route, str(status)).observe(seconds)

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """Everything, in the format that the Accept header asks for, and that format's type. Where
        the database is away its gauges are left out."""
        async with self._reading:  # those who come meanwhile share what is read
            await self._read()
        # choose_encoder fails on versions that it cannot read, and promises any that it can.
        encode, content_type = choose_encoder(
            f"{OPENMETRICS};version=1.0.0" if OPENMETRICS in accept else ""
        )
        return encode(self._registry), content_type

    def collect(self) -> Iterator[Metric]:
        """What the registry asks of a collector (prometheus.github.io/client_python/collector/)."""
        yield from process(self._queues(), database_up=self._gauges is not None)
        yield from counted(self._tally)
        yield from refused(self._alarm)
        if self._gauges is not None:
            yield from measured(self._gauges)

    async def _read(self) -> None:
        if self._read_at is not None and self._clock() - self._read_at < FRESH_SECONDS:
            return
        try:
            async with asyncio.timeout(READ_SECONDS):
                self._gauges = await gauges.read(self._db)
        except (DatabaseAway, TimeoutError):
            self._gauges = None
        self._read_at = self._clock()
