"""What leaves the house over HTTP once, over a connection of its own; `pooled` has the rest.

No redirects, no proxy variables, no cookies, and always a deadline over the whole exchange.
httpx is used without its client, which would log every URL with its query.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from functools import cache, lru_cache
from typing import Any

import httpx
from multidict import CIMultiDict

from service.errors import KeysAway, NotSent, ReplyLost, SettingInvalid, TargetForbidden
from service.faults import describe
from service.providers import Reply, Request

REPLY_BYTES, KEYS_BYTES = 8 * 1024 * 1024, 256 * 1024
OURS = {"accept": "*/*", "accept-encoding": "identity", "user-agent": "Callboard"}
Headers = Mapping[str, str]
# A path below an origin in which httpx would change nothing, and not too long for it: taking a URL
# apart was a sixth of what a poll's request costs us.
_ON_THE_WIRE = re.compile(r"(?=.{,2000}\Z)(?:/[\w~-]+(?:\.[\w~-]+)*)+", re.ASCII)
_PORTS, _LAST_PORT = {"http": 80, "https": 443}, 65535


async def post_once(
    request: Request, *, origin: str, credentials: Headers, connect: float, total: float
) -> Reply:
    """Sends `request` at most once, over a connection of its own, and reads the whole reply.

    `connect` (seconds, at most half of `total`) bounds the TCP and the TLS handshake each, `total`
    everything. Raises TargetForbidden where the URL is not at `origin`, NotSent where provably
    nothing of the request left, ReplyLost where it may have and no complete reply of at most
    8 MiB came back. A body that only the connection's end delimits counts as complete.
    """
    url = at_home(request.url, origin)
    headers = united(request.headers, credentials)
    try:
        message = httpx.Request(request.method, url, headers=headers, content=request.content)
    except ValueError as fault:  # a header that cannot be written
        raise NotSent(describe(fault)) from None
    return await _once(message, connect=connect, total=total, limit=REPLY_BYTES)


async def fetch(url: str, *, total: float) -> bytes:
    """The document at `url` (http or https, from the settings), within `total` seconds.

    Raises KeysAway for anything but a 2xx reply of at most 256 KiB.
    """
    try:
        message = httpx.Request("GET", url, headers=OURS)
        reply = await _once(message, connect=total, total=total, limit=KEYS_BYTES)
        if not 200 <= reply.status < 300:
            raise ReplyLost(f"status {reply.status}")
    except (NotSent, ReplyLost, httpx.InvalidURL) as fault:
        raise KeysAway(f"the signing keys cannot be fetched: {describe(fault)}") from None
    return reply.content


def at_home(url: str, origin: str) -> str:
    """`url` as it goes on the wire: credentials go to `origin` only. Raises NotSent where it is
    none, TargetForbidden where it is elsewhere."""
    if url.startswith(origin) and _ON_THE_WIRE.fullmatch(url, len(origin)) and _is_plain(origin):
        return url
    return _looked_at(url, origin)


def wire_url(url: str) -> str:
    """`url` as it goes on the wire. Raises ValueError where it is none."""
    try:
        return str(httpx.URL(url))
    except httpx.InvalidURL as fault:
        raise ValueError(describe(fault)) from None


def united(theirs: Headers, credentials: Headers) -> CIMultiDict[str]:
    """A provider's headers beside ours, with the credentials whatever it says itself."""
    headers = CIMultiDict(OURS)
    headers.update(theirs)
    headers.update(credentials)
    return headers


@lru_cache
def _is_plain(origin: str) -> bool:
    """Whether nothing is wrong with an origin, and it is spelled as it goes on the wire."""
    try:
        return _looked_at(f"{origin}/", origin) == f"{origin}/"
    except (NotSent, TargetForbidden):
        return False


def _looked_at(url: str, origin: str) -> str:
    try:
        here, there = httpx.URL(url), _place(origin)
    except httpx.InvalidURL as fault:
        raise NotSent(describe(fault)) from None
    if _placed(here) != there or here.userinfo:
        raise TargetForbidden("the URL is not at the provider's configured origin")
    if (here.port or 0) > _LAST_PORT:
        raise NotSent(f"there is no port {here.port}")
    return str(here)


@lru_cache
def _place(origin: str) -> tuple[str, bytes, int | None]:
    return _placed(httpx.URL(origin))


def _placed(url: httpx.URL) -> tuple[str, bytes, int | None]:
    return url.scheme, url.raw_host, url.port or _PORTS.get(url.scheme)


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
        content = await read_upto(response.aiter_bytes(), limit + 1)
    finally:
        await response.aclose()
    if len(content) > limit:
        raise ReplyLost(too_long(limit))
    return Reply(status=response.status_code, content=content, headers=dict(response.headers))


def too_long(limit: int) -> str:
    return f"the reply is longer than {limit} bytes"


async def read_upto(chunks: AsyncIterator[bytes], limit: int) -> bytes:
    """What arrives, up to its end or to `limit` bytes."""
    content = bytearray()
    async for chunk in chunks:
        content += chunk
        if len(content) >= limit:
            break
    return bytes(content[:limit])


@cache
def tls() -> ssl.SSLContext:
    """Verifies against certifi's roots or SSL_CERT_FILE's; one for all, since it takes long. Raises
    SettingInvalid where there are none to be read."""
    try:
        return httpx.create_ssl_context()
    except OSError:  # ssl.SSLError too
        problem = "must name a PEM file of certificates, and none can be read from it"
        raise SettingInvalid("SSL_CERT_FILE", problem) from None
