"""Takes a success that is kept on an attempt as the job's end."""

from dataclasses import replace
from uuid import UUID

from service.job import State
from service.operating import (
    LOOKS,
    Actor,
    Parts,
    by_hand,
    conflict,
    end_upstream,
    need_reason,
    restless,
    still_alive,
    stored,
)
from service.store.acts import Success
from service.store.attempts import Standing, Tried


async def adopt(
    parts: Parts, actor: Actor, job_id: UUID, *, attempt: int, force: bool = False
) -> None:
    """Completes the job with what `attempt` has brought, which is the job's attempt from then on; a
    newer one that waits to be sent is dropped. With `force`, which needs a reason, a newer one may
    be alive: its provider is asked to end it, and what it brings is kept on it.

    Raises NotFound; Conflict where there is no success to take, or the job has completed,
    `still_alive` where a newer attempt is; InvalidRequest; Unavailable.
    """
    if force:
        need_reason(actor, "the newer attempt may be paid for too")
    for _ in range(LOOKS):
        standing = await parts.look(job_id)
        tried, success = _success(parts, standing, attempt)
        newer = [one for one in standing.tries if one.number > attempt and one.is_alive]
        _refuse(standing, newer, force=force)
        told = {"was": standing.state, "instead_of": standing.current.number, "forced": force}
        act = actor.act("adopt", tried, **told)
        if await stored(
            parts, by_hand(standing, State.COMPLETED, to_attempt=attempt), act, success
        ):
            for one in newer:
                await end_upstream(parts, standing, one, act)
            return
    raise restless()


def _success(parts: Parts, standing: Standing, attempt: int) -> tuple[Tried, Success]:
    """The attempt and what it has brought; the media in a later word are read only now."""
    tried = standing.tried(attempt)
    if standing.state is State.COMPLETED:
        raise conflict(f"the job has completed, with attempt {standing.current.number}")
    if tried is None or tried.success is None:
        raise conflict(f"attempt {attempt} has brought no success that could be taken")
    if not tried.success.is_later_word:
        return tried, tried.success
    outputs = parts.provider_of(standing).outputs(tried.success.output)
    return tried, replace(tried.success, outputs=outputs)


def _refuse(standing: Standing, newer: list[Tried], *, force: bool) -> None:
    if standing.state is State.SUBMITTING:
        raise still_alive("a POST is under way; wait until that is over")
    if newer and not force:
        raise still_alive(
            f"attempt {newer[-1].number} may still be rendered and billed"
            f" (the job is {standing.state}): resync or cancel it; force, with a reason, leaves it"
        )
