"""An app's side of the pretend fal: a client of its queue, and a door for its callbacks."""

import asyncio
import contextlib
import itertools
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from secrets import token_urlsafe
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import aiohttp
from aiohttp import web
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

MODEL = "fal-ai/sora-2/text-to-video/pro"
KEY = {"Authorization": "Key one:two"}
PATIENCE = 10


@dataclass
class Inbound:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def token(self) -> str:
        return parse_qs(urlsplit(self.path).query)["token"][0]


@dataclass
class Receiver:
    """An app's callback door: keeps what came, answers `statuses` in turn, then 200."""

    address: str = ""
    statuses: list[int] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    inbox: asyncio.Queue[Inbound] = field(default_factory=asyncio.Queue)

    def url(self, token: str | None = None) -> str:
        return f"{self.address}?token={token or token_urlsafe(24)}"

    async def take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        await self.inbox.put(Inbound(request.raw_path, headers, await request.read()))
        await self.open.wait()
        status = self.statuses.pop(0) if self.statuses else 200
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    async def next(self) -> Inbound:
        async with asyncio.timeout(PATIENCE):
            return await self.inbox.get()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    receiver.open.set()
    app = web.Application()
    app.router.add_post("/{rest:.*}", receiver.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.address = f"http://127.0.0.1:{runner.addresses[0][1]}/callbacks/fal"
    try:
        yield receiver
    finally:
        receiver.open.set()
        await runner.cleanup()


@dataclass
class Client:
    """Speaks to a sandbox as an app would."""

    http: aiohttp.ClientSession
    url: str
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    async def call(self, method: str, url: str, **more: Any) -> tuple[int, Any, Any]:
        async with self.http.request(method, url, **more) as reply:
            return reply.status, await reply.json(content_type=None), reply.headers

    def submit_url(self, webhook: str | None = None) -> str:
        query = f"?fal_webhook={quote(webhook, safe='')}" if webhook else ""
        return f"{self.url}/fal/{MODEL}{query}"

    async def submit(self, webhook: str | None = None, given: Any = None) -> dict[str, Any]:
        given = given or {"prompt": f"Paper boat {next(self.numbers)} on a canal."}
        status, reply, _ = await self.call("POST", self.submit_url(webhook), json=given)
        assert status == 200
        return dict(reply)

    async def control(self, **changes: Any) -> tuple[int, Any]:
        status, reply, _ = await self.call("PUT", f"{self.url}/control", json=changes)
        return status, reply

    async def ledger(self) -> Any:
        return (await self.call("GET", f"{self.url}/control"))[1]

    async def job(self, request_id: str) -> Any:
        jobs = (await self.ledger())["jobs"]
        return next(job for job in jobs if request_id in job["request_ids"])

    async def ended(self, reply: dict[str, Any]) -> Any:
        async with asyncio.timeout(PATIENCE):
            while True:
                status, now, _ = await self.call("GET", reply["status_url"])
                if status == 200:
                    return now
                assert status == 202

    async def calls(self, reply: dict[str, Any], count: int) -> list[tuple[str, int | None]]:
        """The job's callbacks, once `count` were answered."""
        async with asyncio.timeout(PATIENCE):
            while True:
                job = await self.job(reply["request_id"])
                if len(job["callbacks"]) >= count:
                    return [(call["kind"], call["status"]) for call in job["callbacks"]]

    async def is_signed(self, call: Inbound) -> bool:
        """fal's documented check, done anew: any key of the set over the four lines."""
        _, keys, _ = await self.call("GET", f"{self.url}/fal/.well-known/jwks.json")
        names = ("request-id", "user-id", "timestamp")
        lines = [call.headers[f"x-fal-webhook-{name}"] for name in names]
        message = "\n".join([*lines, sha256(call.body).hexdigest()]).encode()
        signature = bytes.fromhex(call.headers["x-fal-webhook-signature"])
        for key in keys["keys"]:
            with contextlib.suppress(BadSignatureError):
                VerifyKey(urlsafe_b64decode(key["x"])).verify(message, signature)
                return True
        return False
