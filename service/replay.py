"""Runs the stored bytes of a call through today's code. It costs nothing, and a call that has been
applied already does nothing twice."""

from dataclasses import dataclass
from uuid import UUID

from service import ids
from service.database import Database
from service.errors import Conflict, KeysAway, Unavailable
from service.ids import bucket_of, new_id
from service.inbox import Inbox
from service.job import State
from service.operating import Actor
from service.store import acts, callbacks
from service.store.acts import Act
from service.store.advance import Move, Outcome
from service.store.callbacks import StoredCall


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What came of it, or (`dry_run`) would. `was` and `now` are the job's states before and after;
    None where it names no job that we have."""

    job_id: UUID | None
    attempt: int | None
    verdict: str
    reason: str | None
    was: State | None = None
    now: State | None = None
    moved: bool = False


class Replayer:
    """Replays calls that are stored."""

    def __init__(self, db: Database, inbox: Inbox) -> None:
        self._db = db
        self._inbox = inbox

    async def replay(
        self,
        call: StoredCall,
        actor: Actor,
        *,
        dry_run: bool = False,
        any_job: bool = True,
    ) -> Replayed:
        """Applies the call as far as it can be believed: else its provider is asked. That `actor`
        did it is kept with the job; unless `any_job`, it must be the one that the call was kept
        under. Raises Conflict where its provider is not configured, Unavailable where its signature
        cannot be checked now, DatabaseAway."""
        provider = self._inbox.providers.get(call.provider)
        if provider is None:
            problem = f"provider {call.provider} has no key here"
            raise Conflict(problem, code="provider_not_configured")
        try:
            reading = await self._inbox.read(provider, call)
        except KeysAway:
            problem = f"the keys to check {call.provider}'s signature cannot be fetched now"
            raise Unavailable(problem, code="unavailable", retryable=True, retry_after=60) from None
        move = reading.move
        if move is None:
            return Replayed(
                job_id=None, attempt=None, verdict=reading.verdict, reason=reading.reason
            )
        if not any_job and move.job_id != call.job_id:
            return Replayed(job_id=None, attempt=None, verdict="refused", reason="other_job")
        if dry_run:
            outcome = await callbacks.rehearse(self._db, move)
        else:
            outcome = await self._perform(move, _act(call, move, actor))
        return _replayed(move, outcome)

    async def _perform(self, move: Move, act: Act) -> Outcome:
        outcome = await acts.perform(self._db, move, act)
        self._inbox.moved([outcome])
        if not outcome.moved and outcome.state is not None:
            await acts.note(self._db, act)
        return outcome


def _act(call: StoredCall, move: Move, actor: Actor) -> Act:
    assert move.job_id is not None
    assert move.attempt is not None
    return Act(
        id=new_id(bucket_of(move.job_id)),
        job_id=move.job_id,
        attempt=move.attempt,
        act="replay",
        who=actor.who,
        reason=actor.reason,
        detail={"callback": ids.show("cbk", call.id), "verdict": call.verdict},
    )


def _replayed(move: Move, outcome: Outcome) -> Replayed:
    return Replayed(
        job_id=move.job_id,
        attempt=move.attempt,
        verdict=outcome.verdict,
        reason=outcome.reason,
        was=outcome.was,
        now=outcome.state,
        moved=outcome.moved,
    )
