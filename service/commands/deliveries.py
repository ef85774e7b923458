"""`callboard deliveries`: what was sent to whom, in the database or at CALLBOARD_URL."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from service import jsontext
from service.commands.subscriptions import Json, asked
from service.commands.tables import moment, show_table
from service.web.access import DEFAULT_PER_PAGE, MOST_PER_PAGE

app = typer.Typer(no_args_is_help=True, help="Deliveries: which event went where, and how.")
HEADINGS = ("id", "state", "type", "job", "tries", "last answer", "next", "url")


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    HELD = "held"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@app.command("list")
def list_deliveries(
    state: Annotated[
        DeliveryState | None, typer.Option(help="Only those that stand there.")
    ] = None,
    job: Annotated[str | None, typer.Option(help="Only those of this job.")] = None,
    subscription: Annotated[str | None, typer.Option(help="Only those to this endpoint.")] = None,
    event: Annotated[str | None, typer.Option(help="Only those of this event.")] = None,
    created_after: Annotated[str | None, typer.Option(help="Of events after this time.")] = None,
    created_before: Annotated[str | None, typer.Option(help="Of events before this time.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST_PER_PAGE)] = DEFAULT_PER_PAGE,
    after: Annotated[str | None, typer.Option(help="Older than this one.")] = None,
    as_json: Json = False,
) -> None:
    """Show deliveries, newest event first."""
    given = {
        "state": None if state is None else state.value,
        "job": job,
        "subscription": subscription,
        "event": event,
        "created_after": created_after,
        "created_before": created_before,
        "after": after,
    }
    query = {"limit": str(limit)}
    query |= {name: value for name, value in given.items() if value is not None}
    page = asked(lambda at: at.deliveries(query))
    if as_json:
        typer.echo(jsontext.dumps(page))
        return
    show_table(HEADINGS, [_row(one) for one in page["data"]], folding="url")
    if not page["data"]:
        typer.echo("no such deliveries", err=True)
    if page["next"]:
        typer.echo(f"there are more: --after {page['next']}", err=True)


@app.command()
def resend(
    delivery: Annotated[str, typer.Argument(metavar="ID", help="dlv_…")], as_json: Json = False
) -> None:
    """Send an event again, acknowledged or not, under the same id; free."""
    told = asked(lambda at: at.resend(delivery))
    if as_json:
        typer.echo(jsontext.dumps(told))
        return
    typer.echo(f"{told['id']} is {told['state']}", err=True)


def _row(one: Mapping[str, Any]) -> tuple[object, ...]:
    tries = one["tries"]
    last = tries[-1] if tries else None
    how = last and (last["error"] or f"HTTP {last['status']}")
    number = last["number"] if last else 0
    named = (one["id"], one["state"], one["type"], one["job"])
    return (*named, number, how, moment(one["next_at"]), one["url"])
