"""Where the jobs of a story stand when it begins, brought there by the way they would come."""

from collections.abc import Sequence
from enum import StrEnum

from interleaving.acts import do
from interleaving.calls import What
from interleaving.gate import Place, Reply, Way
from interleaving.process import DEADLINE, LEASE, Process
from interleaving.stage import NAMES
from interleaving.tables import make_due
from interleaving.truths import Row
from interleaving.world import World

MOST_STEPS = 20  # until a job stands where it should


class Start(StrEnum):
    """In the order in which they are made; from SENDING on somebody is in the middle of it."""

    EXPIRED = "expired"
    SUBMITTED = "submitted"
    UNCONFIRMED = "unconfirmed"
    COMPLETED = "completed"
    FAILED = "failed"
    REPLACED = "replaced"  # by force, and both are alive; the first has brought a success
    SENDING = "sending"  # its POST is under way, and the other has looked after what is due
    DOUBTED = "doubted"  # the same, after its sender's lease; then it is refused for now
    OVERTAKEN = "overtaken"  # claimed by one whose lease has ended, and being sent by another
    ANSWERED = "answered"  # accepted, and its sender cut off as it stored that
    CROSSED = "crossed"  # refused for now, which is stored again while another sends it
    QUEUED = "queued"


async def begun(world: World, starts: Sequence[Start], *, hook: bool) -> None:
    """A story's jobs; at most one of them has somebody in the middle of it."""
    await world.begin()
    midst = False
    for number, start in enumerate(sorted(starts, key=[*Start].index)):
        await world.make(hook=hook and number == 0)
        if start is not Start.QUEUED and not midst:
            midst = start in _MIDST
            await (_MIDST[start](world) if midst else _brought(world, start))


async def _brought(world: World, start: Start) -> None:
    sends, asks = _processes(world)
    world.goes_round(sends.name, "submitting", sends.submitter.step)
    lost = start is Start.UNCONFIRMED
    await world.stage.run_free(*NAMES, reply=Reply.LOST if lost else Reply.GOOD)
    if start is Start.REPLACED:
        await _replaced(world)
    if start in (Start.SUBMITTED, Start.UNCONFIRMED, Start.REPLACED):
        return
    render, forgets = world.stage.fal.renders[-1], start is Start.EXPIRED
    render.state = {Start.COMPLETED: "succeeded", Start.FAILED: "failed"}.get(start, "queued")
    if forgets:
        await world.stage.pass_time(DEADLINE + 1)
    for _ in range(MOST_STEPS):
        if (await _last(world))["state"] not in ("submitted", "running"):
            return
        await make_due(world.stage.control, submits=False)
        world.goes_round(asks.name, "sweeping", asks.sweeper.step)
        await world.stage.run_free(*NAMES, reply=Reply.REFUSED if forgets else Reply.GOOD)
    raise AssertionError(f"it does not become {start}")


async def _replaced(world: World) -> None:
    sends, other = _processes(world)
    first = world.stage.fal.renders[-1]
    do(world, sends.name, "rerun", (await _last(world))["id"], 1, more=True)
    await world.stage.run_free(*NAMES, reply=Reply.CUT)
    world.start(other.name, "success", world.call, other.name, first, What.SUCCESS)
    await _brought(world, Start.SUBMITTED)


async def _sending(world: World, *, seconds: float = 0.0) -> None:
    sends, other = _processes(world)
    await _up_to(world, sends, "POST")
    await world.stage.pass_time(seconds)
    await make_due(world.stage.control, submits=False)
    world.goes_round(other.name, "sweeping", other.sweeper.step)
    await world.stage.run_free(other.name)


async def _doubted(world: World) -> None:
    await _sending(world, seconds=LEASE + 1)
    post = await _stands(world, _processes(world)[0])
    world.stage.gate.let(post, Way.ON, Reply.FULL)
    await world.stage.run_free()


async def _overtaken(world: World) -> None:
    sends, other = _processes(world)
    await _up_to(world, sends, "advance")
    await world.stage.pass_time(LEASE + 1)
    await _up_to(world, other, "POST")


async def _answered(world: World, reply: Reply = Reply.GOOD, way: Way = Way.CUT) -> None:
    sends, _ = _processes(world)
    place = await _up_to(world, sends, "POST")
    for _ in range(2):
        world.stage.gate.let(place, way, reply)
        place = await _stands(world, sends)


async def _crossed(world: World) -> None:
    await _answered(world, Reply.FULL, Way.LOST)
    await make_due(world.stage.control, submits=True)
    await _up_to(world, _processes(world)[1], "POST")


async def _up_to(world: World, process: Process, what: str) -> Place:
    """Where a process stands that sends a job, and was let go on up to there."""
    world.goes_round(process.name, "submitting", process.submitter.step)
    for _ in range(MOST_STEPS):
        place = await _stands(world, process)
        if place.what.startswith(what):
            return place
        world.stage.gate.let(place, Way.ON, Reply.GOOD)
    raise AssertionError(f"{process.name} does not come to its {what}")


async def _stands(world: World, process: Process) -> Place:
    await world.stage.run_free()
    places = world.stage.gate.of(process.name)
    assert places, f"{process.name} has left undone what it was about"
    return places[-1]


def _processes(world: World) -> tuple[Process, Process]:
    first, second = (world.stage.processes[name] for name in NAMES)
    return first, second


async def _last(world: World) -> Row:
    return (await world.look())["jobs"][-1]


_MIDST = {
    Start.SENDING: _sending,
    Start.DOUBTED: _doubted,
    Start.OVERTAKEN: _overtaken,
    Start.ANSWERED: _answered,
    Start.CROSSED: _crossed,
}
