"""Genviral's partner API: submit and poll. It has no callbacks and no cancel.

Facts: docs.genviral.io api-reference/{response,studio-ai,generate-studio-video}.
"""

from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlsplit

from pydantic import SecretStr

from service import jsontext
from service.errors import CallbackRefused, CallbackUnreadable
from service.job import ErrorCode, State
from service.providers import (
    Accepted,
    Attempt,
    Refused,
    Reply,
    Report,
    Request,
    Signed,
    Trust,
    Unclear,
)
from service.settings import ProviderSettings, Url
from service.verdicts import failed_with, names_model, refused
from service.wire import Key, amount_in, id_in, media, object_in, text_in, text_of

# Other codes under these statuses are not documented, and so no refusals.
_CODES = {
    (402, "subscription_required"): ErrorCode.PROVIDER_AUTH,
    (403, "tier_not_allowed"): ErrorCode.PROVIDER_AUTH,
    (403, "insufficient_credits"): ErrorCode.INSUFFICIENT_CREDITS,
    (500, "generation_failed"): ErrorCode.PROVIDER_UNAVAILABLE,
}


class Settings(ProviderSettings):
    """Genviral's environment variables."""

    genviral_key: Key | None = None
    genviral_url: Url = "https://www.genviral.io/api/partner/v1"


def build(settings: Settings) -> "Genviral | None":
    """Genviral as these settings describe it; None where there is no key."""
    return Genviral(settings.genviral_url, settings.genviral_key) if settings.genviral_key else None


class Genviral:
    """The Provider of Genviral's studio videos."""

    name = "genviral"
    callbacks = Trust.NONE
    cancels = False
    poll_cap_seconds = 300.0  # how long a result is kept is not documented
    late_seconds = 86400.0
    shared_tokens: tuple[str, ...] = ()
    keys_url: str | None = None
    user_id: str | None = None

    def __init__(self, base: str, key: SecretStr) -> None:
        parts = urlsplit(base)
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self._videos = f"{base}/studio/videos"
        self._key = key

    def credentials(self) -> Mapping[str, str]:
        """`Bearer <public id>.<secret>`."""
        return {"Authorization": f"Bearer {self._key.get_secret_value()}"}

    def submission(self, attempt: Attempt, callback_url: str | None) -> Request:
        """The input as it is, with the model back in its place."""
        return Request(
            method="POST",
            url=f"{self._videos}/generate",
            content=jsontext.dumps({**attempt.input, "model_id": attempt.model}).encode(),
            headers={"Content-Type": "application/json"},
        )

    def read_submission(self, reply: Reply) -> Accepted | Refused | Unclear:
        """Accepted: a 2xx whose `ok` is true and that names a video. A reply that names one is
        never a refusal. The model that it echoes may be another than was asked for."""
        body = object_in(reply.content)
        data = _data(body)
        video_id = id_in(data.get("video_id"))
        if video_id is not None and 200 <= reply.status < 300 and body.get("ok") is True:
            return Accepted(provider_id=video_id, actual=amount_in(data.get("credits_used")))
        code = None if video_id else _refusal(reply.status, body)
        if code is not None:
            return refused(code, text_in(body.get("message")), reply, body)
        which = "with" if video_id else "without"
        note = f"genviral answered HTTP {reply.status} {which} a video id, ok {body.get('ok')!r:.9}"
        return Unclear(note=note, provider=body or text_of(reply))

    def poll(self, attempt: Attempt) -> Generator[Request, Reply, Report]:
        """One GET."""
        if attempt.provider_id is None:
            return Report(state=None, note="no video id is known yet")
        url = f"{self._videos}/{quote(attempt.provider_id, safe='')}"
        return _read(self, (yield Request(method="GET", url=url)))

    def cancel(self, attempt: Attempt) -> None:
        """There is none."""

    def read_callback(self, headers: Mapping[str, str], body: bytes) -> Report:
        """Raises CallbackUnreadable: there are no callbacks."""
        raise CallbackUnreadable("malformed", "genviral has no callbacks")

    def read_signature(self, headers: Mapping[str, str], body: bytes) -> Signed:
        """Raises CallbackRefused: there are no callbacks."""
        raise CallbackRefused("signature_missing")

    def outputs(self, output: Any) -> list[dict[str, Any]]:
        """`output_url` of the reply's `data`."""
        return media(output.get("output_url")) if isinstance(output, dict) else []


def _data(body: Mapping[str, Any]) -> dict[str, Any]:
    data = body.get("data")
    return data if isinstance(data, dict) else {}


def _refusal(status: int, body: Mapping[str, Any]) -> ErrorCode | None:
    """What a reply without a video id refuses for; None where it is no documented refusal."""
    named = body.get("error_code")
    if status == 401:  # the key is read first, whatever the body says
        return ErrorCode.PROVIDER_AUTH
    if status == 429:
        return ErrorCode.RATE_LIMITED
    if body.get("ok") is not False or not isinstance(named, str):
        return None
    if status in (400, 422):
        about_model = names_model(text_in(body.get("message")))
        return ErrorCode.UNSUPPORTED_MODEL if about_model else ErrorCode.INVALID_INPUT
    return _CODES.get((status, named))


def _read(provider: Genviral, reply: Reply) -> Report:
    body = object_in(reply.content)
    data = _data(body)
    word = data.get("status")
    if not 200 <= reply.status < 300 or body.get("ok") is not True or not isinstance(word, str):
        note = f"genviral answered HTTP {reply.status} without a status"
        return Report(state=None, note=note, gone=body.get("error_code") == "video_not_found")
    actual = amount_in(data.get("credits_used"))
    match word:
        case "processing":
            return Report(state=State.RUNNING, actual=actual)
        case "succeeded" if provider.outputs(data):
            return Report(state=State.COMPLETED, output=data, actual=actual)
        case "succeeded":
            note = "succeeded, without its URL yet"
            return Report(state=State.RUNNING, actual=actual, note=note, resultless=True)
        case "failed":
            return replace(failed_with(data.get("error"), data), actual=actual)
    return Report(state=None, note=f"unknown status {word[:40]!r}")
