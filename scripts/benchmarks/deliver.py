"""How many deliveries a second, beside bare clients; beside one that hangs; and how soon."""

import asyncio
import contextlib
import gc
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import asyncpg
import httpx
import uvloop
from rich.console import Console

from benchmarks.clients import IN_FLIGHT, Post, by_aiohttp, by_httpx, many, timed
from benchmarks.events import complete, make_due, submitted
from benchmarks.jobs import quieten
from benchmarks.measured import Measured, Run, Wanted, medians
from benchmarks.table import show
from service import ids, jsontext
from service.database import Database, migrate
from service.deliver import IN_FLIGHT as AT_ONCE
from service.deliver import Delivering
from service.embedded import attached
from service.encryption import AtRest
from service.guard import Guard
from service.loop import every
from service.pooled import Deliverer
from service.wakes import Wakes

ENDPOINTS, PER_SECOND = 20, 50
WARMING_UP = 10  # events that are not counted
FEWEST = 100  # deliveries in a run, however short
GUESS = 3_000  # a second
ASK_SECONDS = 0.01
SECRETS = ("the secret of the benchmarks, long enough",)
Sent = Coroutine[Any, Any, tuple[str, float]]


async def run(wanted: Wanted) -> list[Measured]:
    """Measures all of it, round by round, and prints the tables."""
    return await asyncio.to_thread(_on_uvloop, wanted)


def _on_uvloop(wanted: Wanted) -> list[Measured]:
    gc.collect()  # as `callboard serve` does
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(wanted))


async def _run(wanted: Wanted) -> list[Measured]:
    talk = Console(stderr=True, highlight=False)
    talk.print("deliver: starting Postgres and the endpoint")
    data_dir = Path(os.environ.get("CALLBOARD_DATA_DIR", ".callboard"))
    await asyncio.to_thread(data_dir.mkdir, parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="bench-", dir=data_dir) as folder:
        async with attached(Path(folder)) as embedded, _endpoint() as port:
            await migrate(embedded.dsn)
            db = await Database.connect(embedded.dsn)
            connection = await asyncpg.connect(embedded.dsn)
            try:
                await quieten(connection)
                bench = Bench(db=db, connection=connection, port=port, wanted=wanted, talk=talk)
                lines = [*await bench.rates(), *await bench.beside_a_hanging_one()]
                lines += await bench.arrivals()
            finally:
                await connection.close()
                await db.close()
    show(lines, title="Deliveries: rows in Postgres, each signed, sent and recorded")
    return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A database, an endpoint and how long each run shall be."""

    db: Database
    connection: asyncpg.Connection
    port: int
    wanted: Wanted
    talk: Console

    async def rates(self) -> list[Measured]:
        """The whole engine beside two bare clients, at one number in flight."""
        count = max(FEWEST, round(GUESS * self.wanted.seconds))
        urls = self._urls(ENDPOINTS)
        await self._staged(urls, count)
        runs: dict[str, list[Run]] = {"httpx": [], "aiohttp": [], "ours": []}
        for number in range(1, self.wanted.rounds + 1):
            async with httpx.AsyncClient() as plain:
                runs["httpx"].append(await timed(count // 4, many(by_httpx(plain), urls)))
            async with aiohttp.ClientSession() as bare:
                runs["aiohttp"].append(await timed(count, many(by_aiohttp(bare), urls)))
            await make_due(self.connection)
            runs["ours"].append(await timed(count, self._deliver))
            await self._check(count)
            self._say(f"round {number} of {self.wanted.rounds}", runs)
        lines = {
            name: medians(
                done,
                benchmark="deliver",
                name=name,
                in_flight=AT_ONCE if name == "ours" else IN_FLIGHT,
            )
            for name, done in runs.items()
        }
        rate = lines["ours"].per_second
        ratios = {of: rate / lines[of].per_second for of in ("httpx", "aiohttp")}
        return [lines["httpx"], lines["aiohttp"], replace(lines["ours"], ratios=ratios)]

    async def beside_a_hanging_one(self) -> list[Measured]:
        """What all but one of the endpoints get, while that one answers, and while it hangs."""
        count = max(FEWEST, round(GUESS * self.wanted.seconds))
        others = count - len(range(ENDPOINTS - 1, count, ENDPOINTS))
        runs: dict[str, list[Run]] = {"all of 20": [], "19 of them, one hangs": []}
        for _ in range(self.wanted.rounds):
            for name, done in runs.items():
                hangs = name.endswith("hangs")
                await self._staged(self._urls(ENDPOINTS, hangs=hangs), count)
                done.append(await timed(others if hangs else count, self._deliver))
            self._say("beside a hanging one", runs)
        first, second = (
            medians(done, benchmark="deliver", name=name, in_flight=AT_ONCE)
            for name, done in runs.items()
        )
        their_share = first.per_second * others / count
        return [first, replace(second, ratios={"their share": second.per_second / their_share})]

    async def arrivals(self) -> list[Measured]:
        """From commit to the POST's arrival at a quiet rate, beside a bare POST."""
        count = WARMING_UP + max(20, round(PER_SECOND * self.wanted.seconds))
        runs: dict[str, list[Run]] = {"bare aiohttp POST": [], "commit to arrival": []}
        for _ in range(self.wanted.rounds):
            async with aiohttp.ClientSession() as bare:
                post = by_aiohttp(bare)
                runs["bare aiohttp POST"].append(await self._paced(count, self._bare(post)))
            runs["commit to arrival"].append(await self._committed(count))
            self._say("commit to arrival", runs)
        first, second = (
            medians(done, benchmark="deliver", name=name, in_flight=1)
            for name, done in runs.items()
        )
        return [first, replace(second, ratios={"bare p50": second.p50_ms / first.p50_ms})]

    def _urls(self, count: int, *, hangs: bool = False) -> list[str]:
        origin = f"http://127.0.0.1:{self.port}"
        urls = [f"{origin}/hook/{number}" for number in range(count)]
        return [*urls[:-1], f"{origin}/hang"] if hangs else urls

    async def _staged(self, urls: Sequence[str], count: int) -> None:
        jobs = await submitted(self.db, self.connection, AtRest(SECRETS), urls, count)
        await complete(self.db, jobs)
        await make_due(self.connection)

    async def _check(self, count: int) -> None:
        done = await self.connection.fetchval(
            "select count(*) from deliveries where state = 'succeeded' and tries = 1"
        )
        tries = await self.connection.fetchval("select count(*) from delivery_tries")
        if (done, tries) != (count, count):
            raise RuntimeError(f"{done} delivered in {tries} tries, not {count}")

    async def _deliver(self, count: int) -> None:
        """Lets the engine run until `count` deliveries are recorded as acknowledged."""
        wakes = Wakes()
        async with self._engine(wakes):
            while wakes.tally.tries["succeeded"] < count:  # noqa: ASYNC110 - it is but a counter
                await asyncio.sleep(ASK_SECONDS)

    @contextlib.asynccontextmanager
    async def _engine(self, wakes: Wakes) -> AsyncIterator[Delivering]:
        client, stop = Deliverer(Guard(["127.0.0.0/8"])), asyncio.Event()
        engine = Delivering(
            self.db,
            AtRest(SECRETS),
            client,
            wake=wakes.deliver,
            staged=wakes.staged,
            tally=wakes.tally,
        )
        loop = asyncio.create_task(every(1.0, engine.step, wakes.deliver, stop))
        try:
            yield engine
        finally:
            stop.set()
            wakes.deliver.set()
            await loop
            await engine.finish()
            await client.aclose()

    async def _committed(self, count: int) -> Run:
        wakes = Wakes()
        jobs = await submitted(self.db, self.connection, AtRest(SECRETS), self._urls(1), count)
        told = iter(jobs)

        async def commit(_: int) -> tuple[str, float]:
            (outcome,) = await complete(self.db, [next(told)])
            at = time.monotonic()
            wakes.moved([outcome])
            assert outcome.move is not None
            return ids.show("evt", outcome.move.event_id), at

        async with self._engine(wakes):
            run = await self._paced(count, commit)
        return run

    def _bare(self, post: Post) -> Callable[[int], Sent]:
        async def send(number: int) -> tuple[str, float]:
            at = time.monotonic()
            await post(self._urls(1)[0], f"bare-{number}")
            return f"bare-{number}", at

        return send

    async def _paced(self, count: int, send: Callable[[int], Sent]) -> Run:
        """`send` at an even rate; how long after the moments it tells they arrived."""
        await self._arrived()
        began, sent = time.monotonic(), list[asyncio.Task[tuple[str, float]]]()
        for number in range(count):
            await asyncio.sleep(max(0.0, began + number / PER_SECOND - time.monotonic()))
            sent.append(asyncio.create_task(send(number)))
        moments = dict(await asyncio.gather(*sent))
        arrived: dict[str, float] = {}
        while len(arrived) < count:
            arrived |= await self._arrived()
            await asyncio.sleep(ASK_SECONDS)
        took = sorted(arrived[name] - moments[name] for name in list(moments)[WARMING_UP:])
        return Run(
            per_second=PER_SECOND,
            p50_ms=median(took) * 1000,
            p99_ms=took[len(took) * 99 // 100] * 1000,
            server_us=0.0,
        )

    async def _arrived(self) -> dict[str, float]:
        async with httpx.AsyncClient() as client:
            reply = await client.get(f"http://127.0.0.1:{self.port}/")
        return dict(jsontext.loads(reply.content))

    def _say(self, what: str, runs: dict[str, list[Run]]) -> None:
        rates = ", ".join(
            f"{name} {done[-1].per_second:,.0f}/s p50 {done[-1].p50_ms:.2f} ms"
            for name, done in runs.items()
        )
        self.talk.print(f"deliver: {what}: {rates}")


@contextlib.asynccontextmanager
async def _endpoint() -> AsyncIterator[int]:
    """The endpoint's process; its port."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.hook"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline())
    finally:
        process.stdin.close()
        await process.wait()
