"""One signed POST to an endpoint, as Standard Webhooks (standardwebhooks.com) has it."""

import base64
import hmac
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from service import ids, jsontext
from service.encryption import AtRest
from service.pooled import Delivered, Deliverer

TOTAL_SECONDS = 15.0
OPENED_KEPT = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to send. The `secret`, those `former` ones that still sign, and `headers` (a JSON
    object, or None) are encrypted."""

    url: str
    secret: bytes
    former: Sequence[bytes] = ()
    headers: bytes | None = None


@dataclass(slots=True, kw_only=True)
class Message:
    """What goes out: signed, and where to."""

    url: str
    content: bytes
    headers: dict[str, str]


class Sender:
    """Signs and sends, to no forbidden address."""

    def __init__(self, at_rest: AtRest, client: Deliverer) -> None:
        self._at_rest = at_rest
        self._client = client
        self._key = lru_cache(OPENED_KEPT)(self._open_key)  # the same few, again and again
        self._headers = lru_cache(OPENED_KEPT)(self._open_headers)

    def signed(self, target: Target, event_id: str, content: str) -> Message:
        """`content` signed now, to be sent at once. Raises SettingInvalid where none of our secrets
        opens the target's."""
        keys = [self._key(one) for one in (target.secret, *target.former)]
        headers = _signed(keys, event_id, content)
        if target.headers is not None:
            headers = self._headers(target.headers) | headers
        return Message(url=target.url, content=content.encode(), headers=headers)

    async def send(self, message: Message) -> Delivered:
        """POSTs it once, within 15 seconds. Network trouble is in the outcome."""
        return await self._client.post(
            message.url, content=message.content, headers=message.headers, total=TOTAL_SECONDS
        )

    def _open_key(self, stored: bytes) -> bytes:
        return read_key(self._at_rest.decrypt(stored))

    def _open_headers(self, stored: bytes) -> dict[str, str]:
        headers: dict[str, str] = jsontext.loads(self._at_rest.decrypt(stored))
        return headers


def signed_headers(secrets: Sequence[str], event_id: str, content: str) -> dict[str, str]:
    """The headers over `content`, signed now: one signature for each of `secrets`, newest first, of
    which a receiver needs to know one."""
    return _signed([read_key(secret) for secret in secrets], event_id, content)


def read_key(secret: str) -> bytes:
    """What signs: the bytes that `whsec_…` spells, padded or not."""
    return base64.b64decode(secret.removeprefix("whsec_") + "==")


def _signed(keys: Sequence[bytes], event_id: str, content: str) -> dict[str, str]:
    at = str(int(time.time()))
    signed = f"{event_id}.{at}.{content}".encode()
    signatures = [base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys]
    return {
        "content-type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": at,
        "webhook-signature": " ".join(f"v1,{one}" for one in signatures),
    }


def new_event_id() -> str:
    """An id for what is no job's event."""
    return ids.show("evt", ids.new_id())
