"""The running server: whether it answers, bringing it up, and stopping it."""

import asyncio
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable

import asyncpg

from service.embedded import account, cluster, locks
from service.embedded.place import CURE, Place
from service.errors import DatabaseAway

DATABASE = "callboard"
_CONNECT_SECONDS = 5.0


async def answers(place: Place) -> bool:
    """Whether the server accepts a connection now; makes the database where it is missing.

    Nothing else counts: the process of a recorded pid may be a zombie, or somebody else's.
    Raises DatabaseAway where the server refuses us for good.
    """
    try:
        await _visit(place)
    except asyncpg.TooManyConnectionsError:
        return True
    except (asyncpg.UniqueViolationError, asyncpg.DuplicateDatabaseError):
        return False  # the database is being made for one who was killed meanwhile
    except (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError):
        return False
    except asyncpg.OperatorInterventionError:  # it starts, recovers or stops
        return False
    except asyncpg.PostgresError as fault:
        raise DatabaseAway(f"the embedded Postgres refuses us: {fault}; {CURE}") from fault
    return True


async def up(place: Place, *, turn: int, fsync: bool) -> None:
    """Returns when the server answers; starts it where none lives. Needs the lock `turn`.

    However long a start takes, recovery after a crash say, it is waited for while the server's
    processes live. Raises DatabaseAway where they end instead, and OSError.
    """
    wait = locks.Wait(lambda: f"Postgres is on its way up or down: {cluster.last_words(place)}")
    while not await answers(place):
        if (alive := locks.take(place.alive)) is not None:
            break
        await wait.pause()
    else:
        return
    try:
        since = await _to_the_end(lambda: _launch(place, turn=turn, alive=alive, fsync=fsync))
    finally:
        os.close(alive)
    while not await answers(place):
        if locks.is_free(place.alive):
            words = cluster.last_words(place, since=since)
            raise DatabaseAway(f"Postgres ended as it started: {words}; {CURE}")
        await wait.pause()


async def stop(place: Place) -> None:
    """Stops the server, fast: open transactions are rolled back. Returns when none of its
    processes lives. Needs the turn's lock."""
    wait = locks.Wait(lambda: f"Postgres is stopping: {cluster.last_words(place)}")
    asked = False
    while not locks.is_free(place.alive):
        asked = asked or _interrupt(place)
        await wait.pause()


def _interrupt(place: Place) -> bool:
    """Asks the server for a fast shutdown; False where nobody listens (yet)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.setblocking(False)
        try:
            door.connect(str(place.socket))
            pid = _listener(door)
        except OSError:
            return False
    if pid <= 0:  # it is of another pid namespace
        return False
    os.kill(pid, signal.SIGINT)
    return True


def _listener(door: socket.socket) -> int:
    """The pid of the process that listens behind a connected socket, as the kernel has it."""
    if sys.platform == "darwin":  # SOL_LOCAL, LOCAL_PEERPID of sys/un.h
        return door.getsockopt(0, 2)
    pid, _, _ = struct.unpack("3i", door.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(pid)


async def _visit(place: Place) -> None:
    """Connects once; makes the database where it is missing."""
    try:
        await _connect(place, DATABASE)
    except asyncpg.InvalidCatalogNameError:
        await _connect(place, "postgres", f"create database {DATABASE}")


async def _connect(place: Place, database: str, statement: str | None = None) -> None:
    connection = await asyncpg.connect(place.dsn(database), timeout=_CONNECT_SECONDS)
    try:
        if statement is not None:
            await connection.execute(statement)
    finally:
        await connection.close(timeout=_CONNECT_SECONDS)


def _launch(place: Place, *, turn: int, alive: int, fsync: bool) -> int:
    runs_as = account.choose(place, cluster.binaries() / "postgres")
    cluster.create(place, runs_as, turn=turn, fsync=fsync)
    cluster.check_version(place)
    return cluster.start(place, runs_as, alive=alive, fsync=fsync)


async def _to_the_end(work: Callable[[], int]) -> int:
    """Runs blocking work in a thread. Canceled, it still waits for the work's end: the locks
    that it works under are ours, and are let go when we return."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    canceled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            canceled = True
    if canceled:
        task.exception()
        raise asyncio.CancelledError
    return task.result()
