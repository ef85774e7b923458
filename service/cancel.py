"""Cancels a job: at once where it was not sent yet, else as soon as the provider can be asked."""

from uuid import UUID

from service import submission
from service.job import ENDED, State
from service.operating import LOOKS, Actor, Parts, conflict, restless, stored
from service.store import acts
from service.store.attempts import Standing


async def cancel(parts: Parts, actor: Actor, job_id: UUID) -> None:
    """Ends a job that waits for its turn; of any other it is noted that somebody wants its end, and
    the provider is asked for that until it has answered. Asked for again, it changes nothing.

    Raises NotFound; Conflict where the job has ended, or its provider has no cancel; Unavailable.
    """
    for _ in range(LOOKS):
        standing = await parts.look(job_id)
        if standing.state in ENDED:
            raise conflict(f"it has ended already: {standing.state}")
        if standing.state is State.QUEUED:
            done = await _at_once(parts, actor, standing)
        else:
            done = await _asked_for(parts, actor, standing)
        if done:
            return
    raise restless()


async def _at_once(parts: Parts, actor: Actor, standing: Standing) -> bool:
    tried = standing.current
    move = submission.canceled(standing.job_id, tried.number, actor.source)
    return await stored(parts, move, actor.act("cancel", tried))


async def _asked_for(parts: Parts, actor: Actor, standing: Standing) -> bool:
    provider = parts.provider_of(standing)
    if not provider.cancels:
        raise conflict(f"{provider.name} has no cancel, and the job has been sent: let it end")
    act = actor.act("cancel", standing.current)
    if await acts.request_cancel(parts.db, act) is None:
        return False
    parts.wakes.ask.set()
    return True
