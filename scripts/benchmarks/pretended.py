"""The real providers, set up to ask the pretend ones of `pretend`."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from pydantic import SecretStr

from service import jsontext
from service.providers import Provider, fal, genviral, prism, relay


@asynccontextmanager
async def pretended() -> AsyncIterator[dict[str, Provider]]:
    """The providers as they are, asked at a process that answers at once. Raises RuntimeError
    where that does not start."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.pretend"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = await process.stdout.readline()
        if not line:
            raise RuntimeError("the pretend providers did not start")
        ports = jsontext.loads(line)
        yield _providers({name: f"http://127.0.0.1:{port}" for name, port in ports.items()})
    finally:
        process.stdin.close()
        await process.wait()


def _providers(at: Mapping[str, str]) -> dict[str, Provider]:
    """Each at its address, whatever the environment says."""
    key = SecretStr("bench")
    built: tuple[Provider | None, ...] = (
        fal.build(fal.Settings.read(_env_file=None, fal_key=key, fal_queue_url=at["fal"])),
        genviral.build(
            genviral.Settings.read(_env_file=None, genviral_key=key, genviral_url=at["genviral"])
        ),
        prism.build(prism.Settings.read(_env_file=None, prism_key=key, prism_url=at["prism"])),
        relay.build(relay.Settings.read(_env_file=None, relay_key=key, relay_url=at["relay"])),
    )
    return {provider.name: provider for provider in built if provider is not None}
