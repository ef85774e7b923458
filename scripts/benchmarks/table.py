"""A benchmark's numbers as a table for people."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.measured import Measured

COLUMNS = ("in flight", "per second", "slowest to fastest", "p50 ms", "p99 ms", "server µs each")


def show(measured: Sequence[Measured], *, title: str) -> None:
    """Prints the medians, the spread between rounds, and the ratios."""
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.caption = f"medians of {max(one.rounds for one in measured)} alternating rounds"
    table.add_column("")
    for name in COLUMNS:
        table.add_column(name, justify="right")
    table.add_column("beside")
    was = None
    for one in measured:
        if was not in (None, one.in_flight):
            table.add_section()
        was = one.in_flight
        table.add_row(
            one.name,
            str(one.in_flight),
            f"{one.per_second:,.0f}",
            f"{one.lowest:,.0f} – {one.highest:,.0f}",
            f"{one.p50_ms:.2f}" if one.p50_ms else "",
            f"{one.p99_ms:.2f}" if one.p99_ms else "",
            f"{one.server_us:.0f}" if one.server_us else "",
            beside(one),
        )
    Console(width=max(Console().width, 120)).print(table)


def beside(one: Measured) -> str:
    """The ratios and the note of one line."""
    ratios = [f"{ratio:.2f} × {of}" for of, ratio in one.ratios.items()]
    return "; ".join([*ratios, *([one.note] if one.note else [])])
