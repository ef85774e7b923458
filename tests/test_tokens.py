"""service/tokens.py: what a callback token says, and every way in which one is not good."""

import string

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from itsdangerous.encoding import base64_encode

from service import ids
from service.errors import TokenRefused
from service.tokens import CallbackToken, Tokens, derived_key, key_name

OLD, NEW = "the older of the two secrets", "the newer of the two secrets"
NOW = 1_800_000_000.0
JOB = ids.new_id()
TOKENS = Tokens([NEW, OLD])
GOOD = TOKENS.make(provider="fal", job_id=JOB, attempt=1, expires_at=NOW + 60)
ALPHABET = string.ascii_letters + string.digits + "-_"
several = settings(max_examples=200, deadline=None)


def reason(token: str, tokens: Tokens = TOKENS, *, provider: str = "fal", now: float = NOW) -> str:
    with pytest.raises(TokenRefused) as refused:
        tokens.read(token, provider=provider, now=now)
    return refused.value.reason


@several
@given(
    provider=st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True),
    job_id=st.uuids(),
    attempt=st.integers(1, 2**32 - 1),
    lasts=st.floats(1, 10**8),
)
def test_a_token_says_what_it_was_made_of(
    provider: str, job_id: object, attempt: int, lasts: float
) -> None:
    token = TOKENS.make(provider=provider, job_id=job_id, attempt=attempt, expires_at=NOW + lasts)
    assert TOKENS.read(token, provider=provider, now=NOW) == CallbackToken(
        provider=provider, job_id=job_id, attempt=attempt, expires_at=int(NOW + lasts)
    )
    assert set(token) <= set(ALPHABET + ".")  # nothing that a URL would have to escape


def test_the_newest_secret_signs_and_every_secret_counts() -> None:
    old, new = Tokens([OLD]), Tokens([NEW])
    of_old = old.make(provider="fal", job_id=JOB, attempt=2, expires_at=NOW + 60)
    assert TOKENS.read(of_old, provider="fal", now=NOW).attempt == 2
    assert new.read(GOOD, provider="fal", now=NOW).job_id == JOB
    assert reason(GOOD, old) == "unknown_secret"
    assert reason(of_old, new) == "unknown_secret"
    assert TOKENS.key_name == new.key_name == key_name(NEW) != key_name(OLD)


def test_keys_for_two_purposes_have_nothing_in_common() -> None:
    keys = {derived_key(secret, use) for secret in (OLD, NEW) for use in (b"a", b"b")}
    assert len(keys) == 4
    assert {len(key) for key in keys} == {32}


def test_a_token_is_good_to_the_second_it_expires() -> None:
    assert TOKENS.read(GOOD, provider="fal", now=NOW + 60).expires_at == NOW + 60
    assert reason(GOOD, now=NOW + 60.01) == "expired"


def test_a_lifetime_past_what_fits_is_cut_and_not_refused() -> None:
    token = TOKENS.make(provider="fal", job_id=JOB, attempt=1, expires_at=1e30)
    assert TOKENS.read(token, provider="fal", now=NOW).expires_at == 2**32 - 1


def test_another_providers_token_is_refused() -> None:
    assert reason(GOOD, provider="relay") == "other_provider"
    assert reason("relay" + GOOD.removeprefix("fal")) == "unknown_secret"


def test_a_token_cut_short_anywhere_is_refused() -> None:
    for length in range(len(GOOD)):
        assert reason(GOOD[:length]) in ("no_token", "malformed", "truncated"), length
    assert reason(GOOD[:-1]) == "truncated"


def test_every_changed_character_is_refused() -> None:
    for place in range(len(GOOD)):
        for character in ALPHABET + ".=%+/ \n\x00é":
            if character != GOOD[place]:
                assert reason(GOOD[:place] + character + GOOD[place + 1 :])


def test_every_inserted_character_is_refused() -> None:
    for place in range(len(GOOD) + 1):
        for character in "A_.=%! \n\x00é":
            assert reason(GOOD[:place] + character + GOOD[place:])


def test_the_spare_bits_of_base64_make_no_second_spelling() -> None:
    head, payload, signature = GOOD.split(".")
    for spelled in (payload, signature):
        last = ALPHABET_IN_ORDER.index(spelled[-1])
        others = [
            spelled[:-1] + ALPHABET_IN_ORDER[(last & ~spare_mask(spelled)) | spare]
            for spare in range(1, spare_mask(spelled) + 1)
        ]
        assert others
        for other in others:
            token = ".".join([head, *(other if s is spelled else s for s in (payload, signature))])
            assert reason(token) in ("malformed", "unknown_secret")
    for padded in (GOOD + "=", f"{head}.{payload}==.{signature}", GOOD + "\n", " " + GOOD):
        assert reason(padded)


ALPHABET_IN_ORDER = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"


def spare_mask(spelled: str) -> int:
    """The bits of the last character that no byte needs."""
    return {2: 0b1111, 3: 0b11}[len(spelled) % 4]


@pytest.mark.parametrize(
    ("token", "why"),
    [
        ("", "no_token"),
        ("fal", "malformed"),
        (".", "malformed"),
        ("..", "truncated"),
        ("a.b.c.d", "malformed"),
        (GOOD.replace(".", "%2E"), "double_encoded"),
        (GOOD.replace(".", "%252E"), "double_encoded"),
        (GOOD + "%20", "double_encoded"),
        (GOOD + "\xe9", "malformed"),
        ("f\xe4l" + GOOD[3:], "malformed"),
        (GOOD + "AAAA", "malformed"),
    ],
)
def test_the_operator_is_told_what_is_wrong(token: str, why: str) -> None:
    assert reason(token) == why


def test_another_version_of_the_payload_is_malformed() -> None:
    encoded = [base64_encode(payload) for payload in (b"", bytes(24), bytes(25), bytes(26))]
    for said in (*encoded, b"A", b"!"):
        assert reason(TOKENS._signer.sign(b"fal." + said).decode()) == "malformed"


@several
@given(token=st.text(max_size=120) | st.text(ALPHABET + ".%=", max_size=120))
def test_anything_else_is_refused_without_a_crash(token: str) -> None:
    assume(token != GOOD)
    assert reason(token)
