"""The Postgres that Callboard brings along, for where no DATABASE_URL is set.

One server per data directory, shared by every process that attaches to it. It answers on a unix
socket only. The last to detach stops it; a process that is killed leaves it running, for the
next one to join.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from service.embedded import locks, server
from service.embedded.place import CURE, Place, place_in, prepare
from service.errors import DatabaseAway

__all__ = ["Embedded", "attach", "attached"]

_TURN = "another process starts or stops Postgres"
_STOP_SECONDS = 10.0  # for a server that we leave because it did not come up


class Embedded:
    """A hold on the shared server of one data directory."""

    def __init__(self, place: Place, *, users: int, fsync: bool) -> None:
        self.dsn = place.dsn(server.DATABASE)
        """For `asyncpg.connect`, or any client on this machine."""
        self._place = place
        self._users: int | None = users
        self._fsync = fsync

    async def ensure(self) -> None:
        """Returns when the server answers: at once, or after starting it where it has died.
        Raises DatabaseAway where it cannot be started, and after `detach`."""
        if self._users is None:
            raise DatabaseAway("this process has left the embedded Postgres")
        with _said_clearly(self._place):
            if not await server.answers(self._place):
                async with locks.held(self._place.turn, _TURN) as turn:
                    await server.up(self._place, turn=turn, fsync=self._fsync)

    async def detach(self) -> None:
        """Lets go; where nobody else holds on, stops the server (fast shutdown) and returns when
        it has stopped. Idempotent. Raises DatabaseAway."""
        with _said_clearly(self._place):
            async with locks.held(self._place.turn, _TURN):
                users, self._users = self._users, None
                if users is not None and _leave(users):
                    await server.stop(self._place)


async def attach(data_dir: Path, *, fsync: bool = True) -> Embedded:
    """Holds on to the server of `data_dir`: starts it where none runs, and makes the database
    `callboard`. Waits as long as a recovery takes, and says so on the log.

    `fsync=False` is for tests and benchmarks: a power cut may then destroy the data. It is the
    starter's word that counts. Raises DatabaseAway with what to do.
    """
    place = place_in(data_dir)
    with _said_clearly(place):
        prepare(place)
        async with locks.held(place.turn, _TURN) as turn:
            users = locks.take(place.users, shared=True)
            if users is None:
                raise DatabaseAway(f"{place.users} is locked by something else; {CURE}")
            try:
                await server.up(place, turn=turn, fsync=fsync)
            except BaseException:
                if _leave(users):
                    with suppress(TimeoutError):
                        await asyncio.wait_for(server.stop(place), _STOP_SECONDS)
                raise
    return Embedded(place, users=users, fsync=fsync)


@asynccontextmanager
async def attached(data_dir: Path, *, fsync: bool = True) -> AsyncIterator[Embedded]:
    """`attach`, and `detach` at the end."""
    embedded = await attach(data_dir, fsync=fsync)
    try:
        yield embedded
    finally:
        await embedded.detach()


def _leave(users: int) -> bool:
    """Lets go of the users' lock; True where nobody else holds it. Needs the turn's lock, so
    that nobody can come while the last one goes."""
    try:
        return locks.upgrade(users)
    finally:
        os.close(users)


@contextmanager
def _said_clearly(place: Place) -> Iterator[None]:
    """What the system refuses (permissions, a full disk) as DatabaseAway with what to do."""
    try:
        yield
    except OSError as fault:
        raise DatabaseAway(f"cannot use {place.home}: {fault}; {CURE}") from fault
