"""The moves that this process has heard of, by callback or by poll: written together."""

import asyncio
from collections.abc import Callable, Sequence

from service.database import Database
from service.gather import Gather
from service.store.advance import Move, Outcome, advance

MOST_WAITING = 5_000


class Moves:
    """Writes what is put here, all that waits in one statement. `moved` hears of each, and is there
    for whoever writes by other ways."""

    def __init__(
        self,
        db: Database,
        moved: Callable[[Sequence[Outcome]], None] = lambda _: None,
        *,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._db = db
        self.moved = moved
        self._writes = Gather(self._write, key=lambda move: move.job_id, waiting=most_waiting)

    @property
    def waiting(self) -> int:
        """How many wait to be written."""
        return self._writes.waiting

    def put(self, move: Move, *, anyway: bool = False) -> asyncio.Future[Outcome]:
        """What became of `move` once it is committed, to be awaited: DatabaseAway may be raised
        then, and StatementRefused. Raises Full where too many wait, unless it waits `anyway`."""
        return self._writes.put(move, anyway=anyway)

    async def drain(self) -> None:
        """Waits until nothing waits to be written."""
        await self._writes.drain()

    async def _write(self, moves: Sequence[Move]) -> Sequence[Outcome]:
        outcomes = await advance(self._db, moves)
        # The next ones go to the database first; who put these is told after this.
        asyncio.get_running_loop().call_soon(self.moved, outcomes)
        return outcomes
