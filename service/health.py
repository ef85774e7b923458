"""Which providers answer as they should: who is paused, who is asked slowly, who has room.

What many processes saw is counted in the database; each looks at it about once a second.
"""

import logging
import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from service.database import Database
from service.errors import DatabaseAway
from service.job import ErrorCode, JobError
from service.providers import Accepted, Refused, Unclear
from service.store import health
from service.store.agenda import Turn
from service.store.health import Room
from service.tally import Tally

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
FAILURES = 5  # in a row, until a provider is paused, or asked slowly
RATE_LIMIT_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """How long a provider is paused for, in seconds; doubled for each pause in a row."""

    first: float
    longest: float


CIRCUIT = Pause(first=30.0, longest=600.0)
# Nothing is wrong with the job, and no other would fare better; none of these counts as a failure.
ACCOUNT: Mapping[ErrorCode, Pause] = {
    ErrorCode.PROVIDER_AUTH: Pause(first=60.0, longest=1800.0),
    ErrorCode.INSUFFICIENT_CREDITS: Pause(first=60.0, longest=1800.0),
    ErrorCode.PROVIDER_PAUSED: Pause(first=1800.0, longest=7200.0),
    ErrorCode.RATE_LIMITED: Pause(first=RATE_LIMIT_SECONDS, longest=60.0),
}


class Health:
    """The providers as they are now. `most` bounds the jobs in flight, by provider."""

    def __init__(
        self, db: Database, most: Mapping[str, int] | None = None, tally: Tally | None = None
    ) -> None:
        self._db = db
        self._tally = tally or Tally()
        self._most = dict(most or {})
        self._rooms: dict[str, Room] = {}
        self._looked_at = -math.inf
        self._taken: Counter[str] = Counter()  # submits begun here since the last look

    async def rooms(self) -> Mapping[str, Room]:
        """Every provider that has work or a history, as of a second ago at most. Raises
        DatabaseAway."""
        if time.monotonic() - self._looked_at >= LOOK_SECONDS:
            self._rooms = await health.rooms(self._db, self._most)
            self._looked_at = time.monotonic()
            self._taken.clear()
        return self._rooms

    async def submits(self, providers: Mapping[str, object], free: int) -> list[Turn]:
        """Whose jobs may be submitted now, `free` of each at most. Raises DatabaseAway."""
        rooms = await self.rooms()
        turns = []
        for name in providers:
            room = rooms.get(name)
            if room is None:
                turns.append(Turn(provider=name, places=free))
                continue
            left = free
            if room.most is not None:
                left = min(free, room.most - room.in_flight - self._taken[name])
            if not room.paused and left > 0:
                trial = room.pauses > 0
                turns.append(Turn(provider=name, places=1 if trial else left, trial=trial))
        return turns

    def begun(self, provider: str) -> None:
        """One more of its jobs is being submitted here."""
        self._taken[provider] += 1

    async def submitted(
        self, provider: str, verdict: Accepted | Refused | Unclear | JobError
    ) -> None:
        """Counts how a submit went; a JobError is one that did not get there. Where the database
        is away it is not counted there."""
        self._tally.submitted(provider, verdict)
        try:
            await self._judge(provider, verdict)
        except DatabaseAway as fault:
            log.warning("how provider %s answered is not counted: %s", provider, fault)

    async def asked(self, provider: str, *, reached: bool, denied: bool = False) -> None:
        """Counts how a poll went: whether the provider answered as one that is well, or denied us
        access. Where the database is away it is not counted."""
        room = self._rooms.get(provider)
        try:
            if not reached:
                count = await health.fail_ask(self._db, provider)
                self._look_again()
                if denied and count >= FAILURES and not (room and room.paused):
                    auth = ErrorCode.PROVIDER_AUTH
                    await self._pause(provider, ACCOUNT[auth], auth, "polls are denied")
            elif room is not None and room.ask_failures:
                await health.restore_asks(self._db, provider)
                self._look_again()
        except DatabaseAway as fault:
            log.warning("how provider %s answered is not counted: %s", provider, fault)

    async def _judge(self, provider: str, verdict: Accepted | Refused | Unclear | JobError) -> None:
        error = verdict.error if isinstance(verdict, Refused) else verdict
        if isinstance(error, JobError) and (pause := ACCOUNT.get(error.code)) is not None:
            wait = verdict.retry_after if isinstance(verdict, Refused) else None
            await self._pause(provider, pause, error.code, error.message, wanted=wait)
        elif isinstance(error, Unclear):
            await self._failed(provider, error.note)
        elif isinstance(error, JobError) and error.code is ErrorCode.PROVIDER_UNAVAILABLE:
            await self._failed(provider, error.message)
        elif (room := self._rooms.get(provider)) and (room.failures or room.pauses):
            await health.restore(self._db, provider)
            self._look_again()
            if room.pauses:
                log.info("provider %s takes jobs again", provider)

    async def _failed(self, provider: str, message: str) -> None:
        opens = await health.fail_submit(self._db, provider, most=FAILURES)
        self._look_again()
        if opens:
            await self._pause(provider, CIRCUIT, ErrorCode.PROVIDER_UNAVAILABLE, message)

    async def _pause(
        self,
        provider: str,
        pause: Pause,
        code: ErrorCode,
        message: str,
        *,
        wanted: float | None = None,
    ) -> None:
        first = pause.first if wanted is None else min(wanted, pause.longest)
        seconds = await health.pause(
            self._db,
            provider,
            seconds=first,
            longest=pause.longest,
            code=code,
            message=message,
        )
        self._look_again()
        log.warning("provider %s is paused, %.0f s: %s", provider, seconds, code)

    def _look_again(self) -> None:
        self._looked_at = -math.inf


def slow(room: Room | None) -> bool:
    """Whether a provider is asked only one job at a time, once a second."""
    return room is not None and (room.paused or room.ask_failures >= FAILURES)
