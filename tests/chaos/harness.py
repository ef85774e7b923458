"""The processes of a chaos run: a Postgres of its own, the sandbox, and the service to kill."""

import asyncio
import os
import random
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from embedded_programs import postmaster, until

from service.embedded import Embedded, locks
from service.embedded.place import place_in

ROOT = Path(__file__).parent.parent.parent
SECRETS = "the secret of a chaos run and of no other"
LEASE_SECONDS = 6
UNCONFIRMED_SECONDS = 12  # longer than the sandbox's tries need to meet a service that is back
POLL_SECONDS = 0.6
MOST_WAIT_SECONDS = 0.6


@dataclass
class Program:
    """One `callboard` command as a process; all it says goes to `said`."""

    words: tuple[str, ...]
    said: Path
    env: dict[str, str] = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self.said.open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "service",
                *self.words,
                cwd=ROOT,
                env=_environment() | self.env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    async def end(self, number: int) -> int:
        """Sends a signal; the exit status."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await self.process.wait()

    async def waited(self) -> int:
        assert self.process is not None
        return await self.process.wait()


@dataclass
class Postgres:
    """The run's server, and ways to take it down; `downs` counts them."""

    embedded: Embedded
    folder: Path
    downs: int = 0

    async def stop(self, number: int) -> None:
        """SIGINT: a fast shutdown. SIGQUIT: at once, with a recovery. SIGKILL: no shutdown."""
        place = place_in(self.folder)
        os.kill(postmaster(place), number)
        await until(lambda: locks.is_free(place.alive))
        self.downs += 1

    async def start(self) -> None:
        await self.embedded.ensure()


@dataclass
class Service:
    """The service as a process that is killed and started again; `kills`: from when to when each
    took, in unix time."""

    program: Program
    kills: list[tuple[float, float]] = field(default_factory=list)

    async def kill(self) -> None:
        began = time.time()
        await self.program.end(signal.SIGKILL)
        self.kills.append((began, time.time()))
        await self.program.start()

    def complaints(self) -> list[str]:
        """The errors that it has logged."""
        said = self.program.said.read_text().splitlines()
        # That an open job's callback was forged is no fault of ours: the sandbox forges some.
        return [
            line
            for line in said
            if " CRITICAL " in line or (" ERROR " in line and " ERROR service.alarm " not in line)
        ]

    def is_running(self) -> bool:
        process = self.program.process
        return process is not None and process.returncode is None


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def service_settings(dsn: str, port: int, sandbox: str) -> dict[str, str]:
    """The environment of the service, and of commands beside it."""
    return {
        "DATABASE_URL": dsn,
        "CALLBOARD_SECRETS": SECRETS,
        "CALLBOARD_PORT": str(port),
        "CALLBOARD_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "CALLBOARD_ALLOW_PRIVATE_WEBHOOKS": "127.0.0.0/8",
        "CALLBOARD_LEASE_SECONDS": str(LEASE_SECONDS),
        "CALLBOARD_POLL_SECONDS": str(POLL_SECONDS),
        "CALLBOARD_UNCONFIRMED_SECONDS": str(UNCONFIRMED_SECONDS),
        "FAL_KEY": "chaos:key",
        "FAL_QUEUE_URL": f"{sandbox}/fal",
        "FAL_JWKS_URL": f"{sandbox}/fal/.well-known/jwks.json",
        "GENVIRAL_KEY": "chaos.key",
        "GENVIRAL_URL": f"{sandbox}/genviral",
        "PRISM_KEY": "prism_sk_chaos",
        "PRISM_URL": f"{sandbox}/prism",
        "RELAY_KEY": "sk-chaos",
        "RELAY_URL": f"{sandbox}/relay",
    }


@asynccontextmanager
async def serving(
    program: Program, address: str, http: aiohttp.ClientSession
) -> AsyncIterator[None]:
    """Starts `program` and returns when its `address` answers; killed at the end where it lives."""
    await program.start()
    try:
        await ready(program, address, http)
        yield
    finally:
        await program.end(signal.SIGKILL)


@asynccontextmanager
async def serving_both(
    one: tuple[Program, str], other: tuple[Program, str], http: aiohttp.ClientSession
) -> AsyncIterator[None]:
    """The same of two programs, each with its address, which start side by side."""
    await one[0].start()
    try:
        async with serving(*other, http):
            await ready(*one, http)
            yield
    finally:
        await one[0].end(signal.SIGKILL)


async def ready(program: Program, address: str, http: aiohttp.ClientSession) -> None:
    """Returns when the `address` of a program that runs answers."""
    async with asyncio.timeout(60):
        while not await _answers(address, http):
            assert program.process is not None
            assert program.process.returncode is None, program.said.read_text()[-2000:]
            await asyncio.sleep(0.02)


async def _answers(address: str, http: aiohttp.ClientSession) -> bool:
    try:
        async with http.get(address) as reply:
            return reply.status == 200
    except aiohttp.ClientError:
        return False


def some_time(draws: random.Random) -> float:
    """How long a disaster waits once it may come, in seconds: chaos keeps no hours."""
    return draws.uniform(0, MOST_WAIT_SECONDS)


def _environment() -> dict[str, str]:
    """Ours, less every setting of Callboard's and the providers'."""
    ours = ("CALLBOARD_", "FAL_", "RELAY_", "PRISM_", "GENVIRAL_", "DATABASE_URL", "PG")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}
