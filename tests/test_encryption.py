"""service/encryption.py: secrets at rest, under the newest of several secrets."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.encryption import AtRest
from service.errors import SettingInvalid

OLD, NEW = "the older of the two secrets", "the newer of the two secrets"
several = settings(max_examples=100, deadline=None)


@several
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_encrypted_comes_back_and_is_nowhere_in_the_bytes(text: str) -> None:
    at_rest = AtRest([NEW])
    stored = at_rest.encrypt(text)
    assert at_rest.decrypt(stored) == text
    assert len(text) < 4 or text.encode() not in stored
    assert at_rest.encrypt(text) != stored  # a nonce of its own each time


def test_the_newest_secret_encrypts_and_every_secret_opens() -> None:
    both, old, new = AtRest([NEW, OLD]), AtRest([OLD]), AtRest([NEW])
    assert both.decrypt(old.encrypt("a")) == "a"
    assert new.decrypt(both.encrypt("a")) == "a"
    with pytest.raises(SettingInvalid, match="CALLBOARD_SECRETS") as refused:
        old.decrypt(both.encrypt("hush"))
    assert "hush" not in str(refused.value)


def test_what_lies_under_an_older_secret_is_renewed_once() -> None:
    both = AtRest([NEW, OLD])
    renewed = both.renewed(AtRest([OLD]).encrypt("a"))
    assert renewed is not None
    assert AtRest([NEW]).decrypt(renewed) == "a"
    assert both.renewed(renewed) is None
    with pytest.raises(SettingInvalid, match="CALLBOARD_SECRETS"):
        AtRest([NEW]).renewed(AtRest([OLD]).encrypt("a"))


def test_a_single_changed_bit_or_missing_byte_does_not_open() -> None:
    at_rest = AtRest([NEW])
    stored = at_rest.encrypt("whsec_AAAA")
    for place in range(len(stored)):
        changed = bytearray(stored)
        changed[place] ^= 1
        for broken in (bytes(changed), stored[:place]):
            with pytest.raises(SettingInvalid):
                at_rest.decrypt(broken)
            with pytest.raises(SettingInvalid):
                at_rest.renewed(broken)
