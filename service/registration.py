"""The callback that a submission registers with its provider: the address, with its token."""

import time
from dataclasses import dataclass

from service import ids
from service.providers import Provider, Trust
from service.store.agenda import Due
from service.submission import Timing
from service.tokens import Tokens, sent_by


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """Where a provider is to call, and the name of the secret that signed its token."""

    url: str
    token_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """Makes callbacks under `public_url` (CALLBOARD_PUBLIC_URL; None: there are none)."""

    tokens: Tokens
    timing: Timing
    public_url: str | None

    def callback(self, provider: Provider, due: Due) -> Callback | None:
        """The callback of one attempt, the same however often it is tried; None where the provider
        has no callbacks, or nobody can call us."""
        if self.public_url is None or provider.callbacks is Trust.NONE:
            return None
        lifetime = due.deadline_seconds + self.timing.give_up + provider.late_seconds
        lifetime += self.timing.unconfirmed
        token = self.tokens.make(
            provider=provider.name,
            job_id=due.attempt.job_id,
            attempt=due.attempt.number,
            expires_at=lifetime + sent_by(ids.made_at(due.attempt.job_id), now=time.time()),
            sealed=due.secrets is not None,
        )
        url = f"{self.public_url}/callbacks/{provider.name}?token={token}"
        return Callback(url=url, token_key=self.tokens.key_name)
