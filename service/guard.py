"""Which addresses a user-supplied URL may lead to: judged on the text, and again at each connect.

The judgement at connect is the one that holds: it sees the address that the socket will use,
whatever name, spelling or second look-up led there. The one on the text only tells sooner.
"""

import re
import socket
import unicodedata
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import SplitResult, urlsplit

from service.errors import TargetForbidden

LONGEST_URL = 2048

# `ipaddress.is_global` says True of many of these (multicast, 6to4, NAT64's local prefix …), so
# the ranges are named here. Sources: the IANA special-purpose address registries, and the
# clouds' own pages for the metadata services that lie in public space.
_FORBIDDEN_V4 = tuple(
    (ip_network(network), reason)
    for network, reason in {
        "0.0.0.0/8": "unspecified",
        "10.0.0.0/8": "private",
        "100.64.0.0/10": "carrier-grade NAT",
        "127.0.0.0/8": "loopback",
        "168.63.129.16/32": "a cloud's metadata service",  # Azure: WireServer
        "169.254.0.0/16": "link-local",
        "172.16.0.0/12": "private",
        "192.0.0.0/24": "reserved",
        "192.0.2.0/24": "documentation",
        "192.88.99.0/24": "reserved",
        "192.168.0.0/16": "private",
        "198.18.0.0/15": "benchmarking",
        "198.51.100.0/24": "documentation",
        "203.0.113.0/24": "documentation",
        "224.0.0.0/4": "multicast",
        "240.0.0.0/4": "reserved",
    }.items()
)
_GLOBAL_V6 = ip_network("2000::/3")  # all that is given out; ULA, link-local, 5f00::/16 lie outside
_FORBIDDEN_V6 = tuple(
    (ip_network(network), reason)
    for network, reason in {
        "2001::/23": "reserved",  # Teredo (2001::/32), ORCHID, benchmarking
        "2001:db8::/32": "documentation",
        "2002::/16": "6to4",
        "3fff::/20": "documentation",
    }.items()
)
_NAT64 = ip_network("64:ff9b::/96")
_LOOPBACK_NAME = re.compile(
    r"(.+\.)?localhost|localhost[46]?(\.localdomain[46]?)?|ip6-(localhost|loopback)"
)
_DOTS = str.maketrans({"。": ".", "．": ".", "｡": "."})  # IDNA reads these as full stops


class AddressForbidden(TargetForbidden, OSError):
    """The socket's address may not be called. An OSError, so that aiohttp goes on to the name's
    next address; always in the same words, so that it comes through if there is none."""

    def __init__(self) -> None:
        super().__init__("forbidden address")


class Guard:
    """Forbids every address that is not public, save those in `allowed` (CIDRs).

    An allowed IPv4 range opens its IPv6-mapped form too. Raises ValueError for a bad CIDR.
    """

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = tuple(ip_network(network) for network in allowed)

    def check_url(self, url: str) -> None:
        """Raises TargetForbidden, with the reason, where the text alone shows that `url` may not
        be called. Resolves nothing: a name that leads to a forbidden address passes here."""
        parts = _split(url)
        host = _plain(parts.hostname or "")
        if not host:
            raise TargetForbidden("the URL has no host")
        if "%" in host:
            raise TargetForbidden("the URL's host has a zone or an escape")
        if _LOOPBACK_NAME.fullmatch(host) and not self._loopback_allowed():
            raise TargetForbidden("the address is not public (loopback)")
        literal = _literal(host)
        if literal is not None:
            self.check_address(literal)

    def check_address(self, ip: str) -> None:
        """Raises TargetForbidden, with the reason, unless `ip` (IPv4 or IPv6 text) is public or
        allowed. One with a zone is never."""
        try:
            address = ip_address(ip)
        except ValueError:
            raise TargetForbidden("the address is no IP address") from None
        reason = self._reason(address)
        if reason is not None:
            raise TargetForbidden(f"the address is not public ({reason})")

    def socket_factory(
        self, addr_info: tuple[int | socket.AddressFamily, int, int, str, tuple[Any, ...]]
    ) -> socket.socket:
        """The socket for an address that aiohttp is about to connect to.

        Raises AddressForbidden, before there is a socket, where `check_address` would refuse it.
        """
        family, kind, protocol, _, address = addr_info
        try:
            self.check_address(str(address[0]))
        except TargetForbidden:
            raise AddressForbidden from None
        return socket.socket(family, kind, protocol)

    def _reason(self, address: IPv4Address | IPv6Address) -> str | None:
        """Why `address` is forbidden; None where it is not."""
        if isinstance(address, IPv6Address):
            return self._reason_v6(address)
        if self._is_allowed(address):
            return None
        return next((reason for network, reason in _FORBIDDEN_V4 if address in network), None)

    def _reason_v6(self, address: IPv6Address) -> str | None:
        """Mapped addresses and NAT64's public prefix are judged by the IPv4 address inside; the
        other forms that hold one (compatible, 6to4, Teredo, NAT64's local prefix) are forbidden
        whatever they hold."""
        if address.scope_id is not None:
            return "it has a zone"
        if address.ipv4_mapped is not None:
            return self._reason(address.ipv4_mapped)
        if self._is_allowed(address):
            return None
        if address in _NAT64:
            return self._reason(IPv4Address(address.packed[-4:]))
        if address not in _GLOBAL_V6:
            return "loopback" if address.is_loopback else "not given out"
        return next((reason for network, reason in _FORBIDDEN_V6 if address in network), None)

    def _is_allowed(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._allowed)

    def _loopback_allowed(self) -> bool:
        return any(
            self._reason(address) is None
            for address in (IPv4Address("127.0.0.1"), IPv6Address("::1"))
        )


def _split(url: str) -> SplitResult:
    """`url` taken apart. Raises TargetForbidden for what no webhook needs and parsers read
    differently: control characters, spaces, backslashes, userinfo, port 0."""
    if len(url) > LONGEST_URL:
        raise TargetForbidden(f"the URL is longer than {LONGEST_URL} characters")
    if not url.isprintable() or any(character.isspace() or character == "\\" for character in url):
        raise TargetForbidden("the URL has control characters, spaces or backslashes")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise TargetForbidden("the URL's host or port cannot be read") from None
    if parts.scheme not in ("http", "https"):
        raise TargetForbidden("the URL is not http or https")
    if "@" in parts.netloc:
        raise TargetForbidden("the URL carries a user name or password")
    if port == 0:
        raise TargetForbidden("the URL's port is 0")
    return parts


def _plain(host: str) -> str:
    """`host` as a resolver would read it: compatibility characters folded, no final dot."""
    return unicodedata.normalize("NFKC", host).translate(_DOTS).lower().rstrip(".")


def _literal(host: str) -> str | None:
    """The IP address that `host` spells, in any form that resolvers take (decimal, hexadecimal,
    octal, short); None where it is a name."""
    if ":" in host:
        return host
    try:
        return str(IPv4Address(socket.inet_aton(host)))
    except OSError:
        return None
