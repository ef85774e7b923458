"""`callboard migrate`."""

import asyncio

import typer

from service import database, logs
from service.embedded import attached
from service.settings import Settings


def migrate() -> None:
    """Bring the database up to this version."""
    logs.set_up()
    applied = asyncio.run(_migrate(Settings.read()))
    for name in applied:
        typer.echo(f"applied {name}", err=True)
    if not applied:
        typer.echo("the database is up to date", err=True)


async def _migrate(settings: Settings) -> list[str]:
    if settings.database_url is not None:
        return await database.migrate(settings.database_url.get_secret_value())
    async with attached(settings.callboard_data_dir) as embedded:
        return await database.migrate(embedded.dsn)
