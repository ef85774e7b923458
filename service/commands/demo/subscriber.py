"""The demo's subscriber: an app's endpoint that verifies every event and remembers it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event whose signature held: its `webhook-id`, and what its body tells."""

    id: str
    type: str
    job: Mapping[str, Any]


@dataclass(slots=True, kw_only=True, eq=False)
class Subscriber:
    """What came so far. `secret` is the subscription's; `heard` is called for each good event."""

    heard: Callable[[Event], None]
    url: str = ""
    secret: str = ""
    events: list[Event] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def take(self, request: Request) -> Response:
        """Answers 204 where the signature holds, else 400."""
        body = await request.body()
        try:
            told = Webhook(self.secret).verify(body, dict(request.headers))
        except (WebhookVerificationError, ValueError) as fault:
            self.refused.append(f"{request.headers.get('webhook-id', 'no id')}: {fault}")
            return Response(status_code=400)
        event_id = request.headers["webhook-id"]
        event = Event(id=event_id, type=told["type"], job=told["data"]["job"])
        self.heard(event)
        async with self.news:
            self.events.append(event)
            self.news.notify_all()
        return Response(status_code=204)

    def of(self, job_id: str) -> list[Event]:
        """What came about one job, repeated deliveries too."""
        return [event for event in self.events if event.job["id"] == job_id]


@asynccontextmanager
async def subscribing(heard: Callable[[Event], None]) -> AsyncIterator[Subscriber]:
    """Serves a subscriber on a free port of this machine for as long as the context lasts."""
    subscriber = Subscriber(heard=heard)
    app = Starlette(routes=[Route("/events", subscriber.take, methods=["POST"])])
    async with served(app) as url:
        subscriber.url = f"{url}/events"
        yield subscriber


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    """Serves `app` on a free port of this machine; yields its address."""
    config = uvicorn.Config(app, lifespan="off", ws="none", access_log=False, log_config=None)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    listener = socket.create_server(("127.0.0.1", 0))
    # uvicorn's own serve() takes over the process's signals; its parts do not.
    await server.startup(sockets=[listener])
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        await server.shutdown(sockets=[listener])
