"""`callboard providers list`: from the database, or from CALLBOARD_URL where it is set."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from service import jsontext, providers
from service.commands.remote import ask_service, key_to_service
from service.commands.tables import moment, show_table
from service.opening import opened
from service.pooled import Asker
from service.settings import Settings
from service.standing import standing
from service.web.access import MOST_PER_PAGE

app = typer.Typer(no_args_is_help=True, help="Providers: who takes jobs, and who is paused.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
HEADINGS = ("name", "state", "until", "queued", "in flight", "at most", "why")


@app.command("list")
def list_providers(as_json: Json = False) -> None:
    """Show every provider, how it answers and how much it has to do."""
    found = asyncio.run(_found(Settings.read()))
    if as_json:
        typer.echo(jsontext.dumps(found))
        return
    show_table(HEADINGS, [_row(one) for one in found], folding="why")


async def _found(settings: Settings) -> list[dict[str, Any]]:
    if settings.callboard_url is None:
        configured = providers.configured()
        async with opened(settings) as db:
            return await standing(db, configured, settings.callboard_in_flight)
    asker, key = Asker(), key_to_service(settings)
    query = {"limit": str(MOST_PER_PAGE)}
    try:
        told = await ask_service(asker, settings.callboard_url, key, "/v1/providers", query=query)
        return list(told["data"])
    finally:
        await asker.aclose()


def _row(one: Mapping[str, Any]) -> tuple[object, ...]:
    counts = (one["queued"], one["in_flight"], one["most_in_flight"])
    why = ": ".join(part for part in (one["code"], one["message"]) if part)
    return (one["name"], one["state"], moment(one["paused_until"]), *counts, why)
