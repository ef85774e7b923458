"""What is alike on every provider's wire, where no provider's own tests reach it."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import jsontext
from service.errors import CallbackUnreadable
from service.wire import amount_in, call_in, id_in, media, object_in, retry_after


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        (0, "0"),
        (-0.0, "0"),
        (12, "12"),
        (0.1, "0.1"),
        ("0.10", "0.10"),
        (1e-7, "0.0000001"),
        ("1e3", None),
        ("-1", None),
        (" 1", None),
        (10**12, None),
        ("9" * 13, None),
        (float("inf"), None),
        (float("nan"), None),
        (False, None),
        (None, None),
        ([1], None),
    ],
)
def test_a_charge_is_exact_or_none(value: Any, amount: str | None) -> None:
    found = amount_in(value)
    assert found == (None if amount is None else Decimal(amount))
    assert found is None or not found.is_signed()


@given(st.floats(0, 1e9))
def test_a_charge_is_the_number_that_was_written(value: float) -> None:
    assert str(float(amount_in(value) or 0)) == str(value + 0.0)


@pytest.mark.parametrize("value", ["", " ", "a b", "a\x00", "é", "../x", "x" * 201, 7, None, ["x"]])
def test_what_cannot_be_an_id_is_none(value: Any) -> None:
    assert id_in(value) is None


@pytest.mark.parametrize("url", [None, 7, "", "ftp://x/v.mp4", "//x/v.mp4", "javascript:0", ["u"]])
def test_what_is_no_web_address_is_no_media(url: Any) -> None:
    assert media(url) == []


@given(st.text(), st.sampled_from(("s3.example", "[s3.example", "")))
def test_any_query_of_a_media_address_is_survived(query: str, host: str) -> None:
    (one,) = media(f"https://{host}/v.mp4?X-Amz-Date={query}&X-Amz-Expires={query}", query)
    assert one["expires_at"] is None
    assert one["content_type"] == query


def unread(body: bytes) -> str | None:
    """Why a callback's body is no object; None where it is one."""
    try:
        call_in(body)
    except CallbackUnreadable as fault:
        return fault.reason
    return None


@given(st.binary())
def test_any_bytes_are_an_object_or_named(body: bytes) -> None:
    reason = unread(body)
    assert reason in (None, "truncated", "not_json", "double_encoded", "malformed")
    assert reason is None or object_in(body) == {}


@given(st.dictionaries(st.text(), st.text() | st.lists(st.text()), min_size=1), st.data())
def test_an_object_cut_anywhere_is_called_truncated(value: dict[str, Any], data: Any) -> None:
    whole = jsontext.dumps(value).encode()
    end = data.draw(st.integers(1, len(whole) - 1))
    assert unread(whole[:end]) == "truncated"


@given(st.text(), st.text())
def test_any_wait_is_seconds_within_a_day_or_none(value: str, date: str) -> None:
    wait = retry_after({"retry-after": value, "date": date})
    assert wait is None or 0 <= wait <= 86400
