"""The stories: anything may come next. Hypothesis writes them, and shortens what ends badly."""

from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from interleaving.acts import do, possible
from interleaving.calls import What
from interleaving.ends import ended
from interleaving.fal import OPEN
from interleaving.gate import Reply, Way
from interleaving.memory import Memory
from interleaving.stage import NAMES
from interleaving.starts import Start, begun
from interleaving.tables import Snapshot, make_due
from interleaving.world import World

Pick = Callable[[Sequence[Any]], Any]
Work = Callable[[], Awaitable[None]]
STARTS = st.lists(st.sampled_from((*Start, *[Start.QUEUED] * 4)), min_size=1, max_size=2)
PICKS = st.tuples(*[st.integers(0, 2519)] * 7)  # 2520 is a multiple of 1 to 10
WORK = ("submitting", "submitting", "sweeping", "placing")
SELDOM = (False, False, False, True)
REPLY = (Reply.GOOD, Reply.GOOD, *Reply)
WAY = (*Way, Way.LOST, Way.LOST)
SAYS = (*What, What.SUCCESS, What.FAILURE)
BECOMES = ("running", "succeeded", "failed", "forgotten")
ALL = 99  # it goes on until it is done, or meets a lock
FAR = (0, 0, 1, 1, 2, 2, 3, 4, ALL)  # statements and requests of its own
PASSES = (70.0, 700.0, 1300.0, 3700.0)  # a lease, the deadline, a doubt, the last


class Story(RuleBasedStateMachine):
    """One story in its world. Whoever begins something, or goes on, does so `far`: each of its
    statements is carried out, and each request answered with the same reply."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.stage = self.world.stage
        self.memory = Memory()
        self.snapshot: Snapshot = {}
        self.is_bad = False
        self.told = 0

    @initialize(starts=STARTS, hook=st.booleans())
    def begins(self, starts: list[Start], hook: bool) -> None:
        self.stage.counts["stories"] += 1
        self._do(lambda: begun(self.world, starts, hook=hook))

    @rule(numbers=PICKS)
    def happens(self, numbers: tuple[int, ...]) -> None:
        """One rule, not one for each: of many Hypothesis leaves half out of each story. What is
        drawn does not hang on how things stand, which a loaded machine may make otherwise."""
        left = iter(numbers)

        def pick(options: Sequence[Any]) -> Any:
            return options[next(left) % len(options)]

        self.stage.counts["steps"] += 1
        pick([*self._possible()])(pick)

    def _possible(self) -> Iterator[Callable[[Pick], None]]:
        """What may come next, as often as it should."""
        yield from (*[self._goes_round] * 4, self._acts, self._time_passes)
        if self.stage.gate.waiting:
            yield from (*[self._goes_on] * 5, self._is_killed)
        if self.stage.fal.renders:
            yield from (self._call_comes, self._call_comes, self._render_changes)

    def _goes_round(self, pick: Pick) -> None:
        """One step of what a process does by itself; it may reach no provider meanwhile."""
        name, what, is_due, is_away = pick(NAMES), pick(WORK), pick((False, True)), pick(SELDOM)
        process = self.stage.processes[name]
        step = {
            "submitting": process.submitter.step,
            "sweeping": process.sweeper.step,
            "placing": process.placer.step,
        }[what]

        async def work() -> None:
            process.cut_off(is_away)
            if is_due:
                await make_due(self.stage.control, submits=what == "submitting")
            self.world.goes_round(name, what, step)

        told = ", to what is made due" * is_due + ", and fal is away" * is_away
        self.world.story.append(f"  {name} goes round, {what}{told}")
        self._do(work, name, pick(FAR), pick(REPLY))

    def _acts(self, pick: Pick) -> None:
        name, act = pick(NAMES), pick([*possible(self.snapshot)])
        more = pick((False, True))  # with force, with the id that the provider gave

        async def work() -> None:
            do(self.world, name, *act, more=more)

        self._do(work, name, pick(FAR), pick(REPLY))

    def _call_comes(self, pick: Pick) -> None:
        name, render, what = pick(NAMES), pick(self.stage.fal.renders), pick(SAYS)
        known = {row["provider_id"] for row in self.snapshot["attempts"]}

        async def work() -> None:
            if what is not What.OTHER_ID or render.id in known:  # else nobody can tell
                told = f"{what} of {render.id}"
                self.world.start(name, told, self.world.call, name, render, what)

        self._do(work, name, pick(FAR))

    def _goes_on(self, pick: Pick) -> None:
        place, way, reply = pick(self.stage.gate.waiting), pick(WAY), pick(REPLY)

        async def work() -> None:
            self.stage.gate.let(place, way, reply)

        self._do(work, place.who, pick(FAR), reply)

    def _is_killed(self, pick: Pick) -> None:
        who = pick(self.stage.gate.waiting).who
        self.world.story.append(f"  {who} is killed")
        self._do(lambda: self.world.kill(who))

    def _render_changes(self, pick: Pick) -> None:
        render, state = pick(self.stage.fal.renders), pick(BECOMES)
        if state == "forgotten":
            render.known = False
        elif render.state in OPEN:
            render.state = state
        self.world.story.append(f"  {render.id} is {render.state}, known: {render.known}")

    def _time_passes(self, pick: Pick) -> None:
        seconds = pick(PASSES)
        self.world.story.append(f"  {seconds:.0f} seconds pass")
        self._do(lambda: self.stage.pass_time(seconds))

    def teardown(self) -> None:
        try:
            if not self.is_bad:
                self._run(ended(self.world, self.memory))
        finally:
            self.stage.loop.run(self.stage.clear())

    def _do(self, work: Work, name: str = "", far: int = 0, reply: Reply = Reply.GOOD) -> None:
        """One step: what happens, what follows from it by itself, and whether all is well then."""

        async def step() -> None:
            await work()
            await self.stage.run_free(*[name] * (far == ALL), reply=reply)
            for _ in range(0 if far == ALL else far):
                if waiting := self.stage.gate.of(name):
                    self.stage.gate.let(waiting[-1], Way.ON, reply)
                    await self.stage.run_free()
            self.snapshot = await self.world.look()
            self.memory.check(self.world, self.snapshot)

        self._run(step())

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        """The same, told; where it goes wrong nothing follows."""
        try:
            self.stage.loop.run(work)
        except BaseException:
            self.is_bad = True
            raise
        finally:
            for line in self.world.story[self.told :]:
                note(line)
            self.told = len(self.world.story)
