"""`callboard reconciliation`: the ledger, from the database or from CALLBOARD_URL."""

import asyncio
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from service import jsontext
from service.commands.remote import ask_service, key_to_service
from service.commands.tables import moment, plain, show_table
from service.opening import opened
from service.pooled import Asker
from service.reconciliation import read, wanted
from service.settings import Settings
from service.web.access import MOST_PER_PAGE

HEADINGS = (
    *("provider", "model", "ended", "by callback", "by poll", "never came", "refused", "disagree"),
    *("lag p95", "took p50", "unconfirmed", "at risk", "spent"),
)
ALL = "(all)"


def reconciliation(
    since: Annotated[
        str | None, typer.Option(help="Jobs made from then on, as 2026-01-31T12:00:00Z.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Jobs made before then.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Show how jobs' ends were learnt, which callbacks never came, and what it cost.

    Of the jobs made in the last 24 hours, or in up to 31 days."""
    query = {name: at for name, at in (("since", since), ("until", until)) if at is not None}
    found = asyncio.run(_every(query))
    if as_json:
        typer.echo(jsontext.dumps(found))
        return
    show_table(HEADINGS, _rows(found), folding="model")
    for provider in found["providers"]:
        _say(provider)
    if not found["providers"]:
        typer.echo("no jobs were made then", err=True)


async def _every(query: Mapping[str, str]) -> dict[str, Any]:
    """The whole ledger, all its pages."""
    settings = Settings.read()
    if settings.callboard_url is None:
        async with opened(settings) as db:
            asked = wanted(query, datetime.now(UTC))
            return await read(db, None, asked, limit=None)
    asker, key = Asker(), key_to_service(settings)
    try:
        return await _pages(asker, settings.callboard_url, key, query)
    finally:
        await asker.aclose()


async def _pages(asker: Asker, url: str, key: str, query: Mapping[str, str]) -> dict[str, Any]:
    path, data = "/v1/reconciliation", []
    asked = {**query, "limit": str(MOST_PER_PAGE)}
    while True:
        page = await ask_service(asker, url, key, path, query=asked)
        data += page["data"]
        if page["next"] is None:
            return {**page, "data": data}
        asked |= {"since": page["since"], "until": page["until"], "after": page["next"]}


def _rows(found: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    """Each provider's models, and where there are several, all of them together."""
    for provider in found["providers"]:
        models = [one for one in found["data"] if one["provider"] == provider["provider"]]
        yield from (_row(one["model"], one) for one in models)
        if len(models) != 1:
            yield _row(ALL, provider)


def _row(model: str, one: Mapping[str, Any]) -> tuple[object, ...]:
    calls, learnt = one["callbacks"], one["learnt_by"]
    never = f"{calls['never_came']} of {calls['registered']}" if calls["registered"] else ""
    lag, took = one["callback_lag_seconds"]["p95"], one["post_to_end_seconds"]["p50"]
    return (
        *(one["provider"], model, sum(one["ended"].values()), learnt["callback"], learnt["poll"]),
        *(never, calls["refused"], calls["disagreeing"], _seconds(lag), _seconds(took)),
        *(one["unconfirmed"], _money(one, "at_risk"), _money(one, "actual", "estimate")),
    )


def _seconds(number: float | None) -> str:
    return "" if number is None else f"{number:.1f}s"


def _money(one: Mapping[str, Any], *names: str) -> str:
    """The first of these that is known, of each currency."""
    amounts = (
        (next((cost[name] for name in names if cost[name] is not None), None), cost["currency"])
        for cost in one["cost"]
    )
    return ", ".join(f"{amount} {currency or ''}".strip() for amount, currency in amounts if amount)


def _say(provider: Mapping[str, Any]) -> None:
    name = plain(provider["provider"])
    if provider["silent_since"] is not None:
        since = moment(provider["silent_since"])
        typer.echo(f"{name} has not called back since {since}", err=True)
    if provider["refused_without_job"]:
        count = provider["refused_without_job"]
        typer.echo(f"{name}: {count} calls that name no job were refused", err=True)
