"""Ed25519 signatures of providers' callbacks, checked against the provider's published keys."""

import asyncio
import time
from base64 import b64decode
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from service import jsontext
from service.errors import CallbackRefused, KeysAway
from service.providers import Signed

CACHE_SECONDS = 24 * 3600.0  # fal's webhook page: keys may be cached for up to 24 hours
OLD_KEY_SECONDS = 24 * 3600.0
FLOOR_SECONDS = 60.0
EMPTY_FLOOR_SECONDS = 5.0  # with no key at all every callback waits, so asking again is urgent
INLINE_ITEMS = 2  # up to here the way to a thread and back costs more than the check
TOLERANCE_SECONDS = 300.0  # fal's webhook page: five minutes either way


class Freshness(StrEnum):
    """How a good signature stands to the clock: within 300 seconds of it or not."""

    FRESH = "fresh"
    STALE = "stale"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A key, and until when (by the given clock) it counts once the provider dropped it."""

    key: VerifyKey
    until: float = float("inf")


class Keys:
    """The keys of one JWKS, fetched when needed and kept through the provider's outages.

    `fetch` takes the URL and returns the document; it raises KeysAway where it cannot.
    """

    def __init__(
        self,
        url: str,
        fetch: Callable[[str], Awaitable[bytes]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._fetch = fetch
        self._clock = clock
        self._lock = asyncio.Lock()
        self._known: dict[bytes, _Known] = {}
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")

    async def current(self) -> tuple[VerifyKey, ...]:
        """The keys that count now, newest document first; at most 24 hours old unless the
        provider's are away. Raises KeysAway where there are none at all."""
        if self._is_old() and not (self._known and self._lock.locked()):
            await self._refetch(self._is_old)
        return self._counting()

    async def again(self) -> tuple[VerifyKey, ...]:
        """The keys, fetched anew unless that was done in the last 60 seconds: for a signature
        that none of `current` fits.

        Raises KeysAway where the last fetch failed: then nobody can say that the signature is bad.
        """
        await self._refetch(lambda: True)
        if self._fetched_at < self._tried_at:
            raise KeysAway
        return self._counting()

    async def _refetch(self, wanted: Callable[[], bool]) -> None:
        """One fetch, shared by all who wait for it, and not before the floor has passed."""
        async with self._lock:
            floor = FLOOR_SECONDS if self._known else EMPTY_FLOOR_SECONDS
            if not wanted() or self._clock() - self._tried_at < floor:
                return
            try:
                listed = _read(await self._fetch(self._url))
            except KeysAway:
                self._tried_at = self._clock()
                return
            self._tried_at = self._fetched_at = self._clock()
            self._known = {**listed, **self._dropped(listed)}

    def _dropped(self, listed: dict[bytes, _Known]) -> dict[bytes, _Known]:
        """What we knew and the new document does not list, to be kept for another 24 hours."""
        now = self._clock()
        return {
            raw: _Known(key=known.key, until=min(known.until, now + OLD_KEY_SECONDS))
            for raw, known in self._known.items()
            if raw not in listed and known.until > now
        }

    def _is_old(self) -> bool:
        return self._clock() - self._fetched_at >= CACHE_SECONDS

    def _counting(self) -> tuple[VerifyKey, ...]:
        now = self._clock()
        keys = tuple(known.key for known in self._known.values() if known.until > now)
        if not keys:
            raise KeysAway
        return keys


async def verify(keys: Keys, signed: Signed, *, now: float, user_id: str | None) -> Freshness:
    """Checks one signature, on the event loop (some 0.1 ms a key).

    `now` is unix seconds; where `user_id` is set the signature must be for that account.
    Raises CallbackRefused (`signature_invalid`, `user_mismatch`), and KeysAway where it cannot
    be checked. A good signature that is merely old, or early, is STALE.
    """
    if not _fits(await keys.current(), signed) and not _fits(await keys.again(), signed):
        raise CallbackRefused("signature_invalid")
    return _judge(signed, now, user_id)


async def verify_many(
    keys: Keys, batch: Sequence[Signed], *, now: float, user_id: str | None
) -> list[Freshness | CallbackRefused | KeysAway]:
    """Checks `batch` in one call to a worker thread (another where a signature fits none of the
    keys at hand), off the event loop unless it is tiny: one outcome for each, in order.

    What `verify` would raise is returned instead, so that one bad callback hurts no other.
    """
    try:
        good = await _fits_each(await keys.current(), batch)
    except KeysAway:
        return [KeysAway() for _ in batch]
    missing = [place for place, fits in enumerate(good) if not fits]
    away = False
    if missing:
        try:
            newest = await keys.again()
            found = await _fits_each(newest, [batch[place] for place in missing])
            for place, fits in zip(missing, found, strict=True):
                good[place] = fits
        except KeysAway:
            away = True
    return [
        _outcome(signed, fits=fits, away=away, now=now, user_id=user_id)
        for signed, fits in zip(batch, good, strict=True)
    ]


def _outcome(
    signed: Signed, *, fits: bool, away: bool, now: float, user_id: str | None
) -> Freshness | CallbackRefused | KeysAway:
    if not fits:
        return KeysAway() if away else CallbackRefused("signature_invalid")
    try:
        return _judge(signed, now, user_id)
    except CallbackRefused as refusal:
        return refusal


def _judge(signed: Signed, now: float, user_id: str | None) -> Freshness:
    if user_id is not None and signed.user_id != user_id:
        raise CallbackRefused("user_mismatch")
    return Freshness.FRESH if abs(now - signed.at) <= TOLERANCE_SECONDS else Freshness.STALE


async def _fits_each(keys: Sequence[VerifyKey], batch: Sequence[Signed]) -> list[bool]:
    def check() -> list[bool]:
        return [_fits(keys, signed) for signed in batch]

    return check() if len(batch) <= INLINE_ITEMS else await asyncio.to_thread(check)


def _fits(keys: Sequence[VerifyKey], signed: Signed) -> bool:
    return any(_fits_one(key, signed) for key in keys)


def _fits_one(key: VerifyKey, signed: Signed) -> bool:
    try:
        key.verify(signed.message, signed.signature)
    except (BadSignatureError, ValueError):  # ValueError: not 64 bytes
        return False
    return True


def _read(document: bytes) -> dict[bytes, _Known]:
    """The Ed25519 keys of a JWKS (RFC 8037: `x`, base64url; fal pads it, others do not).

    Raises KeysAway where there is not one: whatever answered, it was not the key set.
    """
    try:
        keys = [_raw(entry) for entry in jsontext.loads(document)["keys"]]
    except (ValueError, LookupError, TypeError):
        raise KeysAway from None
    known = {raw: _Known(key=VerifyKey(raw)) for raw in keys if raw is not None}
    if not known:
        raise KeysAway
    return known


def _raw(entry: Any) -> bytes | None:
    """A key's 32 bytes; None where the entry is of another kind."""
    if not isinstance(entry, dict) or entry.get("crv", "Ed25519") != "Ed25519":
        return None
    text = str(entry.get("x"))
    try:
        raw = b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    return raw if len(raw) == 32 else None
