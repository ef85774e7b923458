"""The stories: anything may come next. Hypothesis writes them, and shortens what ends badly."""

from collections.abc import Awaitable, Callable, Coroutine, Iterator
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

Draw = Callable[..., Any]
Work = Callable[[], Awaitable[None]]
STARTS = st.lists(st.sampled_from((*Start, *[Start.QUEUED] * 4)), min_size=1, max_size=2)
NAME = st.sampled_from(NAMES)
WORK = st.sampled_from(("submitting", "submitting", "sweeping", "placing"))
SELDOM = st.sampled_from((False, False, False, True))
REPLY = st.sampled_from((Reply.GOOD, Reply.GOOD, *Reply))
WAY = st.sampled_from((*Way, Way.LOST, Way.LOST))
SAYS = st.sampled_from((*What, What.SUCCESS, What.FAILURE))
BECOMES = st.sampled_from(("running", "succeeded", "failed", "forgotten"))
ALL = 99  # it goes on until it is done, or meets a lock
FAR = st.sampled_from((0, 0, 1, 1, 2, 2, 3, 4, ALL))  # statements and requests of its own
PASSES = st.sampled_from((70.0, 700.0, 1300.0, 3700.0))  # a lease, the deadline, a doubt, the last


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

    @rule(data=st.data())
    def next(self, data: st.DataObject) -> None:
        """One rule, not one for each: of many Hypothesis leaves half out of each story."""
        what = data.draw(st.sampled_from([*self._possible()]))
        self.stage.counts["steps"] += 1
        what(data.draw)

    def _possible(self) -> Iterator[Callable[[Draw], None]]:
        """What may come next, as often as it should."""
        yield from (*[self._goes_round] * 4, self._acts, self._time_passes)
        if self.stage.gate.waiting:
            yield from (*[self._goes_on] * 5, self._is_killed)
        if self.stage.fal.renders:
            yield from (self._call_comes, self._call_comes, self._render_changes)

    def _goes_round(self, draw: Draw) -> None:
        """One step of what a process does by itself; it may reach no provider meanwhile."""
        name, what, is_due, is_away = draw(NAME), draw(WORK), draw(st.booleans()), draw(SELDOM)
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

        self._do(work, name, draw(FAR), draw(REPLY))

    def _acts(self, draw: Draw) -> None:
        name, act = draw(NAME), draw(st.sampled_from([*possible(self.snapshot)]))
        more = draw(st.booleans())  # with force, with the id that the provider gave

        async def work() -> None:
            do(self.world, name, *act, more=more)

        self._do(work, name, draw(FAR), draw(REPLY))

    def _call_comes(self, draw: Draw) -> None:
        name, render, what = draw(NAME), draw(st.sampled_from(self.stage.fal.renders)), draw(SAYS)
        known = {row["provider_id"] for row in self.snapshot["attempts"]}

        async def work() -> None:
            if what is not What.OTHER_ID or render.id in known:  # else nobody can tell
                told = f"{what} of {render.id}"
                self.world.start(name, told, self.world.call, name, render, what)

        self._do(work, name, draw(FAR))

    def _goes_on(self, draw: Draw) -> None:
        place, way, reply = draw(st.sampled_from(self.stage.gate.waiting)), draw(WAY), draw(REPLY)

        async def work() -> None:
            self.stage.gate.let(place, way, reply)

        self._do(work, place.who, draw(FAR), reply)

    def _is_killed(self, draw: Draw) -> None:
        who = draw(st.sampled_from(self.stage.gate.waiting)).who
        self._do(lambda: self.world.kill(who))

    def _render_changes(self, draw: Draw) -> None:
        render, state = draw(st.sampled_from(self.stage.fal.renders)), draw(BECOMES)
        if state == "forgotten":
            render.known = False
        elif render.state in OPEN:
            render.state = state
        self.world.story.append(f"  {render.id} is {render.state}, known: {render.known}")

    def _time_passes(self, draw: Draw) -> None:
        seconds = draw(PASSES)
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
