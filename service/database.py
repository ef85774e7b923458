"""Postgres: the pool, the named queries of sql/queries/, and the migrations.

Only this file and store/ touch SQL.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from service.connections import CONNECT_SECONDS, Connections
from service.errors import DatabaseAway, DatabaseNewer, StatementRefused

Row = Mapping[str, Any]
COMMAND_SECONDS = 30.0
MIGRATION_LOCK = 0x43414C4C  # "CALL", for pg_advisory_xact_lock

# What asyncpg raises when the server, the connection or the answer is gone. After one of these
# nobody knows whether the statement took effect; every statement here may be sent again.
AWAY = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection cut in the middle of its protocol
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InsufficientResourcesError,  # connections, disk, memory
    asyncpg.PostgresSystemError,
    asyncpg.ReadOnlySQLTransactionError,  # it was the primary, and no longer is
    asyncpg.QueryCanceledError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
)


def _sql_folder() -> Path:
    """sql/ beside this file in an installed wheel, beside the package in a checkout."""
    packaged = Path(__file__).parent / "sql"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "sql"


def load_queries(folder: Path | None = None) -> dict[str, str]:
    """Every `-- name: x` statement of sql/queries/*.sql, by name. A name that stands twice, or
    text before the first name, is a ValueError."""
    queries: dict[str, str] = {}
    for path in sorted((folder or _sql_folder() / "queries").glob("*.sql")):
        before, *blocks = re.split(r"^-- name: (\w+)\n", path.read_text(), flags=re.MULTILINE)
        if before.strip():
            raise ValueError(f"{path.name} has text before its first name")
        for name, text in zip(blocks[::2], blocks[1::2], strict=True):
            if name in queries:
                raise ValueError(f"{path.name} names {name} a second time")
            queries[name] = text.strip().rstrip(";")
    return queries


# Every plan of ours is good for whatever values there are. Postgres would plan a short batch anew
# each time, since it takes an array that it does not know to hold ten: measured, half of what the
# move of one job took. Compiling pays for none of them. A plan is kept while its tables grow: one
# that is made while they are small, or before anything is known of them, must not read them whole.
PLANNED_ONCE = {"plan_cache_mode": "force_generic_plan", "jit": "off", "enable_seqscan": "off"}


@dataclass(frozen=True, slots=True)
class Database:
    """A pool and the queries it runs. Every method raises DatabaseAway where Postgres is away."""

    connections: Connections
    queries: Mapping[str, str]

    @property
    def pool(self) -> asyncpg.Pool:
        """Where the connections come from."""
        return self.connections.pool

    @classmethod
    async def connect(cls, dsn: str, *, size: int = 16) -> Self:
        """Opens a pool of up to `size` connections."""
        try:
            pool = await asyncpg.create_pool(
                dsn,
                min_size=0,
                max_size=size,
                timeout=CONNECT_SECONDS,
                command_timeout=COMMAND_SECONDS,
                reset=_left_as_found,
                server_settings={
                    "application_name": "callboard",
                    "timezone": "UTC",
                    **PLANNED_ONCE,
                },
            )
        except AWAY as fault:
            raise DatabaseAway(f"the database does not answer: {type(fault).__name__}") from fault
        return cls(Connections(pool), load_queries())

    async def close(self) -> None:
        """Waits for what is under way, ten seconds at most."""
        try:
            async with asyncio.timeout(10.0):
                await self.connections.close()
        except TimeoutError:
            self.pool.terminate()

    async def ping(self) -> None:
        """Asks whether Postgres answers. Raises DatabaseAway."""
        try:
            await self.pool.fetchval("select 1", timeout=3.0)
        except AWAY as fault:
            raise DatabaseAway(f"the database does not answer: {type(fault).__name__}") from fault

    async def rows(self, name: str, *values: Any) -> list[Row]:
        """Runs the query `name` and returns its rows. Raises StatementRefused too."""
        with _told(name):
            async with self._connection() as connection:
                return cast(list[Row], await connection.fetch(self.queries[name], *values))

    async def together(self, *calls: tuple[str, Sequence[Any]]) -> list[list[Row]]:
        """Runs several queries (name and values) in one transaction; the rows of each. Raises
        StatementRefused too."""
        with _told(" and ".join(name for name, _ in calls)):
            async with self._connection() as connection, connection.transaction():
                return [
                    cast(list[Row], await connection.fetch(self.queries[name], *values))
                    for name, values in calls
                ]

    async def rehearse(self, name: str, *values: Any) -> list[Row]:
        """The rows that the query `name` would return; what it does is undone. Raises
        StatementRefused too."""
        with _told(name):
            async with self._connection() as connection:
                transaction = connection.transaction()
                await transaction.start()
                try:
                    return cast(list[Row], await connection.fetch(self.queries[name], *values))
                finally:
                    await transaction.rollback()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[PoolConnectionProxy]:
        """One of the pool. Whatever keeps us from getting one, the server is not there for us."""
        try:
            connection = await self.connections.take()
        except (*AWAY, asyncpg.PostgresError) as fault:
            raise DatabaseAway(f"no connection: {type(fault).__name__}") from fault
        try:
            yield connection
        except BaseException:
            await self.connections.leave(connection)
            raise
        await self.connections.put_back(connection)

    async def row(self, name: str, *values: Any) -> Row | None:
        """Runs the query `name` and returns its first row, or None."""
        rows = await self.rows(name, *values)
        return rows[0] if rows else None

    @asynccontextmanager
    async def listening(
        self, channel: str, heard: Callable[[str], None]
    ) -> AsyncIterator[asyncio.Event]:
        """Calls `heard` with what is said at each notification on `channel`, over a connection that
        is held as long. Yields what is set once that connection is lost. Raises StatementRefused
        too."""
        lost = asyncio.Event()

        def hear(*told: Any) -> None:
            heard(told[-1])

        def lose(_: object) -> None:
            lost.set()

        with _told(f"listening on {channel}"):
            async with self._connection() as connection:
                connection.add_termination_listener(lose)
                await connection.add_listener(channel, hear)
                try:
                    yield lost
                finally:
                    connection.remove_termination_listener(lose)
                    await connection.remove_listener(channel, hear)


async def _left_as_found(_: asyncpg.Connection) -> None:
    """Nothing, where asyncpg would unlock, unlisten and reset after every statement, which is a
    round trip as long as most of ours: no query here leaves anything of its own behind in a
    session. A transaction left open is still rolled back."""


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Raises what asyncpg raises as our own errors, without the rows that it would quote."""
    try:
        yield
    except AWAY as fault:
        if isinstance(fault, ValueError):  # asyncpg could not encode a value: our fault
            raise
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # what asyncpg met as it gave way hides that
            raise asyncio.CancelledError from fault
        raise DatabaseAway(f"{what}: {type(fault).__name__}") from fault
    except asyncpg.PostgresError as fault:
        rule = getattr(fault, "constraint_name", None) or fault.sqlstate
        raise StatementRefused(f"{what}: {type(fault).__name__} ({rule})") from None


async def migrate(dsn: str) -> list[str]:
    """Brings the database up to this code, under a lock; returns the names of what was applied.

    Raises DatabaseNewer where it holds a migration that this code does not know, DatabaseAway
    where it cannot be reached, refuses us, goes away meanwhile or is older than Postgres 15.
    """
    files = sorted((_sql_folder() / "migrations").glob("*.sql"))
    try:
        connection = await asyncpg.connect(dsn, timeout=CONNECT_SECONDS)
    except (*AWAY, asyncpg.PostgresError) as fault:
        raise DatabaseAway(f"the database does not answer: {type(fault).__name__}") from fault
    try:
        if connection.get_server_version().major < 15:
            raise DatabaseAway("Postgres 15 or newer is needed")
        return await _apply(connection, files)
    except AWAY as fault:
        raise DatabaseAway(f"the database went away: {type(fault).__name__}") from fault
    finally:
        await connection.close()


async def _apply(connection: asyncpg.Connection, files: list[Path]) -> list[str]:
    applied = []
    for path in files:
        async with connection.transaction():
            await connection.execute("select pg_advisory_xact_lock($1)", MIGRATION_LOCK)
            await connection.execute(
                "create table if not exists migrations"
                " (name text primary key, applied_at timestamptz not null)"
            )
            known = {row["name"] for row in await connection.fetch("select name from migrations")}
            unknown = known - {file.stem for file in files}
            if unknown:
                raise DatabaseNewer(
                    f"the database has {max(unknown)}, which this Callboard does not know:"
                    " start a newer one"
                )
            if path.stem not in known:
                await connection.execute(path.read_text())
                await connection.execute(
                    "insert into migrations (name, applied_at) values ($1, now())", path.stem
                )
                applied.append(path.stem)
    return applied
