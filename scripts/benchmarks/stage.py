"""What a run of callbacks needs: a Postgres of its own, and processes for the server, the pretend
provider and the load."""

import asyncio
import os
import pickle
import secrets
import sys
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg
from nacl.signing import SigningKey

from benchmarks.jobs import Signing, quieten
from benchmarks.load import Load, Result
from benchmarks.sweeping import ON
from service import jsontext
from service.database import migrate
from service.embedded import attached
from service.tokens import Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A running server; `ports` by variant."""

    db: asyncpg.Connection
    ports: Mapping[str, int]
    signing: Signing

    async def load(
        self,
        name: str,
        in_flight: int,
        count: int,
        requests: list[bytes],
        *,
        per_second: float | None = None,
    ) -> Result:
        """Sends `count` requests to one variant, from another process."""
        load = Load(
            port=self.ports[name],
            in_flight=in_flight,
            count=count,
            requests=requests,
            per_second=per_second,
        )
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.load_process"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate(pickle.dumps(load))
        if process.returncode:
            raise RuntimeError(f"the load for {name} ended with {process.returncode}")
        result: Result = pickle.loads(out)
        return result

    async def server_seconds(self) -> float:
        """The processor time that the server has used so far."""
        return float(await self._got("usage", "/"))

    async def sweep(self, on: bool) -> None:
        """Lets the sweeper work, or makes it stand still."""
        await self._got("sweeper", ON if on else "/off")

    async def _got(self, name: str, path: str) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[name])
        writer.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
        reply = await reader.read()
        writer.close()
        return reply.rpartition(b"\r\n")[2]


@asynccontextmanager
async def staged(data_dir: Path, pools: Sequence[int]) -> AsyncIterator[Stage]:
    """The embedded Postgres as it is for real use, on a disk that `data_dir` is on, the pretend
    provider and the server. All end with the block, and nothing is left behind."""
    secret, key = secrets.token_urlsafe(48), SigningKey.generate()
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="bench-", dir=data_dir))
        dsn = (await stack.enter_async_context(attached(Path(folder)))).dsn
        await migrate(dsn)
        db = await asyncpg.connect(dsn)
        stack.push_async_callback(db.close)
        await quieten(db)
        provider = await stack.enter_async_context(_process("provider", {"keys": [_jwk(key)]}))
        told = {
            "dsn": dsn,
            "pools": pools,
            "secret": secret,
            "provider": f"http://127.0.0.1:{provider['fal']}",
        }
        ports = await stack.enter_async_context(_process("server", told))
        yield Stage(db=db, ports=ports, signing=Signing(tokens=Tokens([secret]), key=key))


@asynccontextmanager
async def _process(module: str, told: Mapping[str, Any]) -> AsyncIterator[Mapping[str, int]]:
    """A process of its own, which is told something and says its ports; ended with the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"benchmarks.{module}"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={k: v for k, v in os.environ.items() if not k.startswith("FAL_")},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(jsontext.dumps(told).encode() + b"\n")
        line = await process.stdout.readline()
        if not line:
            raise RuntimeError(f"the {module} did not start")
        yield jsontext.loads(line)
    finally:
        process.stdin.close()
        await process.wait()


def _jwk(key: SigningKey) -> dict[str, str]:
    x = urlsafe_b64encode(bytes(key.verify_key)).decode()
    return {"kty": "OKP", "crv": "Ed25519", "kid": "bench", "x": x}
