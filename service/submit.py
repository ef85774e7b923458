"""Sends each queued job to its provider: at most one POST per attempt, whatever dies meanwhile.

A job moves to `submitting` alone, just before its own POST. What is known not to have been sent,
or was refused, goes back or fails; everything else whose outcome nobody knows is `unconfirmed`.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from service import http, ids
from service.database import Database
from service.errors import DatabaseAway, NotSent, ReplyLost, TargetForbidden
from service.job import Charged, ErrorCode, JobError, State
from service.loop import until_stored
from service.pace import Pace, next_submit
from service.providers import Accepted, Attempt, Provider, Refused, Unclear
from service.slots import Slots
from service.store import agenda, jobs
from service.store.advance import Move, Outcome, advance, find_move, new_event_id
from service.store.agenda import Due
from service.tokens import Tokens, sent_by
from service.vault import NO_SECRETS, Vault

log = logging.getLogger(__name__)

CONNECT_SECONDS = 10.0
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


class Submitter:
    """Claims queued jobs and sends them, `in_flight` at once. `moved` hears of every move."""

    def __init__(
        self,
        db: Database,
        providers: Mapping[str, Provider],
        tokens: Tokens,
        timing: Timing,
        pace: Pace,
        public_url: str | None,
        moved: Callable[[list[Outcome]], None],
        in_flight: int = 32,
        vault: Vault = NO_SECRETS,
    ) -> None:
        self._db = db
        self._providers = providers
        self._tokens = tokens
        self._timing = timing
        self._pace = pace
        self._public_url = public_url
        self._moved = moved
        self._vault = vault
        self.wake = asyncio.Event()
        self._slots = Slots(in_flight, self.wake)
        self._own: set[UUID] = set()  # the jobs that are being sent here

    async def step(self) -> bool:
        """Claims as many jobs as there are free places and starts sending them. False: a place that
        becomes free wakes the loop. Raises DatabaseAway."""
        if not self._slots.free:
            return False
        claimed = await agenda.claim_submits(
            self._db,
            limit=self._slots.free,
            lease_seconds=self._timing.lease,
            providers=list(self._providers),
        )
        for due in claimed:
            if due.state is State.SUBMITTING and due.attempt.job_id in self._own:
                continue  # its lease ended while the database was away, and is ours again
            self._own.add(due.attempt.job_id)
            self._slots.start(self._owned(due))
        return False

    async def finish(self) -> None:
        """Waits until every POST under way has been answered and stored."""
        await self._slots.drain()

    async def _owned(self, due: Due) -> None:
        try:
            await self._settle(due)
        finally:
            self._own.discard(due.attempt.job_id)

    async def _settle(self, due: Due) -> None:
        if due.state is State.SUBMITTING:
            log.warning("job=%s was being sent when its sender went away", due.attempt.job_id.hex)
            note = "the process that was sending it went away"
            await self._store(self._unconfirmed(due.attempt, due.version, Unclear(note=note)))
        elif due.state is State.QUEUED:
            await self._send(self._providers[due.provider], due)

    async def _send(self, provider: Provider, due: Due) -> None:
        attempt = due.attempt
        token = self._token(provider, due)
        whole = replace(attempt, input=self._vault.restored(attempt.input, due.secrets))
        request = provider.submission(whole, self._callback_url(provider, token))
        began = time.monotonic()
        version = await self._begin(attempt, self._tokens.key_name if token else None)
        if version is None:
            return
        if time.monotonic() - began > self._timing.start_within:
            await self._store(self._back(attempt, version, None, 0.0))
            return
        try:
            reply = await http.post_once(
                request,
                origin=provider.origin,
                credentials=provider.credentials(),
                connect=min(CONNECT_SECONDS, self._timing.total / 2),
                total=self._timing.total,
            )
        except (NotSent, TargetForbidden) as fault:
            await self._store(
                self._back(attempt, version, _unreachable(fault), next_submit(due.tries))
            )
            return
        except ReplyLost as fault:
            await self._store(self._unconfirmed(attempt, version, Unclear(note=str(fault))))
            return
        said = self._vault.cleared(provider.name, reply.content, due.secrets)
        verdict = provider.read_submission(replace(reply, content=said))
        await self._store(self._verdict(provider, due, version, verdict))
        if isinstance(verdict, Accepted) and (note := verdict.note) is not None:
            await until_stored(lambda: jobs.add_warning(self._db, attempt.job_id, note))

    async def _begin(self, attempt: Attempt, token_key: str | None) -> int | None:
        """Moves the job to `submitting`; its version then, or None where it is not ours to send.

        After a lost answer the move is sent again under the same id, and that id is read back: it
        took effect at most once.
        """
        move = _move(
            attempt,
            was=State.QUEUED,
            now=State.SUBMITTING,
            token_key=token_key,
            task="submit",
            due_in=self._timing.lease,
        )
        try:
            (outcome,) = await advance(self._db, [move])
            return outcome.version if outcome.moved else None
        except DatabaseAway:
            log.warning("job=%s: the answer to its claim was lost", attempt.job_id.hex)
        (outcome,) = await until_stored(lambda: advance(self._db, [move]))
        if outcome.moved:
            return outcome.version
        return await until_stored(lambda: find_move(self._db, move))

    def _verdict(
        self, provider: Provider, due: Due, version: int, verdict: Accepted | Refused | Unclear
    ) -> Move:
        if isinstance(verdict, Accepted):
            return self._accepted(provider, due.attempt, verdict)
        if isinstance(verdict, Unclear):
            return self._unconfirmed(due.attempt, version, verdict)
        if verdict.waits:
            pause = next_submit(due.tries) if verdict.retry_after is None else verdict.retry_after
            return self._back(due.attempt, version, verdict.error, pause)
        return _move(due.attempt, now=State.FAILED, error=verdict.error)

    def _accepted(self, provider: Provider, attempt: Attempt, verdict: Accepted) -> Move:
        return _move(
            attempt,
            now=State.SUBMITTED,
            provider_id=verdict.provider_id,
            urls=verdict.urls,
            progress=verdict.progress,
            actual=verdict.actual,
            task="poll",
            due_in=self._pace.first_look(provider, attempt.model),
        )

    def _unconfirmed(self, attempt: Attempt, version: int, verdict: Unclear) -> Move:
        return _move(
            attempt,
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
            due_in=self._timing.unconfirmed,
        )

    def _back(self, attempt: Attempt, version: int, error: JobError | None, pause: float) -> Move:
        """Back to `queued`: fenced by version, since only this sender knows that nothing of its
        own was accepted."""
        return _move(
            attempt,
            was=State.SUBMITTING,
            expected=version,
            now=State.QUEUED,
            error=error,
            task="submit",
            due_in=pause,
        )

    async def _store(self, move: Move) -> None:
        """Stores what became of a POST, however long the database is away. Where we are stopped
        before that, the last word is a log line from which an operator can resolve the job."""
        try:
            outcomes = await until_stored(lambda: advance(self._db, [move]))
        except asyncio.CancelledError:
            log.critical(
                "not stored before the end: job=%s attempt=%s now=%s provider_id=%s",
                move.job_id and move.job_id.hex,
                move.attempt,
                move.now,
                move.provider_id,
            )
            raise
        self._moved(outcomes)
        if (undoubted := _undoubted(move, outcomes[0])) is not None:
            await self._store(undoubted)

    def _token(self, provider: Provider, due: Due) -> str | None:
        if self._public_url is None or provider.callbacks == "none":
            return None
        lifetime = due.deadline_seconds + self._timing.give_up + provider.late_seconds
        lifetime += self._timing.unconfirmed
        return self._tokens.make(
            provider=provider.name,
            job_id=due.attempt.job_id,
            attempt=due.attempt.number,
            expires_at=lifetime + sent_by(ids.made_at(due.attempt.job_id), now=time.time()),
            sealed=due.secrets is not None,
        )

    def _callback_url(self, provider: Provider, token: str | None) -> str | None:
        if token is None:
            return None
        return f"{self._public_url}/callbacks/{provider.name}?token={token}"


def _move(attempt: Attempt, **fields: Any) -> Move:
    """A move of ours about this attempt."""
    return Move(
        job_id=attempt.job_id,
        attempt=attempt.number,
        source="submit",
        event_id=new_event_id(attempt.job_id),
        **fields,
    )


def _undoubted(move: Move, outcome: Outcome) -> Move | None:
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


def _unreachable(fault: NotSent | TargetForbidden) -> JobError:
    return JobError(
        code=ErrorCode.PROVIDER_UNAVAILABLE,
        message=f"the provider could not be reached, nothing was sent: {fault}",
        retryable=True,
        charged=Charged.NO,
    )
