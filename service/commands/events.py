"""`callboard events tail|show`: from the database, or from CALLBOARD_URL where it is set."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

import typer

from service import jsontext
from service import settings as environment
from service.commands.failures import INTERRUPTED
from service.commands.feed_source import Asked, Event, FeedSource
from service.commands.forward import Forwarder
from service.commands.local_feed import LocalFeed
from service.commands.remote import key_to_service
from service.commands.remote_feed import RemoteFeed
from service.commands.tables import moment, plain, show_facts
from service.encryption import AtRest
from service.opening import opened
from service.pooled import Asker
from service.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Events: what subscribers are told, as it happens.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


@contextlib.asynccontextmanager
async def source(settings: Settings) -> AsyncIterator[FeedSource]:
    """Where the events are read. Raises SettingInvalid, DatabaseAway, DatabaseNewer."""
    async with contextlib.AsyncExitStack() as stack:
        if settings.callboard_url is None:
            at_rest = AtRest(environment.secrets(settings))
            yield LocalFeed(await stack.enter_async_context(opened(settings)), at_rest)
            return
        asker = Asker()
        stack.push_async_callback(asker.aclose)
        key = key_to_service(settings)
        yield RemoteFeed(asker, settings.callboard_url, key)


@app.command()
def tail(
    after: Annotated[
        str | None, typer.Option(help="Begin after this event; without it, now.")
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option("--type", help="job.completed …; repeat for more.")
    ] = None,
    job: Annotated[
        str | None, typer.Option(help="Of this job only, from its first to its end.")
    ] = None,
    forward_to: Annotated[
        str | None, typer.Option(metavar="URL", help="POST each one there too, signed.")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many.")] = None,
    as_json: Json = False,
) -> None:
    """Print events as they happen, and resume wherever the connection breaks.

    Ends with the job, after --count events, or with Ctrl-C, which says how to go on."""
    types = tuple(one.strip() for text in kind or [] for one in text.split(","))
    tailing = Tailing(Asked(types=types, job=job, after=after), forward_to, count, as_json)
    try:
        asyncio.run(tailing.run())
    except KeyboardInterrupt:
        if tailing.last:
            typer.echo(f"go on with --after {tailing.last}", err=True)
        raise typer.Exit(INTERRUPTED) from None


class Tailing:
    """One run of `events tail`; `last` is the event that was printed last."""

    def __init__(
        self, asked: Asked, forward_to: str | None, count: int | None, as_json: bool
    ) -> None:
        self.last: str | None = None
        self._asked = asked
        self._forward_to = forward_to
        self._count = count
        self._as_json = as_json

    async def run(self) -> None:
        """Raises what a FeedSource does."""
        async with source(Settings.read()) as feed, contextlib.AsyncExitStack() as stack:
            forwarder = None
            if self._forward_to is not None:
                forwarder = Forwarder(self._forward_to, feed.secret, _say)
                stack.push_async_callback(forwarder.aclose)
            events = feed.follow(self._asked)
            await stack.enter_async_context(contextlib.aclosing(events))
            number = 0
            async for event in events:
                typer.echo(jsontext.dumps(event) if self._as_json else line(event))
                if forwarder is not None:
                    await forwarder.forward(event)
                self.last = event["id"]
                number += 1
                if number == self._count:
                    return


@app.command()
def show(
    event: Annotated[str, typer.Argument(metavar="ID", help="evt_…")], as_json: Json = False
) -> None:
    """Show one event and the job as it stood then."""
    found = asyncio.run(_show(event))
    if as_json:
        typer.echo(jsontext.dumps(found))
        return
    show_facts(_facts(found))


async def _show(event_id: str) -> Event:
    async with source(Settings.read()) as feed:
        return await feed.event(event_id)


def _say(words: str) -> None:
    typer.echo(plain(words), err=True)


def line(event: Event) -> str:
    """`2026-01-31 12:00:00.123  job.completed  job_…  evt_…`, and why it failed."""
    job = event["data"]["job"]
    at = event["timestamp"][:23].replace("T", " ")
    why = f"  {plain(_error(job))}" if job["error"] else ""
    return f"{at}  {plain(event['type']):<13}  {plain(job['id'])}  {plain(event['id'])}{why}"


def _error(job: Mapping[str, Any]) -> str | None:
    error = job["error"]
    return f"{error['code']}: {error['message']}" if error else None


def _facts(event: Event) -> list[tuple[str, object]]:
    job = event["data"]["job"]
    return [
        ("id", event["id"]),
        ("type", event["type"]),
        ("at", moment(event["timestamp"])),
        ("job", job["id"]),
        ("state", job["state"]),
        ("model", job["model"]),
        ("provider", job["provider"]),
        ("provider's id", job["provider_id"]),
        ("attempt", job["attempt"]),
        ("version", job["version"]),
        ("learnt by", job["learnt_by"]),
        ("error", _error(job)),
        *(("output", one["url"]) for one in job["outputs"]),
        ("reference", job["reference"]),
        ("metadata", job["metadata"] and jsontext.dumps(job["metadata"])),
    ]
