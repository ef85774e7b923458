"""Settles an `unconfirmed` job by an operator's word: its POST was accepted, or it was not."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from service import ids, submission
from service.inquiry import Heard
from service.job import State
from service.next_attempt import move_to_next, price_of
from service.operating import (
    LOOKS,
    Actor,
    Parts,
    by_hand,
    conflict,
    current,
    need_reason,
    restless,
    stored,
    wrong,
)
from service.pace import sparse_look
from service.providers import Attempt
from service.store import acts, jobs
from service.store.advance import Move
from service.store.attempts import Standing, Tried


async def accepted(
    parts: Parts, actor: Actor, job_id: UUID, *, attempt: int, provider_id: str | None = None
) -> None:
    """The provider has the job, under `provider_id`: it is asked after from now on. Without an id
    the job waits for its callback, which must be registered. One that has expired without an id is
    asked after by it too, so that its late success still comes.

    Raises NotFound; Conflict where the job is not unconfirmed, where another has this id, or its
    provider says that it does not know it; InvalidRequest; Unavailable.
    """
    heard = None
    for _ in range(LOOKS):
        standing = await parts.look(job_id)
        if standing.state is State.EXPIRED and standing.current.attempt.provider_id is None:
            await _found_late(parts, actor, standing, attempt, provider_id)
            return
        tried = _unconfirmed(standing, attempt)
        if provider_id is None and not tried.calls_back:
            raise wrong("provider_id", "must be given: no callback is registered that will tell it")
        known = replace(tried.attempt, provider_id=provider_id)
        if provider_id is not None and heard is None:
            heard = await _known(parts, standing, known)
        said = {"as": "accepted", "provider_id": provider_id}
        act = actor.act("resolve", tried, **said)
        move = by_hand(standing, State.SUBMITTED, provider_id=provider_id, task="poll", due_in=0.0)
        if await stored(parts, move, act):
            parts.wakes.ask.set()
            if heard is not None:
                await parts.news.keep(parts.provider_of(standing), known, heard)
            return
    raise restless()


async def not_accepted(parts: Parts, actor: Actor, job_id: UUID, *, attempt: int) -> None:
    """The provider has never had the job: the next attempt follows, which costs anew. A job whose
    end somebody asked for meanwhile is canceled instead.

    Raises NotFound; Conflict where the job is not unconfirmed, or its provider has told an id;
    InvalidRequest where the actor gives no reason; Unavailable.
    """
    need_reason(actor, "the next attempt is paid for, and so is this one if it was accepted")
    for _ in range(LOOKS):
        standing = await parts.look(job_id)
        tried = _unconfirmed(standing, attempt)
        if (told := tried.attempt.provider_id) is not None:
            raise conflict(f"it was accepted: its provider calls it {told}")
        parts.provider_of(standing)
        said: dict[str, Any] = {"as": "not_accepted"}
        if standing.canceling:
            move = _to_canceled(standing)
        else:
            move = move_to_next(standing)
            said |= {"to_attempt": move.to_attempt, **price_of(standing)}
        if await stored(parts, move, actor.act("resolve", tried, **said)):
            return
    raise restless()


async def _found_late(
    parts: Parts, actor: Actor, standing: Standing, attempt: int, provider_id: str | None
) -> None:
    """Asks after an expired job by the id that was found for it, now and, where it has no verdict
    yet, as rarely as after any that is late."""
    tried = current(standing, attempt)
    if provider_id is None:
        raise wrong("provider_id", "must be given: the job has expired, and is asked after by it")
    provider = parts.provider_of(standing)
    known = replace(tried.attempt, provider_id=provider_id)
    heard = await _known(parts, standing, known)
    said = {"as": "accepted", "provider_id": provider_id}
    act = actor.act("resolve", tried, **said)
    named = await acts.name_late(parts.db, act, provider_id, due_in=sparse_look())
    if named and heard is not None:
        await parts.news.keep(provider, known, heard)


def _unconfirmed(standing: Standing, attempt: int) -> Tried:
    tried = current(standing, attempt)
    if standing.state is State.SUBMITTING:
        raise conflict("its POST may still be under way: wait until that is over")
    if standing.state is not State.UNCONFIRMED:
        raise conflict(f"there is nothing to resolve: it is {standing.state}")
    return tried


async def _known(parts: Parts, standing: Standing, attempt: Attempt) -> Heard | None:
    """What the provider says of the id that an operator found; None: nobody can ask it here. A
    mistaken id would keep the job from its own callback."""
    found = await jobs.find_attempt(parts.db, standing.provider, attempt.provider_id or "")
    if found is not None and found != (standing.job_id, attempt.number):
        other = ids.show("job", found[0])
        raise conflict(f"{attempt.provider_id} is attempt {found[1]} of {other}")
    provider = parts.providers.get(standing.provider)
    if provider is None:
        return None
    heard = await parts.inquiry.ask(provider, attempt, standing.secrets)
    if heard.report.gone:
        raise conflict(f"{provider.name} does not know {attempt.provider_id}, or no longer")
    return heard


def _to_canceled(standing: Standing) -> Move:
    move = submission.canceled(standing.job_id, standing.current.number, "operator")
    return replace(move, was=State.UNCONFIRMED, expected=standing.version)
