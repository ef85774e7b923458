"""One signed POST to an endpoint, as Standard Webhooks (standardwebhooks.com) has it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from standardwebhooks.webhooks import Webhook

from service import ids, jsontext
from service.encryption import AtRest
from service.http import Delivered, Deliverer

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


class Sender:
    """Signs and sends, to no forbidden address."""

    def __init__(self, at_rest: AtRest, client: Deliverer) -> None:
        self._opened = lru_cache(OPENED_KEPT)(at_rest.decrypt)  # the same few, again and again
        self._client = client

    async def send(self, target: Target, event_id: str, content: str) -> Delivered:
        """POSTs `content` once, within 15 seconds. Network trouble is in the outcome."""
        secrets = [self._opened(one) for one in (target.secret, *target.former)]
        own = self._opened(target.headers) if target.headers is not None else "{}"
        headers = jsontext.loads(own) | signed_headers(secrets, event_id, content)
        return await self._client.post(
            target.url, content=content.encode(), headers=headers, total=TOTAL_SECONDS
        )


def signed_headers(secrets: Sequence[str], event_id: str, content: str) -> dict[str, str]:
    """The headers over `content`, signed now: one signature for each of `secrets`, newest first, of
    which a receiver needs to know one."""
    now = datetime.now(UTC)
    signatures = [_signer(secret).sign(event_id, now, content) for secret in secrets]
    return {
        "content-type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


_signer = lru_cache(OPENED_KEPT)(Webhook)  # each reads its secret's base64 anew


def new_event_id() -> str:
    """An id for what is no job's event."""
    return ids.show("evt", ids.new_id())
