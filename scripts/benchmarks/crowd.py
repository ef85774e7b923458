"""Databases of different sizes side by side on one server, so that rounds can take turns."""

import errno
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from benchmarks.open_jobs import Span, fill
from service.database import Database, migrate

SMALLER = 100  # times fewer open jobs in the small database
JOB_BYTES = 2_900  # with its rows in every table and their indexes
WAL_BYTES = 2 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """One database: so many open jobs, so many that have ended. `connection` is for what is not
    measured; nothing is vacuumed there while it is measured."""

    name: str
    still_open: int
    ended: int
    connection: asyncpg.Connection
    db: Database


def needed(jobs: int, ended: int) -> int:
    """How many bytes on the disk the databases take."""
    return JOB_BYTES * (jobs // SMALLER + 2 * jobs + ended) + WAL_BYTES


@asynccontextmanager
async def crowds(
    dsn: str, folder: Path, *, jobs: int, ended: int, tell: Callable[[str], None]
) -> AsyncIterator[list[Crowd]]:
    """Makes and fills them: a hundredth of `jobs` open ones, `jobs`, and `jobs` beside `ended`.
    Raises OSError where the disk that holds `folder` has no room for them."""
    need, free = needed(jobs, ended), shutil.disk_usage(folder).free
    tell(f"filling takes {need / 1e9:.1f} GB of the disk, {free / 1e9:.1f} GB are free")
    if need > free:
        raise OSError(errno.ENOSPC, f"no room for {jobs:,} open and {ended:,} ended jobs", folder)
    few = jobs // SMALLER
    await _make(dsn, "small", None, Span(first=1, still_open=few, last=few), tell)
    await _make(dsn, "large", None, Span(first=1, still_open=jobs, last=jobs), tell)
    past = Span(first=jobs + 1, still_open=jobs, last=jobs + ended)
    await _make(dsn, "ended", "large", past, tell)
    async with AsyncExitStack() as stack:
        yield [
            await _opened(stack, dsn, "small", few, 0),
            await _opened(stack, dsn, "large", jobs, 0),
            await _opened(stack, dsn, "ended", jobs, ended),
        ]


async def _make(
    dsn: str, name: str, template: str | None, span: Span, tell: Callable[[str], None]
) -> None:
    server = await asyncpg.connect(dsn)
    copied = f" template {template} strategy file_copy" if template else ""
    await server.execute(f"create database {name}{copied}", timeout=600.0)
    await server.close()
    await migrate(_at(dsn, name))
    there = await asyncpg.connect(_at(dsn, name))
    await fill(there, span, lambda what: tell(f"{name}: {what}"))
    await there.close()


async def _opened(stack: AsyncExitStack, dsn: str, name: str, still_open: int, ended: int) -> Crowd:
    connection = await asyncpg.connect(_at(dsn, name))
    stack.push_async_callback(connection.close)
    for table in ("agenda", "jobs", "polls"):
        await connection.execute(f"alter table {table} set (autovacuum_enabled = off)")
    db = await Database.connect(_at(dsn, name))
    stack.push_async_callback(db.close)
    return Crowd(name=name, still_open=still_open, ended=ended, connection=connection, db=db)


def _at(dsn: str, name: str) -> str:
    """`dsn` with another database's name."""
    before, mark, query = dsn.partition("?")
    return f"{before.rpartition('/')[0]}/{name}{mark}{query}"
