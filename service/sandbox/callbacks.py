"""Sends a pretend provider's callbacks: tried again with growing pauses, never redirected."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from aiohttp import ClientError, ClientSession, ClientTimeout
from yarl import URL

from service.sandbox.ledger import CallKind

FIRST_TRY_SECONDS = 15
LATER_TRY_SECONDS = 120
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0
HOLD_SECONDS = 5.0
_READ_BYTES = 65536
_TOKEN = re.compile(r"(?<=[?&]token=)[^&#]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One callback: `headers` makes its headers from the unix time of each try."""

    kind: CallKind
    url: str
    body: bytes
    headers: Callable[[int], Mapping[str, str]]
    tries: int


def is_callable_url(url: str) -> bool:
    """Whether a callback can be sent there: plain http(s) text without spaces or controls."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return sound and all("!" <= letter <= "~" for letter in url)


def tampered(url: str) -> str:
    """`url` with the middle character of its `token` changed; as it is where it has none."""
    return _TOKEN.sub(_other, url)


def _other(token: re.Match[str]) -> str:
    text = unquote(token[0])
    middle = len(text) // 2
    changed = "A" if text[middle] != "A" else "B"
    return quote(text[:middle] + changed + text[middle + 1 :], safe="")


async def attempts(session: ClientSession, call: Call) -> AsyncIterator[int | None]:
    """Makes the call until it is answered 2xx (done) or 3xx (given up), `tries` times at most.

    Yields each try's HTTP status, None where no answer came. Limits per try: 15 s, then 120 s
    (fal's webhook page).
    """
    pause = FIRST_PAUSE_SECONDS
    for number in range(call.tries):
        if number:
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
        limit = LATER_TRY_SECONDS if number else FIRST_TRY_SECONDS
        status = await _post(session, call, limit)
        yield status
        if status is not None and 200 <= status < 400:
            return


async def _post(session: ClientSession, call: Call, limit: float) -> int | None:
    # encoded=True: the address goes out as the app gave it, letter by letter.
    url = URL(call.url, encoded=True)
    headers = {"Content-Type": "application/json", **call.headers(int(time.time()))}
    timeout = ClientTimeout(total=limit)
    try:
        async with session.post(
            url, data=call.body, headers=headers, allow_redirects=False, timeout=timeout
        ) as reply:
            await reply.content.read(_READ_BYTES)
            return reply.status
    except (ClientError, OSError, TimeoutError, ValueError):
        return None


class Hold:
    """Holds one callback at a time until another job's has gone, or `seconds` have.

    A second one that is to be held goes at once instead: it is what the first waits for.
    """

    def __init__(self, seconds: float = HOLD_SECONDS) -> None:
        self._seconds = seconds
        self._held: asyncio.Event | None = None

    async def wait(self) -> None:
        """Waits for another job's callback; not at all where one is held already."""
        if self._held is not None:
            return
        held = self._held = asyncio.Event()
        try:
            async with asyncio.timeout(self._seconds):
                await held.wait()
        except TimeoutError:
            pass
        finally:
            if self._held is held:
                self._held = None

    def gone(self) -> None:
        """A callback has been answered: what waited may go."""
        if self._held is not None:
            self._held.set()
            self._held = None
