"""Where `callboard callbacks` reads and replays calls: the database, or a service over HTTP."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol
from urllib.parse import quote

from service import ids, providers
from service import settings as environment
from service.catalog import Catalog
from service.commands.acting import user
from service.commands.remote import ask_service, key_to_service
from service.database import Database, Row
from service.encryption import AtRest
from service.errors import NotFound
from service.inbox import Inbox
from service.opening import opened
from service.operating import Actor
from service.pooled import Asker
from service.replay import Replayer
from service.settings import Settings
from service.signing_keys import signing_keys
from service.store import callbacks
from service.vault import Vault
from service.web.access import page_of
from service.web.inbox import filter_of, outcome, shown


class CallSource(Protocol):
    """Where calls are read and replayed."""

    async def page(self, query: Mapping[str, str]) -> dict[str, Any]:
        """`{"data", "next"}` of the filters of `GET /v1/callbacks`. Raises InvalidRequest."""
        ...

    async def call(self, callback_id: str) -> dict[str, Any]:
        """One call as the API shows it. Raises NotFound."""
        ...

    async def replay(
        self, callback_id: str, *, dry_run: bool, reason: str | None
    ) -> dict[str, Any]:
        """What came of a replay, as the API tells it. Raises NotFound, Conflict, Unavailable."""
        ...


@contextlib.asynccontextmanager
async def source(settings: Settings) -> AsyncIterator[CallSource]:
    """Where the calls are. Raises SettingInvalid, DatabaseAway, DatabaseNewer."""
    async with contextlib.AsyncExitStack() as stack:
        if settings.callboard_url is None:
            yield LocalCalls(await stack.enter_async_context(opened(settings)), settings)
            return
        asker = Asker()
        stack.push_async_callback(asker.aclose)
        key = key_to_service(settings)
        yield RemoteCalls(asker, settings.callboard_url, key)


class LocalCalls:
    """Every call in the database; replays with the providers of this environment."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self._db = db
        self._settings = settings

    async def page(self, query: Mapping[str, str]) -> dict[str, Any]:
        limit = int(query["limit"])
        rows = await callbacks.page(self._db, None, filter_of(query), limit + 1)
        return page_of([shown(row) for row in rows], limit)

    async def call(self, callback_id: str) -> dict[str, Any]:
        return shown(await self._row(callback_id))

    async def replay(
        self, callback_id: str, *, dry_run: bool, reason: str | None
    ) -> dict[str, Any]:
        row = await self._row(callback_id)
        replayed = await self._replayer().replay(
            callbacks.stored(row),
            Actor(who=f"command line ({user()})", reason=reason),
            dry_run=dry_run,
        )
        return outcome(row, replayed, dry_run=dry_run)

    async def _row(self, callback_id: str) -> Row:
        found = ids.read("cbk", callback_id)
        row = None if found is None else await callbacks.get(self._db, found)
        if row is None:
            raise NotFound(f"there is no callback {callback_id[:60]}", code="not_found")
        return row

    def _replayer(self) -> Replayer:
        configured = providers.configured()
        at_rest = AtRest(environment.secrets(self._settings))
        vault = Vault(at_rest, Catalog.load().secret_fields())
        keys = signing_keys(configured)
        # What has to be done next, the running service finds by itself.
        return Replayer(self._db, Inbox(self._db, configured, keys, lambda outcomes: None, vault))


class RemoteCalls:
    """What a key sees, over HTTP."""

    def __init__(self, asker: Asker, url: str, key: str) -> None:
        self._asker = asker
        self._url = url
        self._key = key

    async def page(self, query: Mapping[str, str]) -> dict[str, Any]:
        return dict(
            await ask_service(self._asker, self._url, self._key, "/v1/callbacks", query=query)
        )

    async def call(self, callback_id: str) -> dict[str, Any]:
        return dict(await ask_service(self._asker, self._url, self._key, _path(callback_id)))

    async def replay(
        self, callback_id: str, *, dry_run: bool, reason: str | None
    ) -> dict[str, Any]:
        told = await ask_service(
            self._asker,
            self._url,
            self._key,
            f"{_path(callback_id)}/replay",
            method="POST",
            body={"dry_run": dry_run, "reason": reason},
        )
        return dict(told)


def _path(callback_id: str) -> str:
    return f"/v1/callbacks/{quote(callback_id, safe='')}"
