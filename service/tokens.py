"""Callback tokens: which provider, job and attempt a callback is about, signed and expiring.

`provider.payload.signature`: the payload is the job's id, the attempt's number and the expiry in
unix seconds, 25 bytes as URL-safe base64. Short, because every callback carries one. Its last byte
says whether the job's input holds a secret, so that for all others nobody needs to look.
"""

import hmac
import math
import re
import struct
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from urllib.parse import unquote
from uuid import UUID

from itsdangerous import Signer
from itsdangerous.encoding import base64_encode
from itsdangerous.signer import SigningAlgorithm

from service.errors import TokenRefused
from service.ids import of_bytes

DAY_SECONDS = 86400.0
MONTH_SECONDS = 30 * DAY_SECONDS
_PAYLOAD = struct.Struct(">16sIIB")
_PLAIN, _SEALED = 1, 2  # the last byte
_LATEST = 2**32 - 1
_SIGNATURE_CHARACTERS = 43  # 32 bytes as base64
_DOT = -_SIGNATURE_CHARACTERS - 1  # before it
# As we spell it and no other way: base64 has bits to spare, and a token must not be good in a
# second spelling. The payload's spare bits are themselves under the signature.
_SPELLING = re.compile(r"([a-z][a-z0-9_]*)\.([\w-]{34})\.[\w-]{42}[AEIMQUYcgkosw048]", re.ASCII)


@dataclass(slots=True, kw_only=True)
class CallbackToken:
    """What a good token says. `sealed`: the job's input holds a secret."""

    provider: str
    job_id: UUID
    attempt: int
    expires_at: int
    sealed: bool = False


def derived_key(secret: str, purpose: bytes) -> bytes:
    """32 bytes for one purpose (at most 16 bytes long) from one of CALLBOARD_SECRETS."""
    return blake2b(secret.encode(), digest_size=32, person=purpose).digest()


def key_name(secret: str) -> str:
    """A name for a secret, 8 hex digits, that says nothing of it: kept with what it signed."""
    return derived_key(secret, b"callboard-name")[:4].hex()


def sent_by(made_at: float, *, now: float) -> float:
    """A moment by which a job made at `made_at` has been sent, if it is sent `now`; unix seconds.
    As far as can be the same at every try, so that an attempt has one token however often it is
    tried: only a job that waits for a month gets another, once a day."""
    return max(made_at + MONTH_SECONDS, math.ceil(now / DAY_SECONDS) * DAY_SECONDS)


class _HmacSha256(SigningAlgorithm):
    """HMAC-SHA256 whose keys are set up once: a third of the library's time, at each callback."""

    def __init__(self) -> None:
        self._begun: dict[bytes, hmac.HMAC] = {}

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        begun = self._begun.get(key)
        if begun is None:
            begun = self._begun[key] = hmac.new(key, digestmod="sha256")
        mac = begun.copy()
        mac.update(value)
        return mac.digest()


class Tokens:
    """Makes and reads callback tokens under `secrets`, newest first: the first signs, all count.
    Those of another `purpose` (at most 16 bytes long) are strangers to these."""

    def __init__(self, secrets: Sequence[str], purpose: bytes = b"callboard-token") -> None:
        self._keys = [derived_key(secret, purpose) for secret in secrets]
        self._algorithm = _HmacSha256()
        # The keys are derived already; deriving again at each call would double its cost.
        self._signer = Signer(
            self._keys[0], sep=".", key_derivation="none", algorithm=self._algorithm
        )
        self.key_name = key_name(secrets[0])

    def make(
        self,
        *,
        provider: str,
        job_id: UUID,
        attempt: int,
        expires_at: float,
        sealed: bool = False,
    ) -> str:
        """A token for one attempt; `expires_at` in unix seconds, 2106 at the latest."""
        until, kind = min(int(expires_at), _LATEST), _SEALED if sealed else _PLAIN
        payload = _PAYLOAD.pack(job_id.bytes, attempt, until, kind)
        return self._signer.sign(f"{provider}.{base64_encode(payload).decode()}").decode()

    def read(self, token: str, *, provider: str, now: float) -> CallbackToken:
        """What `token` says. Raises TokenRefused with the operator's reason (contract §5)."""
        spelled = _SPELLING.fullmatch(token)
        if spelled is None:
            raise TokenRefused(_why_misspelled(token))
        named, encoded = spelled.groups()
        raw = token.encode()
        if not self._is_ours(raw[:_DOT], raw[_DOT + 1 :]):
            raise TokenRefused("unknown_secret")
        job, attempt, expires_at, kind = _PAYLOAD.unpack(urlsafe_b64decode(f"{encoded}=="))
        if kind not in (_PLAIN, _SEALED):
            raise TokenRefused("malformed")
        if named != provider:
            raise TokenRefused("other_provider")
        if expires_at < now:
            raise TokenRefused("expired")
        return CallbackToken(
            provider=named,
            job_id=of_bytes(job),
            attempt=attempt,
            expires_at=expires_at,
            sealed=kind == _SEALED,
        )

    def _is_ours(self, said: bytes, signature: bytes) -> bool:
        """Compared as it is spelled, which saves decoding it: there is one spelling (_SPELLING).
        The algorithm is asked by itself: a twentieth of our own time at each callback."""
        for key in self._keys:
            made = base64_encode(self._algorithm.get_signature(key, said))
            if hmac.compare_digest(made, signature):
                return True
        return False


def _why_misspelled(token: str) -> str:
    """Why a token is not spelled as ours are: the operator's first hint."""
    if not token:
        return "no_token"
    if "%" in token:
        return "double_encoded"
    signature = token.rpartition(".")[2]
    if token.count(".") == 2 and token.isascii() and len(signature) < _SIGNATURE_CHARACTERS:
        return "truncated"
    return "malformed"


def claimed(token: str) -> tuple[UUID, int] | None:
    """The job and attempt that a token names, be it signed or not: for the operator's eyes, and
    nothing may be done on it. None where it names none."""
    parts = unquote(unquote(token)).split(".")  # escaped once and again, it may still be read
    if len(parts) != 3:
        return None
    try:
        job, attempt, _, _ = _PAYLOAD.unpack(urlsafe_b64decode(f"{parts[1]}=="))
    except (struct.error, ValueError):
        return None
    return (UUID(bytes=job), attempt) if 1 <= attempt < 2**31 else None
