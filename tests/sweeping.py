"""Sweepers for the tests, and what they leave on the agenda."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from app_client import CATALOG

from service.database import Database
from service.health import Health
from service.inquiry import Inquiry, request_seconds
from service.moves import Moves
from service.pace import Pace
from service.pooled import Asker
from service.providers import Provider
from service.store.agenda import Due
from service.submit import Submitter
from service.sweep import Patience, Sweeper
from service.turns import Limits, Turns
from service.vault import NO_SECRETS, Vault

LIMITS = Limits()


async def _nobody_is_lost(due: Due) -> None:
    raise AssertionError(f"job {due.attempt.job_id} is lost")


def sweeper_of(
    db: Database,
    providers: Mapping[str, Provider],
    asker: Asker,
    *,
    vault: Vault = NO_SECRETS,
    limits: Limits = LIMITS,
    lost: Callable[[Due], Awaitable[None]] | None = None,
    clock: Callable[[], float] = time.monotonic,
    pause: float | None = None,
    **patience: float,
) -> Sweeper:
    clocks = Patience(**{"lease": 60.0, "unconfirmed": 10800.0, "give_up": 86400.0} | patience)
    health, wake = Health(db), asyncio.Event()
    return Sweeper(
        db,
        providers,
        Inquiry(asker, vault, total=request_seconds(clocks.lease)),
        Pace(catalog=CATALOG, first=pause),
        health,
        Turns(db, health, limits, lease=clocks.lease, wake=wake, clock=clock),
        patience=clocks,
        moves=Moves(db),
        lost=lost or _nobody_is_lost,
        wake=wake,
    )


async def one_round(sweeper: Sweeper) -> None:
    await sweeper.step()
    await sweeper.turns.drain()


async def look(db: Database, provider: Provider) -> None:
    """One poll of each of this provider's jobs, due or not."""
    await db.pool.execute("update agenda set due_at = now(), lease_until = null")
    asker = Asker()
    await one_round(sweeper_of(db, {provider.name: provider}, asker))
    await asker.aclose()


async def looked_after(db: Database, submits: Submitter) -> None:
    """One round of the submitter, and of a sweeper that has nobody to ask."""
    await submits.step()
    await submits.finish()
    await found_lost(db, submits)


async def found_lost(db: Database, submits: Submitter) -> None:
    """A sweeper beside this submitter finds what nobody sends any more."""
    asker = Asker()
    await one_round(sweeper_of(db, {}, asker, lost=submits.doubt))
    await asker.aclose()
