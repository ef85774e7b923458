"""The demo's `callboard serve`: a process of its own on a free port."""

import asyncio
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from service.errors import CallboardError

START_SECONDS, STOP_SECONDS, LOOK_SECONDS = 60.0, 20.0, 0.05
TRIES = 3


@asynccontextmanager
async def serving(folder: Path, log: Path, environment: Mapping[str, str]) -> AsyncIterator[str]:
    """Runs `callboard serve` on a free port; yields its address. Its log goes to `log`."""
    for _ in range(TRIES):
        port = _free_port()
        url = f"http://127.0.0.1:{port}"
        told = {"CALLBOARD_PORT": str(port), "CALLBOARD_PUBLIC_URL": url}
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "service", "serve"),
                cwd=folder,  # a .env of the user's is none of the demo's business
                env={**environment, **told},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for the demo, which then ends it in order
            )
        try:
            if await _listening(process, log):
                yield url
                return
        finally:
            await stop(process)
        if not _says(log, "cannot listen"):
            break
    raise CallboardError("callboard serve did not start")


def _free_port() -> int:
    """A port that was free just now. Whoever takes it before us costs one more try."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


async def _listening(process: asyncio.subprocess.Process, log: Path) -> bool:
    """Whether it came to listen: by its own log, since another program may have the port."""
    until = time.monotonic() + START_SECONDS
    while process.returncode is None and time.monotonic() < until:
        if _says(log, "listening on http"):
            return True
        await asyncio.sleep(LOOK_SECONDS)
    return False


def _says(log: Path, words: str) -> bool:
    return words in log.read_text(errors="replace")


async def stop(process: asyncio.subprocess.Process) -> None:
    """Ends it in order, by force where that takes too long."""
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
