"""Who does what `callboard jobs` is told to do: this machine in the database, or a service."""

import contextlib
import getpass
import os
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol
from urllib.parse import quote

from service import document, ids, providers
from service import settings as environment
from service.acting import acting
from service.catalog import Catalog
from service.commands.remote import ask_service, key_to_service
from service.encryption import AtRest
from service.errors import NotFound
from service.hints import pass_on
from service.opening import opened
from service.operating import Actor, Parts
from service.pooled import Asker
from service.settings import Settings
from service.store import jobs
from service.vault import Vault
from service.wakes import Wakes
from service.web.acts import body_of, do


class Hands(Protocol):
    """Whatever does acts."""

    async def job(self, job_id: str) -> Mapping[str, Any]:
        """The job as the API shows it. Raises NotFound."""
        ...

    async def act(self, name: str, job_id: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Does what `POST /v1/jobs/{id}/{name}` does with that body; the job after it."""
        ...


@contextlib.asynccontextmanager
async def hands(settings: Settings) -> AsyncIterator[Hands]:
    """The service at CALLBOARD_URL, else the database and the providers of this machine's settings.
    Raises SettingInvalid, DatabaseAway, DatabaseNewer."""
    async with contextlib.AsyncExitStack() as stack:
        asker = Asker()
        stack.push_async_callback(asker.aclose)
        if settings.callboard_url is not None:
            key = key_to_service(settings)
            yield RemoteHands(asker, settings.callboard_url, key)
            return
        configured, catalog = providers.configured(), Catalog.load()
        vault = Vault(AtRest(environment.secrets(settings)), catalog.secret_fields())
        db = await stack.enter_async_context(opened(settings))
        yield LocalHands(acting(settings, db, configured, catalog, asker, vault, Wakes()))


class LocalHands:
    """Acts in the database, and says so to the services that work with it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def job(self, job_id: str) -> Mapping[str, Any]:
        """Raises NotFound."""
        found = ids.read("job", job_id)
        row = None if found is None else await jobs.get(self._parts.db, found)
        if row is None:
            raise NotFound(f"there is no job {job_id[:60]}", code="not_found")
        return document.of_job(row)

    async def act(self, name: str, job_id: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Raises what the verb of that name raises."""
        given = body_of(name, body)
        job = await self.job(job_id)
        actor = Actor(who=f"command line ({user()})", reason=given.reason)
        found = ids.read("job", job["id"])
        assert found is not None
        await do(self._parts, actor, found, name, given)
        await pass_on(self._parts.db, self._parts.wakes)
        return await self.job(job_id)


class RemoteHands:
    """Asks a service over HTTP."""

    def __init__(self, asker: Asker, url: str, key: str) -> None:
        self._asker = asker
        self._url = url
        self._key = key

    async def job(self, job_id: str) -> Mapping[str, Any]:
        """Raises NotFound."""
        return await self._ask(job_id)

    async def act(self, name: str, job_id: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Raises what the service's problem document says."""
        return await self._ask(job_id, f"/{name}", method="POST", body=body)

    async def _ask(self, job_id: str, rest: str = "", **more: Any) -> Mapping[str, Any]:
        path = f"/v1/jobs/{quote(job_id, safe='')}{rest}"
        return dict(await ask_service(self._asker, self._url, self._key, path, **more))


def user() -> str:
    """The user's name; their number where the machine has no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
