"""fal, beside its cassettes: settings, addresses, waits, cut callbacks and signatures."""

import time
from base64 import urlsafe_b64decode
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fal_conversation import DONE, FAL, HOOK, ID, attempt, called, fal, reply
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from service import jsontext
from service.errors import CallbackRefused, CallbackUnreadable, SettingInvalid
from service.job import State
from service.providers import Accepted, Refused, Trust, Unclear
from service.providers.fal import Settings


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("fal_trust", "none"),
        ("fal_trust", "blindly"),
        ("fal_key", "a-secret\nx-evil: 1"),
        ("fal_key", "a secret"),
        ("fal_queue_url", "queue.fal.run"),
        ("fal_jwks_url", "file:///etc/keys"),
    ],
)
def test_a_bad_setting_is_named_and_its_value_is_not_shown(variable: str, value: str) -> None:
    with pytest.raises(SettingInvalid) as caught:
        Settings.read(**{variable: value})
    assert caught.value.name == variable.upper()
    assert value not in str(caught.value)


def test_settings_reach_the_provider() -> None:
    built = fal(
        fal_queue_url="http://127.0.0.1:8090/fal/",
        fal_jwks_url="http://127.0.0.1:8090/fal/.well-known/jwks.json",
        fal_user_id="user-42",
        fal_webhook_token="newest, older",
        fal_trust="token",
    )
    assert built.origin == "http://127.0.0.1:8090"
    assert built.keys_url == "http://127.0.0.1:8090/fal/.well-known/jwks.json"
    assert built.user_id == "user-42"
    assert built.shared_tokens == ("newest", "older")
    assert built.callbacks is Trust.TOKEN
    assert built.credentials() == {"Authorization": "Key an-id:a-secret"}
    assert (FAL.callbacks, FAL.origin) == (Trust.SIGNED, "https://queue.fal.run")


@pytest.mark.parametrize(
    ("model", "app"),
    [
        ("fal-ai/sora-2/text-to-video/pro", "fal-ai/sora-2"),
        ("fal-ai/minimax/hailuo-02/standard/text-to-video", "fal-ai/minimax"),
        ("acme/plain", "acme/plain"),
        ("workflows/acme/two-step/more", "workflows/acme/two-step"),
        ("comfy/acme/graph", "comfy/acme/graph"),
        ("acme/a b?c#d", "acme/a%20b%3Fc%23d"),
    ],
)
def test_addresses_are_built_from_owner_and_app(model: str, app: str) -> None:
    about = attempt(model, provider_id="id/../x")
    base = f"https://queue.fal.run/{app}/requests/id%2F..%2Fx"
    conversation = FAL.poll(about)
    assert next(conversation).url == f"{base}/status"
    assert conversation.send(reply(200, DONE)).url == base
    cancel = FAL.cancel(about)
    assert cancel is not None
    assert next(cancel).url == f"{base}/cancel"


@pytest.mark.parametrize(
    "url",
    [
        "https://queue.fal.run.example/x",
        "https://queue.fal.run@evil.example/x",
        "https://queue.fal.run:8443/x",
        "http://queue.fal.run/x",
        "https://queue.fal.run/a/../../b",
        "https://queue.fal.run/a/%2E%2e/b",
        "https://queue.fal.run/a b",
        "https://queue.fal.run/a\nb",
        "//queue.fal.run/x",
        "",
        7,
        None,
    ],
)
def test_no_address_but_our_own_is_stored_or_asked(url: Any) -> None:
    accepted = FAL.read_submission(reply(200, {"request_id": ID, "status_url": url}))
    assert accepted == Accepted(provider_id=ID)
    stored = attempt(provider_id=ID, urls={"status": url})
    assert next(FAL.poll(stored)).url == f"https://queue.fal.run/fal-ai/veo3/requests/{ID}/status"


@pytest.mark.parametrize("request_id", ["", " ", "a b", "a\x00", "é", "../x", "x" * 201, ["x"]])
def test_what_cannot_be_an_id_is_none(request_id: Any) -> None:
    assert isinstance(FAL.read_submission(reply(200, {"request_id": request_id})), Unclear)
    with pytest.raises(CallbackUnreadable) as caught:
        called({**HOOK, "request_id": request_id})
    assert caught.value.reason == "malformed"


def test_the_callback_url_arrives_whole() -> None:
    callback = "https://callboard.example/callbacks/fal?token=a+b/c%20&x=1#y"
    url = FAL.submission(attempt("acme/a?b"), callback).url
    assert urlsplit(url).path == "/acme/a%3Fb"
    assert parse_qs(urlsplit(url).query) == {"fal_webhook": [callback]}


def test_the_input_goes_out_with_its_keys_in_their_order() -> None:
    request = FAL.submission(attempt(input={"z": 1, "a": {"ü": None}}), None)
    assert request.content == '{"z":1,"a":{"ü":null}}'.encode()


def test_without_a_request_id_nothing_is_asked() -> None:
    assert FAL.cancel(attempt()) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("12", 12),
        ("9" * 400, 86400),
        ("-5", None),
        ("inf", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("Sat, 21 Nov 2026 09:00:00 GMT", 0),
        ("Sat, 21 Nov 2026 10:00:30 GMT", 30),
        ("Sat, 21 Nov 2099 10:00:00 GMT", 86400),
        ("Sat, 99 Nov 2026 10:00:00 GMT", None),
        (f"Sat, 21 Nov 2026 10:00:00 +{'9' * 20}", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    date = "Sat, 21 Nov 2026 10:00:00 GMT"
    refused = FAL.read_submission(reply(429, {}, retry_after=value, date=date))
    assert isinstance(refused, Refused)
    assert refused.retry_after == seconds


def test_a_retry_date_counts_from_now_where_the_reply_has_no_date() -> None:
    refused = FAL.read_submission(reply(429, {}, retry_after=formatdate(time.time() + 3600)))
    assert isinstance(refused, Refused)
    assert refused.retry_after is not None
    assert 1800 < refused.retry_after <= 3600


def test_a_callback_cut_anywhere_is_told_from_one_that_is_not_json() -> None:
    whole = jsontext.dumps({**HOOK, "note": 'a "quoted\\" } ]'}).encode()
    assert FAL.read_callback({}, whole).state is State.COMPLETED
    for end in range(1, len(whole)):
        with pytest.raises(CallbackUnreadable) as caught:
            FAL.read_callback({}, whole[:end])
        assert caught.value.reason == "truncated"
    with pytest.raises(CallbackUnreadable) as caught:
        FAL.read_callback({}, whole + b"}")
    assert caught.value.reason == "not_json"


def test_a_signature_taken_apart_holds_for_its_body_and_no_other() -> None:
    key = SigningKey(bytes(range(32)))
    body = jsontext.dumps(HOOK).encode()
    headers = {
        "x-fal-webhook-request-id": ID,
        "x-fal-webhook-user-id": "user-42",
        "x-fal-webhook-timestamp": "1790000000",
        "x-fal-webhook-signature": "00" * 64,
    }
    signature = key.sign(FAL.read_signature(headers, body).message).signature
    headers["x-fal-webhook-signature"] = signature.hex()
    signed = FAL.read_signature(headers, body)
    assert key.verify_key.verify(signed.message, signed.signature)
    for other, changed in (
        (headers, body + b" "),
        (headers | {"x-fal-webhook-user-id": "user-43"}, body),
    ):
        read = FAL.read_signature(other, changed)
        with pytest.raises(BadSignatureError):
            key.verify_key.verify(read.message, read.signature)


def test_the_printed_signature_holds_under_the_printed_key() -> None:
    vector = Path(__file__).parent / "cassettes" / "fal" / "signature_vector.json"
    cassette = jsontext.loads(vector.read_bytes())
    call = cassette["call"]
    signed = FAL.read_signature(call["headers"], call["text"].encode())
    assert VerifyKey(urlsafe_b64decode(cassette["key"])).verify(signed.message, signed.signature)


@pytest.mark.parametrize("timestamp", ["", "-1", " 1", "1_0", "1.5", "٣", "9" * 13])
def test_a_timestamp_is_plain_digits(timestamp: str) -> None:
    headers = {
        "x-fal-webhook-request-id": ID,
        "x-fal-webhook-user-id": "user-42",
        "x-fal-webhook-timestamp": timestamp,
        "x-fal-webhook-signature": "00" * 64,
    }
    with pytest.raises(CallbackRefused, match="signature_invalid"):
        FAL.read_signature(headers, b"")
