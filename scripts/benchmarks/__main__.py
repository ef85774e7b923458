"""`scripts/bench`: runs the benchmarks that are asked for, prints their tables, writes the JSON."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import deliver, feed, journey, receive, sweep
from benchmarks.measured import Measured, Wanted
from service import jsontext, logs

Benchmark = Callable[[Wanted], Coroutine[Any, Any, list[Measured]]]
BENCHMARKS: dict[str, Benchmark] = {
    "receive": receive.run,
    "sweep": sweep.run,
    "job": journey.run,
    "feed": feed.run,
    "deliver": deliver.run,
}


def main(
    names: Annotated[
        list[str] | None, typer.Argument(help=f"Of: {', '.join(BENCHMARKS)}; none means all.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the numbers to this file as well.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.01, help="About how long one run takes.")] = 3.0,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each; the median counts.")] = 5,
    jobs: Annotated[
        int, typer.Option(min=10_000, help="sweep: open jobs; a hundredth of that beside it.")
    ] = 1_000_000,
    ended: Annotated[int, typer.Option(min=0, help="sweep: ended jobs beside them.")] = 2_000_000,
    readers: Annotated[int, typer.Option(min=1, help="feed: who read at once.")] = 2000,
) -> None:
    """Measure. Tables on stdout, progress on stderr."""
    chosen = names or list(BENCHMARKS)
    unknown = sorted(set(chosen) - set(BENCHMARKS))
    if unknown:
        raise typer.BadParameter(f"{unknown[0]} is none of {', '.join(BENCHMARKS)}")
    logs.set_up(logging.WARNING)
    wanted = Wanted(seconds=seconds, rounds=rounds, jobs=jobs, ended=ended, readers=readers)
    measured: list[Measured] = []
    for name in chosen:
        measured += asyncio.run(BENCHMARKS[name](wanted))
    if json_file is not None:
        json_file.write_text(jsontext.dumps([asdict(one) for one in measured]) + "\n")


app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
app.command()(main)
app(prog_name="scripts/bench")
