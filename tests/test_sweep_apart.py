"""How often the sweeper looks: at once where more may be due than there was room for."""

import asyncio
from uuid import UUID

import pytest
from posting import answering, provider
from raw_server import serving
from scene import make_app, make_job
from sweeping import one_round, sweeper_of

from service import sweep
from service.database import Database
from service.job import State
from service.pooled import Asker
from service.turns import Limits

RUNNING = answering("202 Accepted", {"status": "IN_PROGRESS", "logs": None})


async def test_whoever_found_all_that_was_due_is_held_back_and_nobody_else(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "APART_SECONDS", 3600.0)
    studio = await make_app(db)
    jobs: list[UUID] = [
        await make_job(db, studio, State.SUBMITTED, provider_id=f"req-{number}")
        for number in range(3)  # one more than there are places for
    ]
    await db.pool.execute("update agenda set due_at = now(), lease_until = null")
    asker = Asker()
    async with serving(RUNNING) as server:
        sweeper = sweeper_of(db, {"fal": provider(server.origin)}, asker, limits=Limits(each=2))
        await one_round(sweeper)
        await one_round(sweeper)
        assert await db.pool.fetchval("select count(*) from polls") == len(jobs)
        third = asyncio.create_task(sweeper.step())
        assert await asyncio.wait([third], timeout=0.2) == (set(), {third})
        third.cancel()
    await asker.aclose()
