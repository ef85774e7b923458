"""Sweepers for the tests, and what they leave on the agenda."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from service.catalog import Catalog
from service.database import Database
from service.health import Health
from service.http import Asker
from service.inquiry import Inquiry
from service.pace import Pace
from service.providers import Provider
from service.store.agenda import Due
from service.submit import Submitter
from service.sweep import Limits, Patience, Sweeper
from service.vault import NO_SECRETS, Vault


async def _nobody_is_lost(due: Due) -> None:
    raise AssertionError(f"job {due.attempt.job_id} is lost")


def sweeper_of(
    db: Database,
    providers: Mapping[str, Provider],
    asker: Asker,
    *,
    vault: Vault = NO_SECRETS,
    limits: Limits | None = None,
    lost: Callable[[Due], Awaitable[None]] | None = None,
    **patience: float,
) -> Sweeper:
    clocks = Patience(**{"lease": 60.0, "unconfirmed": 10800.0, "give_up": 86400.0} | patience)
    return Sweeper(
        db,
        providers,
        Inquiry(asker, vault, total=20.0),
        Pace(catalog=Catalog.load()),
        Health(db),
        patience=clocks,
        moved=lambda outcomes: None,
        lost=lost or _nobody_is_lost,
        wake=asyncio.Event(),
        limits=limits or Limits(),
    )


async def one_round(sweeper: Sweeper) -> None:
    await sweeper.step()
    await sweeper.slots.drain()


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
