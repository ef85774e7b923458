"""Hands events on to a developer's own machine, signed as a subscriber would get them."""

import asyncio
from collections.abc import Awaitable, Callable

from service import jsontext
from service.commands.feed_source import Event
from service.errors import InvalidRequest, TargetForbidden
from service.guard import Guard
from service.pooled import Delivered, Deliverer
from service.webhook import TOTAL_SECONDS, signed_headers

PAUSES = (0.5, 1.0, 2.0)  # seconds before each further try
ANYWHERE = ("0.0.0.0/0", "::/0")  # who forwards says where to, and it is mostly here


class Forwarder:
    """POSTs each event to `url`; `secret` gives what signs it, `tell` says how it went."""

    def __init__(
        self, url: str, secret: Callable[[str], Awaitable[str]], tell: Callable[[str], None]
    ) -> None:
        """Raises InvalidRequest where `url` cannot be called."""
        guard = Guard(ANYWHERE)
        try:
            guard.check_url(url)
        except TargetForbidden as fault:
            raise InvalidRequest(f"--forward-to: {fault}") from None
        self._url = url
        self._secret = secret
        self._tell = tell
        self._client = Deliverer(guard)

    async def forward(self, event: Event) -> bool:
        """Sends it until it is acknowledged with a 2xx, four times at most; whether it was."""
        body = {name: value for name, value in event.items() if name != "id"}
        content = jsontext.dumps(body)
        secret = await self._secret(event["id"])
        for pause in (*PAUSES, None):
            delivered = await self._client.post(
                self._url,
                content=content.encode(),
                headers=signed_headers([secret], event["id"], content),
                total=TOTAL_SECONDS,
            )
            good = delivered.status is not None and delivered.status < 300
            follows = "" if good else "; given up" if pause is None else f"; again in {pause:g} s"
            self._tell(f"{event['id']} {event['type']} → {_outcome(delivered)}{follows}")
            if good or pause is None:
                return good
            await asyncio.sleep(pause)
        return False

    async def aclose(self) -> None:
        await self._client.aclose()


def _outcome(delivered: Delivered) -> str:
    how = delivered.error or f"HTTP {delivered.status}"
    return f"{how} in {round(delivered.duration * 1000)} ms"
