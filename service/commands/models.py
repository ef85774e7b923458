"""`callboard models list|show`: the catalog here, or that of CALLBOARD_URL where it is set."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from service import jsontext, providers
from service.catalog import Catalog, listing
from service.commands.remote import ask_service, key_to_service
from service.commands.tables import show_facts, show_table
from service.pooled import Asker
from service.settings import Settings
from service.web.access import MOST_PER_PAGE

app = typer.Typer(no_args_is_help=True, help="What can be rendered, how, and what it costs.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Provider = Annotated[str | None, typer.Option(help="Only those of this provider.")]
HEADINGS = ("id", "provider", "category", "price", "configured", "retired")


@app.command("list")
def list_models(provider: Provider = None, as_json: Json = False) -> None:
    """Show every model of the catalog."""
    found = asyncio.run(_every({} if provider is None else {"provider": provider}))
    if as_json:
        typer.echo(jsontext.dumps(found))
        return
    show_table(HEADINGS, [_row(model) for model in found], folding="id")
    if not found:
        typer.echo("no such models", err=True)


@app.command()
def show(
    model: Annotated[str, typer.Argument(metavar="ID", help="As the provider names it.")],
    provider: Annotated[str | None, typer.Option(help="Whose, where several have it.")] = None,
    as_json: Json = False,
) -> None:
    """Show one model: its input, its params and its prices."""
    query = {} if provider is None else {"provider": provider}
    found = asyncio.run(_asked(f"/{quote(model)}", query))
    if found is None:
        found = listing.one(Catalog.load(), providers.configured(), model, provider)
    if as_json:
        typer.echo(jsontext.dumps(found))
        return
    show_facts(_facts(found))


async def _every(query: Mapping[str, str]) -> list[dict[str, Any]]:
    first = {**query, "limit": str(MOST_PER_PAGE)}
    page = await _asked("", first)
    if page is None:
        catalog = Catalog.load()
        most = len(catalog.models)
        return list(listing.page(catalog, providers.configured(), query, most)["data"])
    found = list(page["data"])
    while page["next"]:
        page = await _asked("", {**first, "after": page["next"]})
        found += page["data"]
    return found


async def _asked(path: str, query: Mapping[str, str]) -> Any:
    """What the service at CALLBOARD_URL answers; None where there is none to ask."""
    settings = Settings.read()
    if settings.callboard_url is None:
        return None
    asker, key = Asker(), key_to_service(settings)
    try:
        path = f"/v1/models{path}"
        return await ask_service(asker, settings.callboard_url, key, path, query=query)
    finally:
        await asker.aclose()


def _row(model: Mapping[str, Any]) -> tuple[object, ...]:
    named = (model["id"], model["provider"], model["category"], _span(model["price"]))
    return (*named, "yes" if model["configured"] else "no", model["retired_on"])


def _span(price: Mapping[str, Any] | None) -> str:
    """From the cheapest row to the dearest."""
    if price is None:
        return ""
    amounts = sorted((row["amount"] for row in price["rows"]), key=float)
    span = amounts[0] if amounts[0] == amounts[-1] else f"{amounts[0]} to {amounts[-1]}"
    return f"{span} {price['currency']}"


def _facts(model: Mapping[str, Any]) -> list[tuple[str, object]]:
    schema = model["input_schema"] or {}
    price = model["price"] or {"rows": [], "currency": ""}
    required = schema.get("required", [])
    return [
        ("id", model["id"]),
        ("provider", model["provider"]),
        ("configured", "yes" if model["configured"] else "no"),
        ("category", model["category"]),
        ("usually takes", f"{model['typical_seconds']:g} s"),
        ("retired", model["retired_on"]),
        *(
            (f"input.{name}", _field(one, name in required))
            for name, one in schema.get("properties", {}).items()
        ),
        *((f"params.{name}", _param(one)) for name, one in model["params"].items()),
        *((f"limit of {name}", words) for name, words in model["limits"].items()),
        *((f"{row['amount']} {price['currency']}", _when(row["when"])) for row in price["rows"]),
    ]


def _field(schema: Mapping[str, Any], required: bool) -> str:
    values = [jsontext.dumps(value) for value in schema.get("enum", [])]
    words = [schema.get("type", "any"), "required" if required else ""]
    words += [f"one of {', '.join(values)}" if values else ""]
    words += [f"default {jsontext.dumps(schema['default'])}" if "default" in schema else ""]
    return "; ".join(word for word in (*words, schema.get("description", "")) if word)


def _param(param: Mapping[str, Any]) -> str:
    values = param["values"]
    can = "" if values is None else f": {', '.join(jsontext.dumps(value) for value in values)}"
    return f"becomes {param['field']}{can}"


def _when(when: Mapping[str, Any]) -> str:
    words = (f"{name} {jsontext.dumps(value)}" for name, value in when.items())
    return "where " + ", ".join(words)
