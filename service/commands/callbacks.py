"""`callboard callbacks list|show|replay`: what providers, and others, have called us with."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from service import ids, jsontext
from service.commands.inbox import source
from service.commands.tables import age, moment, plain, show_facts, show_table
from service.errors import NotFound
from service.settings import Settings
from service.web.access import DEFAULT_PER_PAGE, MOST_PER_PAGE

app = typer.Typer(
    no_args_is_help=True, help="Inbound calls: what came, what became of it, and once more."
)
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="cbk_…")]
HEADINGS = ("id", "verdict", "reason", "provider", "job", "age")


@app.command("list")
def list_callbacks(
    job: Annotated[str | None, typer.Option(help="Only those about this job.")] = None,
    provider: Annotated[str | None, typer.Option(help="Only those at its door.")] = None,
    verdict: Annotated[
        str | None,
        typer.Option(help="accepted, duplicate, ignored, hint, refused or unreadable."),
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Only those with this reason.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST_PER_PAGE)] = DEFAULT_PER_PAGE,
    after: Annotated[str | None, typer.Option(help="Older than this one.")] = None,
    as_json: Json = False,
) -> None:
    """Show inbound calls, newest first, refused ones too."""
    given = {"job": job, "provider": provider, "verdict": verdict, "reason": reason, "after": after}
    query = {name: value for name, value in given.items() if value is not None}
    page = asyncio.run(_page(query | {"limit": str(limit)}))
    if as_json:
        typer.echo(jsontext.dumps(page))
        return
    now = datetime.now(UTC)
    show_table(HEADINGS, [_row(call, now) for call in page["data"]], folding="reason")
    if not page["data"]:
        typer.echo("no such calls", err=True)
    if page["next"]:
        typer.echo(f"there are more: --after {page['next']}", err=True)


async def _page(query: Mapping[str, str]) -> dict[str, Any]:
    async with source(Settings.read()) as calls:
        return await calls.page(query)


def _row(call: Mapping[str, Any], now: datetime) -> tuple[object, ...]:
    told = (call["verdict"], call["reason"], call["provider"], call["job"])
    return (call["id"], *told, age(call["at"], now))


@app.command()
def show(callback: Id, as_json: Json = False) -> None:
    """Show one call with its headers and its body."""
    call = asyncio.run(_show(_checked(callback)))
    if as_json:
        typer.echo(jsontext.dumps(call))
        return
    length = f"{call['bytes']} bytes{', only the beginning is kept' if call['cut'] else ''}"
    show_facts(
        [
            ("id", call["id"]),
            ("at", moment(call["at"])),
            ("provider", call["provider"]),
            ("verdict", call["verdict"]),
            ("reason", call["reason"]),
            ("job", call["job"]),
            ("attempt", call["attempt"]),
            ("provider's id", call["provider_id"]),
            ("source", call["source"]),
            *((name, value) for name, value in call["headers"].items()),
            ("body", length if call["encoding"] == "text" else f"{length}, as base64"),
        ]
    )
    typer.echo()
    for line in call["body"].splitlines():
        typer.echo(plain(line))


async def _show(callback_id: str) -> dict[str, Any]:
    async with source(Settings.read()) as calls:
        return await calls.call(callback_id)


def _checked(callback_id: str) -> str:
    """Raises NotFound where it cannot be a call's id."""
    if ids.read("cbk", callback_id) is None:
        problem = f"{callback_id[:60]!r} is no callback's id: it is cbk_ and 32 hex digits"
        raise NotFound(problem, code="not_found")
    return callback_id


@app.command()
def replay(
    callback: Id,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would come of it.")
    ] = False,
    reason: Annotated[str | None, typer.Option(help="Why; kept with the job.")] = None,
    as_json: Json = False,
) -> None:
    """Run a call's stored bytes through today's code. It is free, and does nothing twice."""
    told = asyncio.run(_replay(_checked(callback), dry_run, reason))
    if as_json:
        typer.echo(jsontext.dumps(told))
        return
    why = f" ({told['reason']})" if told["reason"] else ""
    would = "would be " if dry_run else ""
    typer.echo(f"{would}{told['verdict']}{why}")
    if told["job"] is None:
        typer.echo("no job of ours")
    elif told["from"] == told["to"]:
        typer.echo(f"{told['job']} stays {told['to']}")
    else:
        typer.echo(f"{told['job']} {told['from']} → {told['to']}")


async def _replay(callback_id: str, dry_run: bool, reason: str | None) -> dict[str, Any]:
    async with source(Settings.read()) as calls:
        return await calls.replay(callback_id, dry_run=dry_run, reason=reason)
