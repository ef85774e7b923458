"""One look at what is due, from the first claim to the last write: the sweeper's own, with a
provider that answers at once; and the statements of it alone.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast
from uuid import UUID

from benchmarks.crowd import Crowd
from benchmarks.open_jobs import PROVIDERS, chosen, make_due, put_away
from benchmarks.processor import parent_of, used
from benchmarks.statements import Explained, Timed, Touched
from service.catalog import Catalog
from service.database import Database
from service.health import Health
from service.ids import bucket_of, new_id
from service.inquiry import Inquiry, request_seconds
from service.job import State
from service.loop import every
from service.moves import Moves
from service.pace import Pace
from service.pooled import Asker
from service.providers import Provider
from service.store import agenda
from service.store.agenda import ASKS, Due, Turn
from service.sweep import Patience, Sweeper
from service.turns import Limits, Turns
from service.vault import NO_SECRETS

LOOK_SECONDS, LONGEST_SECONDS = 1.0, 600.0
LEASE_SECONDS, LATER_SECONDS = 60.0, 3600.0
EACH = 32  # jobs of a provider at once, as in service
TURNS = [Turn(provider=name, places=EACH) for name in PROVIDERS]
_TOLD = """
select count(*) from polls where job_id = any ($1::uuid[]) and said = 'running' and at >= $2
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How long it took in all, and each claim of it; the processor time that Postgres and this
    process used (None: not known). All in seconds."""

    seconds: float
    claims: list[float]
    processor: float | None


class Looker:
    """Looks at one database, `due` jobs each time, others at each `turn`."""

    def __init__(
        self, crowd: Crowd, providers: Mapping[str, Provider], asker: Asker, *, due: int
    ) -> None:
        self.crowd = crowd
        self._timed = Timed(crowd.db)
        self._db = cast(Database, self._timed)  # its statements are asked for by name only
        self._due = due
        self._postmaster = parent_of(crowd.connection.get_server_pid())
        self._sweeper = _sweeper(self._db, providers, asker)

    async def tick(self, turn: int) -> Look:
        """The sweeper's loop, until all that is due was asked after. Raises RuntimeError where
        one of them was not told to be running."""
        job_ids = await self._prepare(turn, queued=False)
        began = await self.crowd.connection.fetchval("select now()")
        self._timed.expect("finish_asks", len(job_ids))
        stop, wake, clock = asyncio.Event(), self._sweeper.wake, self._clock()
        loop = asyncio.create_task(every(LOOK_SECONDS, self._sweeper.step, wake, stop))
        async with asyncio.timeout(LONGEST_SECONDS):
            await self._timed.enough.wait()
        look = clock("claim_asks")
        stop.set()
        wake.set()
        await loop
        told = await self.crowd.connection.fetchval(_TOLD, job_ids, began)
        if told != len(job_ids):
            raise RuntimeError(f"{told} of {len(job_ids)} jobs were asked after")
        await put_away(self.crowd.connection, job_ids)
        return look

    async def asks(self, turn: int) -> Look:
        """Claims what is to be asked after, and stores the answers, one statement after another."""
        job_ids = await self._prepare(turn, queued=False)
        clock = self._clock()
        while claimed := await _claim_asks(self._db):
            for due in claimed:
                await _told(self._db, due)
        look = clock("claim_asks")
        await put_away(self.crowd.connection, job_ids)
        return look

    async def submits(self, turn: int) -> Look:
        """Claims what is to be submitted, and gives each lease back."""
        job_ids = await self._prepare(turn, queued=True)
        clock = self._clock()
        while claimed := await _claim_submits(self._db):
            for due in claimed:
                await agenda.delay_submit(self._db, due, seconds=LATER_SECONDS)
        look = clock("claim_submits")
        await put_away(self.crowd.connection, job_ids)
        return look

    async def explained(self, turn: int, *, queued: bool) -> list[Touched]:
        """What each claim touches, until nothing is left."""
        job_ids = await self._prepare(turn, queued=queued)
        explained = Explained(self.crowd.connection, self.crowd.db.queries, table="agenda")
        db = cast(Database, explained)
        while not explained.touched or explained.touched[-1].rows:
            await (_claim_submits(db) if queued else _claim_asks(db))
        await put_away(self.crowd.connection, job_ids)
        return explained.touched

    def _clock(self) -> Callable[[str], Look]:
        """Begins a look; what it returns ends it, told which statement claims."""
        began, before = time.perf_counter(), used(self._postmaster)

        def ended(claim: str) -> Look:
            seconds, after = time.perf_counter() - began, used(self._postmaster)
            processor = None if before is None or after is None else after - before
            claims = list(self._timed.took[claim])
            return Look(seconds=seconds, claims=claims, processor=processor)

        return ended

    async def _prepare(self, turn: int, *, queued: bool) -> list[UUID]:
        """Makes jobs due; then every page that is written to is written whole once, the worst
        that a checkpoint can do."""
        numbers = chosen(
            still_open=self.crowd.still_open, count=self._due, turn=turn, queued=queued
        )
        job_ids = await make_due(self.crowd.connection, numbers)
        if len(job_ids) != self._due:
            raise RuntimeError(f"{len(job_ids)} of {self._due} jobs are due")
        await self.crowd.connection.execute("checkpoint", timeout=LONGEST_SECONDS)
        self._timed.took.clear()
        return job_ids


def _sweeper(db: Database, providers: Mapping[str, Provider], asker: Asker) -> Sweeper:
    """As `callboard serve` has it; a provider is asked as often as it answers."""
    health, wake = Health(db), asyncio.Event()
    return Sweeper(
        db,
        providers,
        Inquiry(asker, NO_SECRETS, total=request_seconds(LEASE_SECONDS)),
        Pace(catalog=Catalog.load()),
        health,
        Turns(db, health, Limits(each=EACH, per_second=1e6), lease=LEASE_SECONDS, wake=wake),
        patience=Patience(lease=LEASE_SECONDS, unconfirmed=1e9, give_up=1e9),
        moves=Moves(db),
        lost=_lost,
        wake=wake,
    )


async def _claim_asks(db: Database) -> list[Due]:
    return await agenda.claim_asks(db, lease_seconds=LEASE_SECONDS, turns=TURNS, tasks=ASKS)


async def _claim_submits(db: Database) -> list[Due]:
    return await agenda.claim_submits(db, lease_seconds=LEASE_SECONDS, turns=TURNS)


async def _told(db: Database, due: Due) -> None:
    asked = agenda.Asked(
        due=due,
        again_in=LATER_SECONDS,
        poll_id=new_id(bucket_of(due.attempt.job_id)),
        duration_ms=120,
        said=State.RUNNING,
    )
    await agenda.finish_asks(db, [asked])


async def _lost(due: Due) -> None:
    raise AssertionError(f"job {due.attempt.job_id} is lost")
