"""The stories: anything may come next. Hypothesis writes them, and shortens what ends badly."""

from collections.abc import Awaitable

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

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

PROCESS, REPLY, WAY = st.sampled_from(NAMES), st.sampled_from(Reply), st.sampled_from(Way)
STARTS = st.lists(st.sampled_from(Start), min_size=1, max_size=2)
SAID = st.tuples(st.integers(0, 3), st.sampled_from((*What, What.SUCCESS, What.FAILURE)))
BECOMES = st.sampled_from(("running", "succeeded", "failed", "forgotten"))
YES = st.booleans()
MOSTLY, SELDOM = st.integers(0, 3).map(bool), st.integers(0, 3).map(lambda draw: draw == 3)
PASSES = (70.0, 700.0, 1300.0, 3700.0)  # a lease, the deadline, a doubt, the last patience


class Story(RuleBasedStateMachine):
    """One story in its world. `through`: what begins runs until it is done, or meets a lock."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.stage = self.world.stage
        self.memory = Memory()
        self.snapshot: Snapshot = {}
        self.is_bad = False
        self.told = 0

    @initialize(starts=STARTS, hook=YES)
    def begins(self, starts: list[Start], hook: bool) -> None:
        self.stage.counts["stories"] += 1
        self._do(begun(self.world, starts, hook=hook))

    @rule(name=PROCESS, submits=YES, due=MOSTLY, through=YES, away=SELDOM, reply=REPLY)
    def goes_round(
        self, name: str, submits: bool, due: bool, through: bool, away: bool, reply: Reply
    ) -> None:
        """`away`: it reaches no provider, until it goes round again."""

        async def work() -> None:
            process = self.stage.processes[name]
            process.cut_off(away)
            if due:
                await make_due(self.stage.control, submits=submits)
            step = process.submitter.step if submits else process.sweeper().step
            self.world.goes_round(name, "submitting" if submits else "sweeping", step)

        self._do(work(), *[name] * through, reply=reply)

    @rule(name=PROCESS, through=YES)
    def places(self, name: str, through: bool) -> None:
        async def work() -> None:
            self.world.goes_round(name, "placing", self.stage.processes[name].placer.step)

        self._do(work(), *[name] * through)

    @precondition(lambda self: self.stage.fal.renders)
    @rule(name=PROCESS, said=st.lists(SAID, min_size=1, max_size=2), through=YES)
    def calls_back(self, name: str, said: list[tuple[int, What]], through: bool) -> None:
        """Only a known id can be told from another."""

        async def work() -> None:
            known = {row["provider_id"] for row in self.snapshot["attempts"]}
            for number, what in said:
                render = self.stage.fal.renders[number % len(self.stage.fal.renders)]
                if what is not What.OTHER_ID or render.id in known:
                    self.world.start(
                        name, f"{what} of {render.id}", self.world.call, name, render, what
                    )

        self._do(work(), *[name] * through)

    @rule(name=PROCESS, which=st.integers(0, 20), more=YES, through=YES, reply=REPLY)
    def acts(self, name: str, which: int, more: bool, through: bool, reply: Reply) -> None:
        """`more`: with force, with the id that the provider gave."""

        async def work() -> None:
            every = list(possible(self.snapshot))
            do(self.world, name, *every[which % len(every)], more=more)

        self._do(work(), *[name] * through, reply=reply)

    @precondition(lambda self: self.stage.gate.waiting)
    @rule(number=st.integers(-1, 3), way=WAY, reply=REPLY)
    def one_goes_on(self, number: int, way: Way, reply: Reply) -> None:
        async def work() -> None:
            waiting = self.stage.gate.waiting
            place = waiting[-1 if number < 0 else number % len(waiting)]
            self.stage.gate.let(place, way, reply)

        self._do(work())

    @precondition(lambda self: self.stage.gate.waiting)
    @rule(way=WAY, reply=REPLY)
    def the_last_goes_on(self, way: Way, reply: Reply) -> None:
        self.one_goes_on(number=-1, way=way, reply=reply)

    @precondition(lambda self: self.stage.gate.waiting)
    @rule(name=PROCESS)
    def all_of_one_goes_on(self, name: str) -> None:
        self.stage.release(name)
        self._do(self.stage.run_free(name))

    @precondition(lambda self: self.stage.fal.renders)
    @rule(number=st.integers(0, 3), state=BECOMES)
    def renders(self, number: int, state: str) -> None:
        render = self.stage.fal.renders[number % len(self.stage.fal.renders)]
        if state == "forgotten":
            render.known = False
        elif render.state in OPEN:
            render.state = state
        self.world.story.append(f"  {render.id} is {render.state}, known: {render.known}")

    @rule(seconds=st.sampled_from(PASSES))
    def time_passes(self, seconds: float) -> None:
        self._do(self.stage.pass_time(seconds))

    @rule(name=PROCESS)
    def is_killed(self, name: str) -> None:
        self._do(self.world.kill(name))

    def teardown(self) -> None:
        try:
            if not self.is_bad:
                self._run(ended(self.world, self.memory))
        finally:
            self.stage.loop.run(self.stage.clear())

    def _do(self, work: Awaitable[None], *free: str, reply: Reply = Reply.GOOD) -> None:
        """One step: what happens, what follows from it by itself, and whether all is well then."""

        async def step() -> None:
            await work
            await self.stage.run_free(*free, reply=reply)
            self.snapshot = await self.world.look()
            self.memory.check(self.world, self.snapshot)

        self.stage.counts["steps"] += 1
        self._run(step())

    def _run(self, work: Awaitable[None]) -> None:
        """The same, told; where it goes wrong nothing follows."""

        async def whole() -> None:
            await work

        try:
            self.stage.loop.run(whole())
        except BaseException:
            self.is_bad = True
            raise
        finally:
            for line in self.world.story[self.told :]:
                note(line)
            self.told = len(self.world.story)
