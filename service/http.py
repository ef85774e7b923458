"""Everything that leaves the house over HTTP.

No redirects, no proxy variables, no cookies, and always a deadline over the whole exchange.
httpx is used without its client, which would log every URL with its query.
"""

import asyncio
import re
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache, lru_cache
from typing import Any

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from yarl import URL

from service.errors import KeysAway, NotSent, ReplyLost, TargetForbidden
from service.faults import describe
from service.guard import Guard
from service.providers import Reply, Request

REPLY_BYTES, KEYS_BYTES = 8 * 1024 * 1024, 256 * 1024
ANSWER_READ_BYTES, ANSWER_KEPT_BYTES = 64 * 1024, 4096
URLS_KEPT = 1024
# Node and uvicorn close idle connections after 5 s; a webhook's POST must not meet that. A GET or
# PUT may: aiohttp repeats it.
_WEBHOOK_IDLE_SECONDS, _POLL_IDLE_SECONDS = 4.0, 30.0
Headers = Mapping[str, str]
_PORTS = {"http": 80, "https": 443}
_OURS = {"accept": "*/*", "accept-encoding": "identity", "user-agent": "Callboard"}
# Never the caller's to say: a false length makes the rest of one app's body another's request.
_FRAMING = frozenset(
    (
        *("connection", "content-length", "expect", "host", "keep-alive", "te", "trailer"),
        *("transfer-encoding", "upgrade"),
    )
)
# ValueError: what cannot be written as a URL or a header; RuntimeError: uvloop's for an OSError.
_HTTP_FAULTS = (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError)
_UNMET = (aiohttp.ClientConnectorError, aiohttp.InvalidURL)
_TROUBLE = (*_HTTP_FAULTS, OSError, ValueError, RuntimeError)


async def post_once(
    request: Request, *, origin: str, credentials: Headers, connect: float, total: float
) -> Reply:
    """Sends `request` at most once, over a connection of its own, and reads the whole reply.

    `connect` (seconds, at most half of `total`) bounds the TCP and the TLS handshake each, `total`
    everything. Raises TargetForbidden where the URL is not at `origin`, NotSent where provably
    nothing of the request left, ReplyLost where it may have and no complete reply of at most
    8 MiB came back. A body that only the connection's end delimits counts as complete.
    """
    message = _authenticated(request, origin, credentials)
    return await _once(message, connect=connect, total=total, limit=REPLY_BYTES)


async def fetch(url: str, *, total: float) -> bytes:
    """The document at `url` (http or https, from the settings), within `total` seconds.

    Raises KeysAway for anything but a 2xx reply of at most 256 KiB.
    """
    try:
        message = httpx.Request("GET", url, headers=_OURS)
        reply = await _once(message, connect=total, total=total, limit=KEYS_BYTES)
        if not 200 <= reply.status < 300:
            raise ReplyLost(f"status {reply.status}")
    except (NotSent, ReplyLost, httpx.InvalidURL) as fault:
        raise KeysAway(f"the signing keys cannot be fetched: {describe(fault)}") from None
    return reply.content


class Asker:
    """The pooled client for requests that may be repeated: polls and cancels. How many are in
    flight is the caller's business."""

    def __init__(self) -> None:
        self._transport = AiohttpTransport(
            verify=tls(), client=lambda: _session(_POLL_IDLE_SECONDS)
        )

    async def ask(
        self, request: Request, *, origin: str, credentials: Headers, total: float
    ) -> Reply:
        """The reply to `request` (at most 8 MiB) within `total` seconds. Raises TargetForbidden
        where the URL is not at `origin`, NotSent where no connection could be made, ReplyLost
        where there is no complete reply for any other reason."""
        message = _authenticated(request, origin, credentials)
        try:
            async with asyncio.timeout(total):
                return await _reply(self._transport, message, REPLY_BYTES)
        except _TROUBLE as fault:
            # httpx calls a connection that was closed after the request ConnectTimeout too;
            # aiohttp tells them apart.
            kind = NotSent if isinstance(fault.__cause__ or fault, _UNMET) else ReplyLost
            raise kind(describe(fault)) from None

    async def aclose(self) -> None:
        """Closes the pool's connections."""
        await self._transport.aclose()


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
                body = await _answer(response.content)
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
        return URL(str(httpx.URL(url)))

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


def _authenticated(request: Request, origin: str, credentials: Headers) -> httpx.Request:
    """`request` with our headers and its provider's credentials, which go to `origin` only."""
    headers = httpx.Headers(_OURS)
    try:
        url, home = httpx.URL(request.url), httpx.URL(origin)
        headers.update(request.headers)
        headers.update(credentials)
    except (httpx.InvalidURL, ValueError) as fault:
        raise NotSent(describe(fault)) from None
    here, there = ((u.scheme, u.raw_host, u.port or _PORTS.get(u.scheme)) for u in (url, home))
    if here != there or url.userinfo:
        raise TargetForbidden("the URL is not at the provider's configured origin")
    return httpx.Request(request.method, url, headers=headers, content=request.content)


def _unframed(headers: Headers) -> dict[str, str]:
    """The caller's headers, less those that frame the message."""
    theirs = ((name.lower(), value) for name, value in headers.items())
    return {name: value for name, value in theirs if name not in _FRAMING}


async def _once(message: httpx.Request, *, connect: float, total: float, limit: int) -> Reply:
    """One exchange over a connection of its own; raises NotSent or ReplyLost."""
    seen: list[str] = []

    async def notice(event: str, _: Mapping[str, Any]) -> None:
        seen.append(event)

    message.headers["connection"] = "close"
    # Cut short in its TLS handshake from outside, httpcore leaves the socket to the collector.
    message.extensions = {"timeout": {"connect": min(connect, total / 2)}, "trace": notice}
    transport = httpx.AsyncHTTPTransport(verify=tls(), trust_env=False)
    reply = None
    try:
        async with asyncio.timeout(total), transport:
            reply = await _reply(transport, message, limit)
    except Exception as fault:  # whatever it is: what counts is whether bytes had left
        if reply is None:  # else only the closing failed, and a reply in hand is kept
            kind = NotSent if _nothing_left(seen, fault) else ReplyLost
            raise kind(describe(fault)) from None
    assert reply is not None
    return reply


def _nothing_left(seen: list[str], fault: Exception) -> bool:
    """Whether an exchange over httpcore provably ended before its first byte left: its trace says
    `connection.…` until it has a connection, and `http11.…` from just before the first write."""
    if isinstance(fault, httpx.UnsupportedProtocol):  # raised before there can be a trace
        return True
    if isinstance(fault, httpx.LocalProtocolError):  # h11 reads all headers before any is written
        return bool(seen) and "http11.send_request_headers.complete" not in seen
    return bool(seen) and all(event.startswith("connection.") for event in seen)


async def _reply(transport: httpx.AsyncBaseTransport, message: httpx.Request, limit: int) -> Reply:
    """The whole reply, decoded; raises ReplyLost where its body is longer than `limit` bytes."""
    response = await transport.handle_async_request(message)
    try:
        content = await _read(response.aiter_bytes(), limit + 1)
    finally:
        await response.aclose()
    if len(content) > limit:
        raise ReplyLost(f"the reply is longer than {limit} bytes")
    return Reply(status=response.status_code, content=content, headers=dict(response.headers))


async def _answer(content: aiohttp.StreamReader) -> bytes:
    """What arrives, up to its end or to ANSWER_READ_BYTES."""
    answer = bytearray()
    while len(answer) < ANSWER_READ_BYTES and (chunk := await content.readany()):
        answer += chunk
    return bytes(answer[:ANSWER_READ_BYTES])


async def _read(chunks: AsyncIterator[bytes], limit: int) -> bytes:
    """What arrives, up to its end or to `limit` bytes."""
    content = bytearray()
    async for chunk in chunks:
        content += chunk
        if len(content) >= limit:
            break
    return bytes(content[:limit])


def _session(
    idle: float, factory: aiohttp.SocketFactoryType | None = None
) -> aiohttp.ClientSession:
    """A pool of its own; connections go after `idle` seconds unused."""
    pool = aiohttp.TCPConnector(limit=0, ssl=tls(), keepalive_timeout=idle, socket_factory=factory)
    return aiohttp.ClientSession(
        connector=pool,
        headers=_OURS,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(),
    )


@cache
def tls() -> ssl.SSLContext:
    """Verifies against certifi's roots or SSL_CERT_FILE's; one for all, since it takes long."""
    return httpx.create_ssl_context()
