"""The feed under many writers and readers, over real HTTP, while servers come and go."""

import asyncio
import signal
from pathlib import Path
from uuid import UUID

import app_client
import pytest
from app_client import KEY
from feed_crowd import Follower, Pager, Writer, serving
from following import at
from scene import make_app

from service import ids
from service.database import Database

pytestmark = pytest.mark.slow

WRITERS = 32
OTHER, CHIEF = ("cb_" + letter * 43 for letter in "oc")
WITHIN_SECONDS = 120


async def in_order(db: Database, app_id: UUID | None) -> list[str]:
    rows = await db.pool.fetch(
        "select event_id from feed where $1::uuid is null or app_id = $1 order by place", app_id
    )
    return [ids.show("evt", row["event_id"]) for row in rows]


async def everything_placed(db: Database) -> None:
    while True:
        if not await db.pool.fetchval("select exists (select from unplaced)"):
            return
        await asyncio.sleep(0.05)


async def test_every_reader_has_every_event_once_and_in_the_one_order(
    db: Database, dsn: str, tmp_path: Path
) -> None:
    apps = {KEY: await make_app(db, key=KEY), OTHER: await make_app(db, name="other", key=OTHER)}
    await app_client.make_key(db, CHIEF, "operate", name="house", all_apps=True)
    enough = asyncio.Event()
    writers = [Writer(db, dsn, [*apps.values()][n % 2]) for n in range(WRITERS)]
    readers: list[Follower] = []

    async with serving(dsn, str(tmp_path)) as servers, asyncio.timeout(WITHIN_SECONDS):
        for key in (KEY, OTHER, CHIEF):
            client = await servers.stack.enter_async_context(at("", key))
            for kind in (Follower, Follower, Follower, Pager):
                readers.append(kind(key=key, client=client, servers=servers))
        async with asyncio.TaskGroup() as reading:
            for reader in readers:
                reading.create_task(reader.follow())
            async with asyncio.TaskGroup() as writing:
                for writer in writers:
                    writing.create_task(writer.write(enough))
                await servers.restart("one", signal.SIGKILL)
                await servers.restart("two", signal.SIGTERM)
                enough.set()
            await everything_placed(db)
            for reader in readers:
                reader.whole = await in_order(db, apps.get(reader.key))
    for reader in readers:
        assert reader.seen == reader.whole
        assert reader.resumed > 1
    await the_feed_is_whole(db)


async def the_feed_is_whole(db: Database) -> None:
    """Every event that is told has its place, each job's by version."""
    places = await db.pool.fetch("select job_id, version from feed order by place")
    last: dict[UUID, int] = {}
    for row in places:
        assert row["version"] > last.get(row["job_id"], 0)
        last[row["job_id"]] = row["version"]
    told = await db.pool.fetchval("select count(*) from job_events where version > 2")
    assert len(places) == told > 3 * WRITERS
