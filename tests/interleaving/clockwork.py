"""An event loop that says when nothing more happens by itself, and whose clock moves only then.

Time that somebody sleeps is skipped; what would take longer than JUMP_SECONDS is not waited for.
"""

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")
JUMP_SECONDS = 2.0  # longer than any pause before a write is sent again, shorter than any deadline
SURE_SECONDS = 0.0003  # what is on its way over loopback arrives within it
SLOW_SECONDS = 0.004  # a statement that is not answered by then may wait for a lock
LONG_SECONDS = 20.0
MOST_BREATHS = 1000  # until one that is killed has ended: turns of the loop

OWNER: ContextVar[str | None] = ContextVar("owner", default=None)


class Idle:
    """A selector that knows when its loop has nothing to do. `outside` says whether anything is
    under way elsewhere, such as a statement that the database works on; `more` begins what has
    waited for this moment, and says whether there was any."""

    def __init__(self, outside: Callable[[], bool], more: Callable[[], bool]) -> None:
        self._selector = selectors.DefaultSelector()
        self._outside = outside
        self._more = more
        self._waiter: asyncio.Future[bool] | None = None
        self._regardless = False
        self.now = 1000.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._selector, name)

    def idle(self, *, regardless: bool) -> "asyncio.Future[bool]":
        """True once nothing happens any more, anywhere or (`regardless`) here; False once something
        outside is slow."""
        self._waiter, self._regardless = asyncio.get_running_loop().create_future(), regardless
        return self._waiter

    def select(self, timeout: float | None = None) -> list[Any]:
        events = self._selector.select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        if self._waiter is None:
            events = self._selector.select(LONG_SECONDS)
            assert events, "nothing happens for long"
            return events
        if self._outside() and not self._regardless:
            return self._selector.select(SLOW_SECONDS) or self._say(False)
        if self._more():
            return []
        if events := self._surely():
            return events
        if timeout is not None and timeout <= JUMP_SECONDS:
            self.now += timeout + 1e-6
            return []
        return self._say(True)

    def _surely(self) -> list[Any]:
        """What arrives yet. Epoll counts in milliseconds, which were a third of a story."""
        until = time.perf_counter() + SURE_SECONDS
        while not (events := self._selector.select(0)) and time.perf_counter() < until:
            pass
        return events

    def _say(self, quiet: bool) -> list[Any]:
        assert self._waiter is not None
        self._waiter.set_result(quiet)
        self._waiter = None
        return []


class Loop:
    """The loop, and the tasks of each owner that were started on it."""

    def __init__(self, outside: Callable[[], bool], more: Callable[[], bool]) -> None:
        self.idle = Idle(outside, more)
        self.loop = asyncio.SelectorEventLoop(self.idle)  # type: ignore[arg-type]
        self.loop.time = lambda: self.idle.now  # type: ignore[method-assign]
        self.loop.set_task_factory(self._task)
        self.owned: dict[str, dict[asyncio.Task[Any], None]] = {}  # in order of their start

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What comes of `work`."""
        task = self.loop.create_task(work)
        try:
            return self.loop.run_until_complete(task)
        finally:
            if not task.done():  # the loop itself has failed: nothing may be left on it
                task.cancel()
                self.loop.run_until_complete(asyncio.wait({task}))

    def start(self, owner: str, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Starts `work` as a task of this owner; so is every task that it starts."""
        token = OWNER.set(owner)
        try:
            return asyncio.get_running_loop().create_task(work)
        finally:
            OWNER.reset(token)

    def is_at_work(self, owner: str) -> bool:
        """Whether any of its tasks has not ended."""
        return bool(self.owned.get(owner))

    async def kill(self, owner: str) -> None:
        """Ends all of its tasks, wherever they are, and what they still try then."""
        for _ in range(MOST_BREATHS):
            if not (tasks := list(self.owned.get(owner, ()))):
                return
            for task in tasks:
                task.cancel()
            await asyncio.sleep(0)
        raise AssertionError(f"{owner} does not end: {self.owned}")

    def _task(
        self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **more: Any
    ) -> "asyncio.Task[Any]":
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **more)
        if (owner := OWNER.get()) is not None:
            mine = self.owned.setdefault(owner, {})
            mine[task] = None
            task.add_done_callback(mine.pop)
        return task
