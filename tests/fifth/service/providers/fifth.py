"""A provider that there is not, for the tests: submit and poll, and a DELETE that cancels."""

from collections.abc import Generator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from pydantic import SecretStr

from service import jsontext
from service.errors import CallbackRefused, CallbackUnreadable
from service.job import ErrorCode, State
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
from service.settings import ProviderSettings, Url
from service.verdicts import failed, refused
from service.wire import Key, amount_in, id_in, media, object_in, text_in, text_of


class Settings(ProviderSettings):
    """Its environment variables."""

    fifth_key: Key | None = None
    fifth_url: Url = "https://fifth.example/v1"


def build(settings: Settings) -> "Fifth | None":
    """The fifth as these settings describe it; None where there is no key."""
    return Fifth(settings.fifth_url, settings.fifth_key) if settings.fifth_key else None


class Fifth:
    """The Provider of pretend renders."""

    name = "fifth"
    callbacks = Trust.NONE
    cancels = True
    poll_cap_seconds = 300.0
    late_seconds = 3600.0
    shared_tokens: tuple[str, ...] = ()
    keys_url: str | None = None
    user_id: str | None = None

    def __init__(self, base: str, key: SecretStr) -> None:
        parts = urlsplit(base)
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self._renders = f"{base}/renders"
        self._key = key

    def credentials(self) -> Mapping[str, str]:
        """`X-Fifth-Key`, with nothing before it."""
        return {"X-Fifth-Key": self._key.get_secret_value()}

    def submission(self, attempt: Attempt, callback_url: str | None) -> Request:
        """The input beside the name of its engine."""
        return Request(
            method="POST",
            url=self._renders,
            content=jsontext.dumps({"engine": attempt.model, "input": attempt.input}).encode(),
            headers={"Content-Type": "application/json"},
        )

    def read_submission(self, reply: Reply) -> Accepted | Refused | Unclear:
        """Accepted with 201 and an id; refused with 422 and a reason."""
        body = object_in(reply.content)
        render_id = id_in(body.get("render"))
        if reply.status == 201 and render_id is not None:
            return Accepted(provider_id=render_id)
        if reply.status == 422 and render_id is None:
            return refused(ErrorCode.INVALID_INPUT, text_in(body.get("why")), reply, body)
        return Unclear(note=f"fifth answered HTTP {reply.status}", provider=body or text_of(reply))

    def poll(self, attempt: Attempt) -> Generator[Request, Reply, Report]:
        """One GET."""
        if attempt.provider_id is None:
            return Report(state=None, note="no id is known yet")
        reply = yield Request(method="GET", url=self._address(attempt.provider_id))
        body = object_in(reply.content)
        match body.get("state"):
            case "working":
                return Report(state=State.RUNNING)
            case "done":
                return Report(
                    state=State.COMPLETED, output=body, actual=amount_in(body.get("cost"))
                )
            case "broken":
                return failed(text_in(body.get("why")), raw=body)
        return Report(state=None, note=f"fifth answered HTTP {reply.status} without a state")

    def cancel(self, attempt: Attempt) -> Generator[Request, Reply, CancelAnswer | None] | None:
        """A DELETE; None where no id is known."""
        return None if attempt.provider_id is None else self._cancel(attempt.provider_id)

    def _cancel(self, provider_id: str) -> Generator[Request, Reply, CancelAnswer | None]:
        reply = yield Request(method="DELETE", url=self._address(provider_id))
        return CancelAnswer.REQUESTED if reply.status == 204 else None

    def read_callback(self, headers: Mapping[str, str], body: bytes) -> Report:
        """Raises CallbackUnreadable: there are no callbacks."""
        raise CallbackUnreadable("malformed", "fifth has no callbacks")

    def read_signature(self, headers: Mapping[str, str], body: bytes) -> Signed:
        """Raises CallbackRefused: there are no callbacks."""
        raise CallbackRefused("signature_missing")

    def outputs(self, output: Any) -> list[dict[str, Any]]:
        """Its `film`."""
        return media(output.get("film")) if isinstance(output, dict) else []

    def _address(self, render_id: str) -> str:
        return f"{self._renders}/{quote(render_id, safe='')}"
