"""How the commands print: a table for people, plain columns where stdout is no terminal."""

import io
from collections.abc import Iterable, Sequence

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

NARROWEST = 80  # columns; below it rich would drop some, and a terminal can wrap by itself
WIDEST = 4000


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


def show_table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, ids: int = 1) -> None:
    """Prints rows on stdout. The first `ids` columns are never cut or folded: people copy them."""
    texts = [[plain(value) for value in row] for row in rows]
    terminal = Console()
    if terminal.is_terminal:
        width = max(NARROWEST, terminal.width)
        Console(width=width).print(_table(headings, texts, ids, lined=True), crop=False)
        return
    drawn = Console(width=WIDEST, file=io.StringIO(), color_system=None)
    drawn.print(_table(headings, texts, ids, lined=False))
    assert isinstance(drawn.file, io.StringIO)
    for line in drawn.file.getvalue().splitlines():
        typer.echo(line.strip())


def show_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Prints names and values on stdout, a line each; those without a value are left out."""
    shown = [(name, plain(value)) for name, value in facts if value not in (None, "", [], {})]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        typer.echo(f"{name:<{width}}  {value}")


def _table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], ids: int, *, lined: bool
) -> Table:
    table = Table() if lined else Table(box=None, pad_edge=False)
    for number, heading in enumerate(headings):
        longest = max((len(row[number]) for row in rows), default=0)
        if number < ids:
            table.add_column(heading, no_wrap=True, min_width=longest)
        else:
            table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(value) for value in row))
    return table
