"""`callboard keys create|list|revoke`."""

import asyncio
import secrets
from typing import Annotated, Any

import typer

from service import ids, jsontext
from service import settings as environment
from service.commands.tables import moment as shown_moment
from service.commands.tables import show_table
from service.document import moment
from service.encryption import AtRest
from service.errors import InvalidRequest, NotFound
from service.opening import opened
from service.settings import Settings
from service.store import access
from service.subscribe import new_secret

app = typer.Typer(no_args_is_help=True, help="API keys of apps.")
SCOPES = ("submit", "read", "operate")
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


@app.command()
def create(
    app_name: Annotated[str, typer.Option("--app", help="Whose key; the app is made if new.")],
    scope: Annotated[list[str], typer.Option(help="submit, read or operate; repeat for more.")],
    all_apps: Annotated[
        bool, typer.Option("--all-apps", help="Let an operate key see every app's jobs.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a key. It is shown this once."""
    unknown = sorted(set(scope) - set(SCOPES))
    if unknown:
        raise InvalidRequest(f"--scope {unknown[0]}: must be one of {', '.join(SCOPES)}")
    if all_apps and "operate" not in scope:
        raise InvalidRequest("--all-apps: needs --scope operate")
    made = asyncio.run(_create(app_name, scope, all_apps))
    typer.echo(jsontext.dumps(made) if as_json else made["key"])
    if not as_json:
        typer.echo(f"{made['id']} for {app_name}: keep it, it is not shown again", err=True)


async def _create(app_name: str, scopes: list[str], all_apps: bool) -> dict[str, Any]:
    settings = Settings.read()
    at_rest = AtRest(environment.secrets(settings))
    key, key_id = f"cb_{secrets.token_urlsafe(32)}", ids.new_id()
    async with opened(settings) as db:
        await access.create_key(
            db,
            app=app_name,
            app_id=ids.new_id(),
            app_secret=at_rest.encrypt(new_secret()),
            key_id=key_id,
            key=key,
            scopes=scopes,
            all_apps=all_apps,
        )
    return {"id": ids.show("key", key_id), "key": key, "app": app_name, "scopes": scopes}


@app.command("list")
def list_keys(as_json: Json = False) -> None:
    """Show every key there ever was; never the key itself."""
    rows = [
        row
        | {
            "id": ids.show("key", row["id"]),
            "created_at": moment(row["created_at"]),
            "revoked_at": moment(row["revoked_at"]),
        }
        for row in asyncio.run(_list())
    ]
    if as_json:
        typer.echo(jsontext.dumps(rows))
        return
    headings = ("id", "app", "scopes", "all apps", "created", "revoked")
    show_table(headings, [_row(row) for row in rows], folding="scopes")


def _row(row: dict[str, Any]) -> tuple[object, ...]:
    every = "yes" if row["all_apps"] else ""
    scopes = " ".join(row["scopes"])
    times = (shown_moment(row["created_at"]), shown_moment(row["revoked_at"]))
    return (row["id"], row["app"], scopes, every, *times)


async def _list() -> list[dict[str, Any]]:
    async with opened(Settings.read()) as db:
        return await access.list_keys(db)


@app.command()
def revoke(key: Annotated[str, typer.Argument(metavar="ID", help="key_…")]) -> None:
    """End a key at once."""
    key_id = ids.read("key", key)
    if key_id is None or not asyncio.run(_revoke(key_id)):
        raise NotFound(f"there is no such key, or it was revoked before: {key[:40]}")
    typer.echo(f"{key} is revoked", err=True)


async def _revoke(key_id: Any) -> bool:
    async with opened(Settings.read()) as db:
        return await access.revoke_key(db, key_id)
