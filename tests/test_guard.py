"""No user-supplied URL leads to a private address: by its text, by its name, or by a redirect."""

import logging
import socket
import time
from collections.abc import AsyncIterator

import pytest
from raw_server import OK, Talk, floods, hangs, resets, says, serving, unused_port

from service.errors import TargetForbidden
from service.guard import AddressForbidden, Guard
from service.pooled import Delivered, Deliverer, read_retry_after

LOOPBACK = ["127.0.0.1/32"]
FORBIDDEN_ADDRESSES = """
    0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 100.127.255.255 127.0.0.1
    127.1.2.3 168.63.129.16 169.254.0.1 169.254.169.254 169.254.170.2 172.16.0.1 172.31.255.255
    192.0.0.1 192.0.0.192 192.0.2.1 192.88.99.1 192.168.0.1 198.18.0.1 198.19.255.255 198.51.100.1
    203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 :: ::1 ::7f00:1 ::10.0.0.1
    ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:a9fe:a9fe ::ffff:0:127.0.0.1 64:ff9b::7f00:1
    64:ff9b::a9fe:a9fe 64:ff9b::10.0.0.1 64:ff9b:1::a9fe:a9fe 64:ff9b:1::8.8.8.8 100::1 2001::1
    2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:2::1 2001:10::1 2001:db8::1 2002:7f00:1::
    2002:a9fe:a9fe:: 2002:808:808:: 3fff::1 4000::1 5f00::1 fc00::1 fd00::1 fd00:ec2::254 fe80::1
    fe80::1%lo fe80::1%1 2606:4700::1111%eth0 fec0::1 ff02::1 ff0e::1 localhost not-an-address
"""
PUBLIC_ADDRESSES = """
    1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.1
    168.63.129.15 168.63.129.17 169.253.255.255 172.15.255.255 172.32.0.0 192.0.1.0 192.167.255.255
    198.17.255.255 198.20.0.0 223.255.255.255 ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2001:200::1
    2001:4860:4860::8888 2606:4700:4700::1111 2a00:1450::1 3ffe::1
"""
FORBIDDEN_URLS = """
    http://127.0.0.1/ https://127.0.0.1:8443/x http://127.1/ http://127.0.1/ http://2130706433/
    http://0x7f000001/ http://0x7f.1/ http://0177.0.0.1/ http://017700000001/ http://0/
    http://127.0.0.1./ http://0251.0376.0251.0376/ http://0xa9fea9fe/ http://169.254.169.254/latest
    http://[::1]/ http://[::]:80/ http://[0:0:0:0:0:0:0:1]/ http://[::ffff:127.0.0.1]/
    http://[::ffff:7f00:1]/ http://[64:ff9b::7f00:1]/ http://[fe80::1%25lo]/ http://[fe80::1%lo]/
    http://[v1.fe80::a]/ http://[::1/ http://::1/ http://１２７.０.０.１/ http://127。0。0。1/
    http://127%2e0.0.1/ http://%6c%6f%63alhost/ http://localhost/ http://LOCALHOST:8080/
    http://localhost./ http://api.localhost/ http://localhost.localdomain/ http://ip6-localhost/
    http://ⓛocalhost/ http:///path http:path http://./ http://:80/ http://?a.example
    http://user@a.example/ http://user:pass@a.example/ http://@a.example/ http://a.example@10.0.0.1/
    http://a.example:0/ http://a.example:65536/ http://a.example:x/ ftp://a.example/
    file:///etc/passwd gopher://a.example/ //a.example/ a.example javascript:alert(1)
    http://a.example\\@127.0.0.1/ http://a.example\\.b.example/
"""
GOOD_URLS = """
    https://a.example/hook?token=1#x http://A.Example:8080 HTTPS://a.example./ http://8.8.8.8/
    http://[2606:4700:4700::1111]:8443/ https://bücher.example/pfad/ü https://a.example/%7Euser/@me
    http://localhost.example/ http://notlocalhost/ http://10.example/
"""
ODD_URLS = (
    "",
    "http://a.example/ b",
    "http://a.example/\n",
    "http://a\t.example/",
    "http://a.example/\x7f",
    "http://a\u200b.example/",
    " http://a.example/",
    f"http://a.example/{'a' * 2032}",
)
LONGEST_URL = f"http://a.example/{'a' * 2031}"


@pytest.fixture
async def deliverer() -> AsyncIterator[Deliverer]:
    deliverer = Deliverer(Guard(LOOPBACK))
    yield deliverer
    await deliverer.aclose()


async def deliver(deliverer: Deliverer, url: str, total: float = 5) -> Delivered:
    return await deliverer.post(url, content=b"{}", headers={"webhook-id": "evt_1"}, total=total)


@pytest.mark.parametrize("address", FORBIDDEN_ADDRESSES.split())
def test_a_private_address_is_forbidden(address: str) -> None:
    with pytest.raises(TargetForbidden):
        Guard([]).check_address(address)


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES.split())
def test_a_public_address_is_not(address: str) -> None:
    Guard([]).check_address(address)


@pytest.mark.parametrize("url", [*FORBIDDEN_URLS.split(), *ODD_URLS])
def test_a_url_that_shows_its_intent_is_forbidden(url: str) -> None:
    with pytest.raises(TargetForbidden):
        Guard([]).check_url(url)


@pytest.mark.parametrize("url", [*GOOD_URLS.split(), LONGEST_URL])
def test_a_good_url_is_not(url: str) -> None:
    Guard([]).check_url(url)


def test_an_allowed_range_opens_its_mapped_form_and_nothing_else() -> None:
    guard = Guard(["10.1.0.0/16", "fd00::/64"])
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd00::7"):
        guard.check_address(address)
    guard.check_url("http://10.1.2.3/")
    for address in ("10.2.0.1", "::ffff:10.2.0.1", "::10.1.2.3", "fd00:1::7", "127.0.0.1"):
        with pytest.raises(TargetForbidden):
            guard.check_address(address)
    with pytest.raises(TargetForbidden):
        guard.check_url("http://localhost/")
    Guard(LOOPBACK).check_url("http://localhost/")
    Guard(["::1/128"]).check_url("http://localhost/")


def test_a_range_of_everything_in_ipv6_does_not_open_ipv4() -> None:
    with pytest.raises(TargetForbidden):
        Guard(["::/0"]).check_address("::ffff:127.0.0.1")


def test_an_allowed_range_must_be_one() -> None:
    with pytest.raises(ValueError, match="host bits"):
        Guard(["10.0.0.1/8"])


def test_no_socket_is_made_for_a_forbidden_address(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    monkeypatch.setattr(socket, "socket", lambda *args: made.append(args))
    where = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 80))
    with pytest.raises(AddressForbidden, match=r"^forbidden address$"):
        Guard([]).socket_factory(where)
    assert made == []
    Guard(LOOPBACK).socket_factory(where)
    assert made == [where[:3]]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]"])
async def test_a_listener_on_loopback_sees_no_connection(host: str) -> None:
    deliverer = Deliverer(Guard([]))
    async with serving(says(OK)) as server:
        delivered = await deliver(deliverer, f"http://{host}:{server.port}/")
    await deliverer.aclose()
    assert server.connections == 0
    assert (delivered.error or "").startswith("forbidden address")


@pytest.mark.parametrize("allowed", [[], ["::1/128"]])
async def test_a_name_is_judged_by_the_address_that_is_connected_to(allowed: list[str]) -> None:
    class Unread(Guard):
        def check_url(self, url: str) -> None:
            """Lets every text through, as it does a name of someone else's zone."""

    deliverer = Deliverer(Unread(allowed))
    async with serving(says(OK)) as server:
        delivered = await deliver(deliverer, f"http://localhost:{server.port}/")
    await deliverer.aclose()
    assert server.connections == 0
    assert delivered.status is None
    if not allowed:
        assert delivered.error == "forbidden address"


async def test_a_redirect_to_loopback_is_not_followed(deliverer: Deliverer) -> None:
    async with serving(says(OK)) as target:
        there = f"http://127.0.0.1:{target.port}/".encode()
        head = b"HTTP/1.1 307 Go\r\nLocation: " + there + b"\r\nContent-Length: 0\r\n\r\n"
        async with serving(says(head)) as server:
            delivered = await deliver(deliverer, server.origin)
    assert (delivered.status, delivered.error) == (307, None)
    assert target.connections == 0


async def test_a_delivery_brings_back_the_beginning_of_the_answer(deliverer: Deliverer) -> None:
    body = bytes(range(256)) * 40
    head = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with serving(says(head + body, then_closes=False)) as server:
        delivered = await deliver(deliverer, server.origin + "/hook?token=t")
        await deliver(deliverer, server.origin)
    assert (delivered.status, delivered.error, delivered.retry_after) == (503, None, 7.0)
    assert delivered.body == body[:4096]
    assert 0 < delivered.duration < 5
    assert b"POST /hook?token=t HTTP/1.1\r\n" in server.requests[0]
    assert b"\r\nwebhook-id: evt_1\r\n" in server.requests[0]
    assert server.connections == 1


async def test_an_endless_answer_is_read_no_further_and_judged_by_its_status(
    deliverer: Deliverer,
) -> None:
    async with serving(floods) as server:
        delivered = await deliver(deliverer, server.origin)
    assert (delivered.status, len(delivered.body), delivered.error) == (200, 4096, None)


async def test_nothing_that_an_app_sets_frames_the_message(deliverer: Deliverer) -> None:
    headers = {"Content-Length": "1", "Transfer-Encoding": "chunked", "HOST": "a", "X-App": "1"}
    async with serving(says(OK)) as server:
        await deliverer.post(server.origin, content=b"{12}", headers=headers, total=5)
    head = server.requests[0].lower()
    assert b"\r\ncontent-length: 4\r\n" in head
    assert b"\r\nhost: 127.0.0.1:" in head
    assert b"\r\nx-app: 1\r\n" in head
    assert b"transfer-encoding" not in head
    assert b"\r\naccept-encoding: identity\r\n" in head  # what is kept of an answer is read


FAILURES: dict[str, tuple[Talk, str]] = {
    "never answers": (hangs, "timed out"),
    "never ends": (
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", then_closes=False),
        "timed out, after status 200",
    ),
    "closes": (says(b""), "the connection was closed without an answer"),
    "resets": (resets, "Connection reset by peer"),
    "cuts": (
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"),
        "the answer was cut short, after status 200",
    ),
    "garbage": (says(b"garbage\r\n\r\n"), "the answer is not HTTP"),
}


@pytest.mark.parametrize(("talk", "error"), FAILURES.values(), ids=FAILURES)
async def test_trouble_is_told_and_not_raised(
    talk: Talk, error: str, deliverer: Deliverer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with serving(talk) as server:
        delivered = await deliver(deliverer, f"{server.origin}/hook?secret-query", total=0.4)
    assert (delivered.status, delivered.error) == (None, error)
    assert "secret-query" not in caplog.text


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://nosuch.invalid/?secret-query", "the name does not resolve"),
        (f"http://{'a' * 64}.example/?secret-query", "the URL or a header cannot be written"),
        ("http://127.0.0.1:{unused}/?secret-query", "Connection refused"),
        ("https://127.0.0.1:{garbage}/?secret-query", "TLS failed"),
    ],
)
async def test_an_endpoint_out_of_reach_is_told(url: str, error: str, deliverer: Deliverer) -> None:
    async with serving(says(b"this is no TLS"), reads=False) as garbage:
        ports = {"unused": unused_port(), "garbage": garbage.port}
        delivered = await deliver(deliverer, url.format(**ports))
    assert (delivered.status, delivered.error) == (None, error)


def test_retry_after_is_a_number_or_a_date() -> None:
    at = 784111777.0  # the date of RFC 9110 §5.6.7
    assert read_retry_after("120", at) == 120.0
    assert read_retry_after("Sun, 06 Nov 1994 08:50:37 GMT", at) == 60.0
    assert read_retry_after("Sun, 06 Nov 1994 08:00:00 GMT", at) == 0.0
    for unreadable in ("", "-1", "1.5", "soon", "nan", "1" * 30, "Sun, 99 Nov 1994"):
        assert read_retry_after(unreadable, time.time()) is None
