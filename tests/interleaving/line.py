"""What all connections of one process share, and whose statement Postgres works on."""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from interleaving.gate import Gate


class Turn:
    """Whose statement Postgres works on: one at a time, in order of arrival, and once nothing else
    happens, so that a story can be told again. One that waits for a lock lets the next one go."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self) -> None:
        """Returns when it is the caller's."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    def give(self) -> bool:
        """Lets the next one go; whether there is one."""
        if not self._waiting:
            return False
        self._waiting.popleft().set_result(None)
        return True


@dataclass(eq=False)
class Line:
    """What all connections of one owner share. `names` are the statements that stop, by their text;
    `busy` the backends that work on one, `held` those in a transaction, between its statements;
    `refusals` what Postgres refused, and why (SQLSTATE)."""

    owner: str
    gate: Gate
    turn: Turn
    names: Mapping[bytes, str]
    busy: set[int] = field(default_factory=set)
    held: set[int] = field(default_factory=set)
    beginning: int = 0  # connections that are being made
    refusals: list[tuple[str, str]] = field(default_factory=list)

    @property
    def at_work(self) -> bool:
        """Whether the database is at work for the owner."""
        return bool(self.busy) or self.beginning > 0
