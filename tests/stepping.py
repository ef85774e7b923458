"""Two at work on the same rows, statement by statement, in every order that can be."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from service.database import Database, Row

Order = tuple[int, ...]


class Stepped(Database):
    """A Database that carries out a statement only when it is let."""

    goes: asyncio.Semaphore
    wants: asyncio.Event
    waiting: set[asyncio.Task[Any]]

    @classmethod
    def over(cls, db: Database) -> "Stepped":
        made = cls(db.connections, db.queries)
        object.__setattr__(made, "goes", asyncio.Semaphore(0))
        object.__setattr__(made, "wants", asyncio.Event())
        object.__setattr__(made, "waiting", set())
        return made

    async def rows(self, name: str, *values: Any) -> list[Row]:
        task = asyncio.current_task()
        assert task is not None
        self.waiting.add(task)
        self.wants.set()
        await self.goes.acquire()
        self.waiting.discard(task)
        return await super().rows(name, *values)


class Actor:
    """Somebody at work over a Stepped database of its own."""

    def __init__(self, db: Stepped, work: Coroutine[Any, Any, Any]) -> None:
        self._db = db
        self.task = asyncio.create_task(work)

    async def waits(self) -> bool:
        """Whether there is a statement that it wants to carry out; else it has ended."""
        wanting = asyncio.create_task(self._db.wants.wait())
        await asyncio.wait({self.task, wanting}, return_when=asyncio.FIRST_COMPLETED)
        wanting.cancel()
        return not self.task.done()

    async def step(self) -> None:
        """Lets it carry out its next statement and come to the one after it, or to its end."""
        assert await self.waits()
        self._db.wants.clear()
        self._db.goes.release()
        await self.waits()

    async def kill(self) -> None:
        """It dies before its next statement."""
        dying = {self.task, *self._db.waiting}
        for task in dying:
            task.cancel()
        await asyncio.gather(*dying, return_exceptions=True)


async def every_order(
    run: Callable[[], Awaitable[tuple[Actor, Actor]]],
    check: Callable[[Order, Actor, Actor], Awaitable[None]],
) -> list[Order]:
    """Runs two actors, made anew by `run`, in every order of their statements; `check` looks at
    each outcome. Returns the orders that there were: a 0 or a 1 for each statement."""
    done: list[Order] = []
    waiting: list[Order] = [()]
    while waiting:
        prefix = waiting.pop()
        actors = await run()
        order: list[int] = []
        while alive := [number for number in (0, 1) if await actors[number].waits()]:
            number = prefix[len(order)] if len(order) < len(prefix) else alive[0]
            if len(order) >= len(prefix) and len(alive) == 2:
                waiting.append((*order, 1))
            order.append(number)
            await actors[number].step()
        await check(tuple(order), *actors)
        done.append(tuple(order))
    return done
