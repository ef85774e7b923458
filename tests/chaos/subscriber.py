"""A subscriber that checks each event with the Standard Webhooks library, and is at times ill."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from standardwebhooks.webhooks import Webhook

ILL_SHARE = 0.1
SLOWEST_SECONDS = 0.15


@dataclass
class Subscriber:
    """Keeps what came: events by id, how often each was acknowledged and how often not."""

    random: random.Random
    url: str = ""
    secret: str = ""
    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    acknowledged: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        body = await request.text()
        event_id = request.headers.get("webhook-id", "")
        try:
            event = Webhook(self.secret).verify(body, dict(request.headers))
        except Exception as fault:
            self.faults.append(f"{event_id}: {fault!r}")
            return web.Response(status=400)
        if self.events.setdefault(event_id, event)["type"] != event["type"]:
            self.faults.append(f"{event_id} told two things")
        await asyncio.sleep(self.random.uniform(0, SLOWEST_SECONDS))
        # Once at most: the third try comes five minutes after the second.
        if event_id not in self.failed and self.random.random() < ILL_SHARE:
            self.failed[event_id] += 1
            return web.Response(status=500)
        self.acknowledged[event_id] += 1
        return web.Response()


@asynccontextmanager
async def subscribing(draws: random.Random) -> AsyncIterator[Subscriber]:
    """Serves a subscriber on a free port."""
    subscriber = Subscriber(random=draws)
    app = web.Application()
    app.router.add_post("/events", subscriber.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    subscriber.url = f"http://127.0.0.1:{runner.addresses[0][1]}/events"
    try:
        yield subscriber
    finally:
        await runner.cleanup()
