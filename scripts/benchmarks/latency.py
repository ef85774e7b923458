"""How long a callback takes at half of what the server can do, alone and beside polls."""

from collections.abc import Callable
from dataclasses import replace

from benchmarks.measured import Measured, Run, Wanted, medians
from benchmarks.stage import Stage
from benchmarks.sweeping import POLLS_PER_SECOND
from benchmarks.trial import trickle

SHARE = 0.5  # of the most
CONNECTIONS = 256
LEAD_SECONDS = 1.0  # the polls go on for longer than the callbacks, which need a moment to begin
FEWEST = 200  # callbacks in a run, however short
# A run is this much longer than one that only counts: where 10,000 callbacks come in two seconds,
# one moment of 20 ms in which the machine stands still is their slowest hundredth.
LONGER = 4.0


async def lines(
    stage: Stage, wanted: Wanted, most: float, say: Callable[[str], None]
) -> list[Measured]:
    """The latency of callbacks at half of `most` a second, round by round: quiet first, then with
    the sweeper at work in the same process."""
    rate = most * SHARE
    count = max(FEWEST, round(rate * wanted.seconds * LONGER))
    runs: dict[str, list[Run]] = {"quiet": [], "polling": []}
    for number in range(1, wanted.rounds + 1):
        for name, done in runs.items():
            run = await trickle(
                stage,
                "token",
                CONNECTIONS,
                count,
                per_second=rate,
                polled=round(POLLS_PER_SECOND * (count / rate + LEAD_SECONDS)),
                polls_per_second=POLLS_PER_SECOND if name == "polling" else 0.0,
            )
            done.append(run)
            say(f"half of that, round {number} of {wanted.rounds}, {name}: {run.p99_ms:.1f} ms")
    quiet, polling = (_line(name, done) for name, done in runs.items())
    return [quiet, replace(polling, ratios={"quiet p99": polling.p99_ms / quiet.p99_ms})]


def _line(name: str, runs: list[Run]) -> Measured:
    line = medians(runs, benchmark="receive", name=name, in_flight=CONNECTIONS)
    polls = f", {line.polls_per_second:,.0f} jobs a second polled" if name == "polling" else ""
    return replace(line, note=f"half of the most, at moments of their own{polls}")
