"""One Callboard process, as `serve` would wire it, less the loops: the story says what goes on."""

import asyncio
import itertools
from types import SimpleNamespace

import app_client
import sweeping
from pydantic import SecretStr
from raw_server import unused_port

from interleaving.fal import TOKENS
from interleaving.wire import Wire
from service.database import Database
from service.health import Health
from service.pace import Pace
from service.place import Placer
from service.pooled import Asker
from service.providers import Provider, fal
from service.registration import Registration
from service.submission import Timing
from service.submit import Submitter
from service.turns import Limits

LEASE, UNCONFIRMED, GIVE_UP, DEADLINE = 60.0, 1200.0, 3600.0, 600.0
CLOCKS = {"lease": LEASE, "unconfirmed": UNCONFIRMED, "give_up": GIVE_UP}
ONE_AT_A_TIME = 1  # the order of those that one claim takes is nobody's to say


class Clock(SimpleNamespace):
    """What a module sees as `time`: it passes when the story says so."""

    now: float = 0.0

    def monotonic(self) -> float:
        return self.now


def fal_at(origin: str, who: str) -> Provider:
    """fal, as a process of that name knows it."""
    built = fal.build(fal.Settings(fal_key=SecretStr(f"{who}:secret"), fal_queue_url=origin))
    assert built is not None
    return built


class Process:
    """The parts of one process."""

    def __init__(self, name: str, wire: Wire, origin: str) -> None:
        self.name = name
        self.wire = wire
        self._near = fal_at(origin, name)
        self._far = fal_at(f"http://127.0.0.1:{unused_port()}", name)

    async def start(self) -> None:
        """Its memory is empty, and its connections are new."""
        self.db = await Database.connect(self.wire.dsn, size=8)
        self.asker = Asker()
        self.renew()

    def renew(self) -> None:
        """Its memory is empty."""
        timing = Timing(**CLOCKS)
        self.providers = {"fal": self._near}
        self.submitter = Submitter(
            self.db,
            self.providers,
            Registration(tokens=TOKENS, timing=timing, public_url="https://board.example"),
            timing,
            Pace(catalog=app_client.CATALOG),
            Health(self.db),
            lambda outcomes: None,
            wake=asyncio.Event(),
            each=ONE_AT_A_TIME,
        )
        self.sweeper = sweeping.sweeper_of(
            self.db,
            self.providers,
            self.asker,
            limits=Limits(each=ONE_AT_A_TIME),
            lost=self.submitter.doubt,
            clock=itertools.count().__next__,  # it may always ask
            **CLOCKS,
        )
        self.receiver = app_client.receiver(self.db, self.providers)
        self.placer = Placer(self.db, wake=asyncio.Event())
        self.parts = app_client.parts(self.db, self.providers, self.asker)

    def cut_off(self, away: bool) -> None:
        """Whether it reaches the provider no more."""
        self.providers["fal"] = self._far if away else self._near

    async def stop(self) -> None:
        """Drops what it has open."""
        self.db.pool.terminate()
        await self.asker.aclose()
