"""Prism Videos' API: submit and poll. It has no callbacks and no cancel.

Facts: docs.prismvideos.com api-reference/{create-generation,get-generation}, and errors.
"""

from collections.abc import Generator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from pydantic import SecretStr

from service import jsontext
from service.errors import CallbackRefused, CallbackUnreadable
from service.job import ErrorCode
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
from service.providers.prism import replies
from service.settings import ProviderSettings, Url
from service.verdicts import refused
from service.wire import Key, amount_in, object_in, text_in, text_of

_FREE_TIER_PAUSE_SECONDS = 1800.0  # a policy, not an outage


class Settings(ProviderSettings):
    """Prism's environment variables."""

    prism_key: Key | None = None
    prism_url: Url = "https://www.prismvideos.com/api"  # the bare domain redirects


def build(settings: Settings) -> "Prism | None":
    """Prism as these settings describe it; None where there is no key."""
    return Prism(settings.prism_url, settings.prism_key) if settings.prism_key else None


class Prism:
    """The Provider of Prism's generations."""

    name = "prism"
    callbacks = Trust.NONE
    cancels = False
    poll_cap_seconds = 300.0  # a result's address is good for an hour
    late_seconds = 86400.0
    shared_tokens: tuple[str, ...] = ()
    keys_url: str | None = None
    user_id: str | None = None

    def __init__(self, base: str, key: SecretStr) -> None:
        parts = urlsplit(base)
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self._generations = f"{base}/generations"
        self._key = key

    def credentials(self) -> Mapping[str, str]:
        """`Bearer prism_sk_…`."""
        return {"Authorization": f"Bearer {self._key.get_secret_value()}"}

    def submission(self, attempt: Attempt, callback_url: str | None) -> Request:
        """The input as it is, with the model back in its place."""
        return Request(
            method="POST",
            url=self._generations,
            content=jsontext.dumps({**attempt.input, "modelName": attempt.model}).encode(),
            headers={"Content-Type": "application/json"},
        )

    def read_submission(self, reply: Reply) -> Accepted | Refused | Unclear:
        """Accepted: a 2xx that names a generation; the first is the job's. A reply that names one
        is never a refusal."""
        body = object_in(reply.content)
        ids, metadata = replies.created(body)
        if ids and 200 <= reply.status < 300:
            return Accepted(
                provider_id=ids[0],
                urls={f"generation_{n}": self._address(one) for n, one in enumerate(ids[1:], 2)},
                actual=amount_in(metadata.get("credits_charged")),
                note=replies.more_than_one(ids, metadata),
            )
        code = None if ids else replies.refusal(reply.status, body)
        if code is not None:
            pause = _FREE_TIER_PAUSE_SECONDS if code is ErrorCode.PROVIDER_PAUSED else None
            said = text_in(body.get("message"), body.get("error"))
            return refused(code, said, reply, body, pause=pause)
        which = "with" if ids else "without"
        note = f"prism answered HTTP {reply.status} {which} a generation"
        return Unclear(note=note, provider=body or text_of(reply))

    def poll(self, attempt: Attempt) -> Generator[Request, Reply, Report]:
        """One GET; each signs the video's address anew."""
        if attempt.provider_id is None:
            return Report(state=None, note="no generation id is known yet")
        url = self._address(attempt.provider_id)
        return replies.read_generation((yield Request(method="GET", url=url)))

    def cancel(self, attempt: Attempt) -> None:
        """There is none."""

    def read_callback(self, headers: Mapping[str, str], body: bytes) -> Report:
        """Raises CallbackUnreadable: there are no callbacks."""
        raise CallbackUnreadable("malformed", "prism has no callbacks")

    def read_signature(self, headers: Mapping[str, str], body: bytes) -> Signed:
        """Raises CallbackRefused: there are no callbacks."""
        raise CallbackRefused("signature_missing")

    def outputs(self, output: Any) -> list[dict[str, Any]]:
        """`video_url`, presigned for an hour; `share_url` is a page."""
        return replies.media_in(output)

    def _address(self, generation_id: str) -> str:
        return f"{self._generations}/{quote(generation_id, safe='')}"
