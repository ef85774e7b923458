"""What came back from our public address, and what it means: in words, with what to do about it.

Pure: service/probe.py asks.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from urllib.parse import urljoin, urlsplit

from service.echo import Seen
from service.providers import Reply
from service.wire import object_in

_WORD = "probe "
_REFUSED = {"error": "refused"}  # our door's own answer to a token that it does not know
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}")


class Outcome(StrEnum):
    """What came back from our public address."""

    REACHED = "reached"
    REDIRECTED = "redirected"
    TOKEN_LOST = "token_lost"
    TOKEN_CHANGED = "token_changed"
    BODY_CHANGED = "body_changed"
    UNRECOGNISED = "unrecognised"  # a Callboard's door that does not know the probe
    BARRED = "barred"
    FAILED = "failed"
    STRANGER = "stranger"
    UNREACHABLE = "unreachable"


_ARRIVED = {
    Seen.ALL: Outcome.REACHED,
    Seen.NO_TOKEN: Outcome.TOKEN_LOST,
    Seen.OTHER_TOKEN: Outcome.TOKEN_CHANGED,
    Seen.OTHER_BODY: Outcome.BODY_CHANGED,
}
# What was seen, and what to do; `{}` is what is particular about it.
_SAID: Mapping[Outcome, tuple[str, str | None]] = {
    Outcome.REACHED: ("a call to it came through", None),
    Outcome.REDIRECTED: (
        "a call to it is redirected to {}: fal takes that for a permanent failure",
        "set CALLBOARD_PUBLIC_URL to the address behind the redirect, https:// included",
    ),
    Outcome.TOKEN_LOST: (
        "a call to it came through without its query, where each callback has its token",
        "let the proxy in front pass the query string on",
    ),
    Outcome.TOKEN_CHANGED: (
        "a call to it came through with another token in its query",
        "let the proxy in front pass the query string on as it comes",
    ),
    Outcome.BODY_CHANGED: (
        "a call to it came through without its body, or with another",
        "let the proxy in front pass the body of a POST on as it comes, byte for byte",
    ),
    Outcome.UNRECOGNISED: (
        "a Callboard answers there that does not know this one's calls",
        "let CALLBOARD_PUBLIC_URL lead to this Callboard, and give all processes of it the same"
        " CALLBOARD_SECRETS, settings and version",
    ),
    Outcome.BARRED: (
        "something in front asks for a login or forbids the call (HTTP {})",
        "let POST /callbacks/ through: providers cannot log in; the token is what is checked",
    ),
    Outcome.FAILED: (
        "something in front answers HTTP {}: it does not get through to this process",
        "let the proxy in front pass /callbacks/ on to CALLBOARD_HOST and CALLBOARD_PORT",
    ),
    Outcome.STRANGER: (
        "somebody else answers there (HTTP {})",
        "correct CALLBOARD_PUBLIC_URL, or let its /callbacks/ be passed on to this process",
    ),
    Outcome.UNREACHABLE: (
        "it cannot be reached from here: {}",
        "correct CALLBOARD_PUBLIC_URL, its DNS entry, certificate or firewall; or nothing, where"
        " only this machine's own network cannot reach it",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one call found, and when; `detail` is for people, without secrets."""

    outcome: Outcome
    detail: str
    cure: str | None
    at: datetime


def unreachable(why: str) -> Finding:
    """No whole answer came, for this reason."""
    return _finding(Outcome.UNREACHABLE, why)


def echo_in(reply: Reply) -> str:
    """The echo that a door's answer carries, unread; empty where there is none."""
    word = object_in(reply.content).get("status") if reply.status == 200 else None
    return word.removeprefix(_WORD) if isinstance(word, str) and word.startswith(_WORD) else ""


def judged(reply: Reply, seen: Seen | None, *, asked: str) -> Finding:
    """What a reply to a call to `asked` means; `seen` is what its echo says, None where it has
    none that is good."""
    if seen is not None:
        return _finding(_ARRIVED[seen])
    if reply.status == 401 and object_in(reply.content) == _REFUSED:
        return _finding(Outcome.UNRECOGNISED)
    if 300 <= reply.status < 400:
        return _finding(Outcome.REDIRECTED, _place(asked, reply))
    if reply.status in (401, 403, 407):
        return _finding(Outcome.BARRED, str(reply.status))
    outcome = Outcome.FAILED if reply.status >= 500 else Outcome.STRANGER
    return _finding(outcome, str(reply.status))


def _finding(outcome: Outcome, particular: str = "") -> Finding:
    detail, cure = _SAID[outcome]
    said = detail.format(particular)
    return Finding(outcome=outcome, detail=said, cure=cure, at=datetime.now(UTC))


def _place(asked: str, reply: Reply) -> str:
    """Where a redirect leads: scheme and host only, since the rest may hold the token."""
    location = reply.headers.get("location")
    try:
        parts = urlsplit(urljoin(asked, location))
        scheme, host, port = parts.scheme, parts.hostname or "", parts.port
    except ValueError:
        location = None
    if location is None or scheme not in ("http", "https") or not _HOST.fullmatch(host):
        return "nowhere that can be read"
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}" + (f":{port}" if port else "")
