"""What the pretend providers of one sandbox share: options, fates, the ledger, and their tasks."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientSession, DummyCookieJar, TCPConnector

from service.sandbox.fates import Fates
from service.sandbox.ledger import Ledger
from service.sandbox.options import Options

_CALLS_AT_ONCE = 256
_log = logging.getLogger(__name__)


class Sandbox:
    """One sandbox, in memory only; use `session` within `open()`."""

    session: ClientSession

    def __init__(self, options: Options) -> None:
        self.options = options
        self.fates = Fates(options.seed)
        self.ledger = Ledger()
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Opens the client that sends callbacks; at the end drops whatever is still going on."""
        connector = TCPConnector(limit=_CALLS_AT_ONCE)
        async with ClientSession(connector=connector, cookie_jar=DummyCookieJar()) as session:
            self.session = session
            try:
                yield
            finally:
                await self.drop()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs `work` beside the requests, until it ends or the sandbox does."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def drop(self) -> None:
        """Cancels all tasks and waits for them."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()):
            _log.error("a sandbox task broke", exc_info=fault)
