"""When a step is over: once everybody who is at work waits at the gate, or in the database for one
whose transaction the story holds open."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from interleaving.clockwork import LONG_SECONDS, Loop
from interleaving.gate import Gate, Reply, Way
from interleaving.line import Line, Turn
from service.database import Database

BLOCKED = """
select bool_and(cardinality(pg_blocking_pids(pid)) > 0) from unnest($1::integer[]) as pid
"""


@dataclass(eq=False)
class Quiet:
    """Waits for it. `lines` are the processes' connections, by their names."""

    loop: Loop
    gate: Gate
    turn: Turn
    lines: Mapping[str, Line]

    def is_held(self) -> bool:
        """Whether any transaction is held open."""
        return any(line.held for line in self.lines.values())

    async def run_free(self, db: Database, *names: str, reply: Reply = Reply.GOOD) -> None:
        """Lets these processes go on until nothing is left to do, or they meet one that waits."""
        self.gate.free, self.gate.reply = frozenset(names), reply
        try:
            await self.come(db)
        finally:
            self.gate.free, self.gate.reply = frozenset(), Reply.GOOD

    def release(self, *names: str) -> None:
        """Everything that waits of these processes goes on."""
        for place in list(self.gate.waiting):
            if place.who in names:
                self.gate.let(place, Way.ON, Reply.GOOD)

    async def come(self, db: Database) -> None:
        """Returns once nothing happens any more by itself; asks `db` who waits for whom."""
        blocked, until = False, time.monotonic() + LONG_SECONDS
        while time.monotonic() < until:
            quiet = await self.loop.idle.idle(regardless=blocked)
            if quiet and not blocked and self._explained():
                return
            if blocked or not quiet:
                blocked = await self._all_blocked(db) and not self.turn.give()
            if quiet and blocked and self._explained():
                return
        raise AssertionError(f"nobody knows what goes on: {self.loop.owned}")

    def _explained(self) -> bool:
        """Whether everybody who is at work waits at the gate, or in the database."""
        return not any(
            self.loop.is_at_work(name) and not self.gate.of(name) and not line.busy
            for name, line in self.lines.items()
        )

    async def _all_blocked(self, db: Database) -> bool:
        """Whether every statement under way waits for one that is held."""
        lines = self.lines.values()
        if not self.is_held() or any(line.beginning for line in lines):
            return False
        pids = [pid for line in lines for pid in line.busy]
        return bool(await db.pool.fetchval(BLOCKED, pids))
