"""Runs a Callboard: its loops and its HTTP server, until it is told to stop."""

import asyncio
import contextlib
import gc
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from enum import StrEnum

import uvicorn

from service.assembly import Service, built
from service.hints import passing_on, take_up
from service.http import tls
from service.settings import Settings
from service.sockets import drop_stuck

log = logging.getLogger(__name__)

STUCK_SECONDS = 60.0


class Role(StrEnum):
    """What a process does: answers HTTP, works in the background, or both."""

    ALL = "all"
    API = "api"
    WORKER = "worker"


class _Server(uvicorn.Server):
    """Leaves signals to us: what is under way must be stored after the door is closed. `closing`
    is called when it is, so that no answer goes on for ever."""

    def __init__(self, config: uvicorn.Config, closing: Callable[[], None]) -> None:
        super().__init__(config)
        self._closing = closing

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Says where we listen, once we do: with port 0 only then known. Raises OSError where the
        port cannot be had, for which uvicorn would leave the process at once."""
        try:
            await super().startup(sockets)
        except SystemExit as fault:
            where = f"{self.config.host}:{self.config.port}"
            raise OSError(f"cannot listen on {where}") from fault
        for listening in getattr(self, "servers", []):
            for bound in listening.sockets:
                drop_stuck(bound, STUCK_SECONDS)
                log.info("listening on http://%s:%s", *bound.getsockname()[:2])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._closing()  # whom it lets go runs only after the door was closed, and comes not back
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def run(settings: Settings, role: Role) -> None:
    """Runs a Callboard until SIGTERM or SIGINT, then ends it in order. Raises what `built` does,
    and OSError where the port is taken."""
    tls()  # read now, or no job could be sent, and the first request would hold all others up
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with built(settings, stop) as service:
        db, wakes, works = service.db, service.wakes, role is not Role.API
        loops = service.loops(stop) if works else passing_on(db, wakes, stop)
        background = [asyncio.create_task(loop) for loop in (*loops, service.probe.run(stop))]
        listening = [asyncio.create_task(take_up(db, wakes))] if works else []
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        try:
            if role is Role.WORKER:
                log.info("working")
                await stop.wait()
            else:
                await _answer(service, stop)
        finally:
            stop.set()
            for one in listening:
                one.cancel()
            await asyncio.gather(*listening, return_exceptions=True)
            await service.finish(background)


async def _answer(service: Service, stop: asyncio.Event) -> None:
    settings = service.settings
    config = uvicorn.Config(
        service.app,
        host=settings.callboard_host,
        port=settings.callboard_port,
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=10,
        server_header=False,
    )
    server = _Server(config, service.tail.end)
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    stopping.cancel()
    await serving
