"""A relay of the `/v2/videos/generations` kind, which calls `notify_hook`. It has no cancel.

Facts: docs.yutoai.net, /v2/videos/generations and its unified v2 format. Relays differ: what is
read is what any of the family is known to send.
"""

from collections.abc import Generator, Mapping
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from pydantic import SecretStr

from service import jsontext
from service.errors import CallbackRefused, SettingInvalid
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
from service.providers.relay import tasks
from service.providers.relay.refusals import message_in, refusal
from service.settings import ProviderSettings, Url
from service.verdicts import refused
from service.wire import Key, call_in, object_in, text_of


class Settings(ProviderSettings):
    """The relay's environment variables."""

    relay_key: Key | None = None
    relay_url: Url | None = None
    relay_trust: Literal["hint", "token"] = "hint"  # no relay is known to sign


def build(settings: Settings) -> "Relay | None":
    """The relay as these settings describe it; None where there is no key. Raises SettingInvalid
    where there is a key and no address: there are many relays, and none to assume."""
    if settings.relay_key is None:
        return None
    if settings.relay_url is None:
        raise SettingInvalid("RELAY_URL", "must be set where RELAY_KEY is")
    return Relay(settings.relay_url, settings.relay_key, Trust(settings.relay_trust))


class Relay:
    """The Provider of one relay."""

    name = "relay"
    cancels = False
    poll_cap_seconds = 300.0  # how long a result is kept is not documented
    late_seconds = 86400.0
    shared_tokens: tuple[str, ...] = ()
    keys_url: str | None = None
    user_id: str | None = None

    def __init__(self, base: str, key: SecretStr, trust: Trust) -> None:
        parts = urlsplit(base)
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self.callbacks = trust
        self._generations = f"{base}/v2/videos/generations"
        self._key = key

    def credentials(self) -> Mapping[str, str]:
        """`Bearer sk-…`."""
        return {"Authorization": f"Bearer {self._key.get_secret_value()}"}

    def submission(self, attempt: Attempt, callback_url: str | None) -> Request:
        """The input with the model back in its place, and our `notify_hook`: never another's,
        which would hear of the job instead of us, and learn its token."""
        body = {**attempt.input, "model": attempt.model}
        body.pop("notify_hook", None)
        if callback_url is not None:
            body["notify_hook"] = callback_url
        return Request(
            method="POST",
            url=self._generations,
            content=jsontext.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )

    def read_submission(self, reply: Reply) -> Accepted | Refused | Unclear:
        """Accepted: a 2xx with a `task_id`, or an `id`. A reply that names one is never a
        refusal."""
        body = object_in(reply.content)
        task_id = tasks.id_of(body)
        if task_id is not None and 200 <= reply.status < 300:
            return Accepted(provider_id=task_id, progress=tasks.progress_in(body))
        code = None if task_id else refusal(reply.status, body)
        if code is not None:
            return refused(code, message_in(body), reply, body)
        which = "with" if task_id else "without"
        note = f"the relay answered HTTP {reply.status} {which} a task id"
        return Unclear(note=note, provider=body or text_of(reply))

    def poll(self, attempt: Attempt) -> Generator[Request, Reply, Report]:
        """One GET."""
        if attempt.provider_id is None:
            return Report(state=None, note="no task id is known yet")
        url = f"{self._generations}/{quote(attempt.provider_id, safe='')}"
        return tasks.read_query((yield Request(method="GET", url=url)))

    def cancel(self, attempt: Attempt) -> None:
        """There is none."""

    def read_callback(self, headers: Mapping[str, str], body: bytes) -> Report:
        """What `notify_hook` was told; any shape of the family. Raises CallbackUnreadable."""
        return tasks.read_call(call_in(body))

    def read_signature(self, headers: Mapping[str, str], body: bytes) -> Signed:
        """Raises CallbackRefused: there are no signatures."""
        raise CallbackRefused("signature_missing")

    def outputs(self, output: Any) -> list[dict[str, Any]]:
        """The files in a task; see `tasks.media_in`."""
        return tasks.media_in(output)
