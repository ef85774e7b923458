"""Asks a provider about one attempt: how its render stands, or to end it."""

import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TypeVar

from service.errors import CallboardError
from service.pooled import Asker
from service.providers import Attempt, CancelAnswer, Provider, Reply, Report, Request
from service.tally import Tally
from service.vault import Vault

T = TypeVar("T")
# They say something of the provider or of our key, and nothing of the job.
DENIED = frozenset({401, 403})
UNWELL = DENIED | {408, 429}
LONGEST_REQUEST_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a provider said, `took_ms` after it was asked. `reached`: it answered as one that is
    well; `denied`: it would not have us ask."""

    report: Report
    reached: bool
    denied: bool
    took_ms: int


def request_seconds(lease: float) -> float:
    """How long one request may take under a lease of so many seconds: a poll has three at most (a
    cancel, the status, the result), and nobody else may ask after the job meanwhile."""
    return min(LONGEST_REQUEST_SECONDS, lease / 4)


class Inquiry:
    """Carries a provider's conversations out, each request within `total` seconds."""

    def __init__(
        self, asker: Asker, vault: Vault, *, total: float, tally: Tally | None = None
    ) -> None:
        self._asker = asker
        self._vault = vault
        self._total = total
        self._tally = tally or Tally()

    async def ask(self, provider: Provider, attempt: Attempt, secrets: bytes | None) -> Heard:
        """The provider's word on the attempt; a Report without a state where it could not be had.
        `secrets` is what the input holds in secret, encrypted: cleared from what comes back."""
        statuses: list[int] = []
        began = time.monotonic()
        try:
            report = await self._carry(provider, provider.poll(attempt), secrets, statuses)
        except CallboardError as fault:
            report = Report(state=None, note=f"no answer: {fault}")
        # The first reply is the provider's own; a later one may be the model's, 5xx and all.
        first = statuses[0] if statuses else 0
        heard = Heard(
            report=report,
            reached=0 < first < 500 and first not in UNWELL,
            denied=first in DENIED,
            took_ms=round((time.monotonic() - began) * 1000),
        )
        self._tally.polled(provider.name, report, reached=heard.reached, denied=heard.denied)
        return heard

    async def cancel(self, provider: Provider, attempt: Attempt) -> CancelAnswer | None:
        """The provider's answer to a cancel; None where it has none, or gave no answer."""
        conversation = provider.cancel(attempt)
        if conversation is None:
            return None
        try:
            return await self._carry(provider, conversation, None, [])
        except CallboardError:
            return None

    async def _carry(
        self,
        provider: Provider,
        conversation: Generator[Request, Reply, T],
        secrets: bytes | None,
        statuses: list[int],
    ) -> T:
        """What the conversation returns; the statuses of the replies are added to `statuses`."""
        try:
            request = next(conversation)
            while True:
                reply = await self._asker.ask(
                    request,
                    origin=provider.origin,
                    credentials=provider.credentials(),
                    total=self._total,
                )
                statuses.append(reply.status)
                said = self._vault.cleared(provider.name, reply.content, secrets)
                request = conversation.send(replace(reply, content=said))
        except StopIteration as end:
            value: T = end.value
            return value
