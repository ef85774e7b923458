"""Ed25519 callbacks: the published test vector's shape, and keys that rotate, lag and go away."""

import asyncio
import json
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

import pytest
from nacl.signing import SigningKey

from service.errors import CallbackRefused, KeysAway
from service.providers import Signed
from service.signature import Freshness, Keys, verify, verify_many

URL = "https://rest.fal.example/.well-known/jwks.json"
AT = 1790000000
BODY = (
    b'{"request_id":"req-0001","gateway_request_id":"req-0001","status":"OK",'
    b'"payload":{"video":{"url":"https://v3.example/a.mp4"}}}'
)
VECTOR_X = "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
VECTOR_SIGNATURE = (
    "222474867d5f49c7e0c116d61b2668a19b779c83d590b52b8393c992b58858e1"
    "bcb0e4aabdc7629c3d9e1db515c8a27dc012f2432739d9fafc7c76effc6bfb0b"
)
OLD, NEW, OTHER = (SigningKey(bytes([number] * 32)) for number in (1, 2, 3))


def sign(key: SigningKey, *, user_id: str = "user-42", at: int = AT) -> Signed:
    digest = sha256(BODY).hexdigest()
    message = f"req-0001\n{user_id}\n{at}\n{digest}".encode()
    return Signed(
        message=message,
        signature=key.sign(message).signature,
        at=at,
        user_id=user_id,
        request_id="req-0001",
    )


def document(*keys: SigningKey) -> bytes:
    entries = [{"kty": "OKP", "crv": "Ed25519", "x": x_of(key)} for key in keys]
    return json.dumps({"keys": entries}).encode()


def x_of(key: SigningKey) -> str:
    return urlsafe_b64encode(bytes(key.verify_key)).decode()


class Source:
    """A JWKS that can change and go away, and the clock it is cached by."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.now = 1000.0
        self.fetches = 0
        self.keys = Keys(URL, self.fetch, clock=lambda: self.now)

    async def fetch(self, url: str) -> bytes:
        assert url == URL
        self.fetches += 1
        await asyncio.sleep(0)
        if self.answer is None:
            raise KeysAway
        return self.answer

    async def judge(self, signed: Signed, *, user_id: str | None = None) -> Freshness:
        """One verdict, the same from both ways of asking."""
        fetches = self.fetches
        alone: Freshness | str
        try:
            alone = await verify(self.keys, signed, now=AT, user_id=user_id)
        except (CallbackRefused, KeysAway) as fault:
            alone = str(fault)
        [together] = await verify_many(self.keys, [signed], now=AT, user_id=user_id)
        assert str(together) == alone
        assert self.fetches - fetches <= 1
        if not isinstance(together, Freshness):
            raise together
        return together


@pytest.mark.parametrize("x", [VECTOR_X, VECTOR_X.rstrip("=")])
async def test_the_vector_holds_with_its_key_padded_or_not(x: str) -> None:
    assert (len(BODY), sha256(BODY).hexdigest()[:8]) == (126, "188300e9")
    signed = replace(sign(SigningKey(bytes(range(32)))), signature=bytes.fromhex(VECTOR_SIGNATURE))
    source = Source(json.dumps({"keys": [{"x": x}]}).encode())
    assert await source.judge(signed, user_id="user-42") is Freshness.FRESH


async def test_every_key_is_tried() -> None:
    source = Source(document(OTHER, OLD, NEW))
    assert await source.judge(sign(NEW)) is Freshness.FRESH


@pytest.mark.parametrize(
    "forged",
    [
        sign(OTHER),
        replace(sign(OLD), message=sign(OLD).message + b"\n"),
        replace(sign(OLD), signature=bytes(64)),
        replace(sign(OLD), signature=sign(OLD).signature[:-1]),
        replace(sign(OLD), signature=b""),
        replace(sign(OTHER), at=0),
    ],
)
async def test_a_forged_signature_is_invalid_whatever_its_age(forged: Signed) -> None:
    with pytest.raises(CallbackRefused, match=r"^signature_invalid$"):
        await Source(document(OLD)).judge(forged)


@pytest.mark.parametrize(
    ("age", "freshness"),
    [
        (0, Freshness.FRESH),
        (300, Freshness.FRESH),
        (-300, Freshness.FRESH),
        (301, Freshness.STALE),
        (-301, Freshness.STALE),
    ],
)
async def test_a_good_signature_may_be_stale(age: int, freshness: Freshness) -> None:
    assert await Source(document(OLD)).judge(sign(OLD, at=AT - age)) is freshness


async def test_a_signature_for_another_account_is_a_mismatch_stale_or_not() -> None:
    source = Source(document(OLD))
    for at in (AT, AT - 3600):
        with pytest.raises(CallbackRefused, match=r"^user_mismatch$"):
            await source.judge(sign(OLD, at=at), user_id="user-43")
    assert await source.judge(sign(OLD), user_id=None) is Freshness.FRESH


async def test_a_batch_has_one_verdict_each_in_order() -> None:
    source = Source(document(OLD))
    batch = [sign(OLD), sign(OTHER), sign(OLD, at=0), sign(OLD, user_id="x"), sign(OLD)]
    verdicts = await verify_many(source.keys, batch, now=AT, user_id="user-42")
    assert [str(verdict) for verdict in verdicts] == [
        "fresh", "signature_invalid", "stale", "user_mismatch", "fresh",
    ]  # fmt: skip
    assert await verify_many(source.keys, [], now=AT, user_id=None) == []


async def test_keys_are_fetched_once_a_day() -> None:
    source = Source(document(OLD))
    await source.keys.current()
    source.now += 24 * 3600 - 1
    await source.keys.current()
    assert source.fetches == 1
    source.now += 1
    await source.keys.current()
    assert source.fetches == 2


async def test_concurrent_callers_share_a_fetch() -> None:
    source = Source(document(OLD))
    await asyncio.gather(*(source.keys.current() for _ in range(20)))
    assert source.fetches == 1
    source.now += 60
    await asyncio.gather(*(source.keys.again() for _ in range(20)))
    assert source.fetches == 2


async def test_a_signature_of_a_new_key_fetches_again_but_not_within_a_minute() -> None:
    source = Source(document(OLD))
    await source.keys.current()
    source.answer = document(NEW)
    source.now += 59
    with pytest.raises(CallbackRefused):
        await source.judge(sign(NEW))
    assert source.fetches == 1
    source.now += 1
    assert await source.judge(sign(NEW)) is Freshness.FRESH
    assert source.fetches == 2


async def test_an_old_key_counts_for_a_day_after_it_was_dropped() -> None:
    source = Source(document(OLD))
    await source.keys.current()
    source.answer = document(NEW)
    source.now += 60
    await source.judge(sign(NEW))
    source.now += 24 * 3600 - 1
    assert await source.judge(sign(OLD)) is Freshness.FRESH
    source.now += 1
    with pytest.raises(CallbackRefused):
        await source.judge(sign(OLD))
    assert await source.judge(sign(NEW)) is Freshness.FRESH


async def test_known_keys_outlive_an_outage_and_are_asked_for_once_a_minute() -> None:
    source = Source(document(OLD))
    await source.keys.current()
    source.answer = None
    source.now += 3 * 24 * 3600
    for _ in range(3):
        assert await source.judge(sign(OLD)) is Freshness.FRESH
    assert source.fetches == 2
    source.now += 60
    await source.judge(sign(OLD))
    assert source.fetches == 3


async def test_while_old_keys_are_being_fetched_again_others_do_not_wait() -> None:
    source, asked, go = Source(document(OLD)), asyncio.Event(), asyncio.Event()

    async def slow(_: str) -> bytes:
        asked.set()
        await go.wait()
        return document(OLD)

    keys = Keys(
        URL,
        lambda url: source.fetch(url) if not source.fetches else slow(url),
        clock=lambda: source.now,
    )
    await keys.current()
    source.now += 24 * 3600
    first = asyncio.create_task(keys.current())
    await asked.wait()
    async with asyncio.timeout(5):
        assert len(await keys.current()) == 1
    assert not first.done()
    go.set()
    await first


async def test_a_signature_that_cannot_be_checked_is_neither_good_nor_bad() -> None:
    source = Source(document(OLD))
    await source.keys.current()
    source.answer = None
    source.now += 60
    with pytest.raises(KeysAway):
        await source.judge(sign(NEW))
    outcomes = await verify_many(source.keys, [sign(OLD), sign(NEW)], now=AT, user_id=None)
    assert outcomes[0] is Freshness.FRESH
    assert isinstance(outcomes[1], KeysAway)


BAD_DOCUMENTS: Sequence[bytes | None] = (
    None, b"", b"<html>", b"[]", b"{}", b'{"keys": []}', b'{"keys": 1}', b'{"keys": [1, null]}',
    b'{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}, {"x": 5}, {"x": "!"}, {"x": "AAAA"}]}',
    document(OLD).replace(b"Ed25519", b"X25519"),
)  # fmt: skip


@pytest.mark.parametrize("answer", BAD_DOCUMENTS)
async def test_without_any_key_the_keys_are_away_until_there_is_one(answer: bytes | None) -> None:
    source = Source(answer)
    for _ in range(3):
        with pytest.raises(KeysAway):
            await source.judge(sign(OLD))
    assert source.fetches == 1
    source.answer = document(OLD)
    source.now += 5
    assert await source.judge(sign(OLD)) is Freshness.FRESH


async def test_a_document_of_no_use_does_not_drop_the_keys_at_hand() -> None:
    source = Source(document(OLD))
    await source.keys.current()
    source.answer = b'{"keys": []}'
    source.now += 24 * 3600
    assert await source.judge(sign(OLD)) is Freshness.FRESH


async def test_a_caller_who_gives_up_leaves_the_fetch_to_the_next() -> None:
    source = Source(document(OLD))
    impatient = asyncio.create_task(source.keys.current())
    await asyncio.sleep(0)  # it has begun, and the fetch waits one turn
    patient = asyncio.create_task(source.keys.current())
    impatient.cancel()
    assert len(await patient) == 1
    assert source.fetches == 2
    assert impatient.cancelled()
