"""The sweeper beside the door: in its process, on its event loop, asking the pretend provider."""

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

from benchmarks.endpoint import answering
from service.assembly import LOOK_SECONDS
from service.catalog import Catalog
from service.database import Database
from service.health import Health
from service.inquiry import Inquiry, request_seconds
from service.loop import every
from service.moves import Moves
from service.pace import Pace
from service.pooled import Asker
from service.providers import Provider
from service.store.agenda import Due
from service.sweep import Patience, Sweeper
from service.turns import Limits, Turns
from service.vault import NO_SECRETS

ON = "/on"
POLLS_PER_SECOND = 200.0


class Sweeping:
    """The sweeper's loop, which stands still until it is switched on."""

    def __init__(self, db: Database, provider: Provider, moves: Moves) -> None:
        self._on = False
        self._asker = Asker()
        health, wake = Health(db), asyncio.Event()
        patience = Patience(lease=60.0, unconfirmed=10_800.0, give_up=86_400.0)
        limits = Limits(per_second=2 * POLLS_PER_SECOND)
        self._sweeper = Sweeper(
            db,
            {provider.name: provider},
            Inquiry(self._asker, NO_SECRETS, total=request_seconds(patience.lease)),
            Pace(catalog=Catalog.load()),
            health,
            Turns(db, health, limits, lease=patience.lease, wake=wake),
            patience=patience,
            moves=moves,
            lost=_nobody_posts,
            wake=wake,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Looks and asks as `callboard serve` does, until `stop`."""
        await every(LOOK_SECONDS, self._step, self._sweeper.wake, stop)
        await self._sweeper.finish()
        await self._asker.aclose()

    def switch(self) -> ASGIApp:
        """An endpoint that lets the sweeper work, at ON, or makes it stand still."""
        done = answering(b"{}")

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            self._on = scope["path"] == ON
            self._sweeper.wake.set()
            if not self._on:
                await self._sweeper.turns.drain()
            await done(scope, receive, send)

        return answer

    async def _step(self) -> bool:
        return await self._sweeper.step() if self._on else False


async def _nobody_posts(due: Due) -> None:
    raise RuntimeError(f"{due.attempt.job_id} is said to be being sent")
