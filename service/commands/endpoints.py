"""Who looks after endpoints and deliveries for the commands: the database, or a service."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol, TypeVar
from urllib.parse import quote
from uuid import UUID

from pydantic import BaseModel, ValidationError

from service import ids
from service import settings as environment
from service.commands.acting import user
from service.commands.remote import ask_service, key_to_service
from service.database import Database
from service.encryption import AtRest
from service.errors import InvalidRequest, NotFound
from service.guard import Guard
from service.opening import opened
from service.pooled import Asker, Deliverer
from service.recover import Recovering
from service.resend import Resending
from service.settings import Settings
from service.store import access
from service.subscribe import Subscribing
from service.web import subscription_bodies as bodies
from service.web.access import field_fault, invalid, page_of
from service.web.deliveries import sought_by

Body = Mapping[str, Any]
Shown = Mapping[str, Any]
Model = TypeVar("Model", bound=BaseModel)


class Desk(Protocol):
    """Whoever answers. Bodies, queries and answers are those of the HTTP routes, and so are the
    errors."""

    async def subscriptions(self, query: Mapping[str, str], app: str | None) -> Shown:
        """A page; `app`, a name, only where no key says whose."""
        ...

    async def create(self, body: Body, app: str | None) -> Shown:
        """The new endpoint with its secret; `app` as above."""
        ...

    async def update(self, subscription: str, body: Body) -> Shown:
        """The endpoint as it is then."""
        ...

    async def act(self, subscription: str, name: str, body: Body) -> Shown:
        """What `POST /v1/subscriptions/{id}/{name}` answers: test, rotate or recover."""
        ...

    async def delete(self, subscription: str) -> None:
        """Ends it."""
        ...

    async def deliveries(self, query: Mapping[str, str]) -> Shown:
        """A page."""
        ...

    async def resend(self, delivery: str) -> Shown:
        """The delivery as it is then."""
        ...


@contextlib.asynccontextmanager
async def desk(settings: Settings) -> AsyncIterator[Desk]:
    """The service at CALLBOARD_URL, else this machine in the database. Raises SettingInvalid,
    DatabaseAway, DatabaseNewer."""
    async with contextlib.AsyncExitStack() as stack:
        if settings.callboard_url is None:
            db = await stack.enter_async_context(opened(settings))
            guard = Guard(settings.callboard_allow_private_webhooks)
            client = Deliverer(guard)
            stack.push_async_callback(client.aclose)
            yield LocalDesk(db, AtRest(environment.secrets(settings)), guard, client)
            return
        asker = Asker()
        stack.push_async_callback(asker.aclose)
        key = key_to_service(settings)
        yield RemoteDesk(asker, settings.callboard_url, key)


class LocalDesk:
    """Everybody's, in the database; the service beside it sees what is done within a second."""

    def __init__(self, db: Database, at_rest: AtRest, guard: Guard, client: Deliverer) -> None:
        self._db = db
        self._subscribing = Subscribing(db, at_rest, guard, client)
        self._recovering = Recovering(db, wake=asyncio.Event())
        self._resending = Resending(db, wake=asyncio.Event())

    async def subscriptions(self, query: Mapping[str, str], app: str | None) -> Shown:
        """Raises NotFound where there is no such app, InvalidRequest."""
        app_id = None if app is None else await self._app(app)
        limit, after = int(query["limit"]), query.get("after")
        begin = UUID(int=0) if after is None else ids.read("sub", after)
        if begin is None:
            raise field_fault("after", "must be the `next` of an earlier page")
        found = await self._subscribing.page(app_id, after=begin, limit=limit + 1)
        return page_of(found, limit)

    async def create(self, body: Body, app: str | None) -> Shown:
        """Raises InvalidRequest, NotFound where there is no such app."""
        if app is None:
            raise InvalidRequest("--app: say whose endpoint it is")
        wanted = _checked(bodies.NewSubscription, body)
        return await self._subscribing.create(await self._app(app), **dict(wanted), who=_who())

    async def update(self, subscription: str, body: Body) -> Shown:
        """Raises InvalidRequest, NotFound."""
        found, wanted = _id("sub", subscription), _checked(bodies.ChangedSubscription, body)
        return await self._subscribing.change(None, found, **wanted.changes)

    async def act(self, subscription: str, name: str, body: Body) -> Shown:
        """Raises InvalidRequest, NotFound, Conflict."""
        found = _id("sub", subscription)
        if name == "test":
            return await self._subscribing.test(None, found)
        if name == "rotate":
            overlap = _checked(bodies.Rotation, body).overlap_seconds
            return await self._subscribing.rotate(None, found, overlap=overlap)
        wanted = _checked(bodies.WantedRecovery, body)
        return {"count": await self._recovering.ask(None, found, **dict(wanted), who=_who())}

    async def delete(self, subscription: str) -> None:
        """Raises NotFound."""
        await self._subscribing.delete(None, _id("sub", subscription))

    async def deliveries(self, query: Mapping[str, str]) -> Shown:
        """Raises InvalidRequest."""
        limit = int(query["limit"])
        found = await self._resending.page(None, sought_by(dict(query)), limit=limit + 1)
        return page_of(found, limit)

    async def resend(self, delivery: str) -> Shown:
        """Raises NotFound, Conflict."""
        return await self._resending.resend(None, _id("dlv", delivery), who=_who())

    async def _app(self, name: str) -> UUID:
        found = await access.find_app(self._db, name)
        if found is None:
            raise NotFound(f"there is no app {name[:60]!r}", code="not_found")
        return found


class RemoteDesk:
    """Asks a service over HTTP: what the key sees. Raises what its problem documents say."""

    def __init__(self, asker: Asker, url: str, key: str) -> None:
        self._asker = asker
        self._url = url
        self._key = key

    async def subscriptions(self, query: Mapping[str, str], app: str | None) -> Shown:
        """A page of the key's app."""
        _no_app(app)
        return dict(await self._ask("/v1/subscriptions", query=query))

    async def create(self, body: Body, app: str | None) -> Shown:
        """An endpoint of the key's app."""
        _no_app(app)
        return dict(await self._ask("/v1/subscriptions", method="POST", body=body))

    async def update(self, subscription: str, body: Body) -> Shown:
        """The endpoint as it is then."""
        return dict(await self._ask(_at("sub", subscription), method="PATCH", body=body))

    async def act(self, subscription: str, name: str, body: Body) -> Shown:
        """What the route of that name answers."""
        path = f"{_at('sub', subscription)}/{name}"
        return dict(await self._ask(path, method="POST", body=body))

    async def delete(self, subscription: str) -> None:
        """Ends it."""
        await self._ask(_at("sub", subscription), method="DELETE")

    async def deliveries(self, query: Mapping[str, str]) -> Shown:
        """A page."""
        return dict(await self._ask("/v1/deliveries", query=query))

    async def resend(self, delivery: str) -> Shown:
        """The delivery as it is then."""
        return dict(await self._ask(f"{_at('dlv', delivery)}/resend", method="POST", body={}))

    async def _ask(self, path: str, **more: Any) -> Any:
        return await ask_service(self._asker, self._url, self._key, path, **more)


def _who() -> str:
    return f"command line ({user()})"


def _no_app(app: str | None) -> None:
    if app is not None:
        raise InvalidRequest("--app: not with CALLBOARD_URL, where the key says whose it is")


def _checked(model: type[Model], body: Body) -> Model:
    try:
        return model.model_validate(dict(body))
    except ValidationError as fault:
        raise invalid(fault) from None


def _id(prefix: str, text: str) -> UUID:
    """Raises NotFound where it cannot be an id of that kind."""
    found = ids.read(prefix, text)
    if found is None:
        problem = f"{text[:60]!r} is no such id: it is {prefix}_ and 32 hex digits"
        raise NotFound(problem, code="not_found")
    return found


def _at(prefix: str, text: str) -> str:
    kind = {"sub": "subscriptions", "dlv": "deliveries"}[prefix]
    return f"/v1/{kind}/{quote(ids.show(prefix, _id(prefix, text)), safe='')}"
