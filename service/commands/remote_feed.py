"""Reads events from a service over HTTP, and resumes wherever the connection breaks."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import quote, urlencode

from service import jsontext
from service.commands.feed_source import Asked, Event, Patience
from service.commands.remote import ask_service, read_reply
from service.errors import CallboardError, ReplyLost, Unavailable
from service.event_stream import open_stream
from service.loop import jittered
from service.pooled import Asker

AGAIN_SECONDS = 1.0


class RemoteFeed:
    """A FeedSource over HTTP: what the key sees."""

    def __init__(self, asker: Asker, url: str, key: str) -> None:
        self._asker = asker
        self._url = url
        self._key = key
        self._secret: str | None = None

    async def follow(self, asked: Asked) -> AsyncGenerator[Event, None]:
        """Over one stream after the other. Raises what a FeedSource does."""
        cursor, patience = asked.after, Patience()
        while True:
            try:
                async with open_stream(self._address(asked), self._headers(cursor)) as opened:
                    if opened.reply.status == 204:
                        return
                    if opened.messages is None:
                        read_reply(self._url, opened.reply)
                        raise CallboardError(f"{self._url} answered, but not with a stream")
                    patience.renew()
                    cursor = cursor or opened.reply.headers.get("last-event-id")
                    async for message in opened.messages:
                        patience.renew()
                        if message.data is not None:
                            yield jsontext.loads(message.data)
                        cursor = message.id or cursor
            except (ReplyLost, Unavailable) as fault:
                if patience.is_over:
                    problem = f"{self._url} does not answer: {fault}"
                    raise Unavailable(problem, code="unavailable") from None
            await asyncio.sleep(jittered(AGAIN_SECONDS))

    async def event(self, event_id: str) -> Event:
        """Raises NotFound."""
        return dict(await self._ask(f"/v1/events/{quote(event_id, safe='')}"))

    async def secret(self, event_id: str) -> str:
        """The key's own app's, whosever the event is."""
        if self._secret is None:
            told = await self._ask("/v1/subscriptions/default-secret")
            self._secret = str(told["secret"])
        return self._secret

    def _address(self, asked: Asked) -> str:
        query = {"type": ",".join(asked.types), "job": asked.job or ""}
        given = urlencode({name: value for name, value in query.items() if value})
        return f"{self._url}/v1/events" + (f"?{given}" if given else "")

    def _headers(self, cursor: str | None) -> dict[str, str]:
        resumed = {} if cursor is None else {"last-event-id": cursor}
        return {"authorization": f"Bearer {self._key}", **resumed}

    async def _ask(self, path: str) -> Any:
        return await ask_service(self._asker, self._url, self._key, path)
