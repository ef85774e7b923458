"""How many callbacks a second: nothing stored, by hand, ours with token, ours with signature."""

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nacl.signing import SigningKey
from rich.console import Console

from benchmarks import latency
from benchmarks.measured import Measured, Run, Wanted, medians
from benchmarks.stage import Stage, staged
from benchmarks.table import show
from benchmarks.trial import flood

IN_FLIGHT = (64, 256)
POOLS = (4, 8, 16, 32)  # connections that the naive handler may have; it gets the best
BRIEF_SECONDS, BRIEF_POOLS = 0.1, (8, 16)  # for who only wants to see it run
SWEEP_SHARE = 0.4  # of a run's time, for each of these and for warming up
FEWEST = 200  # callbacks in a run, however short
FIRST_GUESS = {"null": 15_000, "naive": 1_000, "token": 4_000, "signed": 3_000}  # a second
RATIOS = (("token", "naive"), ("token", "null"), ("signed", "naive"), ("naive", "null"))


async def run(wanted: Wanted) -> list[Measured]:
    """Measures all of them on one server, round by round, and prints the table."""
    talk = Console(stderr=True, highlight=False)
    talk.print("receive: starting Postgres and the server")
    data_dir = Path(os.environ.get("CALLBOARD_DATA_DIR", ".callboard"))
    await asyncio.to_thread(data_dir.mkdir, parents=True, exist_ok=True)
    pools = POOLS if wanted.seconds > BRIEF_SECONDS else BRIEF_POOLS
    async with staged(data_dir, pools) as stage:
        bench = Bench(stage=stage, pools=pools, wanted=wanted, talk=talk)
        measured = [line for number in IN_FLIGHT for line in await bench.lines(number)]
        measured.append(verifying(wanted.seconds))
        most = max(line.per_second for line in measured if line.name == "token")
        measured += await latency.lines(stage, wanted, most, bench.say)
    show(measured, title="Callbacks from fal, each of which completes a job")
    return measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One server, and how long each run shall be."""

    stage: Stage
    pools: Sequence[int]
    wanted: Wanted
    talk: Console

    async def lines(self, in_flight: int) -> list[Measured]:
        """What the variants come to at one number in flight, with the ratios between them."""
        pool, rates = await self._warm_up(in_flight)
        runs: dict[str, list[Run]] = {name: [] for name in FIRST_GUESS}
        for number in range(1, self.wanted.rounds + 1):
            for name, done in runs.items():
                variant = f"naive {pool}" if name == "naive" else name
                count = max(FEWEST, round(rates[name] * self.wanted.seconds))
                done.append(await flood(self.stage, variant, in_flight, count))
                self._say(in_flight, f"round {number} of {self.wanted.rounds}, {name}", done[-1])
        notes = {"naive": f"pool of {pool}, the best of {', '.join(map(str, self.pools))}"}
        lines = [
            medians(done, benchmark="receive", name=name, in_flight=in_flight, note=notes.get(name))
            for name, done in runs.items()
        ]
        return with_ratios(lines)

    async def _warm_up(self, in_flight: int) -> tuple[int, dict[str, float]]:
        """The naive handler's best pool size, and what each variant does in a second."""
        rates: dict[str, float] = {}
        by_pool: dict[int, float] = {}
        for name, guess in FIRST_GUESS.items():
            count = max(FEWEST, round(guess * self.wanted.seconds * SWEEP_SHARE))
            if name != "naive":
                warm = await flood(self.stage, name, in_flight, count)
                rates[name] = warm.per_second
                self._say(in_flight, f"warming up, {name}", warm)
                continue
            for pool in self.pools:
                tried = await flood(self.stage, f"naive {pool}", in_flight, count)
                by_pool[pool] = tried.per_second
                self._say(in_flight, f"naive with a pool of {pool}", tried)
            rates[name] = max(by_pool.values())
        return max(by_pool, key=lambda pool: by_pool[pool]), rates

    def say(self, what: str) -> None:
        """Progress."""
        self.talk.print(f"receive: {what}")

    def _say(self, in_flight: int, what: str, run: Run) -> None:
        self.say(f"{in_flight} in flight, {what}: {run.per_second:,.0f}/s")


def with_ratios(lines: list[Measured]) -> list[Measured]:
    """`lines`, each with its rate beside those it is held against."""
    rates = {line.name: line.per_second for line in lines}
    return [
        replace(
            line,
            ratios={of: line.per_second / rates[of] for name, of in RATIOS if name == line.name},
        )
        for line in lines
    ]


def verifying(seconds: float) -> Measured:
    """What checking an Ed25519 signature takes by itself, on one core: where signed ends."""
    key = SigningKey.generate()
    message = b"m" * 130  # as long as fal's four lines
    signature, public = key.sign(message).signature, key.verify_key
    runs = []
    for _ in range(3):
        took = []
        began = now = time.perf_counter()
        while now - began < seconds / 3:
            public.verify(message, signature)
            was, now = now, time.perf_counter()
            took.append(now - was)
        took.sort()
        p50, p99 = took[len(took) // 2] * 1000, took[len(took) * 99 // 100] * 1000
        rate = len(took) / (now - began)
        runs.append(Run(per_second=rate, p50_ms=p50, p99_ms=p99, server_us=1e6 / rate))
    return medians(
        runs, benchmark="receive", name="ed25519", in_flight=1, note="verification alone, one core"
    )
