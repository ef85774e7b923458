"""Sends each queued job to its provider: at most one POST per attempt, whatever dies meanwhile.

A job moves to `submitting` alone, just before its own POST. What is known not to have been sent,
or was refused, goes back or fails; everything else whose outcome nobody knows is `unconfirmed`.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from service import http, submission
from service.database import Database
from service.errors import DatabaseAway, NotSent, ReplyLost, TargetForbidden
from service.health import Health, Verdict
from service.job import State
from service.loop import until_stored
from service.pace import Pace
from service.providers import Accepted, Provider, Refused, Request, Unclear
from service.registration import Registration
from service.slots import Shares
from service.store import agenda, jobs
from service.store.advance import Move, Outcome, advance, find_move
from service.store.agenda import Due, Turn
from service.submission import Submission, Timing
from service.vault import NO_SECRETS, Vault

log = logging.getLogger(__name__)

CONNECT_SECONDS = 10.0
NO_BOUNDS: Mapping[str, int] = {}


async def _nobody_waits(provider: Provider, provider_id: str) -> None:
    """No call waits for this id."""


class Submitter:
    """Claims queued jobs and sends them, `each` of a provider at once; `most` bounds the jobs that
    all processes together have in flight, by provider. `moved` hears of every move; `accepted` of
    every id that a provider gave, for the calls that came before it."""

    def __init__(
        self,
        db: Database,
        providers: Mapping[str, Provider],
        registration: Registration,
        timing: Timing,
        pace: Pace,
        health: Health,
        moved: Callable[[list[Outcome]], None],
        *,
        wake: asyncio.Event,
        accepted: Callable[[Provider, str], Awaitable[None]] = _nobody_waits,
        each: int = 32,
        most: Mapping[str, int] = NO_BOUNDS,
        vault: Vault = NO_SECRETS,
    ) -> None:
        self._db = db
        self._providers = providers
        self._registration = registration
        self._timing = timing
        self._pace = pace
        self._health = health
        self._moved = moved
        self._accepted = accepted
        self._vault = vault
        self.wake = wake
        self._most = most
        self._slots = Shares(each, wake)
        self._own: set[UUID] = set()  # the jobs that are being sent here

    async def step(self) -> bool:
        """Claims as many jobs as there are free places and starts sending them. True: there may be
        more due, and places for them by now. Raises DatabaseAway."""
        turns = [
            Turn(provider=name, places=free, most=self._most.get(name))
            for name in self._providers
            if (free := self._slots.of(name).free) > 0
        ]
        if not turns:
            return False
        claimed = await agenda.claim_submits(
            self._db, lease_seconds=self._timing.lease, turns=turns
        )
        for due in claimed:
            self._own.add(due.attempt.job_id)
            self._slots.of(due.provider).start(self._owned(due))
        more = [self._more(turn, claimed) for turn in turns]
        return any(more)

    def _more(self, turn: Turn, claimed: Sequence[Due]) -> bool:
        """Whether more of a provider's jobs may be due, and there are places for them by now. Where
        all were claimed nobody need look when one of them has been sent, save after a trial."""
        taken = [due for due in claimed if due.provider == turn.provider]
        slots = self._slots.of(turn.provider)
        slots.sated = len(taken) < turn.places and not any(due.trial for due in taken)
        return len(taken) == turn.places and slots.free > 0

    async def finish(self) -> None:
        """Waits until every POST under way has been answered and stored."""
        await self._slots.drain()

    async def doubt(self, due: Due) -> None:
        """A job that somebody was about to send, and whose lease has ended: unless it is being sent
        here (the database was away meanwhile), nobody knows whether it was."""
        if due.attempt.job_id in self._own or due.state is not State.SUBMITTING:
            return
        log.warning("job=%s was being sent when its sender went away", due.attempt.job_id.hex)
        gone = Unclear(note="the process that was sending it went away")
        await self._store(submission.unconfirmed(due, due.version, gone, self._timing))

    async def _owned(self, due: Due) -> None:
        try:
            await self._settle(due)
        finally:
            self._own.discard(due.attempt.job_id)

    async def _settle(self, due: Due) -> None:
        provider, verdict = self._providers[due.provider], None
        try:
            if due.state is State.QUEUED and due.canceling:
                await self._store(
                    submission.canceled(due.attempt.job_id, due.attempt.number, "api")
                )
            elif due.state is State.QUEUED:
                verdict = await self._send(provider, due)
        finally:
            await self._health.submitted(due, verdict)
        if isinstance(verdict, Accepted):
            await self._after(provider, due, verdict)

    async def _send(self, provider: Provider, due: Due) -> Verdict | None:
        """What the job's POST met, stored; None where none was made."""
        sent = Submission(provider=provider, due=due, timing=self._timing, pace=self._pace)
        callback = self._registration.callback(provider, due)
        whole = self._vault.restored(due.attempt.input, due.secrets)
        request = provider.submission(
            replace(due.attempt, input=whole), callback.url if callback else None
        )
        began = time.monotonic()
        version = await self._begin(sent.begins(callback.token_key if callback else None))
        if version is None:
            return None
        if time.monotonic() - began > self._timing.start_within:
            await self._store(sent.back(version, None, 0.0))
            return None
        try:
            verdict = await self._post(provider, request, due)
        except (NotSent, TargetForbidden) as fault:
            error = submission.unreachable(fault)
            await self._store(sent.back(version, error, None))
            return error
        await self._store(sent.ends(version, verdict))
        return verdict

    async def _post(
        self, provider: Provider, request: Request, due: Due
    ) -> Accepted | Refused | Unclear:
        """The one POST. Raises NotSent and TargetForbidden where provably nothing left."""
        try:
            reply = await http.post_once(
                request,
                origin=provider.origin,
                credentials=provider.credentials(),
                connect=min(CONNECT_SECONDS, self._timing.total / 2),
                total=self._timing.total,
            )
        except ReplyLost as fault:
            return Unclear(note=str(fault))
        said = self._vault.cleared(provider.name, reply.content, due.secrets)
        return provider.read_submission(replace(reply, content=said))

    async def _begin(self, move: Move) -> int | None:
        """Moves the job to `submitting`; its version then, or None where it is not ours to send.

        After a lost answer the move is sent again under the same id, and that id is read back: it
        took effect at most once.
        """
        try:
            (outcome,) = await advance(self._db, [move])
            return outcome.version if outcome.moved else None
        except DatabaseAway:
            log.warning("job=%s: the answer to its claim was lost", move.job_id and move.job_id.hex)
        (outcome,) = await until_stored(lambda: advance(self._db, [move]))
        if outcome.moved:
            return outcome.version
        return await until_stored(lambda: find_move(self._db, move))

    async def _after(self, provider: Provider, due: Due, verdict: Accepted) -> None:
        """What is left to do once the id is stored."""
        if (note := verdict.note) is not None:
            await until_stored(lambda: jobs.add_warning(self._db, due.attempt.job_id, note))
        await until_stored(lambda: self._accepted(provider, verdict.provider_id))

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
        if (undoubted := submission.undoubted(move, outcomes[0])) is not None:
            await self._store(undoubted)
        elif outcomes[0].canceling and outcomes[0].state is State.QUEUED:
            assert move.job_id is not None
            assert move.attempt is not None
            await self._store(submission.canceled(move.job_id, move.attempt, "api"))
