"""Asks providers for news of jobs that have gone quiet, and gives up in time.

A poll that brings no verdict never ends a job; only a provider's well-formed word does, or the
deadline and the time to give up.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from service.database import Database
from service.gather import Gather
from service.health import Health
from service.ids import bucket_of, new_id
from service.inquiry import Inquiry
from service.job import ENDED, Charged, ErrorCode, JobError, State
from service.moves import Moves
from service.news import told
from service.pace import Pace, sparse_look
from service.providers import CancelAnswer, Provider, Report
from service.store import events, jobs
from service.store.advance import Move, new_event_id
from service.store.agenda import Asked, Due, finish_asks
from service.turns import Turns

UNKNOWN_PROVIDER_SECONDS = 300.0
# Between looks, unless there is room again where there was too little: one for three jobs costs
# Postgres hardly less than one for ten, and every answer wakes us.
APART_SECONDS = 0.05
HELD_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """The sweeper's clocks, in seconds: a lease, and how long an unconfirmed job and one that the
    provider says it works on are waited for."""

    lease: float
    unconfirmed: float
    give_up: float


class Sweeper:
    """Claims due jobs and asks after them. Its `moves` are written together with what callbacks
    bring; `lost` hears of jobs that were being sent by somebody who has gone."""

    def __init__(
        self,
        db: Database,
        providers: Mapping[str, Provider],
        inquiry: Inquiry,
        pace: Pace,
        health: Health,
        turns: Turns,
        *,
        patience: Patience,
        moves: Moves,
        lost: Callable[[Due], Awaitable[None]],
        wake: asyncio.Event,
    ) -> None:
        self._db = db
        self._providers = providers
        self._inquiry = inquiry
        self._pace = pace
        self._health = health
        self._patience = patience
        self._lost = lost
        self.turns = turns
        self.wake = wake
        self._looked_at = -math.inf
        self._moves = moves
        self._ends = Gather(self._note, key=lambda asked: asked.due.attempt.job_id)

    async def step(self) -> bool:
        """Claims the due jobs whose turn it is and starts asking after them. False: a place that
        becomes free wakes the loop. Raises DatabaseAway."""
        await self._hold_back()
        self._looked_at = time.monotonic()
        await self.turns.start(self._settle)
        return False

    async def _hold_back(self) -> None:
        until = self._looked_at + APART_SECONDS
        while not self.turns.pressing and (left := until - time.monotonic()) > 0:
            self.wake.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self.wake.wait(), left)

    async def finish(self) -> None:
        """Ends the polls under way; their leases run out, and another look follows. What is being
        written then is written to its end."""
        await self.turns.cancel()
        await asyncio.gather(self._moves.drain(), self._ends.drain())

    async def _settle(self, due: Due) -> None:
        provider = self._providers.get(due.provider)
        if due.task == "sending":
            await self._lost(due)
        elif due.attempt.provider_id is None:
            await self._wait(due)
        elif provider is None:
            await self._tell_stuck(due, due.version)
            note = f"provider {due.provider} has no key: not asked"
            await self._finish(due, Report(state=None, note=note), UNKNOWN_PROVIDER_SECONDS, None)
        else:
            await self._ask(provider, due)

    async def _wait(self, due: Due) -> None:
        """A job that nobody can ask after, unconfirmed or accepted under an id that only its
        callback will tell: told when it is overdue, and given up in its own time."""
        unconfirmed = due.state is State.UNCONFIRMED
        age = due.age or 0.0
        left = (self._patience.unconfirmed if unconfirmed else self._patience.give_up) - age
        if left <= 0:
            await self._expire(due, _unconfirmed_error() if unconfirmed else _unheard_error())
            return
        await self._tell_stuck(due, due.version)
        until_overdue = due.deadline_seconds - age
        again_in = min(left, until_overdue) if until_overdue > 0 else left
        await self._give_back(Asked(due=due, again_in=again_in))

    async def _ask(self, provider: Provider, due: Due) -> None:
        due = await self._cancel(provider, due)
        heard = await self._inquiry.ask(provider, due.attempt, due.secrets)
        await self._health.asked(provider.name, heard)
        report = heard.report
        pause = self._pause(provider, due)
        version: int | None = due.version
        if _ended_by_cancel(due, report):
            await self._end(due, State.CANCELED, _canceled_error(due), source="poll")
            version = None
        elif report.state not in ENDED and self._too_late(due, report):
            await self._expire(due, _expired_error(report), late=provider.late_seconds)
            version = None
        elif report.state is not None and report.state is not due.state:
            version = await self._tell(provider, due, report, pause)
        if report.state not in ENDED and version is not None:
            await self._tell_stuck(due, version)
        over = report.state in ENDED or _late_window_over(due, provider)
        await self._finish(due, report, None if over else pause, heard.took_ms)

    async def _tell(self, provider: Provider, due: Due, report: Report, pause: float) -> int | None:
        """Moves the job as reported; its version then, None where it did not move."""
        outcome = await self._moves.put(
            told(provider, due.attempt, report, due_in=pause), anyway=True
        )
        return outcome.version

    async def _cancel(self, provider: Provider, due: Due) -> Due:
        """Asks for the end that somebody wants, until that is answered."""
        if not due.canceling or due.cancel_answer is not None or not provider.cancels:
            return due
        answer = await self._inquiry.cancel(provider, due.attempt)
        if answer is None:
            return due
        await jobs.answer_cancel(self._db, due.attempt.job_id, due.attempt.number, answer)
        return replace(due, cancel_answer=answer)

    async def _tell_stuck(self, due: Due, version: int) -> None:
        """Tells, once, that the job is overdue, where it is."""
        overdue = due.age is not None and due.age > due.deadline_seconds
        if overdue and not due.told_stuck and due.state not in ENDED:
            self._moves.moved(await events.tell_stuck(self._db, due.attempt.job_id, version))

    def _pause(self, provider: Provider, due: Due) -> float:
        if due.state is State.EXPIRED:
            return sparse_look()
        return self._pace.next_look(provider, due.attempt.model, tries=due.tries)

    def _too_late(self, due: Due, report: Report) -> bool:
        """Whether to give the job up: past the deadline where the provider does not know it, or
        says that it is done and shows no result; past the time to give up whatever it says."""
        if due.age is None or due.state is State.EXPIRED:
            return False
        idle = report.gone or report.resultless
        return due.age > self._patience.give_up or (idle and due.age > due.deadline_seconds)

    async def _expire(self, due: Due, error: JobError, *, late: float | None = None) -> None:
        """Ends the job without a verdict. With `late` seconds left in which the provider may still
        say something it stays on the agenda, sparsely asked after."""
        await self._end(
            due, State.EXPIRED, error, source="sweep", again_in=sparse_look() if late else None
        )

    async def _end(
        self, due: Due, now: State, error: JobError, *, source: str, again_in: float | None = None
    ) -> None:
        """Ends the job, where it still stands as it was claimed, without a verdict of its own."""
        move = Move(
            job_id=due.attempt.job_id,
            attempt=due.attempt.number,
            source=source,
            event_id=new_event_id(due.attempt.job_id),
            was=due.state,
            expected=due.version,
            now=now,
            error=error,
            task="late",
            due_in=again_in,
        )
        await self._moves.put(move, anyway=True)

    async def _finish(
        self, due: Due, report: Report, again: float | None, took: int | None
    ) -> None:
        asked = Asked(
            due=due,
            again_in=again,
            poll_id=new_id(bucket_of(due.attempt.job_id)),
            duration_ms=took or 0,
            said=report.state,
            note=_note(due, report),
            progress=report.progress,
        )
        await self._give_back(asked)

    async def _give_back(self, asked: Asked) -> None:
        while not await self._ends.put(asked):  # noqa: ASYNC110  who moves the job tells nobody
            await asyncio.sleep(HELD_SECONDS)

    async def _note(self, asked: Sequence[Asked]) -> Sequence[bool]:
        return await finish_asks(self._db, asked)


def _note(due: Due, report: Report) -> str | None:
    asked = f"asked to cancel: {due.cancel_answer or 'no answer yet'}" if due.canceling else None
    return "; ".join(part for part in (asked, report.note) if part) or None


def _ended_by_cancel(due: Due, report: Report) -> bool:
    """Whether a provider that took the cancel no longer knows the render: it was still queued."""
    return due.cancel_answer == CancelAnswer.REQUESTED and report.gone and due.state not in ENDED


def _canceled_error(due: Due) -> JobError:
    """No verdict: a success that comes nevertheless is kept, and can be adopted."""
    return JobError(
        code=ErrorCode.CANCELED,
        message=f"{due.provider} took the cancel, and no longer knows the job",
        retryable=True,
        charged=Charged.UNKNOWN,
    )


def _late_window_over(due: Due, provider: Provider) -> bool:
    return due.ended_for is not None and due.ended_for > provider.late_seconds


def _unconfirmed_error() -> JobError:
    return JobError(
        code=ErrorCode.SUBMISSION_UNCONFIRMED,
        message="sent, and neither a reply nor a callback ever came",
        retryable=False,
        charged=Charged.UNKNOWN,
    )


def _unheard_error() -> JobError:
    return JobError(
        code=ErrorCode.EXPIRED,
        message="accepted under an id that nobody knows, and no callback ever came",
        retryable=True,
        charged=Charged.UNKNOWN,
    )


def _expired_error(report: Report) -> JobError:
    return JobError(
        code=ErrorCode.RESULT_UNAVAILABLE if report.resultless else ErrorCode.EXPIRED,
        message=f"no verdict in time; the last word: {report.note or report.state}",
        retryable=True,
        charged=Charged.UNKNOWN,
    )
