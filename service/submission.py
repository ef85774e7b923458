"""What becomes of a job by what its one POST met: the moves, built and not made. Pure."""

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from service.errors import NotSent, TargetForbidden
from service.job import Charged, ErrorCode, JobError, State
from service.pace import Pace, next_submit
from service.providers import Accepted, Attempt, Provider, Refused, Unclear
from service.store.advance import Move, Outcome, new_event_id
from service.store.agenda import Due

START_WITHIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The submitter's clocks, in seconds. The POST starts and ends well within the lease, so that
    while it may be under way nobody else touches the job."""

    lease: float
    unconfirmed: float
    give_up: float

    @property
    def start_within(self) -> float:
        return min(START_WITHIN_SECONDS, self.lease / 6)

    @property
    def total(self) -> float:
        return self.lease * 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One job's submission by this process, under its lease."""

    provider: Provider
    due: Due
    timing: Timing
    pace: Pace

    def begins(self, token_key: str | None) -> Move:
        """Just before the POST."""
        return self._move(
            was=State.QUEUED,
            now=State.SUBMITTING,
            token_key=token_key,
            task="sending",
            due_in=self.timing.lease,
        )

    def ends(self, version: int, verdict: Accepted | Refused | Unclear) -> Move:
        """What the reply to the POST makes of it; `version` is that of `submitting`."""
        if isinstance(verdict, Accepted):
            return self._accepted(verdict)
        if isinstance(verdict, Unclear):
            return unconfirmed(self.due, version, verdict, self.timing)
        if verdict.waits:
            return self.back(version, verdict.error, verdict.retry_after)
        return self._move(now=State.FAILED, error=verdict.error)

    def back(self, version: int, error: JobError | None, pause: float | None) -> Move:
        """Back to `queued` for `pause` seconds (None: longer at each try): fenced by version, since
        only this sender knows that nothing of its own was accepted."""
        return self._move(
            was=State.SUBMITTING,
            expected=version,
            now=State.QUEUED,
            error=error,
            task="submit",
            due_in=next_submit(self.due.tries) if pause is None else pause,
        )

    def _accepted(self, verdict: Accepted) -> Move:
        return self._move(
            now=State.SUBMITTED,
            provider_id=verdict.provider_id,
            urls=verdict.urls,
            progress=verdict.progress,
            actual=verdict.actual,
            task="poll",
            due_in=self.pace.first_look(self.provider, self.due.attempt.model),
        )

    def _move(self, **fields: Any) -> Move:
        return move_of(self.due.attempt, **fields)


def move_of(attempt: Attempt, **fields: Any) -> Move:
    """A move of the submitter's about this attempt."""
    return Move(
        job_id=attempt.job_id,
        attempt=attempt.number,
        source="submit",
        event_id=new_event_id(attempt.job_id),
        **fields,
    )


def unconfirmed(due: Due, version: int, verdict: Unclear, timing: Timing) -> Move:
    """Sent, and nobody knows what became of it. Looked at again when it is overdue, and when it is
    given up."""
    return move_of(
        due.attempt,
        was=State.SUBMITTING,
        expected=version,
        now=State.UNCONFIRMED,
        error=JobError(
            code=ErrorCode.SUBMISSION_UNCONFIRMED,
            message=f"sent, and its outcome is unknown: {verdict.note}",
            retryable=False,
            charged=Charged.UNKNOWN,
            provider=verdict.provider,
        ),
        task="give_up",
        due_in=min(timing.unconfirmed, due.deadline_seconds),
    )


def canceled(job_id: UUID, attempt: int, source: str) -> Move:
    """From `queued` to its end, since somebody asked for that before it was sent."""
    return Move(
        job_id=job_id,
        attempt=attempt,
        source=source,
        event_id=new_event_id(job_id),
        was=State.QUEUED,
        now=State.CANCELED,
        error=JobError(
            code=ErrorCode.CANCELED,
            message="canceled before it was sent",
            retryable=True,
            charged=Charged.NO,
        ),
    )


def undoubted(move: Move, outcome: Outcome) -> Move | None:
    """`move` once more where it goes back to `queued` and our lease ended first: whoever claimed
    the job could only doubt what we know, that nothing was accepted."""
    goes_back = move.now is State.QUEUED and move.was is State.SUBMITTING
    if outcome.moved or not goes_back or outcome.state is not State.UNCONFIRMED:
        return None
    assert move.job_id is not None
    assert move.expected is not None
    return replace(
        move,
        event_id=new_event_id(move.job_id),
        was=State.UNCONFIRMED,
        expected=move.expected + 1,
    )


def unreachable(fault: NotSent | TargetForbidden) -> JobError:
    """The error of a job whose POST provably never left."""
    return JobError(
        code=ErrorCode.PROVIDER_UNAVAILABLE,
        message=f"the provider could not be reached, nothing was sent: {fault}",
        retryable=True,
        charged=Charged.NO,
    )
