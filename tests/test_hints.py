"""service/hints.py: what one process writes wakes those who work in another."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
from app_client import JOB, KEY
from embedded_programs import until
from running import environment, running
from scene import SECRETS, make_app

from service import hints
from service.database import Database
from service.wakes import Wakes


@asynccontextmanager
async def hearing(dsn: str) -> AsyncIterator[list[str]]:
    """What is said to those who work, from now on."""
    heard: list[str] = []
    listener = await asyncpg.connect(dsn)
    await listener.add_listener(hints.CHANNEL, lambda *told: heard.append(told[-1]))
    yield heard
    await listener.close()


def set_in(wakes: Wakes) -> set[str]:
    return {kind for kind, wake in wakes.kinds.items() if wake.is_set()}


@asynccontextmanager
async def working(db: Database) -> AsyncIterator[Wakes]:
    """A process that works, with nothing to do."""
    wakes = Wakes()
    listening = asyncio.create_task(hints.take_up(db, wakes))
    await until(lambda: set_in(wakes) == set(wakes.kinds))  # something may have been missed before
    rest(wakes)
    yield wakes
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


def rest(wakes: Wakes) -> None:
    for wake in wakes.kinds.values():
        wake.clear()


async def test_a_wake_reaches_who_works_elsewhere_and_wakes_nobody_else(db: Database) -> None:
    here, stop = Wakes(), asyncio.Event()
    async with working(db) as there:
        loops = [asyncio.create_task(one) for one in hints.passing_on(db, here, stop)]
        await until(lambda: set_in(there) == set(there.kinds))  # what was left at the start
        await until(lambda: not set_in(here))
        rest(there)
        here.deliver.set()
        await until(lambda: "deliver" in set_in(there))
        assert set_in(there) == {"deliver"}
        stop.set()
        for wake in here.kinds.values():
            wake.set()
        await asyncio.gather(*loops)


async def test_who_ends_now_says_what_is_left(db: Database) -> None:
    here = Wakes()
    here.submit.set()
    here.ask.set()
    async with working(db) as there:
        await hints.pass_on(db, here)
        await until(lambda: len(set_in(there)) == 2)
        assert set_in(there) == {"submit", "ask"}


async def test_who_lost_its_connection_listens_again_and_looks_after_everything(
    db: Database,
) -> None:
    async with working(db) as there:
        await db.pool.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and query like 'LISTEN%'"
        )
        await until(lambda: set_in(there) == set(there.kinds))
        rest(there)
        await db.rows("hint", "place")
        await until(lambda: set_in(there) == {"place"})


async def test_an_api_process_says_what_it_took_in(dsn: str, db: Database, tmp_path: Path) -> None:
    await make_app(db, key=KEY)
    env = environment(
        DATABASE_URL=dsn, CALLBOARD_SECRETS=",".join(SECRETS), CALLBOARD_PORT="0", FAL_KEY="k"
    )
    async with (
        hearing(dsn) as heard,
        running("serve", "--role", "api", env=env, cwd=str(tmp_path)) as service,
    ):
        url = await service.said(r"listening on (http://\S+)")
        async with httpx.AsyncClient(
            base_url=url, headers={"authorization": f"Bearer {KEY}"}, trust_env=False
        ) as client:
            assert (await client.post("/v1/jobs", json=JOB)).status_code == 202
        await until(lambda: "submit" in heard)
