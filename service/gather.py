"""Work that comes one by one and is done many at a time.

While one batch is under way the next items gather, and go together; nothing waits when nothing is
under way. Each caller gets the answer to its own item, after the batch that held it.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

from service.errors import DatabaseAway

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Full(Exception):
    """More items wait than may wait."""


class Gather(Generic[Item, Answer]):
    """Runs `work` over batches of what is `put`.

    At most `most` items go in a batch; where the last batch and those that wait are more than twice
    `least` together, at most half as many; of those with one `key` only one (None: no bound). At
    most `waiting` may wait. A batch that fails for one item's fault is done again one by one, so
    that a bad item hurts only itself; DatabaseAway is everyone's.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]],
        *,
        key: Callable[[Item], Hashable | None],
        least: int = 32,
        most: int = 256,
        waiting: int = 10_000,
    ) -> None:
        self._work = work
        self._key = key
        self._least = least
        self._most = most
        self._limit = waiting
        self._queue: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._runner: asyncio.Task[None] | None = None
        self._last = 0

    @property
    def waiting(self) -> int:
        """How many items wait for a batch."""
        return len(self._queue)

    def put(self, item: Item, *, anyway: bool = False) -> asyncio.Future[Answer]:
        """The answer to `item`, to be awaited: it may be what the work raised for it. Raises Full,
        unless it waits `anyway`."""
        if len(self._queue) >= self._limit and not anyway:
            raise Full
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())
        # Asking for the loop that runs is a system call each time.
        answer: asyncio.Future[Answer] = self._runner.get_loop().create_future()
        self._queue.append((item, answer))
        return answer

    async def drain(self) -> None:
        """Waits until nothing is under way and nothing waits."""
        while self._runner is not None:
            await asyncio.wait({self._runner})

    async def _run(self) -> None:
        try:
            while self._queue:
                await self._do(self._take())
        finally:  # where it did not come to its end, nobody may wait for ever
            self._runner = None
            for _, answer in self._queue:
                answer.cancel()
            self._queue.clear()

    def _take(self) -> list[tuple[Item, asyncio.Future[Answer]]]:
        """The next batch: in order of arrival, one per key; the others stay first in line."""
        batch: list[tuple[Item, asyncio.Future[Answer]]] = []
        later: list[tuple[Item, asyncio.Future[Answer]]] = []
        keys: set[Hashable] = set()
        # All of them at once would leave this process idle until they are done, and then the
        # database idle until they are answered: measured, a third fewer callbacks a second. Those
        # of the last batch are being answered, and come again: the other half.
        most = min(self._most, max(self._least, (self._last + len(self._queue)) // 2))
        while self._queue and len(batch) < most:
            waiting = self._queue.popleft()
            key = self._key(waiting[0])
            if key is not None and key in keys:
                later.append(waiting)
                continue
            keys.add(key)
            batch.append(waiting)
        self._queue.extendleft(reversed(later))
        self._last = len(batch)
        return batch

    async def _do(self, batch: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._work([item for item, _ in batch])
            if len(answers) != len(batch):
                raise RuntimeError(f"{len(answers)} answers to {len(batch)} items")
        except Exception as fault:
            if len(batch) == 1 or isinstance(fault, DatabaseAway):
                for _, answer in batch:
                    _fail(answer, fault)
                return
            for waiting in batch:
                await self._do([waiting])
            return
        for (_, future), given in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(given)


def _fail(answer: asyncio.Future[Answer], fault: Exception) -> None:
    if not answer.done():
        answer.set_exception(fault)
