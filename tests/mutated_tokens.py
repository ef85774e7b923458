"""Tokens that are nearly good: every way that somebody without our secrets could try, and a few
that only a fault of ours could make."""

import random
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha1, sha256, sha512
from urllib.parse import quote
from uuid import UUID

from itsdangerous import Signer, TimestampSigner
from itsdangerous.encoding import base64_decode, base64_encode
from scene import SECRETS

from service.tokens import Tokens, derived_key

PROVIDERS = ("fal", "relay")
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
BLANKS = " \t\n\r\x0b\x0c\x00\x1f\x7f\x85\xa0\u200b\u2028\ufeff"
LOOK_ALIKES = {
    "A": "\u0391", "B": "\u0412", "C": "\u0421", "E": "\u0395", "H": "\u041d", "K": "\u212a",
    "M": "\u041c", "O": "\u039e", "P": "\u0420", "T": "\u0422", "X": "\u0425", "a": "\u0430",
    "c": "\u0441", "e": "\u0435", "i": "\u0456", "o": "\u043e", "p": "\u0440", "x": "\u0445",
    "-": "\u2010", "_": "\uff3f", ".": "\u3002", "0": "\u0660", "1": "\u0661",
}  # fmt: skip
# What else our secrets are used for. Not `callboard-probe`: the door answers its own probes.
PURPOSES = (b"callboard-name", b"callboard-rest", b"callboard-echo", b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A token, the door that it is brought to, and how it was made."""

    token: str
    provider: str
    kind: str


class Forger:
    """Makes mutants of the tokens of `jobs`, as `draws` say."""

    def __init__(self, draws: random.Random, jobs: list[UUID]) -> None:
        self._draws = draws
        self._jobs = jobs
        self._until = time.time() + 86400
        both = [Tokens(SECRETS), Tokens(SECRETS[1:])]
        self._good = [
            signer.make(
                provider=provider,
                job_id=job,
                attempt=attempt,
                expires_at=self._until + attempt,
                sealed=attempt == 2,
            )
            for signer in both
            for job in jobs
            for provider in PROVIDERS
            for attempt in (1, 2)
        ]
        self._known = frozenset(self._good)

    def mutant(self) -> Mutant:
        """One that is not good at its door."""
        while True:
            make = self._draws.choice(KINDS)
            good = self._draws.choice(self._good)
            token, provider = make(self, good), good.partition(".")[0]
            if make is Forger.of_another_door:
                provider = next(one for one in PROVIDERS if one != provider)
            if token not in self._known or not token.startswith(f"{provider}."):
                return Mutant(token=token, provider=provider, kind=make.__name__)

    def bit_of_its_text(self, good: str) -> str:
        place, bit = self._draws.randrange(len(good)), 1 << self._draws.randrange(8)
        return good[:place] + chr(ord(good[place]) ^ bit) + good[place + 1 :]

    def bit_of_its_bytes(self, good: str) -> str:
        parts = good.split(".")
        which = self._draws.choice((1, 2))
        raw = bytearray(base64_decode(parts[which]))
        raw[self._draws.randrange(len(raw))] ^= 1 << self._draws.randrange(8)
        parts[which] = base64_encode(bytes(raw)).decode()
        return ".".join(parts)

    def cut(self, good: str) -> str:
        place = self._draws.randrange(1, len(good))
        return self._draws.choice((good[:place], good[place:], good[:place] + good[place + 1 :]))

    def lengthened(self, good: str) -> str:
        parts = good.split(".")
        which = self._draws.randrange(len(parts))
        more = self._draws.choice((*ALPHABET, "=", "==", "===", "A" * 999, ".", "..", ".A"))
        parts[which] = self._draws.choice((parts[which] + more, more + parts[which]))
        return ".".join(parts)

    def in_standard_base64(self, good: str) -> str:
        return good.replace("-", "+").replace("_", "/")

    def with_spare_bits(self, good: str) -> str:
        parts = good.split(".")
        which = self._draws.choice((1, 2))
        spare = {2: 15, 3: 3}[len(parts[which]) % 4]
        last = ALPHABET.index(parts[which][-1]) ^ self._draws.randint(1, spare)
        parts[which] = parts[which][:-1] + ALPHABET[last]
        return ".".join(parts)

    def with_blanks(self, good: str) -> str:
        place = self._draws.choice((0, len(good), self._draws.randrange(len(good))))
        return good[:place] + self._draws.choice(BLANKS) + good[place:]

    def percent_encoded(self, good: str) -> str:
        share = self._draws.choice((0.02, 0.5, 1.0))
        once = "".join(
            f"%{ord(one):02{self._draws.choice('xX')}}" if self._draws.random() < share else one
            for one in good
        )
        return quote(once, safe="") if self._draws.random() < 0.3 else once

    def of_look_alikes(self, good: str) -> str:
        places = [place for place, one in enumerate(good) if one in LOOK_ALIKES]
        place = self._draws.choice(places)
        wide = chr(ord(good[place]) + 0xFEE0)
        other = self._draws.choice((LOOK_ALIKES[good[place]], wide))
        return good[:place] + other + good[place + 1 :]

    def in_another_case(self, good: str) -> str:
        return self._draws.choice((good.swapcase(), good.upper(), good.lower(), good.title()))

    def of_another_secret(self, good: str) -> str:
        secret = self._draws.choice((SECRETS[0] + " ", SECRETS[1].upper(), str(self._draws)))
        return self._made(Tokens([secret]), self._until)

    def of_another_derivation(self, good: str) -> str:
        """Signed with a key that is one of ours, or comes from one, for another purpose."""
        body = good.rpartition(".")[0]
        secret, purpose = self._draws.choice(SECRETS), self._draws.choice(PURPOSES)
        key = self._draws.choice((secret.encode(), derived_key(secret, purpose)))
        kind = self._draws.choice((Signer, TimestampSigner))
        signer = kind(
            key,
            salt=self._draws.choice((b"", b"itsdangerous.Signer", b"callboard-token")),
            sep=".",
            key_derivation=self._draws.choice(("concat", "django-concat", "hmac", "none")),
            digest_method=self._draws.choice((sha1, sha256, sha512)),
        )
        return str(signer.sign(body).decode())

    def expired(self, good: str) -> str:
        before = self._draws.choice((1.0, 60.0, 1e6, time.time() - 1))
        return self._made(Tokens(SECRETS), time.time() - before)

    def of_another_door(self, good: str) -> str:
        return good

    def renamed(self, good: str) -> str:
        named, _, rest = good.partition(".")
        return f"{self._draws.choice((*PROVIDERS, '', named.upper(), named + '/', 'prism'))}.{rest}"

    def of_two(self, good: str) -> str:
        pairs = zip(good.split("."), self._draws.choice(self._good).split("."), strict=True)
        return ".".join(self._draws.choice(pair) for pair in pairs)

    def retold(self, good: str) -> str:
        """What the payload says is changed, and the signature stays."""
        named, payload, signature = good.split(".")
        job, attempt, until, kind = struct.unpack(">16sIIB", base64_decode(payload))
        told = self._draws.choice(
            (
                (self._draws.choice(self._jobs).bytes, attempt, until, kind),
                (job, attempt + self._draws.choice((1, 2, 77)), until, kind),
                (job, attempt, until + self._draws.choice((1, 86400, 10**8)), kind),
                (job, attempt, until, self._draws.randrange(256)),
            )
        )
        return f"{named}.{base64_encode(struct.pack('>16sIIB', *told)).decode()}.{signature}"

    def of_ours_for_something_else(self, good: str) -> str:
        """Under a good signature something that never was a token."""
        named, payload, _ = good.split(".")
        raw = base64_decode(payload)
        said = self._draws.choice(
            (
                raw[:-1] + bytes([self._draws.randrange(3, 256)]),
                raw[:-1] + b"\0",
                raw[: self._draws.randrange(len(raw))],
                raw + self._draws.randbytes(self._draws.randrange(1, 9)),
            )
        )
        texts = (payload + "A", payload[:-1] + "=", "A", "=", "!", "é", "", payload + ".A")
        text = self._draws.choice((base64_encode(said).decode(), *texts))
        key = derived_key(self._draws.choice(SECRETS), b"callboard-token")
        signer = Signer(key, sep=".", key_derivation="none", digest_method=sha256)
        return str(signer.sign(f"{named}.{text}").decode())

    def _made(self, tokens: Tokens, until: float) -> str:
        return tokens.make(
            provider=self._draws.choice(PROVIDERS),
            job_id=self._draws.choice(self._jobs),
            attempt=1,
            expires_at=until,
        )


KINDS: tuple[Callable[[Forger, str], str], ...] = (
    Forger.bit_of_its_text,
    Forger.bit_of_its_bytes,
    Forger.cut,
    Forger.lengthened,
    Forger.in_standard_base64,
    Forger.with_spare_bits,
    Forger.with_blanks,
    Forger.percent_encoded,
    Forger.of_look_alikes,
    Forger.in_another_case,
    Forger.of_another_secret,
    Forger.of_another_derivation,
    Forger.expired,
    Forger.of_another_door,
    Forger.renamed,
    Forger.of_two,
    Forger.retold,
    Forger.of_ours_for_something_else,
)
