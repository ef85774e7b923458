"""An app over HTTP, endpoints that answer as told, and a deliverer beside them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import app_client
import httpx
from app_client import KEY
from scene import SECRETS, make_app, make_job

from service.database import Database
from service.deliver import Delivering
from service.encryption import AtRest
from service.guard import Guard
from service.job import State
from service.place import Placer
from service.pooled import Deliverer
from service.recover import Recovering

LOOPBACK = ("127.0.0.0/8",)


def answering(status: str, body: str = "ok", *headers: str) -> bytes:
    """A whole answer for `raw_server.says`."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", body]
    return "\r\n".join(lines).encode()


def parts(request: bytes) -> tuple[dict[str, str], bytes]:
    """A request's headers, their names in small letters, and its body."""
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")[1:]
    return {line.split(": ", 1)[0].lower(): line.split(": ", 1)[1] for line in lines}, body


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """An app's client `web`, and who works behind it when told to."""

    db: Database
    app: UUID
    web: httpx.AsyncClient
    delivering: Delivering

    async def ended(self, number: int = 1, state: State = State.COMPLETED) -> list[UUID]:
        """Ended jobs whose events have their places."""
        jobs = [await make_job(self.db, self.app, state) for _ in range(number)]
        await Placer(self.db, wake=asyncio.Event()).step()
        return jobs

    async def send(self, *, due: bool = False) -> None:
        """Sends whatever is due; with `due`, first makes due whatever waits for a later try."""
        if due:
            await self.db.pool.execute(
                "update deliveries set next_at = now() where state = 'pending'"
            )
        while True:
            await self.delivering.step()
            if not self.delivering.places.taken:
                return
            await self.delivering.places.drain()

    async def recover(self) -> None:
        """Carries out whatever is to be told again."""
        recovering = Recovering(self.db, wake=asyncio.Event())
        while await recovering.step():
            pass

    async def subscribe(self, url: str, **wanted: object) -> dict[str, str]:
        """A new endpoint, as it is answered."""
        answer = await self.web.post("/v1/subscriptions", json={"url": url} | wanted)
        assert answer.status_code == 201, answer.text
        made: dict[str, str] = answer.json()
        return made

    async def deliveries(self, **query: str) -> list[dict[str, object]]:
        """A page of deliveries."""
        answer = await self.web.get("/v1/deliveries", params=query)
        assert answer.status_code == 200, answer.text
        page: list[dict[str, object]] = answer.json()["data"]
        return page


@asynccontextmanager
async def board(db: Database, allowed: Sequence[str] = LOOPBACK) -> AsyncIterator[Board]:
    """An app "studio" with a key of all scopes."""
    studio = await make_app(db, key=KEY)
    making = app_client.creator(db, allowed=allowed)
    sending = Deliverer(Guard(allowed))
    worker = Delivering(db, AtRest(SECRETS), sending, wake=asyncio.Event())
    async with app_client.client(app_client.app(db, making, sending=sending)) as web:
        yield Board(db=db, app=studio, web=web, delivering=worker)
    await sending.aclose()
