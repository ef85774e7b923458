"""service/vault.py: secrets taken out of inputs, put back, and cleared from what providers say."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.encryption import AtRest
from service.errors import SettingInvalid
from service.vault import NO_SECRETS, Vault

SECRET = "sk-proj-h/u.s-h_0123456789"
AT_REST = AtRest(["a secret of the tests, long enough"])
VAULT = Vault(AT_REST, {"fal": frozenset({"api_key"}), "prism": frozenset()})
GIVEN = {"prompt": "a boat", "api_key": SECRET, "duration": 4}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def sealed(secret: Any = SECRET) -> bytes:
    _, stored = VAULT.sealed("fal", GIVEN | {"api_key": secret})
    assert stored is not None
    return stored


def cleared(said: Any, *, secret: Any = SECRET) -> Any:
    content = said if isinstance(said, bytes) else json.dumps(said).encode()
    return VAULT.cleared("fal", content, sealed(secret))


def test_what_is_secret_is_masked_in_its_place_and_comes_back_as_it_was() -> None:
    shown, stored = VAULT.sealed("fal", GIVEN)
    assert shown == {"prompt": "a boat", "api_key": "***", "duration": 4}
    assert list(shown) == list(GIVEN)
    assert stored is not None
    assert SECRET.encode() not in stored
    whole = VAULT.restored(shown, stored)
    assert whole == GIVEN
    assert list(whole) == list(GIVEN)


@settings(max_examples=60, deadline=None)
@given(secret=JSON)
def test_any_value_of_a_secret_field_comes_back(secret: Any) -> None:
    shown, stored = VAULT.sealed("fal", {"api_key": secret})
    assert shown == {"api_key": "***"}
    assert VAULT.restored(shown, stored) == {"api_key": secret}


def test_where_nothing_is_secret_nothing_is_stored() -> None:
    for provider, given_there in (("fal", {"prompt": "***"}), ("prism", GIVEN), ("who", GIVEN)):
        assert VAULT.sealed(provider, given_there) == (given_there, None)
        assert VAULT.restored(given_there, None) == given_there


@pytest.mark.parametrize(
    "said",
    [
        {"detail": [{"loc": ["body", "api_key"], "msg": "no", "type": "x", "input": SECRET}]},
        {"detail": [{"loc": ["body"], "msg": "no", "input": {"api_key": SECRET, "prompt": "p"}}]},
        {"detail": f"Incorrect API key provided: {SECRET}."},
        {"payload": {"echo": [[{"deep": f"a {SECRET} b {SECRET}"}]]}},
        {"error": json.dumps({"nested": json.dumps({"key": SECRET})})},
        f'{{"detail": "{SECRET}"}}'.replace("/", "\\/").encode(),
        f"<html>{SECRET}</html>".encode(),
        b'"' + SECRET.encode() + b'"',
        f'{{"detail": "{SECRET}'.encode(),
    ],
)
def test_a_secret_that_is_repeated_is_cleared(said: Any) -> None:
    told = cleared(said)
    for spelled in (SECRET, SECRET.replace("/", "\\/")):
        assert spelled.encode() not in told
    assert b"***" in told


@pytest.mark.parametrize(
    "said",
    [
        {"request_id": "r", "status": "OK", "payload": {"video": {"url": "https://a/b.mp4"}}},
        {"detail": [{"loc": ["body", "api_key"], "msg": "is missing", "type": "missing"}]},
        {"detail": [{"loc": ["body", "prompt"], "input": "a boat"}], "api_key": "***"},
        b'{ "spaced" :  1.0, "api_key": null}',
        b"not json, api_key",
    ],
)
def test_what_repeats_no_secret_stays_byte_for_byte(said: Any) -> None:
    content = said if isinstance(said, bytes) else json.dumps(said).encode()
    assert cleared(content) is content


def test_by_name_it_is_cleared_though_nobody_knows_the_value() -> None:
    said = json.dumps(
        {"detail": [{"loc": ["body", "api_key"], "input": SECRET}], "input": {"api_key": SECRET}}
    ).encode()
    for vault, stored in ((VAULT, None), (VAULT, b"not ours to open")):
        assert SECRET.encode() not in vault.cleared("fal", said, stored)
    assert VAULT.cleared("prism", said, None) is said


def test_a_secret_too_short_to_be_told_from_words_is_cleared_by_name_only() -> None:
    said = {"status": "OK", "input": {"api_key": "OK"}}
    assert json.loads(cleared(said, secret="OK")) == {"status": "OK", "input": {"api_key": "***"}}


def test_however_deep_a_secret_lies_it_is_found() -> None:
    deep = b'{"a":' * 400 + b'"' + SECRET.encode() + b'"' + b"}" * 400
    assert SECRET.encode() not in cleared(deep)


def test_what_no_secret_of_ours_opens_is_said_with_the_settings_name() -> None:
    other = Vault(AtRest(["another secret, long enough too"]), {})
    for vault in (other, NO_SECRETS):
        with pytest.raises(SettingInvalid, match="CALLBOARD_SECRETS"):
            vault.restored({"api_key": "***"}, sealed())
