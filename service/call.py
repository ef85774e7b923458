"""An inbound call, and what its caller is told."""

from collections.abc import Mapping
from dataclasses import dataclass

# What is read and kept of a call's headers: enough to check it again, nothing that authenticates
# anyone.
KEPT_HEADERS = frozenset(
    {
        *("content-type", "user-agent", "x-fal-webhook-request-id", "x-fal-webhook-user-id"),
        *("x-fal-webhook-timestamp", "x-fal-webhook-signature"),
    }
)


@dataclass(slots=True, kw_only=True)
class Call:
    """One inbound call; of its headers those in KEPT_HEADERS, names in lower case.
    `shared`: it came by the door where the provider's shared tokens count too."""

    provider: str
    token: str
    headers: Mapping[str, str]
    body: bytes
    address: str
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the provider is told: an HTTP status, and a word where it is 200."""

    status: int
    word: str = ""


REFUSED = Answer(status=401)
AWAY = Answer(status=503)
ANSWERS = {
    "accepted": Answer(status=200, word="accepted"),
    "hint": Answer(status=200, word="accepted"),
    "duplicate": Answer(status=200, word="duplicate"),
    "ignored": Answer(status=200, word="ignored"),
    "refused": REFUSED,
    "unreadable": Answer(status=400),
}
ANSWERS_FOR = {"keys_away": AWAY, "wrong_type": Answer(status=415)}
