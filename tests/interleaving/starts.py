"""Where the jobs of a story stand when it begins, brought there by the way they would come."""

from collections.abc import Sequence
from enum import StrEnum

from interleaving.gate import Reply
from interleaving.process import DEADLINE
from interleaving.stage import NAMES
from interleaving.tables import make_due
from interleaving.world import World


class Start(StrEnum):
    QUEUED = "queued"
    SUBMITTED = "submitted"
    UNCONFIRMED = "unconfirmed"
    EXPIRED = "expired"
    COMPLETED = "completed"
    FAILED = "failed"


async def begun(world: World, starts: Sequence[Start], *, hook: bool) -> None:
    """A story's jobs; those that wait for their turn come last, so that they still do."""
    await world.begin()
    ordered = sorted(starts, key=lambda start: (start is Start.QUEUED, start is not Start.EXPIRED))
    for number, start in enumerate(ordered):
        await world.make(hook=hook and number == 0)
        if start is not Start.QUEUED:
            await _brought(world, start)


async def _brought(world: World, start: Start) -> None:
    sends, asks = (world.stage.processes[name] for name in NAMES)
    world.goes_round(sends.name, "submitting", sends.submitter.step)
    lost = start is Start.UNCONFIRMED
    await world.stage.run_free(*NAMES, reply=Reply.LOST if lost else Reply.GOOD)
    if start in (Start.SUBMITTED, Start.UNCONFIRMED):
        return
    render, forgets = world.stage.fal.renders[-1], start is Start.EXPIRED
    render.state = {Start.COMPLETED: "succeeded", Start.FAILED: "failed"}.get(start, "queued")
    if forgets:
        await world.stage.pass_time(DEADLINE + 1)
    while (await world.look())["jobs"][-1]["state"] in ("submitted", "running"):
        await make_due(world.stage.control, submits=False)
        world.goes_round(asks.name, "sweeping", asks.sweeper().step)
        await world.stage.run_free(*NAMES, reply=Reply.REFUSED if forgets else Reply.GOOD)
