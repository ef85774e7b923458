"""Why a call was not taken, and which job was meant: for the operator; the caller learns nothing.

What strangers send is kept bounded, and what is looked up for it with it.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from uuid import UUID

from service import jsontext
from service.alarm import Alarm
from service.bound import Bound, Limit
from service.database import Database
from service.errors import CallbackRefused, CallbackUnreadable
from service.ids import bucket_of, new_id
from service.providers import Provider
from service.store import callbacks
from service.store.advance import InboundCall, Move
from service.store.callbacks import FULL_LENGTH, Meant
from service.tokens import CallbackToken, claimed
from service.vault import Vault

MOST_HEADERS, HEADER_CHARACTERS = 12, 256
REFUSED_BYTES = 4096
ROW_BYTES = 200  # beside headers and body
SHORTEST_TOKEN = 16  # characters: shorter ones stand in too much that means something else
# Each source, and all of them, in an hour. A week of it, which is how long it is kept, is 340,000
# rows and 700 MB.
STRANGERS = (Limit(rows=200, bytes=512 * 1024), Limit(rows=2_000, bytes=4 * 1024 * 1024))
# Each job whose token was good, and all of them: 1 MiB is the longest call there is.
HOLDERS = (Limit(rows=50, bytes=2 * 1024 * 1024), Limit(rows=5_000, bytes=16 * 1024 * 1024))
SIGNED_BY_US = frozenset({"expired", "other_provider"})  # the token's word can be taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A call that was not taken, with those of its headers that are kept. `given` is what it had
    for a token, and `token` what that says where it is good; `trusted`: it is good, or one of the
    provider's shared ones."""

    provider: Provider
    given: str
    token: CallbackToken | None
    trusted: bool
    headers: Mapping[str, str]
    body: bytes
    address: str
    verdict: str
    reason: str


class Diagnosis:
    """Looks at the calls that are not taken. `strangers` and `holders` (of good tokens) bound what
    is kept of them."""

    def __init__(
        self,
        db: Database,
        vault: Vault,
        *,
        alarm: Alarm | None = None,
        strangers: Bound | None = None,
        holders: Bound | None = None,
    ) -> None:
        self._db = db
        self._vault = vault
        self._strangers = strangers or Bound(*STRANGERS)
        self._holders = holders or Bound(*HOLDERS)
        self.alarm = alarm or Alarm()

    async def move(self, refusal: Refusal) -> Move | None:
        """What keeps the call, under the job that was meant; None where it passes the bound, and
        then it is only counted. Raises DatabaseAway."""
        provider, reason = refusal.provider.name, _refined(refusal)
        headers = _bounded(refusal.headers)
        if not self._admits(refusal, len(jsontext.dumps(headers))):
            self.alarm.drop(provider, reason)
            return None
        meant = await self._meant(refusal)
        one = _chosen(refusal, meant)
        body = self._cleared(refusal, meant)
        if _is_cut(refusal, body):
            headers[FULL_LENGTH] = str(len(body))
            body = body[:REFUSED_BYTES]
        self.alarm.keep(provider, reason)
        if one is not None and one.open:
            self.alarm.sound(provider, one.job_id, verdict=refusal.verdict, reason=reason)
        return _move(refusal, one, reason=reason, headers=jsontext.dumps(headers), body=body)

    def _admits(self, refusal: Refusal, header_bytes: int) -> bool:
        length = len(refusal.body)
        body_bytes = min(length, REFUSED_BYTES) if _is_cut(refusal, refusal.body) else length
        size = ROW_BYTES + header_bytes + body_bytes
        if not refusal.trusted:
            return self._strangers.admits(_source(refusal.address), size)
        holder = refusal.token.job_id.hex if refusal.token else _source(refusal.address)
        return self._holders.admits(holder, size)

    async def _meant(self, refusal: Refusal) -> list[Meant]:
        provider_id, token = _provider_id(refusal), refusal.token
        named = (token.job_id, token.attempt) if token else claimed(refusal.given)
        if provider_id is None and named is None:
            return []
        return await callbacks.find_meant(self._db, refusal.provider.name, provider_id, named)

    def _cleared(self, refusal: Refusal, meant: list[Meant]) -> bytes:
        """The body without the token, and without what the jobs hold in secret."""
        body = without_token(refusal.body, refusal.given)
        for secrets in {one.secrets for one in meant} or {None}:
            body = self._vault.cleared(refusal.provider.name, body, secrets)
        return body


def without_token(body: bytes, token: str) -> bytes:
    """`body` with *** wherever it repeats the call's own token (a provider may send back where it
    was told to call); itself where it does not."""
    if len(token) < SHORTEST_TOKEN or (sought := token.encode()) not in body:
        return body
    return body.replace(sought, b"***")


def _move(refusal: Refusal, one: Meant | None, *, reason: str, headers: str, body: bytes) -> Move:
    job_id, attempt = _named(refusal.token, one)
    callback_id = new_id(None if job_id is None else bucket_of(job_id))
    return Move(
        job_id=job_id,
        attempt=attempt,
        source="callback",
        event_id=callback_id,
        call=InboundCall(
            id=callback_id,
            provider=refusal.provider.name,
            address=refusal.address,
            headers=headers,
            body=body,
            verdict=refusal.verdict,
            reason=reason,
        ),
    )


def _refined(refusal: Refusal) -> str:
    """The reason; a token that ends before its signature was cut."""
    start, given = f"{refusal.provider.name}.", refusal.given
    cut = given.startswith(start) and given.count(".") == 1 and "%" not in given
    is_token = refusal.verdict == "refused" and refusal.reason == "malformed"
    return "truncated" if is_token and cut else refusal.reason


def _bounded(headers: Mapping[str, str]) -> dict[str, str]:
    kept = list(headers.items())[:MOST_HEADERS]
    return {name[:HEADER_CHARACTERS]: value[:HEADER_CHARACTERS] for name, value in kept}


def _is_cut(refusal: Refusal, body: bytes) -> bool:
    """Whether only the beginning is kept. What nobody could check is no refusal of the call, and
    can still be worth all that it says."""
    is_refused = refusal.verdict == "refused" and refusal.reason != "keys_away"
    return is_refused and len(body) > REFUSED_BYTES


def _provider_id(refusal: Refusal) -> str | None:
    with suppress(CallbackUnreadable, CallbackRefused):
        return refusal.provider.read_callback(refusal.headers, refusal.body).provider_id
    return None


def _chosen(refusal: Refusal, meant: list[Meant]) -> Meant | None:
    """The attempt that was meant. A token is believed where we signed it, else the body is more
    likely to be true."""
    by = {one.by: one for one in meant}
    if refusal.token is not None:
        return by.get("token")
    first, second = ("token", "body") if refusal.reason in SIGNED_BY_US else ("body", "token")
    return by.get(first) or by.get(second)


def _named(token: CallbackToken | None, one: Meant | None) -> tuple[UUID | None, int | None]:
    if token is not None:
        return token.job_id, token.attempt
    return (None, None) if one is None else (one.job_id, one.attempt)


def _source(address: str) -> str:
    """Whose calls are counted together: an IPv6 host has a whole network to call from."""
    with suppress(ValueError):
        given = ip_address(address)
        if isinstance(given, IPv6Address):
            inner = given.ipv4_mapped
            return str(inner or ip_network((given, 64), strict=False))
    return address
