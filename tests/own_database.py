"""A database of a test file's own, beside the one that the whole run shares."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg

MIGRATIONS = sorted((Path(__file__).parent.parent / "sql" / "migrations").glob("*.sql"))


@asynccontextmanager
async def own_database(server: str, what: str) -> AsyncIterator[str]:
    """Makes an empty database on this server, yields its address, and drops it."""
    name = f"callboard_{what}_{uuid4().hex[:12]}"
    before, mark, query = server.partition("?")
    connection = await asyncpg.connect(server)
    try:
        await connection.execute(f"create database {name}")
        yield f"{before.rpartition('/')[0]}/{name}{mark}{query}"
        await connection.execute(f"drop database {name} (force)")
    finally:
        await connection.close()


@asynccontextmanager
async def database_before(server: str, migration: str, past: str) -> AsyncIterator[str]:
    """The address of one as it was before that migration, with a `past` (a statement)."""
    async with own_database(server, "before") as url:
        there = await asyncpg.connect(url)
        await there.execute(
            "create table migrations (name text primary key, applied_at timestamptz not null)"
        )
        for path in (one for one in MIGRATIONS if one.stem < migration):
            await there.execute(path.read_text())
            await there.execute("insert into migrations values ($1, now())", path.stem)
        await there.execute(past)
        await there.close()
        yield url
