"""How many may read the feed at once: what each costs in memory, and when the last one hears."""

import asyncio
import os
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.feed_stage import Stage, staged
from benchmarks.measured import Measured, Run, Wanted, medians

EVENTS_AT_ONCE = (1, 20)
COLUMNS = (
    *("readers", "events at once", "KiB each", "p50 ms", "p99 ms", "last ms", "slowest round"),
    *("told a second", "server µs each"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One round: its Run, and when the last reader had the last event, in milliseconds."""

    run: Run
    last_ms: float


async def run(wanted: Wanted) -> list[Measured]:
    """Measures one process with so many readers, and prints the table."""
    talk = Console(stderr=True, highlight=False)
    talk.print("feed: starting Postgres and callboard serve")
    data_dir = Path(os.environ.get("CALLBOARD_DATA_DIR", ".callboard"))
    await asyncio.to_thread(data_dir.mkdir, parents=True, exist_ok=True)
    measured = []
    async with staged(data_dir) as stage:
        before = stage.resident_kib()
        await stage.fill(wanted.readers)
        for count in EVENTS_AT_ONCE:
            await tell(stage, wanted.readers, count)  # the first ones find everything cold
            rounds = [await tell(stage, wanted.readers, count) for _ in range(wanted.rounds)]
            kib = (stage.resident_kib() - before) / wanted.readers
            measured.append(line(rounds, wanted.readers, count, kib))
            talk.print(f"feed: {count} at once to {wanted.readers}, {kib:.1f} KiB each")
    show(measured)
    return measured


async def tell(stage: Stage, readers: int, count: int) -> Told:
    """Makes so many events in one commit and waits until everybody has them all. The times are
    from that commit on."""
    moves = [await stage.job_to_tell_of() for _ in range(count)]
    used = stage.processor_seconds()
    began = await stage.commit(moves)
    arrived = [await stage.arrived() for _ in range(count)]
    last = max(one["last"] for one in arrived) - began
    used = stage.processor_seconds() - used
    return Told(
        run=Run(
            per_second=readers * count / last,
            p50_ms=median(one["p50"] - began for one in arrived) * 1000,
            p99_ms=max(one["p99"] - began for one in arrived) * 1000,
            server_us=used / (readers * count) * 1e6,
        ),
        last_ms=last * 1000,
    )


def line(rounds: list[Told], readers: int, count: int, kib: float) -> Measured:
    """What the rounds come to."""
    last = [one.last_ms for one in rounds]
    found = medians(
        [one.run for one in rounds],
        benchmark="feed",
        name=f"{count} at once",
        in_flight=readers,
        note=f"{kib:.1f} KiB for each reader; the last one after {median(last):.0f} ms",
    )
    figures = {
        "events_at_once": count,
        "kib_per_reader": kib,
        "last_ms": median(last),
        "slowest_last_ms": max(last),
    }
    return replace(found, figures=figures)


def show(measured: list[Measured]) -> None:
    """Prints the medians."""
    table = Table(title="One process, one app's feed as server-sent events", title_justify="left")
    table.caption = f"medians of {max(one.rounds for one in measured)} rounds, from the commit on"
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for one in measured:
        table.add_row(
            f"{one.in_flight:,}",
            f"{one.figures['events_at_once']:.0f}",
            f"{one.figures['kib_per_reader']:.1f}",
            f"{one.p50_ms:.1f}",
            f"{one.p99_ms:.1f}",
            f"{one.figures['last_ms']:.1f}",
            f"{one.figures['slowest_last_ms']:.1f}",
            f"{one.per_second:,.0f}",
            "" if one.server_us is None else f"{one.server_us:.0f}",
        )
    Console(width=max(Console().width, 120)).print(table)
