"""The real service as a process of its own, for tests where that is the point."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

CLEAN = ("PATH", "LANG", "TMPDIR", "SSL_CERT_FILE")


def environment(**settings: str) -> dict[str, str]:
    """An environment with these settings and nothing of this machine's."""
    return {name: os.environ[name] for name in CLEAN if name in os.environ} | settings


class Process:
    """A `callboard` command under way; `output` is all it has printed on stderr so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.output = ""
        self._read = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.output += line.decode()

    async def said(self, pattern: str, *, within: float = 30.0) -> str:
        """The first group of `pattern` once it has been printed."""
        async with asyncio.timeout(within):
            while (found := re.search(pattern, self.output)) is None:
                if self._read.done():
                    raise AssertionError(f"ended without {pattern!r}:\n{self.output}")
                await asyncio.sleep(0.01)
        return found[1] if found.groups() else found[0]

    async def ended(self, *, within: float = 30.0) -> int:
        """Its exit code, once it has one."""
        async with asyncio.timeout(within):
            code = await self.process.wait()
            await self._read
        return code

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


@asynccontextmanager
async def running(*words: str, env: Mapping[str, str], cwd: str) -> AsyncIterator[Process]:
    """`callboard *words` in `cwd`; killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "service",
        *words,
        env={**env, "PYTHONPATH": os.getcwd()},
        cwd=cwd,
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    under_way = Process(process)
    try:
        yield under_way
    finally:
        if process.returncode is None:
            process.kill()
        await under_way.ended()
