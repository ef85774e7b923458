"""Programs that hold on to an embedded Postgres, and what its tests look at."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg

from service.embedded import locks
from service.embedded.place import Place

ROOT = Path(__file__).parent.parent

HOLDER = """
import asyncio, sys
from pathlib import Path
from service.embedded import attached

async def main() -> None:
    async with attached(Path(sys.argv[1]), fsync=False):
        print("up", flush=True)
        await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main())
"""


async def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Returns when `condition` holds; fails after a while."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  what is waited for is in another process
            await asyncio.sleep(0.005)


async def run(dsn: str, statement: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(statement)
    finally:
        await connection.close()


async def with_a_row(dsn: str) -> None:
    await run(dsn, "create table kept as select 42 as answer")


async def rows(dsn: str) -> list[int]:
    return [row["answer"] for row in await run(dsn, "select answer from kept")]


def postmaster(place: Place) -> int:
    return int((place.cluster / "postmaster.pid").read_text().split("\n")[0])


def running(cluster: Path) -> list[int]:
    """The pids of the programs that were started on these files (Linux only)."""
    found = []
    for words in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if os.fsencode(cluster) in words.read_bytes().split(b"\0"):
                found.append(int(words.parent.name))
    return found


async def kill(pid: int, place: Place) -> None:
    """kill -9 of the postmaster; returns when its children have gone too."""
    os.kill(pid, signal.SIGKILL)
    await until(lambda: locks.is_free(place.alive))


@asynccontextmanager
async def program(
    *words: object, python: str = sys.executable, **options: object
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A Python program that can be talked to; killed at the end where it still runs."""
    process = await asyncio.create_subprocess_exec(
        python,
        "-c",
        *(str(word) for word in words),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        **options,  # type: ignore[arg-type]
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def said(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(20):
        return (await process.stdout.readline()).decode().strip()


def tell(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.write(b"go on\n")


async def ended(process: asyncio.subprocess.Process) -> int:
    async with asyncio.timeout(20):
        return await process.wait()
