"""How background work goes round: a step again and again, and a write until it is stored."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from service.errors import DatabaseAway

log = logging.getLogger(__name__)
T = TypeVar("T")
LONGEST_PAUSE_SECONDS = 1.0  # what waits to be stored is lost if we die first


class Worker(Protocol):
    """Somebody at work in the background, step by step."""

    wake: asyncio.Event

    async def step(self) -> bool:
        """One step; whether there is more to do at once."""
        ...


def jittered(seconds: float) -> float:
    """`seconds`, up to a fifth more or less: what was due together must not stay together."""
    return seconds * random.uniform(0.8, 1.2)


async def every(
    seconds: float, step: Callable[[], Awaitable[bool]], wake: asyncio.Event, stop: asyncio.Event
) -> None:
    """Runs `step` until `stop` is set: again at once while it returns True, else after `seconds`
    or as soon as `wake` is set. A step that fails is logged and tried again."""
    while not stop.is_set():
        wake.clear()
        try:
            if await step():
                continue
        except DatabaseAway as fault:
            log.warning("waiting for the database: %s", fault)
        except Exception:
            log.exception("a step failed and will be tried again")
        await _pause(jittered(seconds), wake)


async def _pause(seconds: float, wake: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        pass


async def until_stored(write: Callable[[], Awaitable[T]]) -> T:
    """Calls `write` until the database has answered it: every write here may be sent again."""
    pause = 0.05
    while True:
        try:
            return await write()
        except DatabaseAway as fault:
            log.warning("a write waits for the database: %s", fault)
        await asyncio.sleep(jittered(pause))
        pause = min(LONGEST_PAUSE_SECONDS, pause * 2)
