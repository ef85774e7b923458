"""Locks on files by flock(2), and patient waiting that says what it waits for."""

import asyncio
import fcntl
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

_log = logging.getLogger("service.embedded")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.2
_FIRST_WORD, _NEXT_WORD = 2.0, 10.0


class Wait:
    """Pauses between looks, and says on the log after 2 s, then every 10 s, what it waits for."""

    def __init__(self, reason: Callable[[], str]) -> None:
        self._reason = reason
        self._began = time.monotonic()
        self._speak = self._began + _FIRST_WORD
        self._pause = _FIRST_PAUSE

    async def pause(self) -> None:
        """Sleeps 10 ms at first, 200 ms later on."""
        await asyncio.sleep(self._pause)
        self._pause = min(self._pause * 1.3, _LONGEST_PAUSE)
        now = time.monotonic()
        if now >= self._speak:
            self._speak = now + _NEXT_WORD
            _log.info("waiting for %.0f s: %s", now - self._began, self._reason())


def take(path: Path, *, shared: bool = False) -> int | None:
    """A descriptor that holds the lock on `path` until it and all its inherited copies are
    closed; None where somebody else holds it. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if upgrade(descriptor, shared=shared):
        return descriptor
    os.close(descriptor)
    return None


def upgrade(descriptor: int, *, shared: bool = False) -> bool:
    """Whether the lock is now held through `descriptor`. A refusal may lose what it held."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_free(path: Path) -> bool:
    """Whether nobody holds the lock on `path` at this moment."""
    descriptor = take(path)
    if descriptor is None:
        return False
    os.close(descriptor)
    return True


@asynccontextmanager
async def held(path: Path, reason: str) -> AsyncIterator[int]:
    """Holds the lock on `path` alone; waits for it as long as it takes."""
    wait = Wait(lambda: reason)
    while (descriptor := take(path)) is None:
        await wait.pause()
    try:
        yield descriptor
    finally:
        os.close(descriptor)
