"""What a look of the sweeper costs with a million open jobs, beside ten thousand; as many due."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from benchmarks.crowd import SMALLER, Crowd, crowds
from benchmarks.looks import EACH, Look, Looker
from benchmarks.measured import Measured, Wanted
from benchmarks.open_jobs import PROVIDERS
from benchmarks.pretended import pretended
from benchmarks.statements import Touched
from service.embedded import attached
from service.pooled import Asker

DUE_SHARE = 10  # of the small database's open jobs one in so many is due, as many in the others
VARIANTS: Mapping[str, Callable[[Looker, int], Awaitable[Look]]] = {
    "tick": Looker.tick,
    "asks": Looker.asks,
    "submits": Looker.submits,
}
COLUMNS = (
    *("open", "ended", "ms", "fastest – slowest", "costs", "processor ms", "costs"),
    *("claims", "p50 ms", "p99 ms", "hit", "read", "met"),
)
PROCESSOR = "its processor time"


async def run(wanted: Wanted) -> list[Measured]:
    """Fills the databases, measures them in turns, and prints the table."""
    talk = Console(stderr=True, highlight=False)

    def tell(what: str) -> None:
        talk.print(f"sweep: {what}")

    data_dir = Path(os.environ.get("CALLBOARD_DATA_DIR", ".callboard"))
    await asyncio.to_thread(data_dir.mkdir, parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="bench-", dir=data_dir) as folder:
        async with (
            attached(Path(folder)) as embedded,
            crowds(
                embedded.dsn, data_dir, jobs=wanted.jobs, ended=wanted.ended, tell=tell
            ) as filled,
        ):
            measured = await _measure(filled, wanted, tell)
    show(measured, rounds=wanted.rounds)
    return measured


async def _measure(
    filled: Sequence[Crowd], wanted: Wanted, tell: Callable[[str], None]
) -> list[Measured]:
    due = wanted.jobs // SMALLER // DUE_SHARE
    asker = Asker()
    try:
        async with pretended() as providers:
            lookers = [Looker(crowd, providers, asker, due=due) for crowd in filled]
            return [
                line
                for variant in VARIANTS
                for line in await _lines(variant, lookers, wanted.rounds, due, tell)
            ]
    finally:
        await asker.aclose()


async def _lines(
    variant: str, lookers: Sequence[Looker], rounds: int, due: int, tell: Callable[[str], None]
) -> list[Measured]:
    """One variant in every database, in turns, the first of which warms up."""
    looks: dict[str, list[Look]] = {looker.crowd.name: [] for looker in lookers}
    for turn in range(rounds + 1):
        first = turn % len(lookers)
        for looker in [*lookers[first:], *lookers[:first]]:
            look = await VARIANTS[variant](looker, turn)
            if turn:
                looks[looker.crowd.name].append(look)
            round_name = f"round {turn} of {rounds}" if turn else "warming up"
            tell(f"{variant}, {round_name}, {looker.crowd.name}: {look.seconds * 1000:,.0f} ms")
    touched = [
        await looker.explained(rounds + 1, queued=variant == "submits") for looker in lookers
    ]
    lines = [
        _line(variant, looker.crowd, looks[looker.crowd.name], seen, due)
        for looker, seen in zip(lookers, touched, strict=True)
    ]
    least, *others = lookers
    return [lines[0]] + [
        replace(line, ratios=_costs(variant, looks[least.crowd.name], looks[looker.crowd.name]))
        for line, looker in zip(lines[1:], others, strict=True)
    ]


def _costs(variant: str, small: Sequence[Look], large: Sequence[Look]) -> dict[str, float]:
    """What a look costs beside one at the small database: the median of the rounds' own ratios,
    since what else the machine does changes from round to round."""
    pairs = list(zip(small, large, strict=True))
    costs = {f"{variant} small": median(one.seconds / least.seconds for least, one in pairs)}
    if used := [
        one.processor / least.processor for least, one in pairs if one.processor and least.processor
    ]:
        costs[PROCESSOR] = median(used)
    return costs


def _line(
    variant: str, crowd: Crowd, looks: Sequence[Look], touched: Sequence[Touched], due: int
) -> Measured:
    """What the looks at one database come to. The rate is of jobs; the latencies are of a claim."""
    rates = [due / look.seconds for look in looks]
    claims = [sorted(look.claims) for look in looks]
    return Measured(
        benchmark="sweep",
        name=f"{variant} {crowd.name}",
        in_flight=EACH * len(PROVIDERS),
        per_second=median(rates),
        p50_ms=median(took[len(took) // 2] for took in claims) * 1000,
        p99_ms=median(took[len(took) * 99 // 100] for took in claims) * 1000,
        lowest=min(rates),
        highest=max(rates),
        rounds=len(looks),
        figures=_processor(looks)
        | {
            "open": crowd.still_open,
            "ended": crowd.ended,
            "due": due,
            "ms": due / median(rates) * 1000,
            "claims": median(len(took) for took in claims),
            "hit_per_claim": sum(one.hit for one in touched) / len(touched),
            "read_per_claim": sum(one.read for one in touched) / len(touched),
            "rows_met_per_job": sum(one.walked for one in touched) / due,
        },
    )


def _processor(looks: Sequence[Look]) -> dict[str, float]:
    used = [look.processor * 1000 for look in looks if look.processor]
    return {"processor_ms": median(used)} if used else {}


def show(measured: Sequence[Measured], *, rounds: int) -> None:
    """Prints the medians, the spread between rounds, and what a look costs beside the smallest."""
    table = Table(
        title=f"A look at {measured[0].figures['due']:,.0f} due jobs, until all were asked after",
        title_justify="left",
        caption_justify="left",
    )
    table.caption = (
        "tick: the sweeper, asking a provider that answers at once; asks, submits: the statements "
        "alone, one after another\n"
        f"medians of {rounds} alternating rounds; processor: of Postgres and this side; p50, p99, "
        "hit and read (8 KiB pages): of one claim;\n"
        "met: rows of the agenda that the claims went through, for each job due"
    )
    table.add_column("")
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for number, one in enumerate(measured):
        if number % 3 == 0:
            table.add_section()
        table.add_row(one.name, *_cells(one))
    Console(width=max(Console().width, 150)).print(table)


def _cells(one: Measured) -> list[str]:
    figures = one.figures
    slowest, fastest = (figures["due"] / rate * 1000 for rate in (one.lowest, one.highest))
    wall = next((cost for of, cost in one.ratios.items() if of != PROCESSOR), None)
    used = figures.get("processor_ms")
    return [
        *(f"{figures[name]:,.0f}" for name in ("open", "ended", "ms")),
        f"{fastest:,.0f} – {slowest:,.0f}",
        *(_times(wall), "" if used is None else f"{used:,.0f}", _times(one.ratios.get(PROCESSOR))),
        f"{figures['claims']:,.0f}",
        *(f"{number:.2f}" for number in (one.p50_ms, one.p99_ms)),
        *(f"{figures[f'{name}_per_claim']:,.0f}" for name in ("hit", "read")),
        f"{figures['rows_met_per_job']:.1f}",
    ]


def _times(cost: float | None) -> str:
    return "" if cost is None else f"{cost:.2f} ×"
