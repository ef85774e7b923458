"""Where statements and requests wait until the story says how they go on."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum


class Way(StrEnum):
    """How a statement goes on."""

    ON = "on"  # it is carried out and answered
    STEP = "step"  # carried out, and its answer waits
    HOLD = "hold"  # carried out and not committed yet
    CUT = "cut"  # the connection is cut before
    LOST = "lost"  # carried out, and its answer is lost


class Reply(StrEnum):
    """How a provider goes on with a request."""

    GOOD = "good"
    LATE = "late"  # it does what it is asked for, and its answer waits
    LOST = "lost"  # it does, and its answer is lost
    CUT = "cut"  # it does not, and hangs up
    BROKEN = "broken"  # it does, and answers 500
    REFUSED = "refused"
    FULL = "full"  # 429


@dataclass(eq=False)
class Place:
    """One that waits: what it is about to do, or (`done`) has done and not told."""

    who: str
    what: str
    done: bool
    is_request: bool
    goes: "asyncio.Future[Way | Reply]"

    def __str__(self) -> str:
        return f"{self.who}: {self.what}" + (", done and not told" if self.done else "")


@dataclass(eq=False)
class Gate:
    """Everything that waits, in order of arrival. What comes from an owner in `free` does not wait:
    its requests are answered as `reply` has it. `counts` how often each went on how."""

    say: Callable[[str], None]
    waiting: list[Place] = field(default_factory=list)
    free: frozenset[str] = frozenset()
    reply: Reply = Reply.GOOD
    counts: Counter[str] = field(default_factory=Counter)

    async def statement(self, who: str, what: str, *, done: bool = False) -> Way:
        """How a statement goes on."""
        if who in self.free:
            return Way.ON
        return Way(await self._wait(who, what, done, is_request=False))

    async def request(self, who: str, what: str, *, done: bool = False) -> Reply:
        """How a request is answered."""
        if who in self.free:
            reply = Reply.GOOD if done else self.reply
            self.say(f"  {who}: {what} is answered: {reply}")
            return reply
        return Reply(await self._wait(who, what, done, is_request=True))

    def of(self, who: str) -> list[Place]:
        """What waits of this owner's."""
        return [place for place in self.waiting if place.who == who]

    def let(self, place: Place, way: Way, reply: Reply) -> None:
        """Lets one go on, as it is a statement or a request."""
        how = reply if place.is_request else way
        self.say(f"  {place}: {how}")
        self.counts[f"{'request' if place.is_request else 'statement'} {how}"] += 1
        self.waiting.remove(place)
        place.goes.set_result(how)

    def drop(self, who: str) -> None:
        """Its owner is gone: no statement of it is sent any more. Its requests are under way."""
        for place in self.of(who):
            if not place.is_request:
                self.let(place, Way.CUT, Reply.GOOD)

    async def _wait(self, who: str, what: str, done: bool, *, is_request: bool) -> Way | Reply:
        goes = asyncio.get_running_loop().create_future()
        self.waiting.append(Place(who, what, done, is_request, goes))
        return await goes
