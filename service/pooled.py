"""The pooled clients: what is asked again and again, and what goes to users' URLs.

No redirects, no proxy variables, no cookies, and always a deadline over the whole exchange.
"""

import asyncio
import re
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from service.errors import NotSent, ReplyLost, TargetForbidden
from service.faults import describe
from service.guard import Guard
from service.http import (
    OURS,
    REPLY_BYTES,
    Headers,
    at_home,
    read_upto,
    tls,
    too_long,
    united,
    wire_url,
)
from service.providers import Reply, Request

ANSWER_READ_BYTES, ANSWER_KEPT_BYTES = 64 * 1024, 4096
URLS_KEPT = 1024
# Node and uvicorn close idle connections after 5 s; a webhook's POST must not meet that. A GET or
# PUT may: aiohttp repeats it.
_WEBHOOK_IDLE_SECONDS, _POLL_IDLE_SECONDS = 4.0, 30.0
# Never the caller's to say: a false length makes the rest of one app's body another's request.
_FRAMING = frozenset(
    (
        *("connection", "content-length", "expect", "host", "keep-alive", "te", "trailer"),
        *("transfer-encoding", "upgrade"),
    )
)
_UNMET = (aiohttp.ClientConnectorError, aiohttp.InvalidURL)
# ValueError: what cannot be written as a URL or a header; RuntimeError: uvloop's for an OSError.
_TROUBLE = (aiohttp.ClientError, OSError, ValueError, RuntimeError)


class Asker:
    """The pooled client for requests that may be repeated: polls and cancels. How many are in
    flight is the caller's business."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def ask(
        self, request: Request, *, origin: str, credentials: Headers, total: float
    ) -> Reply:
        """The reply to `request` (at most 8 MiB) within `total` seconds. Raises TargetForbidden
        where the URL is not at `origin`, NotSent where no connection could be made, ReplyLost
        where there is no complete reply for any other reason."""
        where = URL(at_home(request.url, origin), encoded=True)
        try:
            async with (
                asyncio.timeout(total),
                self._open().request(
                    request.method,
                    where,
                    data=request.content,
                    headers=united(request.headers, credentials),
                    allow_redirects=False,
                ) as response,
            ):
                content = await read_upto(response.content.iter_any(), REPLY_BYTES + 1)
                if len(content) > REPLY_BYTES:
                    response.close()
                    raise ReplyLost(too_long(REPLY_BYTES))
        except _TROUBLE as fault:
            kind = NotSent if isinstance(fault, _UNMET) else ReplyLost
            raise kind(describe(fault)) from None
        return Reply(status=response.status, content=content, headers=_joined(response.headers))

    async def aclose(self) -> None:
        """Closes the pool's connections."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:  # made where the loop runs
            self._session = _session(_POLL_IDLE_SECONDS, decompress=True)
        return self._session


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """How one POST to a user's URL went: `status` where there is a whole answer in time, else
    `error` (no secrets, no query). `body` is the answer's first 4096 bytes, as sent; `retry_after`
    and `duration` are seconds."""

    status: int | None = None
    body: bytes = b""
    error: str | None = None
    retry_after: float | None = None
    duration: float


class Deliverer:
    """The guarded client for URLs that users supplied: no connection to a forbidden address. How
    many are in flight, and to whom, is the caller's business."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._session: aiohttp.ClientSession | None = None
        self._checked = lru_cache(URLS_KEPT)(self._check)  # the same few, again and again

    async def post(self, url: str, *, content: bytes, headers: Headers, total: float) -> Delivered:
        """POSTs `content` once; `total` seconds cover the whole answer, of which at most 64 KiB
        are read. Network trouble is in the outcome, not raised; an error that begins with
        `forbidden address` means that nothing was sent."""
        status, body, error, wait, began = None, b"", None, None, time.monotonic()
        try:
            where = self._checked(url)
            async with (
                asyncio.timeout(total),
                self._open().post(
                    where, data=content, headers=_unframed(headers), allow_redirects=False
                ) as response,
            ):
                status = response.status
                if (asked := response.headers.get("retry-after")) is not None:
                    wait = read_retry_after(asked, time.time())
                body = await read_upto(response.content.iter_any(), ANSWER_READ_BYTES)
                if len(body) == ANSWER_READ_BYTES:
                    response.close()  # there may be more of it, without end
        except TargetForbidden as refusal:
            error = f"forbidden address: {refusal}"
        except _TROUBLE as fault:
            error = describe(fault) + (f", after status {status}" if status else "")
        return Delivered(
            status=None if error else status,
            body=body[:ANSWER_KEPT_BYTES],
            error=error,
            retry_after=wait,
            duration=time.monotonic() - began,
        )

    async def aclose(self) -> None:
        """Closes the pool's connections."""
        if self._session is not None:
            await self._session.close()

    def _check(self, url: str) -> URL:
        """`url` as it goes on the wire. Raises TargetForbidden, or ValueError where it is none."""
        self._guard.check_url(url)
        return URL(wire_url(url))

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:  # made where the loop runs
            self._session = _session(_WEBHOOK_IDLE_SECONDS, self._guard.socket_factory)
        return self._session


def read_retry_after(value: str, now: float) -> float | None:
    """The seconds that a Retry-After header asks for, by number or date (RFC 9110 §10.2.3), at
    `now` (unix seconds); None where it cannot be read."""
    if re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _joined(headers: CIMultiDictProxy[str]) -> dict[str, str]:
    """Names in lower case; what was said several times with commas between (RFC 9110 §5.2)."""
    joined: dict[str, str] = {}
    for name, value in headers.items():
        key = name.lower()
        joined[key] = f"{joined[key]}, {value}" if key in joined else value
    return joined


def _unframed(headers: Headers) -> dict[str, str]:
    """The caller's headers, less those that frame the message."""
    theirs = ((name.lower(), value) for name, value in headers.items())
    return {name: value for name, value in theirs if name not in _FRAMING}


def _session(
    idle: float, factory: aiohttp.SocketFactoryType | None = None, *, decompress: bool = False
) -> aiohttp.ClientSession:
    """A pool of its own; connections go after `idle` seconds unused."""
    pool = aiohttp.TCPConnector(limit=0, ssl=tls(), keepalive_timeout=idle, socket_factory=factory)
    return aiohttp.ClientSession(
        connector=pool,
        headers=OURS,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=decompress,
        timeout=aiohttp.ClientTimeout(),
    )
