"""No connection is opened to a forbidden target, however it is spelt, named or led to.

They are counted where the socket would be made, and by a listener on loopback.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from raw_server import OK, Server, says, serving
from test_guard import FORBIDDEN_ADDRESSES, FORBIDDEN_URLS, ODD_URLS

from service.guard import Guard
from service.pooled import Deliverer

# Beside those of test_guard: what leads to loopback, to metadata services and to what is no web.
SPELLINGS = """
    http://127.0.0.1:{port}/ http://127.1:{port}/ http://127.0.1:{port}/ http://2130706433:{port}/
    http://0x7f000001:{port}/ http://0X7F.0.0.1:{port}/ http://0x7f.1:{port}/ http://0177.1:{port}/
    http://017700000001:{port}/ http://127.0.0.1.:{port}/ http://127.255.255.254:{port}/
    http://0:{port}/ http://0.0.0.0:{port}/ http://[::]:{port}/ http://[::1]:{port}/
    http://[::ffff:127.0.0.1]:{port}/ http://[0:0:0:0:0:ffff:7f00:1]:{port}/
    http://[::127.0.0.1]:{port}/ http://[64:ff9b::127.0.0.1]:{port}/
    http://[2002:7f00:1::]:{port}/ http://[2001:0:0:0:0:0:80ff:fffe]:{port}/
    http://localhost:{port}/ http://LocalHost:{port}/ http://localhost.:{port}/
    http://a.localhost:{port}/ http://①②⑦.⓪.⓪.①:{port}/ http://１２７.1:{port}/
    http://127。0。0。1:{port}/ http://xn--127-zq7f.0.0.1.localhost:{port}/
    http://xn--localhost-:{port}/ http://user@127.0.0.1:{port}/ http://a.example@127.0.0.1:{port}/
    http://127.0.0.1:{port}@a.example/ http://169.254.169.254/latest/meta-data/
    http://[fd00:ec2::254]/latest/ http://168.63.129.16/machine http://100.100.100.200/latest
    http://169.254.170.2/v2 http://[::ffff:169.254.169.254]/ http://2852039166/ http://0xa9fea9fe/
    http://[fe80::1%25eth0]:{port}/ ftp://127.0.0.1:{port}/ gopher://127.0.0.1:{port}/
    ws://127.0.0.1:{port}/ file:///etc/hosts unix:///var/run/docker.sock data:text/html,x
"""
METADATA_NAMES = {"metadata.google.internal": "169.254.169.254", "metadata": "169.254.169.254"}


@dataclass
class Watched:
    """What went out: `asked` has the addresses for which a socket was wanted, `opened` those that
    got one. None of these is connected."""

    asked: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)


class Watching(Guard):
    """The guard, and what it let through, which goes no further."""

    def __init__(self, seen: Watched) -> None:
        super().__init__([])
        self._seen = seen

    def socket_factory(self, addr_info: Any) -> socket.socket:
        address = addr_info[4][0]
        self._seen.asked.append(address)
        super().socket_factory(addr_info).close()
        self._seen.opened.append(address)
        raise OSError("not in a test")


@pytest.fixture
async def seen() -> Watched:
    return Watched()


@pytest.fixture
async def deliverer(seen: Watched) -> AsyncIterator[Deliverer]:
    deliverer = Deliverer(Watching(seen))
    yield deliverer
    await deliverer.aclose()


@pytest.fixture(scope="module")
async def listener() -> AsyncIterator[Server]:
    async with serving(says(OK)) as server:
        yield server


@pytest.fixture
async def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """What a name server answers, name by name: the next answer each time, then the last again.
    Numbers are read as the C library reads them, localhost is itself, and any other name is not
    found, so that nothing is asked of the network."""
    zone: dict[str, list[list[str]]] = {"localhost": [["127.0.0.1"]]}

    async def answer(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        try:
            given = [socket.inet_ntoa(socket.inet_aton(host))]
        except OSError:
            if host not in zone:
                raise socket.gaierror(socket.EAI_NONAME, "no such name") from None
            given = zone[host].pop(0) if len(zone[host]) > 1 else zone[host][0]
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                *(socket.SOCK_STREAM, socket.IPPROTO_TCP, ""),
                (address, port, 0, 0) if ":" in address else (address, port),
            )
            for address in given
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", answer)
    return zone


def targets() -> list[str]:
    bare = [one for one in FORBIDDEN_ADDRESSES.split() if ":" in one or one[0].isdigit()]
    by_address = [f"http://[{one}]/" if ":" in one else f"http://{one}/" for one in bare]
    return [*SPELLINGS.split(), *FORBIDDEN_URLS.split(), *ODD_URLS, *by_address]


def test_there_are_enough_of_them() -> None:
    assert len(set(targets())) >= 150


@pytest.mark.parametrize("target", targets())
async def test_no_socket_is_made_for_it(
    target: str, deliverer: Deliverer, seen: Watched, listener: Server, names: dict[str, Any]
) -> None:
    url = target.replace("{port}", str(listener.port))
    delivered = await deliverer.post(url, content=b"{}", headers={}, total=5)
    assert delivered.status is None
    assert delivered.error
    assert seen.opened == []
    assert listener.connections == 0


@pytest.mark.parametrize("target", [one for one in targets() if one.startswith("http:")])
async def test_nor_where_only_the_connection_is_judged(
    target: str, seen: Watched, listener: Server, names: dict[str, Any]
) -> None:
    class Unread(Watching):
        def check_url(self, url: str) -> None:
            """Lets every text through."""

    deliverer = Deliverer(Unread(seen))
    url = target.replace("{port}", str(listener.port))
    try:
        await deliverer.post(url, content=b"{}", headers={}, total=5)
    finally:
        await deliverer.aclose()
    assert listener.connections == 0
    assert seen.opened == []


@pytest.mark.parametrize("name", METADATA_NAMES)
async def test_a_metadata_services_name_leads_nowhere(
    name: str, deliverer: Deliverer, seen: Watched, names: dict[str, list[list[str]]]
) -> None:
    names[name] = [[METADATA_NAMES[name]]]
    delivered = await deliverer.post(f"http://{name}/", content=b"{}", headers={}, total=5)
    assert delivered.error == "forbidden address"
    assert (seen.asked, seen.opened) == ([METADATA_NAMES[name]], [])


async def test_a_name_that_is_public_first_and_loopback_then_is_judged_each_time(
    seen: Watched, listener: Server, names: dict[str, list[list[str]]]
) -> None:
    names["rebinds.example"] = [["8.8.8.8"], ["127.0.0.1"], ["::1"], ["::ffff:127.0.0.1"]]
    guard = Watching(seen)
    for _ in range(4):
        deliverer = Deliverer(guard)  # each with no memory of what the name was
        url = f"http://rebinds.example:{listener.port}/"
        assert (await deliverer.post(url, content=b"{}", headers={}, total=5)).status is None
        await deliverer.aclose()
    assert seen.asked == ["8.8.8.8", "127.0.0.1", "::1", "::ffff:127.0.0.1"]
    assert seen.opened == ["8.8.8.8"]
    assert listener.connections == 0


async def test_of_several_addresses_each_is_judged_by_itself(
    deliverer: Deliverer, seen: Watched, listener: Server, names: dict[str, list[list[str]]]
) -> None:
    names["mixed.example"] = [["8.8.8.8", "127.0.0.1", "10.0.0.1", "1.1.1.1"]]
    url = f"http://mixed.example:{listener.port}/"
    delivered = await deliverer.post(url, content=b"{}", headers={}, total=5)
    assert delivered.status is None
    assert set(seen.opened) == {"1.1.1.1", "8.8.8.8"}
    assert listener.connections == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_leads_nowhere(status: int) -> None:
    deliverer = Deliverer(Guard(["127.0.0.0/8"]))
    async with serving(says(OK)) as target:
        head = f"HTTP/1.1 {status} Go\r\nLocation: {target.origin}/\r\nContent-Length: 0\r\n\r\n"
        async with serving(says(head.encode())) as server:
            delivered = await deliverer.post(server.origin, content=b"{}", headers={}, total=5)
    await deliverer.aclose()
    assert (delivered.status, delivered.error) == (status, None)
    assert target.connections == 0
