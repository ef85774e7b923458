"""Asks a job's provider now, out of turn: for its end, or for output addresses that still hold."""

import asyncio
from uuid import UUID

from service.errors import Conflict, Unavailable
from service.inquiry import Heard
from service.job import State
from service.operating import Actor, Parts, conflict
from service.providers import Provider
from service.store import acts
from service.store.attempts import Standing, Tried

RETRY_AFTER_SECONDS = 10
_UNSENT = {
    State.QUEUED: "it waits for its turn and has not been sent",
    State.SUBMITTING: "it is being sent, and its provider has given it no id yet",
    State.UNCONFIRMED: "nobody knows whether its provider has it; resolve it, with the id it has"
    " there",
}


async def resync(parts: Parts, actor: Actor, job_id: UUID) -> None:
    """Asks after the job's attempt, and after older ones that nobody has told the end of; what is
    said moves the job as any poll does, and is kept. Of a success it already has, the job gets the
    newest addresses, without a move.

    Raises NotFound; Conflict where there is no id to ask by, or the provider is not configured;
    Unavailable where the provider does not answer.
    """
    standing = await parts.look(job_id)
    asked = [one for one in standing.tries if _can_be_asked(standing, one)]
    if not asked:
        raise _nothing_to_ask(standing)
    provider = parts.provider_of(standing)
    asking = (parts.news.ask(provider, one.attempt, standing.secrets) for one in asked)
    heard = dict(zip((one.number for one in asked), await asyncio.gather(*asking), strict=True))
    said = {str(number): one.report.state or one.report.note for number, one in heard.items()}
    await acts.note(parts.db, actor.act("resync", standing.current, said=said))
    mine = heard.get(standing.current.number)
    if mine is not None and not mine.reached and mine.report.state is None:
        raise _away(provider, mine)


def _can_be_asked(standing: Standing, tried: Tried) -> bool:
    mine = tried.number == standing.current.number
    return tried.attempt.provider_id is not None and (mine or tried.outcome is None)


def _nothing_to_ask(standing: Standing) -> Conflict:
    why = _UNSENT.get(standing.state, "its provider never gave it an id")
    return conflict(f"there is nothing to ask: {why}")


def _away(provider: Provider, heard: Heard) -> Unavailable:
    code = "provider_auth" if heard.denied else "provider_unavailable"
    return Unavailable(
        f"{provider.name} gave no answer that counts: {heard.report.note}",
        code=code,
        retryable=True,
        retry_after=RETRY_AFTER_SECONDS,
    )
