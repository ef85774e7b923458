"""What is wired where: the routes, and the way each request goes through."""

import logging
import re
import secrets
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.metrics import Metrics
from service.web import (
    acts,
    deliveries,
    events,
    inbox,
    jobs,
    metrics,
    models,
    providers,
    readiness,
    reconciliation,
    subscriptions,
)
from service.web.callbacks import Door, provider_of
from service.web.faults import HANDLERS

log = logging.getLogger("service.access")
REQUEST_ID = re.compile(r"[A-Za-z0-9_.\-]{1,100}")


ROUTES = [
    Route("/healthz", readiness.healthz),
    Route("/readyz", readiness.readyz),
    Route("/metrics", metrics.page),
    Route("/v1/jobs", jobs.create, methods=["POST"]),
    Route("/v1/jobs", jobs.page, methods=["GET"]),
    Route("/v1/jobs/{id}", jobs.show, methods=["GET"]),
    Route("/v1/jobs/{id}/timeline", jobs.timeline, methods=["GET"]),
    Route("/v1/jobs/{id}/cancel", acts.cancel, methods=["POST"]),
    Route("/v1/jobs/{id}/resync", acts.resync, methods=["POST"]),
    Route("/v1/jobs/{id}/rerun", acts.rerun, methods=["POST"]),
    Route("/v1/jobs/{id}/resolve", acts.resolve, methods=["POST"]),
    Route("/v1/jobs/{id}/adopt", acts.adopt, methods=["POST"]),
    Route("/v1/callbacks", inbox.page, methods=["GET"]),
    Route("/v1/callbacks/{id}", inbox.show, methods=["GET"]),
    Route("/v1/callbacks/{id}/replay", inbox.replay, methods=["POST"]),
    Route("/v1/events", events.read, methods=["GET"]),
    Route("/v1/events/{id}", events.show, methods=["GET"]),
    Route("/v1/models", models.page, methods=["GET"]),
    Route("/v1/models/{id:path}", models.show, methods=["GET"]),
    Route("/v1/providers", providers.page, methods=["GET"]),
    Route("/v1/reconciliation", reconciliation.page, methods=["GET"]),
    Route("/v1/subscriptions", subscriptions.create, methods=["POST"]),
    Route("/v1/subscriptions", subscriptions.page, methods=["GET"]),
    Route("/v1/subscriptions/default-secret", subscriptions.default_secret, methods=["GET"]),
    Route("/v1/subscriptions/{id}", subscriptions.show, methods=["GET"]),
    Route("/v1/subscriptions/{id}", subscriptions.change, methods=["PATCH"]),
    Route("/v1/subscriptions/{id}", subscriptions.delete, methods=["DELETE"]),
    Route("/v1/subscriptions/{id}/rotate", subscriptions.rotate, methods=["POST"]),
    Route("/v1/subscriptions/{id}/test", subscriptions.test, methods=["POST"]),
    Route("/v1/subscriptions/{id}/recover", subscriptions.recover, methods=["POST"]),
    Route("/v1/deliveries", deliveries.page, methods=["GET"]),
    Route("/v1/deliveries/{id}", deliveries.show, methods=["GET"]),
    Route("/v1/deliveries/{id}/resend", deliveries.resend, methods=["POST"]),
]
# Their patterns, as the metrics name them: what callers ask for has no end.
PATTERNS: dict[Any, str] = {route.endpoint: route.path for route in ROUTES}


class App:
    """The providers' door first, since it is walked most and needs none of the rest; everything
    else through Starlette, with a request id and one log line per request."""

    def __init__(self, door: Door, state: Mapping[str, Any]) -> None:
        self._door = door
        self._state = dict(state)
        self._metrics: Metrics | None = state.get("metrics")
        rest = Starlette(routes=ROUTES, exception_handlers=HANDLERS)
        rest.router.redirect_slashes = False  # behind a proxy it would send people astray
        self._rest: ASGIApp = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if provider_of(scope["path"]) is not None:
            await self._door(scope, receive, send)
            return
        await self._logged(scope, receive, send)

    async def _logged(self, scope: Scope, receive: Receive, send: Send) -> None:
        began, status = time.monotonic(), 0
        request_id = _request_id(scope)
        scope["state"] = dict(self._state)
        scope["callboard.request_id"] = request_id

        answered: float | None = None

        async def answer(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status = message["status"]
                # A stream lasts as long as its reader likes: what took time is that it began.
                answered = time.monotonic() if _streams(message) else None
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", request_id.encode()),
                ]
            await send(message)

        try:
            await self._rest(scope, receive, answer)
        finally:
            ended = time.monotonic()
            if self._metrics is not None:
                route = PATTERNS.get(scope.get("endpoint"), "none")
                seconds = (answered or ended) - began
                self._metrics.requested(scope["method"], route, status or 500, seconds)
            log.info(
                "%s %s %s %.1fms request=%s",
                scope["method"],
                quote(scope["path"]),  # one line whatever it holds
                status,
                (ended - began) * 1000,
                request_id,
            )


def _streams(start: Message) -> bool:
    """Whether an answer that begins so is a stream of events."""
    return any(
        name == b"content-type" and value.startswith(b"text/event-stream")
        for name, value in start["headers"]
    )


def _request_id(scope: Scope) -> str:
    """The caller's X-Request-ID where it is a plain word, else one of ours."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and REQUEST_ID.fullmatch(value.decode("latin-1")):
            return str(value.decode("latin-1"))
    return secrets.token_hex(8)
