"""What an operator, or the app, may do about a job."""

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from uuid import UUID

from interleaving.books import Deed
from interleaving.tables import Snapshot, of_job
from interleaving.world import World
from service import adopt, cancel, rerun, resolve, resync
from service.job import ENDED

Act = tuple[str, str, int]


def possible(snapshot: Snapshot) -> Iterator[Act]:
    """The acts that somebody who has looked may try: which, at what job, on what attempt; one who
    looked before the current one was made means the one before."""
    for job in snapshot["jobs"]:
        state, current = job["state"], job["attempt"]
        if state not in ENDED:
            yield "cancel", job["id"], current
        for meant in {current, max(1, current - 1)}:
            if state not in ("queued", "submitting"):
                yield "rerun", job["id"], meant
            if state == "unconfirmed":
                yield "accepted", job["id"], meant
                yield "not_accepted", job["id"], meant
        tries = of_job(snapshot, "attempts", job["id"])
        if any(row["provider_id"] for row in tries):
            yield "resync", job["id"], current
        for row in tries:
            if state != "completed" and "completed" in (row["outcome"], row["disagreement"]):
                yield "adopt", job["id"], row["number"]


def do(world: World, name: str, act: str, job: str, attempt: int, *, more: bool) -> None:
    """Begins an act in a process. `more`: with force, with the id that the provider gave."""
    actor = world.actor("api" if act == "cancel" else "operator")
    job_id, parts = UUID(job), world.stage.processes[name].parts
    render = world.stage.fal.of(job, attempt)
    known = render.id if more and render else None
    on: dict[str, Callable[[], Awaitable[None]]] = {
        "cancel": partial(cancel.cancel, parts, actor, job_id),
        "resync": partial(resync.resync, parts, actor, job_id),
        "rerun": partial(rerun.rerun, parts, actor, job_id, attempt=attempt, force=more),
        "adopt": partial(adopt.adopt, parts, actor, job_id, attempt=attempt, force=more),
        "accepted": partial(
            resolve.accepted, parts, actor, job_id, attempt=attempt, provider_id=known
        ),
        "not_accepted": partial(resolve.not_accepted, parts, actor, job_id, attempt=attempt),
    }
    told = f"{act} of {world.name(job)}#{attempt}{', and more' if more else ''}"
    world.start(name, told, world.act, Deed(act, job_id, attempt, actor.who), on[act])
