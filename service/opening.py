"""The database, reached and migrated: DATABASE_URL's, or the embedded one, kept up meanwhile."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from service import database
from service.database import Database
from service.embedded import Embedded, attached
from service.errors import DatabaseAway
from service.settings import Settings

log = logging.getLogger(__name__)
T = TypeVar("T")

LOOK_SECONDS = 1.0
KEEP_UP_SECONDS = 2.0


@contextlib.asynccontextmanager
async def opened_database(
    settings: Settings, *, patience: float = 0.0, stop: asyncio.Event | None = None
) -> AsyncIterator[str]:
    """The address of the database, migrated: DATABASE_URL, else the embedded Postgres, which runs
    as long as somebody holds it. One that does not answer is waited for, `patience` seconds or
    until `stop`. Raises DatabaseAway, DatabaseNewer."""
    async with contextlib.AsyncExitStack() as stack:
        if settings.database_url is not None:
            dsn = settings.database_url.get_secret_value()
        else:
            embedded = await stack.enter_async_context(attached(settings.callboard_data_dir))
            dsn = embedded.dsn
            keeping = asyncio.create_task(_keep_up(embedded))
            stack.callback(keeping.cancel)
        for name in await patiently(lambda: database.migrate(dsn), patience, stop):
            log.info("migrated %s", name)
        yield dsn


async def patiently(
    step: Callable[[], Awaitable[T]], patience: float, stop: asyncio.Event | None
) -> T:
    """What `step` returns. While the database is away it is tried again and again, `patience`
    seconds long or until `stop`; then raises DatabaseAway."""
    stop, until = stop or asyncio.Event(), time.monotonic() + patience
    while True:
        try:
            return await step()
        except DatabaseAway as fault:
            if stop.is_set() or time.monotonic() >= until:
                raise
            log.warning("waiting for the database: %s", fault)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await stop.wait()


async def _keep_up(embedded: Embedded) -> None:
    """Starts the embedded Postgres again where it has died under us."""
    while True:
        await asyncio.sleep(KEEP_UP_SECONDS)
        try:
            await embedded.ensure()
        except DatabaseAway as fault:
            log.error("the embedded Postgres does not come up: %s", fault)


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Database]:
    """The database, migrated and connected: for commands. Raises DatabaseAway, DatabaseNewer."""
    async with opened_database(settings) as dsn:
        db = await Database.connect(dsn, size=4)
        try:
            yield db
        finally:
            await db.close()
