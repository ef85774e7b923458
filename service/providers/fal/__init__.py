"""fal.ai's queue: submit, status and result, cancel, and the signed webhook.

Facts: fal.ai/docs model-apis/inference/{queue,webhooks} and api-reference/inference-api.
"""

import re
from collections.abc import Generator, Mapping
from hashlib import sha256
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from pydantic import SecretStr

from service import jsontext
from service.errors import CallbackRefused, CallbackUnreadable
from service.providers import (
    Accepted,
    Attempt,
    CancelAnswer,
    Refused,
    Reply,
    Report,
    Request,
    Signed,
    Trust,
    Unclear,
)
from service.providers.fal import replies
from service.providers.fal.refusals import refusal
from service.settings import ProviderSettings, Secrets, Url
from service.wire import Key, is_json_type, object_in, text_of

_VISIBLE = re.compile(r"[\x21-\x7e]+")
_CLIMBS = re.compile(r"\.\.|%2e", re.IGNORECASE)
_NAMESPACES = ("workflows", "comfy")
# Both official clients ask for the result without the `/response` that the docs print.
_ENDINGS = {"status": "/status", "response": "", "cancel": "/cancel"}
_SIGNATURE = re.compile(r"[0-9a-fA-F]{128}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")


class Settings(ProviderSettings):
    """fal's environment variables."""

    fal_key: Key | None = None
    fal_queue_url: Url = "https://queue.fal.run"
    fal_jwks_url: Url = "https://rest.fal.ai/.well-known/jwks.json"
    fal_user_id: str | None = None
    fal_webhook_token: Secrets = ()
    fal_trust: Literal["signed", "token", "hint"] = "signed"


def build(settings: Settings) -> "Fal | None":
    """fal as these settings describe it; None where there is no key."""
    return Fal(settings, settings.fal_key) if settings.fal_key else None


class Fal:
    """The Provider of fal.ai, and of anything that speaks its queue protocol."""

    cancels = True
    poll_cap_seconds = 150.0  # results of 10 KB and more are kept for 6 minutes only
    late_seconds = 86400.0

    def __init__(self, settings: Settings, key: SecretStr) -> None:
        parts = urlsplit(settings.fal_queue_url)
        self.name = "fal"
        self.callbacks = Trust(settings.fal_trust)
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self.shared_tokens = tuple(one.get_secret_value() for one in settings.fal_webhook_token)
        self.keys_url: str | None = settings.fal_jwks_url
        self.user_id = settings.fal_user_id
        self._base = settings.fal_queue_url
        self._key = key

    def credentials(self) -> Mapping[str, str]:
        """`Key`, not `Bearer` (api-reference/inference-api)."""
        return {"Authorization": f"Key {self._key.get_secret_value()}"}

    def submission(self, attempt: Attempt, callback_url: str | None) -> Request:
        """`POST /{full endpoint id}`: the body is the model's input itself, not wrapped."""
        query = f"?fal_webhook={quote(callback_url, safe='')}" if callback_url else ""
        return Request(
            method="POST",
            url=f"{self._base}/{quote(attempt.model)}{query}",
            content=jsontext.dumps(dict(attempt.input)).encode(),
            headers={"Content-Type": "application/json"},
        )

    def read_submission(self, reply: Reply) -> Accepted | Refused | Unclear:
        """Any 2xx with a request id is accepted. A reply that names one is never a refusal, nor
        is one that fal does not document as such."""
        body = object_in(reply.content)
        request_id = replies.request_id_in(body)
        if request_id is None:
            refused = refusal(reply, body)
            note = f"fal answered HTTP {reply.status} without a request id"
            return refused or Unclear(note=note, provider=body or text_of(reply))
        if not 200 <= reply.status < 300:
            note = f"fal answered HTTP {reply.status} with a request id"
            return Unclear(note=note, provider=body)
        given = {word: self._ours(body.get(f"{word}_url")) for word in _ENDINGS}
        urls = {word: url for word, url in given.items() if url}
        return Accepted(provider_id=request_id, urls=urls, progress=replies.progress_in(body))

    def poll(self, attempt: Attempt) -> Generator[Request, Reply, Report]:
        """Status first; the result only once that says COMPLETED without an error."""
        if attempt.provider_id is None:
            return Report(state=None, note="no request id is known yet")
        status = yield Request(method="GET", url=self._address(attempt, "status"))
        report = replies.read_status(status)
        if report is None:
            result = yield Request(method="GET", url=self._address(attempt, "response"))
            report = replies.read_result(result)
        return report

    def cancel(self, attempt: Attempt) -> Generator[Request, Reply, CancelAnswer | None] | None:
        """`PUT cancel_url`, no body; None while no request id is known."""
        return None if attempt.provider_id is None else self._cancel(attempt)

    def _cancel(self, attempt: Attempt) -> Generator[Request, Reply, CancelAnswer | None]:
        reply = yield Request(method="PUT", url=self._address(attempt, "cancel"))
        return replies.read_cancel(reply)

    def read_callback(self, headers: Mapping[str, str], body: bytes) -> Report:
        """One terminal event; see `replies.read_call`. fal sends application/json."""
        if not is_json_type(headers):
            raise CallbackUnreadable("wrong_type", "the body is said not to be JSON")
        report = replies.read_call(body)
        if headers.get("x-fal-webhook-request-id", report.provider_id) != report.provider_id:
            raise CallbackRefused("request_id_mismatch")
        return report

    def read_signature(self, headers: Mapping[str, str], body: bytes) -> Signed:
        """Ed25519 over four lines: request id, user id, timestamp, hex SHA-256 of the raw body
        (model-apis/inference/webhooks). Raises CallbackRefused."""
        try:
            request_id = headers["x-fal-webhook-request-id"]
            user_id = headers["x-fal-webhook-user-id"]
            timestamp = headers["x-fal-webhook-timestamp"]
            signature = headers["x-fal-webhook-signature"]
        except KeyError:
            raise CallbackRefused("signature_missing") from None
        if not _TIMESTAMP.fullmatch(timestamp) or not _SIGNATURE.fullmatch(signature):
            raise CallbackRefused("signature_invalid")
        message = f"{request_id}\n{user_id}\n{timestamp}\n{sha256(body).hexdigest()}"
        return Signed(
            message=message.encode(errors="replace"),
            signature=bytes.fromhex(signature),
            at=int(timestamp),
            user_id=user_id,
            request_id=request_id,
        )

    def outputs(self, output: Any) -> list[dict[str, Any]]:
        """The files in a result; fal says nothing of when they expire."""
        return replies.media_in(output)

    def _ours(self, url: Any) -> str | None:
        """`url` where it lies below our configured one, else None: our key goes along."""
        ours = (
            isinstance(url, str)
            and url.startswith(f"{self._base}/")
            and _VISIBLE.fullmatch(url)
            and not _CLIMBS.search(url)
        )
        return url if ours else None

    def _address(self, attempt: Attempt, word: str) -> str:
        """The URL that fal gave, where it lies on our configured one; else by the sub-path rule:
        owner and app only, and one segment more in a namespace (api-reference/inference-api)."""
        given = self._ours(attempt.urls.get(word))
        if given is not None:
            return given
        parts = attempt.model.split("/")
        app = quote("/".join(parts[: 3 if parts[0] in _NAMESPACES else 2]))
        request_id = quote(attempt.provider_id or "", safe="")
        return f"{self._base}/{app}/requests/{request_id}{_ENDINGS[word]}"
