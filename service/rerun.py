"""Makes a new attempt at a job in the place of one that has ended, or, by force, of any other."""

from uuid import UUID

from service.job import State
from service.next_attempt import check_model, move_to_next, price_of
from service.operating import (
    LOOKS,
    Actor,
    Parts,
    conflict,
    current,
    end_upstream,
    need_reason,
    restless,
    still_alive,
    stored,
)
from service.store.attempts import Standing, Tried


async def rerun(
    parts: Parts, actor: Actor, job_id: UUID, *, attempt: int, force: bool = False
) -> None:
    """Puts the job back to `queued` with a new attempt, which costs anew, in the place of
    `attempt`. The provider is asked first where it has not said how that one ended. With `force`,
    which needs a reason, that one may be alive: it is asked to end, if its provider can be.

    Raises NotFound; Conflict where another attempt is the job's (a request that is repeated finds
    that), where the job has not been sent or has just completed, `still_alive` where it may yet
    come back; InvalidRequest; Unavailable.
    """
    if force:
        need_reason(actor, "a forced rerun may be paid for twice")
    standing = await parts.look(job_id)
    first = current(standing, attempt)
    parts.provider_of(standing)
    standing, asked = await _asked(parts, standing, attempt)
    for _ in range(LOOKS):
        tried = current(standing, attempt)
        _refuse_unsent(standing)
        if not force:
            _refuse_alive(standing, first, asked)
            check_model(parts, standing)
        move = move_to_next(standing)
        detail = {"to_attempt": move.to_attempt, "was": standing.state, **price_of(standing)}
        act = actor.act("rerun", tried, **detail, forced=force, asked=asked)
        if await stored(parts, move, act):
            if tried.is_alive:
                await end_upstream(parts, standing, tried, act)
            return
        standing = await parts.look(job_id)
    raise restless()


async def _asked(parts: Parts, standing: Standing, attempt: int) -> tuple[Standing, str | None]:
    """The job once its provider has been asked after an attempt without a verdict, and what it
    said; None: there was no need to ask, or nothing to ask by."""
    tried = standing.current
    if tried.outcome is not None or tried.attempt.provider_id is None:
        return standing, None
    provider = parts.provider_of(standing)
    heard = await parts.news.ask(provider, tried.attempt, standing.secrets)
    standing = await parts.look(standing.job_id)
    current(standing, attempt)
    return standing, heard.report.state or heard.report.note or "nothing"


def _refuse_unsent(standing: Standing) -> None:
    if standing.state is State.QUEUED:
        raise conflict("it waits for its turn, and has not been sent")
    if standing.state is State.SUBMITTING:
        raise still_alive("its POST is under way; wait until that is over")


def _refuse_alive(standing: Standing, first: Tried, asked: str | None) -> None:
    """Refuses too what has completed since the first look: whoever asked did not know that."""
    tried = standing.current
    if tried.outcome is State.COMPLETED and first.outcome is not State.COMPLETED:
        raise conflict("it has completed meanwhile: there is nothing to rerun")
    if tried.is_alive:
        said = f"; its provider was asked, and said: {asked}" if asked else ""
        raise still_alive(
            f"attempt {tried.number} may still be rendered and billed"
            f" (the job is {standing.state}{said}); force, with a reason, pays for another"
        )
