"""Every story let run to its end: the provider renders and answers, and the processes go round."""

from collections.abc import Callable, Iterator

from interleaving.memory import Memory
from interleaving.process import GIVE_UP, LEASE
from interleaving.stage import NAMES
from interleaving.tables import Snapshot, make_due, of_job
from interleaving.truths import Row
from interleaving.world import World
from service.job import ENDED, State

ROUNDS = 30
LATE_SECONDS = 2 * 86400.0
Left = Callable[[World, Snapshot], Iterator[Row]]


async def ended(world: World, memory: Memory) -> None:
    """Everybody goes on; every job comes to its end, by the provider's word where there is one."""
    for process in world.stage.processes.values():
        process.cut_off(False)
    world.stage.release(*NAMES)
    await world.stage.run_free(*NAMES)
    memory.check(world, await world.look())
    await world.stage.pass_time(LEASE + 1)  # of those who were killed
    await go_round(world, memory, "its cancel is never sent", canceling)
    await go_round(world, memory, "its render is never heard of", unheard)
    for _ in range(2):
        await world.stage.pass_time(GIVE_UP)
        await go_round(world, memory, "it is open for ever", still_open)
    await world.stage.pass_time(LATE_SECONDS)
    await go_round(world, memory, "it is asked after for ever", asked_after)
    snapshot = await world.look()
    wrong = [*doubted(world, snapshot), *lost(world, snapshot)]
    assert not wrong, "\n".join(wrong)


async def go_round(world: World, memory: Memory, fault: str, left: Left) -> None:
    """Everything that is due is done, until no job is `left`."""
    rounds = 0
    while found := [world.name(row["id"]) for row in left(world, await world.look())]:
        rounds += 1
        assert rounds <= ROUNDS, f"{', '.join(found)}: {fault}"
        await world.stage.control.pool.execute("delete from provider_health")
        for submits, name in ((True, NAMES[0]), (False, NAMES[1])):
            await make_due(world.stage.control, submits=submits)
            process = world.stage.processes[name]
            step = process.submitter.step if submits else process.sweeper.step
            world.goes_round(name, "at the end", step)
            await world.stage.run_free(*NAMES)
        if left is not canceling:
            world.stage.fal.finish()
    world.goes_round(NAMES[0], "placing", world.stage.processes[NAMES[0]].placer.step)
    await world.stage.run_free(*NAMES)
    memory.check(world, await world.look())


def current(snapshot: Snapshot, job: Row) -> Row:
    """The attempt that is the job's."""
    tries = of_job(snapshot, "attempts", job["id"])
    return next(row for row in tries if row["number"] == job["attempt"])


def canceling(world: World, snapshot: Snapshot) -> Iterator[Row]:
    """Jobs whose end somebody wants, and which could be ended."""
    for job in still_open(world, snapshot):
        tried = current(snapshot, job)
        if job["canceling"] and tried["provider_id"] and not tried["cancel_answer"]:
            yield job


def unheard(world: World, snapshot: Snapshot) -> Iterator[Row]:
    """Jobs that can be sent, and those whose provider has an end to tell when it is asked."""
    for job in snapshot["jobs"]:
        tried = current(snapshot, job)
        render = world.stage.fal.find(tried["provider_id"])
        is_over = (job["state"] in ENDED and job["state"] != State.EXPIRED) or tried["outcome"]
        if job["state"] == State.QUEUED or (render and render.known and not is_over):
            yield job


def still_open(world: World, snapshot: Snapshot) -> Iterator[Row]:
    """Jobs that have no end."""
    return (job for job in snapshot["jobs"] if job["state"] not in ENDED)


def asked_after(world: World, snapshot: Snapshot) -> Iterator[Row]:
    """Jobs about which anything is left to do."""
    return (job for job in snapshot["jobs"] if of_job(snapshot, "agenda", job["id"]))


def doubted(world: World, snapshot: Snapshot) -> Iterator[str]:
    """What was provably not taken is not given up as if it might have been."""
    for job in snapshot["jobs"]:
        key = (job["id"], job["attempt"])
        known = all(post.settled for post in world.stage.fal.posts if post.key == key)
        if job["code"] == "submission_unconfirmed" and known and key not in world.orphans:
            yield f"{world.name(job['id'])} is given up, and everybody knew that it was not taken"


def lost(world: World, snapshot: Snapshot) -> Iterator[str]:
    """What a provider answered to its sender is kept, unless that one was killed."""
    unnamed = {
        (row["job_id"], row["number"]) for row in snapshot["attempts"] if not row["provider_id"]
    }
    for post in world.stage.fal.posts:
        if post.answered and post.key in unnamed - world.orphans:
            yield f"attempt {post.about.attempt} was accepted, and its id is lost"
