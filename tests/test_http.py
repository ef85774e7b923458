"""What goes out over HTTP, tried against raw servers: sent or not, whole or not, and to whom."""

import asyncio
import gzip
from collections.abc import AsyncIterator

import pytest
from raw_server import (
    OK,
    Server,
    Talk,
    floods,
    half_closes,
    hangs,
    resets,
    says,
    serving,
    unused_port,
)

from service.errors import KeysAway, NotSent, ReplyLost, TargetForbidden
from service.guard import Guard
from service.http import KEYS_BYTES, fetch, post_once
from service.pooled import Asker, Deliverer
from service.providers import Reply, Request

BODY = b'{"prompt": "a fox"}'


@pytest.fixture
async def asker() -> AsyncIterator[Asker]:
    asker = Asker()
    yield asker
    await asker.aclose()


@pytest.fixture
async def deliverer() -> AsyncIterator[Deliverer]:
    deliverer = Deliverer(Guard(["127.0.0.1/32"]))
    yield deliverer
    await deliverer.aclose()


async def submit(
    origin: str,
    *,
    path: str = "/m?fal_webhook=secret-query",
    url: str | None = None,
    key: str = "Key k",
    total: float = 5,
) -> Reply:
    request = Request(method="POST", url=url or origin + path, content=BODY)
    credentials = {"Authorization": key}
    return await post_once(request, origin=origin, credentials=credentials, connect=2, total=total)


async def poll(asker: Asker, server: Server, *, host: str = "127.0.0.1", total: float = 5) -> Reply:
    origin = f"http://{host}:{server.port}"
    request = Request(method="GET", url=f"{origin}/status?logs=secret-query")
    credentials = {"Authorization": "Key k"}
    return await asker.ask(request, origin=origin, credentials=credentials, total=total)


async def test_a_submission_carries_the_credentials_and_brings_the_whole_reply_back() -> None:
    async with serving(says(OK, then_closes=False)) as server:
        reply = await submit(server.origin)
        await submit(server.origin)
    assert (reply.status, reply.json(), reply.headers["x-fal-request-id"]) == (200, {}, "r1")
    assert b"POST /m?fal_webhook=secret-query HTTP/1.1\r\n" in server.requests[0]
    assert b"\r\nAuthorization: Key k\r\n" in server.requests[0]
    assert b"\r\nconnection: close\r\n" in server.requests[0].lower()
    assert server.requests[0].endswith(BODY)
    assert server.connections == 2  # never a kept-alive one


@pytest.mark.parametrize(
    ("origin", "url"),
    [
        ("http://nosuch.invalid", None),
        (f"http://{'a' * 64}.example", None),
        ("http://127.0.0.1:{refused}", None),
        ("https://127.0.0.1:{garbage}", None),
        ("https://127.0.0.1:{hangs}", None),
        ("ftp://127.0.0.1", None),
        ("http://127.0.0.1:99999", None),
        ("http://127.0.0.1", "http://127.0.0.1:port/"),
        ("http://127.0.0.1", "http://127.0.0.1/\0"),
    ],
)
async def test_what_provably_never_left_is_not_sent(origin: str, url: str | None) -> None:
    async with (
        serving(says(b"this is no TLS"), reads=False) as garbage,
        serving(hangs, reads=False) as silent,
    ):
        ports = {"refused": unused_port(), "garbage": garbage.port, "hangs": silent.port}
        with pytest.raises(NotSent):
            await submit(origin.format(**ports), url=url, total=0.5)


@pytest.mark.parametrize("key", ["Key k\n", " Key k", "Key k\u00fc"])
async def test_a_credential_that_no_header_can_carry_is_not_sent(key: str) -> None:
    async with serving(says(OK)) as server:
        with pytest.raises(NotSent) as caught:
            await submit(server.origin, key=key)
    assert server.requests == []
    assert "Key" not in str(caught.value)


LOST: dict[str, Talk] = {
    "closes after the request": says(b""),
    "half-closes after the request": half_closes,
    "resets": resets,
    "closes in the headers": says(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "cuts the body": says(b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"request_id":'),
    "cuts the chunks": says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"),
    "answers garbage": says(b"\x00\x01garbage\r\n\r\n"),
    "encodes badly": says(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"
    ),
    "never answers": hangs,
    "never ends": says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", then_closes=False),
    "says too much": floods,
}


@pytest.mark.parametrize("talk", LOST.values(), ids=LOST)
async def test_whatever_goes_wrong_after_sending_is_a_lost_reply(talk: Talk, asker: Asker) -> None:
    async with serving(talk) as server:
        for asking in (submit(server.origin, total=0.4), poll(asker, server, total=0.4)):
            with pytest.raises(ReplyLost) as caught:
                await asking
            assert "secret-query" not in str(caught.value)
        assert server.requests


async def test_a_request_that_cannot_be_written_out_may_have_arrived() -> None:
    async with serving(hangs, reads=False) as server:
        request = Request(method="POST", url=server.origin, content=bytes(32 * 1024 * 1024))
        with pytest.raises(ReplyLost):
            await post_once(request, origin=server.origin, credentials={}, connect=1, total=0.5)


async def test_an_early_complete_reply_counts_though_the_request_was_not_all_read() -> None:
    async def refuses(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await half_closes(reader, writer)

    async with serving(refuses, reads=False) as server:
        request = Request(method="POST", url=server.origin, content=bytes(1024 * 1024))
        reply = await post_once(request, origin=server.origin, credentials={}, connect=1, total=5)
    assert reply.status == 413


@pytest.mark.parametrize("pooled", [False, True])
async def test_cancelling_after_sending_cancels_and_closes_the_connection(
    pooled: bool, asker: Asker
) -> None:
    async with serving(hangs) as server, asyncio.timeout(5):
        asking = poll(asker, server, total=30) if pooled else submit(server.origin, total=30)
        task = asyncio.create_task(asking)
        await server.arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.hung_up.wait()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_no_redirect_is_followed(status: int, asker: Asker, deliverer: Deliverer) -> None:
    async with serving(says(OK)) as target:
        head = f"HTTP/1.1 {status} Go\r\nLocation: {target.origin}/\r\nContent-Length: 0\r\n\r\n"
        async with serving(says(head.encode())) as server:
            assert (await submit(server.origin)).status == status
            assert (await poll(asker, server)).status == status
            sent = await deliverer.post(server.origin, content=b"{}", headers={}, total=5)
            assert (sent.status, sent.error) == (status, None)
            with pytest.raises(KeysAway):
                await fetch(server.origin, total=5)
    assert target.connections == 0


async def test_proxy_variables_are_ignored(
    monkeypatch: pytest.MonkeyPatch, asker: Asker, deliverer: Deliverer
) -> None:
    async with serving(says(OK)) as proxy, serving(says(OK, then_closes=False)) as server:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.origin)
        await submit(server.origin)
        await poll(asker, server)
        await deliverer.post(server.origin, content=b"{}", headers={}, total=5)
        await fetch(server.origin, total=5)
    assert (proxy.connections, len(server.requests)) == (0, 4)


@pytest.mark.parametrize(
    "url",
    [
        "https://queue.fal.run/m",
        "http://queue.fal.run:8080/m",
        "http://queue.fal.run.evil.example/m",
        "http://evil.example/queue.fal.run",
        "http://queue.fal.run@evil.example/m",
        "http://evil.example\\@queue.fal.run/m",
        "http://key@queue.fal.run/m",
        "http://queue.fal.run./m",
        "//queue.fal.run/m",
        "/m",
    ],
)
async def test_credentials_go_to_the_providers_origin_only(url: str, asker: Asker) -> None:
    request = Request(method="GET", url=url)
    credentials, origin = {"Authorization": "Key k"}, "http://queue.fal.run"
    with pytest.raises(TargetForbidden):
        await post_once(request, origin=origin, credentials=credentials, connect=1, total=1)
    with pytest.raises(TargetForbidden):
        await asker.ask(request, origin=origin, credentials=credentials, total=1)


async def test_an_origin_is_the_same_in_other_spellings() -> None:
    with pytest.raises(NotSent):  # so it is not forbidden
        await submit("http://nosuch.invalid", url="HTTP://NoSuch.INVALID:80/m")


async def test_a_compressed_reply_is_read_though_none_was_asked_for() -> None:
    body = gzip.compress(b'{"a": 1}')
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with serving(says(head + body)) as server:
        reply = await submit(server.origin)
    assert reply.json() == {"a": 1}
    assert b"\r\naccept-encoding: identity\r\n" in server.requests[0].lower()


async def test_polls_share_a_connection_keep_no_cookie_and_outlive_its_closing(
    asker: Asker,
) -> None:
    cookie = OK.replace(b"X-Fal", b"Set-Cookie: a=b\r\nX-Fal")
    async with serving(says(cookie, then_closes=False)) as server:
        for _ in range(3):
            reply = await poll(asker, server, host="localhost")  # an address gets no cookie
            assert reply.headers["set-cookie"] == "a=b"
        assert (server.connections, len(server.requests)) == (1, 3)
        assert b"cookie" not in b"".join(server.requests).lower()
    async with serving(says(OK)) as server:  # closes each time, and says so nowhere
        assert [(await poll(asker, server)).status for _ in range(3)] == [200, 200, 200]


async def test_a_poll_that_reaches_nobody_is_not_sent(asker: Asker) -> None:
    for server in (Server(port=unused_port()), Server(port=99999)):
        with pytest.raises(NotSent):
            await poll(asker, server)


async def test_the_signing_keys_are_fetched() -> None:
    async with serving(says(OK)) as server:
        assert await fetch(server.origin + "/.well-known/jwks.json", total=5) == b"{}"


@pytest.mark.parametrize(
    "talk",
    [
        says(OK.replace(b"200 OK", b"500 Oops")),
        says(OK.replace(b"200 OK", b"304 Same")),
        says(b""),
        hangs,
        says(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + bytes(KEYS_BYTES + 1)),
    ],
)
async def test_keys_that_cannot_be_fetched_are_away(talk: Talk) -> None:
    async with serving(talk) as server:
        with pytest.raises(KeysAway) as caught:
            await fetch(server.origin + "/jwks?secret-query", total=0.4)
    assert "secret-query" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999", "file:///etc/passwd", "", "http://\0"])
async def test_keys_at_a_url_of_no_use_are_away(url: str) -> None:
    with pytest.raises(KeysAway):
        await fetch(url, total=1)
