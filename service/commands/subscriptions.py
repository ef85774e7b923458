"""`callboard subscriptions`: endpoints, in the database or at CALLBOARD_URL where it is set."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from service import jsontext
from service.commands.endpoints import Desk, desk
from service.commands.failures import FAILED
from service.commands.tables import age, moment, show_facts, show_table
from service.errors import InvalidRequest
from service.settings import Settings
from service.web.access import DEFAULT_PER_PAGE, MOST_PER_PAGE

app = typer.Typer(no_args_is_help=True, help="Endpoints: who is told how jobs went.")
T = TypeVar("T")
Id = Annotated[str, typer.Argument(metavar="ID", help="sub_…")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
AppName = Annotated[
    str | None, typer.Option("--app", help="Whose, where no CALLBOARD_API_KEY says so.")
]
Events = Annotated[
    list[str] | None, typer.Option("--event", help="A type, as job.completed; repeat for more.")
]
Headers = Annotated[
    list[str] | None, typer.Option("--header", help="'Name: value', sent along; repeat for more.")
]
HEADINGS = ("id", "url", "events", "state", "age")


def asked(ask: Callable[[Desk], Awaitable[T]]) -> T:
    """What `ask` comes to at whichever desk the settings name."""

    async def run() -> T:
        async with desk(Settings.read()) as at:
            return await ask(at)

    return asyncio.run(run())


@app.command("list")
def list_subscriptions(
    app_name: AppName = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST_PER_PAGE)] = DEFAULT_PER_PAGE,
    after: Annotated[str | None, typer.Option(help="Made after this one.")] = None,
    as_json: Json = False,
) -> None:
    """Show endpoints, oldest first."""
    query = {"limit": str(limit)} | ({} if after is None else {"after": after})
    page = asked(lambda at: at.subscriptions(query, app_name))
    if as_json:
        typer.echo(jsontext.dumps(page))
        return
    now = datetime.now(UTC)
    show_table(HEADINGS, [_row(one, now) for one in page["data"]], folding="url")
    if not page["data"]:
        typer.echo("no endpoints", err=True)
    if page["next"]:
        typer.echo(f"there are more: --after {page['next']}", err=True)


def _row(one: Mapping[str, Any], now: datetime) -> tuple[object, ...]:
    events = " ".join(name.removeprefix("job.") for name in one["events"])
    return one["id"], one["url"], events, _state(one), age(one["created_at"], now)


def _state(one: Mapping[str, Any]) -> str:
    return "enabled" if one["enabled"] else f"disabled: {one['disabled_reason']}"


@app.command()
def create(
    url: Annotated[str, typer.Argument(help="Where the events go.")],
    app_name: AppName = None,
    event: Events = None,
    header: Headers = None,
    since: Annotated[
        str | None, typer.Option(help="Begin in the past: a time, or an event's id.")
    ] = None,
    secret_file: Annotated[
        Path | None, typer.Option(help="A file with a whsec_… of yours; - is stdin.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make an endpoint. Its signing secret is shown this once."""
    body: dict[str, Any] = {"url": url} | _said(event, header)
    body |= {} if since is None else {"since": since}
    body |= {} if secret_file is None else {"secret": _secret_in(secret_file)}
    made = asked(lambda at: at.create(body, app_name))
    _show(made, as_json)
    if not as_json:
        typer.echo("keep the secret, it is not shown again", err=True)


@app.command()
def update(
    subscription: Id,
    url: Annotated[str | None, typer.Option(help="Where the events go from now on.")] = None,
    event: Events = None,
    header: Headers = None,
    no_headers: Annotated[bool, typer.Option("--no-headers", help="Send none along.")] = False,
    enable: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Send what was held; or hold it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Change an endpoint; what is not said stays. --event and --header replace all."""
    if no_headers and header:
        raise InvalidRequest("--no-headers: not together with --header")
    body = _said(event, header) | ({"headers": {}} if no_headers else {})
    body |= {} if url is None else {"url": url}
    body |= {} if enable is None else {"enabled": enable}
    _show(asked(lambda at: at.update(subscription, body)), as_json)


@app.command("test")
def try_out(subscription: Id, as_json: Json = False) -> None:
    """Send a test event now; exits 1 where it is not acknowledged."""
    told = asked(lambda at: at.act(subscription, "test", {}))
    if as_json:
        typer.echo(jsontext.dumps(told))
    else:
        how = told["error"] or f"HTTP {told['status']}"
        facts = [("answer", how), ("took", f"{told['duration_ms']} ms")]
        show_facts([("event", told["event"]), *facts, ("response", told["response"])])
    if not told["delivered"]:
        raise typer.Exit(FAILED)


@app.command()
def rotate(
    subscription: Id,
    overlap_seconds: Annotated[
        int | None, typer.Option(help="How long the old secret signs too (86400).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Replace the signing secret. The new one is shown this once."""
    body = {} if overlap_seconds is None else {"overlap_seconds": overlap_seconds}
    told = asked(lambda at: at.act(subscription, "rotate", body))
    typer.echo(jsontext.dumps(told) if as_json else told["secret"])
    if not as_json:
        until = moment(told["previous_valid_until"])
        typer.echo(f"the secret before it signs too until {until}", err=True)


@app.command()
def recover(
    subscription: Id,
    since: Annotated[str, typer.Option(help="From this time, or this event's id, on.")],
    until: Annotated[str | None, typer.Option(help="Before this time (now).")] = None,
    everything: Annotated[bool, typer.Option("--all", help="What was acknowledged too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    as_json: Json = False,
) -> None:
    """Send again what an endpoint has not acknowledged; prints how much that is."""
    body: dict[str, Any] = {"since": since, "all": everything, "dry_run": dry_run}
    body |= {} if until is None else {"until": until}
    told = asked(lambda at: at.act(subscription, "recover", body))
    typer.echo(jsontext.dumps(told) if as_json else str(told["count"]))


@app.command()
def delete(subscription: Id) -> None:
    """End an endpoint; what waits for it is closed."""
    asked(lambda at: at.delete(subscription))
    typer.echo(f"{subscription} is gone", err=True)


def _said(events: list[str] | None, headers: list[str] | None) -> dict[str, Any]:
    said: dict[str, Any] = {} if not events else {"events": events}
    if not headers:
        return said
    split = [one.partition(":") for one in headers]
    if not all(colon for _, colon, _ in split):
        raise InvalidRequest("--header: must be like 'Name: value'")
    if len({name.strip() for name, _, _ in split}) < len(split):
        raise InvalidRequest("--header: a header stands there twice")
    return said | {"headers": {name.strip(): value.strip() for name, _, value in split}}


def _secret_in(path: Path) -> str:
    text = sys.stdin.read() if str(path) == "-" else path.read_text(errors="replace")
    return text.strip()


def _show(one: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(jsontext.dumps(one))
        return
    show_facts(
        [
            ("id", one["id"]),
            ("url", one["url"]),
            ("events", " ".join(one["events"])),
            ("state", _state(one)),
            ("failing since", moment(one["failing_since"])),
            ("headers", " ".join(one["headers"])),
            ("created", moment(one["created_at"])),
            ("secret", one.get("secret")),
        ]
    )
