"""A database of a test file's own, beside the one that the whole run shares."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg


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
