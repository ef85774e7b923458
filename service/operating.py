"""What every act by hand works with: the job as it stands, who acts, and how an act is stored."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from service.catalog import Catalog
from service.database import Database
from service.errors import Conflict, DatabaseAway, FieldFault, InvalidRequest, NotFound, Unavailable
from service.ids import bucket_of, new_id
from service.inquiry import Inquiry
from service.job import State
from service.news import News
from service.providers import Provider
from service.store import acts, attempts, jobs
from service.store.acts import Act, Success
from service.store.advance import Move, find_move, new_event_id
from service.store.attempts import Standing, Tried
from service.wakes import Wakes

STORE_WITHIN_SECONDS = 5.0
LOOKS = 5  # how often an act is decided anew because the job has moved meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of a Callboard that acts work with."""

    db: Database
    providers: Mapping[str, Provider]
    catalog: Catalog
    inquiry: Inquiry
    news: News
    wakes: Wakes

    def provider_of(self, standing: Standing) -> Provider:
        """The job's provider. Raises Conflict where it has no key here."""
        found = self.providers.get(standing.provider)
        if found is None:
            problem = f"the job's provider, {standing.provider}, is not configured here"
            raise Conflict(problem, code="provider_not_configured")
        return found

    async def look(self, job_id: UUID) -> Standing:
        """The job as it stands. Raises NotFound, DatabaseAway."""
        found = await attempts.standing(self.db, job_id)
        if found is None:
            raise NotFound("there is no such job", code="not_found")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acts, and why. `who` is a key's id or the command line's user; `source` is that of a move
    which is theirs alone: `api` or `operator`."""

    who: str
    source: str = "operator"
    reason: str | None = None

    def act(self, name: str, tried: Tried, **detail: Any) -> Act:
        """An act of that name on an attempt."""
        job_id = tried.attempt.job_id
        return Act(
            id=new_id(bucket_of(job_id)),
            job_id=job_id,
            attempt=tried.number,
            act=name,
            who=self.who,
            reason=self.reason,
            detail=detail,
        )


def need_reason(actor: Actor, what: str) -> None:
    """Raises InvalidRequest where somebody who should say why does not."""
    if not (actor.reason or "").strip():
        raise wrong("reason", f"must say why: {what}")


def wrong(field: str, problem: str) -> InvalidRequest:
    """One wrong field of an act."""
    return InvalidRequest(f"{field}: {problem}", fields=(FieldFault(field, problem),))


def conflict(message: str, *, code: str = "conflict") -> Conflict:
    """Why the job as it stands does not allow an act."""
    return Conflict(message, code=code)


def still_alive(message: str) -> Conflict:
    """The same, because an attempt may still bring its render, and its bill."""
    return conflict(message, code="still_alive")


def restless() -> Conflict:
    """The job moved at each of our looks."""
    return Conflict("the job keeps moving; try again", code="conflict", retryable=True)


def current(standing: Standing, number: int) -> Tried:
    """The attempt of that number, which must be the job's. Raises Conflict."""
    if standing.current.number != number:
        raise conflict(f"attempt {standing.current.number} is the job's now, not {number}")
    return standing.current


def by_hand(
    standing: Standing,
    now: State,
    *,
    to_attempt: int | None = None,
    provider_id: str | None = None,
    task: str | None = None,
    due_in: float | None = None,
) -> Move:
    """An operator's move of a job from where it stands, at this version, to `now`; the rest as in
    Move."""
    return Move(
        job_id=standing.job_id,
        attempt=standing.current.number,
        source="operator",
        event_id=new_event_id(standing.job_id),
        was=standing.state,
        expected=standing.version,
        now=now,
        to_attempt=to_attempt,
        provider_id=provider_id,
        task=task,
        due_in=due_in,
    )


async def stored(parts: Parts, move: Move, act: Act, success: Success | None = None) -> bool:
    """Whether the move, which `store.acts.perform` keeps together with the act, is made; whoever
    has something to do then is woken. After a lost answer it is sent again, and read back: it is
    made once.

    Raises Unavailable, `charged: unknown`, where the database does not say in time.
    """
    until = time.monotonic() + STORE_WITHIN_SECONDS
    lost = False
    while True:
        try:
            outcome = await acts.perform(parts.db, move, act, success)
            if lost and not outcome.moved and await find_move(parts.db, move) is not None:
                outcome = replace(outcome, moved=True, state=move.now, staged=True)
            parts.wakes.moved([outcome])
            return outcome.moved
        except DatabaseAway:
            if time.monotonic() > until:
                raise _unknown() from None
        lost = True
        await asyncio.sleep(0.1)


async def end_upstream(parts: Parts, standing: Standing, tried: Tried, act: Act) -> None:
    """Asks the provider to end a render that nobody waits for any more, and tells of its answer in
    the act's detail. Nothing hangs on it."""
    provider = parts.providers.get(standing.provider)
    if provider is None or not provider.cancels or tried.attempt.provider_id is None:
        return
    answer = await parts.inquiry.cancel(provider, tried.attempt)
    try:
        if answer is not None:
            await jobs.answer_cancel(parts.db, standing.job_id, tried.number, answer)
        told = {**act.detail, "cancel": answer or "no answer"}
        await acts.tell(parts.db, replace(act, detail=told))
    except DatabaseAway:
        return  # the act itself is stored


def _unknown() -> Unavailable:
    return Unavailable(
        "the database did not say whether this was done; the job's timeline will",
        code="unavailable",
        retryable=True,
        charged="unknown",
        retry_after=5,
    )
