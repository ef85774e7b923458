"""What a run of callbacks needs: a Postgres of its own, the server, and the load's process."""

import asyncio
import os
import pickle
import secrets
import sys
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
from nacl.signing import SigningKey

from benchmarks.jobs import Signing, quieten
from benchmarks.load import Load, Result
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

    async def load(self, name: str, in_flight: int, count: int, requests: list[bytes]) -> Result:
        """Sends `count` requests to one variant, from another process."""
        load = Load(port=self.ports[name], in_flight=in_flight, count=count, requests=requests)
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
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports["usage"])
        writer.write(b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
        reply = await reader.read()
        writer.close()
        return float(reply.rpartition(b"\r\n")[2])


@asynccontextmanager
async def staged(data_dir: Path, pools: Sequence[int]) -> AsyncIterator[Stage]:
    """The embedded Postgres as it is for real use, on a disk that `data_dir` is on, and the
    server. Both end with the block, and nothing is left behind."""
    with TemporaryDirectory(prefix="bench-", dir=data_dir) as folder:
        async with attached(Path(folder)) as embedded:
            await migrate(embedded.dsn)
            db = await asyncpg.connect(embedded.dsn)
            try:
                await quieten(db)
                async with _server(db, embedded.dsn, pools) as stage:
                    yield stage
            finally:
                await db.close()


@asynccontextmanager
async def _server(db: asyncpg.Connection, dsn: str, pools: Sequence[int]) -> AsyncIterator[Stage]:
    secret, key = secrets.token_urlsafe(48), SigningKey.generate()
    told = {"dsn": dsn, "pools": pools, "secret": secret, "jwks": {"keys": [_jwk(key)]}}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.server"),
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
            raise RuntimeError("the server did not start")
        signing = Signing(tokens=Tokens([secret]), key=key)
        yield Stage(db=db, ports=jsontext.loads(line), signing=signing)
    finally:
        process.stdin.close()
        await process.wait()


def _jwk(key: SigningKey) -> dict[str, str]:
    x = urlsafe_b64encode(bytes(key.verify_key)).decode()
    return {"kty": "OKP", "crv": "Ed25519", "kid": "bench", "x": x}
