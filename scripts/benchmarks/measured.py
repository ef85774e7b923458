"""What a benchmark is asked for, and what it hands back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """`rounds` runs of about `seconds` seconds each; `jobs` and `ended` are how many the largest
    databases hold; `readers` read the feed at once."""

    seconds: float
    rounds: int
    jobs: int
    ended: int
    readers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run: its rate, latencies in milliseconds, the server's processor time for each call, in
    microseconds, and how many jobs a second were polled beside it."""

    per_second: float
    p50_ms: float
    p99_ms: float
    server_us: float
    polls_per_second: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One line of a table, and one object of the JSON: medians over the rounds, each on its own.

    `in_flight` is at any time, or at most where they come at moments of their own. `lowest` and
    `highest` are the rates of the slowest and the fastest round; `ratios` are by what they are to:
    of the rates, or of what is named; `figures` is what else was counted, by name.
    """

    benchmark: str
    name: str
    in_flight: int
    per_second: float
    p50_ms: float
    p99_ms: float
    lowest: float
    highest: float
    rounds: int
    server_us: float | None = None
    polls_per_second: float = 0.0
    note: str | None = None
    ratios: Mapping[str, float] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)


def medians(
    runs: Sequence[Run], *, benchmark: str, name: str, in_flight: int, note: str | None = None
) -> Measured:
    """What `runs` of one thing come to."""
    rates = [run.per_second for run in runs]
    return Measured(
        benchmark=benchmark,
        name=name,
        in_flight=in_flight,
        per_second=median(rates),
        p50_ms=median(run.p50_ms for run in runs),
        p99_ms=median(run.p99_ms for run in runs),
        lowest=min(rates),
        highest=max(rates),
        rounds=len(runs),
        server_us=median(run.server_us for run in runs),
        polls_per_second=median(run.polls_per_second for run in runs),
        note=note,
    )
