"""Which providers answer as they should: who is paused, and who is asked slowly.

What many processes saw is counted in the database, and read there when jobs are claimed.
"""

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

from service.database import Database
from service.errors import DatabaseAway
from service.inquiry import Heard
from service.job import ErrorCode, JobError
from service.providers import Accepted, Refused, Unclear
from service.store import health
from service.store.agenda import Due
from service.store.health import Room
from service.tally import Tally

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
FAILURES = 5  # in a row, until a provider is paused, or asked slowly
RATE_LIMIT_SECONDS = 5.0  # where the provider does not say how long
LONGEST_RATE_LIMIT_SECONDS = 60.0
Verdict = Accepted | Refused | Unclear | JobError


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
}
# These say that a poll would fare no better; a provider without credits still answers it.
SLOWING = {ErrorCode.PROVIDER_UNAVAILABLE, ErrorCode.RATE_LIMITED}


class Health:
    """Counts how the providers answer this process, and looks at all of them once a second."""

    def __init__(self, db: Database, tally: Tally | None = None) -> None:
        self._db = db
        self._tally = tally or Tally()
        self._rooms: dict[str, Room] = {}
        self._looked_at = -math.inf

    async def rooms(self) -> Mapping[str, Room]:
        """Every provider that has work or a history, as of a second ago at most. Raises
        DatabaseAway."""
        if time.monotonic() - self._looked_at >= LOOK_SECONDS:
            self._rooms = await health.rooms(self._db)
            self._looked_at = time.monotonic()
        return self._rooms

    async def submitted(self, due: Due, verdict: Verdict | None) -> None:
        """Counts how a submit went; a JobError is one that did not get there, None one that was not
        sent at all. Where the database is away it is not counted there."""
        if verdict is not None:
            self._tally.submitted(due.provider, verdict)
        try:
            await self._judge(due, verdict)
        except DatabaseAway as fault:
            log.warning("how provider %s answered is not counted: %s", due.provider, fault)

    async def asked(self, provider: str, heard: Heard) -> None:
        """Counts how a poll went. Where the database is away it is not counted."""
        room = self._rooms.get(provider)
        try:
            if not heard.reached:
                await self._not_answered(provider, heard)
            elif room is not None and room.ask_failures:
                await health.restore_asks(self._db, provider)
                self._look_again()
                if room.ask_failures >= FAILURES:
                    log.info("provider %s answers polls again", provider)
        except DatabaseAway as fault:
            log.warning("how provider %s answered is not counted: %s", provider, fault)

    async def _judge(self, due: Due, verdict: Verdict | None) -> None:
        error = verdict.error if isinstance(verdict, Refused) else verdict
        if error is None:
            if due.trial:
                await health.untry(self._db, due.provider)
        elif isinstance(error, Unclear):
            await self._failed(due, error.note)
        elif isinstance(error, JobError) and (pause := _pause_for(error, verdict)) is not None:
            await self._pause(due.provider, pause, error.code, error.message, trial=due.trial)
        elif isinstance(error, JobError) and error.code is ErrorCode.PROVIDER_UNAVAILABLE:
            await self._failed(due, error.message)
        elif due.trial or due.ailing:
            await self._restore(due)

    async def _failed(self, due: Due, message: str) -> None:
        opens = await health.fail_submit(self._db, due.provider, most=FAILURES, trial=due.trial)
        if opens:
            code = ErrorCode.PROVIDER_UNAVAILABLE
            await self._pause(due.provider, CIRCUIT, code, message, trial=due.trial)

    async def _not_answered(self, provider: str, heard: Heard) -> None:
        count = await health.fail_ask(self._db, provider)
        self._look_again()
        if count == FAILURES:
            log.warning("provider %s is asked slowly: %d polls in a row failed", provider, count)
        if heard.denied and count == FAILURES:  # once: a submit that it takes ends the pause
            code = ErrorCode.PROVIDER_AUTH
            await self._pause(provider, ACCOUNT[code], code, "polls are denied", trial=False)

    async def _restore(self, due: Due) -> None:
        if await health.restore(self._db, due.provider, trial=due.trial) and due.trial:
            log.info("provider %s takes jobs again", due.provider)
        self._look_again()

    async def _pause(
        self, provider: str, pause: Pause, code: ErrorCode, message: str, *, trial: bool
    ) -> None:
        seconds = await health.pause(
            self._db,
            provider,
            seconds=pause.first,
            longest=pause.longest,
            code=code,
            message=message,
            trial=trial,
        )
        self._look_again()
        if seconds is not None:
            log.warning("provider %s is paused, %.0f s: %s", provider, seconds, code)

    def _look_again(self) -> None:
        self._looked_at = -math.inf


def _pause_for(error: JobError, verdict: Verdict | None) -> Pause | None:
    """What a refusal asks for that is about the account and not about the job; else None."""
    wanted = verdict.retry_after if isinstance(verdict, Refused) else None
    if error.code is ErrorCode.RATE_LIMITED:
        seconds = RATE_LIMIT_SECONDS if wanted is None else wanted
        seconds = min(LONGEST_RATE_LIMIT_SECONDS, seconds)
        return Pause(first=seconds, longest=seconds)
    pause = ACCOUNT.get(error.code)
    if pause is None or wanted is None:
        return pause
    return Pause(first=min(wanted, pause.longest), longest=pause.longest)


def slow(room: Room) -> bool:
    """Whether a provider is asked only one job at a time, once a second."""
    return room.ask_failures >= FAILURES or (room.paused and room.code in SLOWING)
