"""How the commands print: a table for people, plain columns where stdout is no terminal."""

import io
from collections.abc import Iterable, Sequence
from datetime import datetime

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDEST = 4000
FOLDED = 16  # characters that a folded column keeps at least
GAP = 2  # characters between columns


def plain(value: object) -> str:
    """`value` as one line of printable text, as apps and providers may send anything: what would
    steer a terminal is shown as its escape. None is empty."""
    text = "" if value is None else str(value)
    return "".join(
        letter if letter.isprintable() else ascii(letter)[1:-1] for letter in " ".join(text.split())
    )


def moment(text: str | None) -> str:
    """An RFC 3339 time as people read it, to the second: `2026-01-31 12:00:00Z`."""
    return "" if not text else f"{text[:10]} {text[11:19]}Z"


def age(text: str, now: datetime) -> str:
    """How long ago an RFC 3339 time was, in its largest whole unit: `45s`, `3h`, `12d`."""
    seconds = max(0, int((now - datetime.fromisoformat(text)).total_seconds()))
    for unit, letter in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= unit:
            return f"{seconds // unit}{letter}"
    return f"{seconds}s"


def show_table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, folding: str) -> None:
    """Prints rows on stdout. In a narrow terminal the column `folding` is folded, and no other:
    people copy ids. What does not fit even then is left to the terminal to wrap."""
    texts = [[plain(value) for value in row] for row in rows]
    terminal = Console()
    table, needed = Table(box=None, pad_edge=False), -GAP
    for number, heading in enumerate(headings):
        longest = max([len(heading), *(len(row[number]) for row in texts)])
        least = min(longest, FOLDED) if heading == folding else longest
        table.add_column(heading, overflow="fold", no_wrap=heading != folding, min_width=least)
        needed += least + GAP
    for row in texts:
        table.add_row(*(Text(value) for value in row))
    if terminal.is_terminal:
        Console(width=max(terminal.width, needed)).print(table)
    else:
        _print_plain(table)


def _print_plain(table: Table) -> None:
    drawn = io.StringIO()
    Console(width=WIDEST, file=drawn, color_system=None, force_terminal=False).print(table)
    for line in drawn.getvalue().splitlines():
        typer.echo(line.rstrip())


def show_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Prints names and values on stdout, a line each; those without a value are left out."""
    shown = [(name, plain(value)) for name, value in facts if value not in (None, "", [], {})]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        typer.echo(f"{name:<{width}}  {value}")
